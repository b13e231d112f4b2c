"""The addresses of NATS servers as people write them: taken apart, checked, and shown without credentials."""

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

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


def shared_user_info(servers: Iterable[str]) -> dict[str, str]:
    """Give the user-info that the addresses have, for servers that are learned of later; empty if they differ.

    nats-py sends user-info to the address that has it, and none to a server that it has learned of from another: it
    would be refused there, though its credentials are the cluster's.

    Returns:
        `user` and `password`, or `token`, as nats-py's `connect` names them.
    """
    parts = {(split.username, split.password) for split in map(_split, servers) if split.username is not None}
    if len(parts) != 1:
        return {}
    user, password = parts.pop()
    return {"token": user or ""} if password is None else {"user": user or "", "password": password}


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
        parts = _split(server)
        has_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    # A password with a bare "/" cuts the URL short: what looks like the host is then the user.
    return (
        has_address and parts.scheme in {"nats", "tls"} and not (parts.path.strip("/") or parts.query or parts.fragment)
    )


def _split(server: str) -> SplitResult:
    return urlsplit(server if "://" in server else f"nats://{server}")
