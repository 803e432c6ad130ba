"""The public key for which factors are passed before another program asks for its certificate."""

from typing import TYPE_CHECKING

from dojang.errors import FileMalformed, NotFound, Phrase
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import Location, WrapsKeys
from dojang.x509.keys import spki_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


def key_at(place: Workplace, address: str) -> bytes:
    """The SubjectPublicKeyInfo of the key at an address, with a certificate or without. ``NotFound``, ``Ambiguous``."""
    with place.open_location(address) as location:
        return spki_of(location.private_key(_key_id(location, address)).public_key())


def key_in(content: bytes, path: object) -> bytes:
    """The same of a file: a public key, a request, a certificate, or a private key that is not encrypted.

    ``FileMalformed`` where it holds none of these.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    readers = (
        serialization.load_pem_public_key,
        serialization.load_der_public_key,
        lambda data: x509.load_pem_x509_csr(data).public_key(),
        lambda data: x509.load_der_x509_csr(data).public_key(),
        lambda data: x509.load_pem_x509_certificate(data).public_key(),
        lambda data: x509.load_der_x509_certificate(data).public_key(),
        lambda data: serialization.load_pem_private_key(data, None).public_key(),
        lambda data: serialization.load_der_private_key(data, None).public_key(),
    )
    for read in readers:
        try:
            found: PublicKeyTypes = read(content)
        except (ValueError, TypeError):
            continue
        return spki_of(found)
    expected = Phrase("a public key, a request, a certificate or a private key in plain")
    raise FileMalformed(path=path, expected=expected, problem=Phrase("it is none of these in PEM or DER"))


def _key_id(location: Location, address: str) -> bytes:
    try:
        return location.find(address).key_id
    except NotFound:
        if not isinstance(location, WrapsKeys):
            raise
        return location.find_key(address)[0]
