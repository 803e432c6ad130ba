"""A private key out of a file of any form that keys come in: PKCS#8, a Korean key file, PKCS#12, PEM, and what OpenSSL
wrote before PKCS#8.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dojang.der import INTEGER, OCTET_STRING, SEQUENCE, MalformedDer, children, parse_loosely, read_integer
from dojang.errors import Ambiguous, FileMalformed, PasswordIncorrect, Phrase

if TYPE_CHECKING:
    from dojang.npki.pkcs8 import Pkcs8
    from dojang.secret import Secret

Ask = Callable[[], "Secret"]
_PEM = b"-----BEGIN "
_PKCS12_VERSION = 3


def read_key(data: bytes, path: str, ask: Ask) -> "Pkcs8":
    """The one key in the file, R with it; ``ask`` gives the password, and is called only if one is needed.

    ``PasswordIncorrect`` for a wrong password and for damage alike, ``FileMalformed`` for what is no key,
    ``Ambiguous`` where there are several.
    """
    if data.lstrip().startswith(_PEM):
        return _from_pem(data, path, ask)
    return _from_der(data, path, ask)


def _from_der(data: bytes, path: str, ask: Ask) -> "Pkcs8":
    from dojang.npki.keyfile import open_pkcs8

    try:
        parts = children(parse_loosely(data, SEQUENCE))
    except MalformedDer as error:
        raise _no_key(path) from error
    tags = [part.tag for part in parts[:3]]
    if tags[:1] == [INTEGER]:
        if read_integer(parts[0]) == _PKCS12_VERSION:
            return _from_pkcs12(data, path, ask())
        return open_pkcs8(data, None, path) if tags[1:] == [SEQUENCE, OCTET_STRING] else _from_old(data, path, None)
    if tags != [SEQUENCE, OCTET_STRING]:
        raise _no_key(path)
    return open_pkcs8(data, ask(), path)


def _from_pem(data: bytes, path: str, ask: Ask) -> "Pkcs8":
    """The first key in it; certificates may stand around it."""
    from binascii import a2b_base64

    label, body = _first_key_in(data, path)
    if label in (b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"):
        try:
            return _from_der(a2b_base64(body), path, ask)
        except ValueError as error:
            raise _no_key(path) from error
    pem = b"-----BEGIN %b-----%b-----END %b-----\n" % (label, body, label)
    return _from_old(pem, path, ask() if b"ENCRYPTED" in body else None)


def _first_key_in(data: bytes, path: str) -> tuple[bytes, bytes]:
    import re

    found = re.findall(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----(.*?)-----END \1-----", data, re.DOTALL)
    if not found:
        raise _no_key(path)
    if len(found) > 1:
        raise Ambiguous(what=path, matches=", ".join(label.decode() for label, _body in found))
    label, body = found[0]
    return label, body


def _from_old(data: bytes, path: str, password: "Secret | None") -> "Pkcs8":
    """RSAPrivateKey and ECPrivateKey, which hold no R."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    from dojang.npki.pkcs8 import Pkcs8

    load = load_pem_private_key if data.startswith(_PEM) else load_der_private_key
    try:
        key = load(data, None if password is None else password.reveal())
        return Pkcs8.from_key(key)  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PasswordIncorrect(path=path) if password is not None else _no_key(path) from error


def _from_pkcs12(data: bytes, path: str, password: "Secret") -> "Pkcs8":
    from dojang.npki.pkcs12 import read_pkcs12

    entries = read_pkcs12(data, password, path).entries
    if not entries:
        raise _no_key(path)
    if len(entries) > 1:
        raise Ambiguous(
            what=path,
            matches=", ".join(entry.name or "?" for entry in entries),
            next_step="Import what is in it with 'dojang location import', which takes certificates along.",
        )
    return entries[0].pkcs8


def _no_key(path: str) -> FileMalformed:
    return FileMalformed(
        path=path, expected=Phrase("a private key"), problem=Phrase("no key in a form that is known was found in it")
    )
