"""A certificate authority of the test's own, and what it has signed."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """PEM files, made in a folder.

    Attributes:
        folder: Where they are.
        ca: The authority's certificate.
        client_cert: A client's certificate.
        client_key: Its private key.
    """

    folder: Path
    ca: Path
    client_cert: Path
    client_key: Path

    @classmethod
    def make(cls, folder: Path) -> "Certificates":
        """Make an authority, a server certificate for loopback and a client's."""
        folder.mkdir()
        authority = trustme.CA()
        made = cls(folder, folder / "ca.pem", folder / "client.pem", folder / "client.key")
        authority.cert_pem.write_to_path(str(made.ca))
        server = authority.issue_cert("127.0.0.1", "localhost")
        server.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        client = authority.issue_cert("worker@example.org")
        client.private_key_pem.write_to_path(str(made.client_key))
        client.cert_chain_pems[0].write_to_path(str(made.client_cert))
        return made

    def server_config(self, *, verify: bool = False) -> str:
        """Give the part of a nats-server's configuration with which it wants TLS.

        Args:
            verify: Whether clients have to show a certificate of this authority.
        """
        pem = self.folder / "server.pem"
        return f'tls {{ cert_file: "{pem}", key_file: "{pem}", ca_file: "{self.ca}", verify: {str(verify).lower()} }}'
