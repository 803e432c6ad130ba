"""Certificates that lie beside keys, from bytes that anybody may have written."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509


def load_certificate(der: bytes) -> "x509.Certificate":
    """The certificate; ``ValueError`` for whatever is none, also where the library has an error of another kind."""
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der)
    except (x509.InvalidVersion, TypeError) as error:
        raise ValueError("it is no certificate") from error
