"""Certificates of the operator's own: whom to trust, and what to show."""

import ssl
from pathlib import Path


def tls_context(ca: Path | None, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext | None:
    """Give what a connection with these certificates needs; None without any: the system's authorities are trusted.

    Args:
        ca: PEM file of the authorities to trust, instead of the system's.
        cert: PEM file of the certificate to show.
        key: PEM file of its private key; None if the certificate's file holds it.

    Raises:
        OSError: A file cannot be read, or does not hold what it should.
    """
    if ca is None and cert is None:
        return None
    context = ssl.create_default_context(cafile=ca)
    if cert is not None:
        # With no password given OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    return context


def check_certificates(path: Path | None) -> Path | None:
    """Give the path if it is a file of certificates.

    Raises:
        ValueError: It is not; says why, without what may be a certificate instead of a path.
    """
    try:
        tls_context(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"is not a file with certificates in PEM form ({_reason(error)})") from None
    return path


def check_key(key: Path | None, cert: Path | None) -> Path | None:
    """Give the path of a private key if it is the one of a certificate.

    Raises:
        ValueError: It is not; says why, and nothing of the key.
    """
    if cert is None:
        if key is not None:
            raise ValueError("goes with a certificate, and there is none")
        return None
    try:
        tls_context(None, cert, key)
    except (OSError, ValueError) as error:
        where = "its own file" if key is None else "this file"
        raise ValueError(
            f"the certificate has no private key without a password in {where} ({_reason(error)})"
        ) from None
    return key


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    return str(reason).replace("_", " ").lower()
