"""One connection to NATS: nats-py's client, mended, and the certificates it works with. Both sides stand on it."""

from connection.client import Connection, Traffic, abort, has_other_server, is_deaf, renew, traffic
from connection.tls import check_certificates, check_key, tls_context

__all__ = [
    "Connection",
    "Traffic",
    "abort",
    "check_certificates",
    "check_key",
    "has_other_server",
    "is_deaf",
    "renew",
    "tls_context",
    "traffic",
]
