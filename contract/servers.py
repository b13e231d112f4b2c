"""The addresses of NATS servers as people write them: taken apart, checked, and shown without credentials."""

import re
from urllib.parse import urlsplit

_USER_INFO = re.compile(r"(\w+://)\S*@")


def split_servers(urls: str) -> list[str]:
    """Give the single addresses of a comma-separated list; they may hold credentials."""
    return [server.strip() for server in urls.split(",") if server.strip()]


def check_servers(urls: str) -> str:
    """Give the list of addresses if it can be used.

    Raises:
        ValueError: It names no server, or something else; says which by its place, not by its text.
    """
    servers = split_servers(urls)
    if not servers:
        raise ValueError("names no server")
    for place, server in enumerate(servers, start=1):
        if not _is_server(server):
            raise ValueError(f"server {place} of {len(servers)} is not nats://[user:password@]host[:port]")
    return urls


def mask_servers(urls: str) -> str:
    """Give the addresses as they may be shown: without user-info."""
    return ",".join(_masked(server) for server in split_servers(urls))


def mask_user_info(text: str) -> str:
    """Give a text in which no URL shows its user-info."""
    return _USER_INFO.sub(r"\1***@", text)


def _masked(server: str) -> str:
    user_info, at, host = server.rpartition("@")
    scheme, separator, _ = user_info.partition("://")
    return f"{scheme}{separator}***@{host}" if at and separator else f"***@{host}" if at else server


def _is_server(server: str) -> bool:
    try:
        parts = urlsplit(server if "://" in server else f"nats://{server}")
        has_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    # A password with a bare "/" cuts the URL short: what looks like the host is then the user.
    return (
        has_address and parts.scheme in {"nats", "tls"} and not (parts.path.strip("/") or parts.query or parts.fragment)
    )
