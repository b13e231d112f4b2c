"""Certificates from files: what is taken, and how the rest is refused."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from connection import check_certificates, check_key, tls_context
from tests.support.certificates import Certificates


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path / "certificates")


def test_nothing_is_nothing() -> None:
    """Without any file the connection is as it always was: the system's authorities are trusted."""
    assert tls_context(None) is None
    assert check_certificates(None) is None
    assert check_key(None, None) is None


def test_an_authority_of_ones_own_is_the_only_one(files: Certificates) -> None:
    """With an authority named no other is trusted, and the server's name is checked."""
    context = tls_context(check_certificates(files.ca))
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_certificate_and_its_key(files: Certificates) -> None:
    """A certificate goes with its key, in a file of its own or in the same one."""
    assert check_key(files.client_key, files.client_cert) == files.client_key
    both = files.folder / "both.pem"
    both.write_bytes(files.client_key.read_bytes() + files.client_cert.read_bytes())
    assert check_key(None, both) is None
    assert isinstance(tls_context(files.ca, both), ssl.SSLContext)


def lines_of(error: BaseException) -> str:
    assert str(error).isprintable()
    assert "PRIVATE KEY" not in str(error)
    return str(error)


def test_what_is_no_file_of_certificates(files: Certificates) -> None:
    """A file that is not there, or holds something else, is refused in one line without its content."""
    empty = files.folder / "empty.pem"
    empty.touch()
    for path, reason in {
        files.folder / "none.pem": "no such file",
        files.folder: "is a directory",
        files.client_key: "no certificate",
        empty: "no certificate",
        Path(files.client_key.read_text()): "file",
    }.items():
        with pytest.raises(ValueError, match="is not a file with certificates") as caught:
            check_certificates(path)
        assert reason in lines_of(caught.value)


def test_what_is_no_key(files: Certificates) -> None:
    """A key that is missing, another's, or has a password, which would be asked for on the terminal, is refused."""
    key = load_pem_private_key(files.client_key.read_bytes(), None)
    locked = files.folder / "locked.key"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"pass word"))
    )
    other = files.folder / "other.key"
    trustme.CA().issue_cert("b@example.org").private_key_pem.write_to_path(str(other))
    for wrong in (files.folder / "none.key", files.ca, locked, other, None):
        with pytest.raises(ValueError, match=r"has no private key without a password in (this|its own) file") as caught:
            check_key(wrong, files.client_cert)
        lines_of(caught.value)
    with pytest.raises(ValueError, match="there is none"):
        check_key(files.client_key, None)
