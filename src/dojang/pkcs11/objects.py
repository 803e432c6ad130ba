"""Objects on a token as values: what was found, what it is, and what could not be read of it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.session import Search, Session
from dojang.pkcs11.structures import AttributeValue, decode_ulong, utf8

if TYPE_CHECKING:
    from dojang.pkcs11.opened import OpenToken

CLASSES = {
    "data": ck.CKO_DATA,
    "cert": ck.CKO_CERTIFICATE,
    "public": ck.CKO_PUBLIC_KEY,
    "private": ck.CKO_PRIVATE_KEY,
    "secret-key": ck.CKO_SECRET_KEY,
}
"""Object classes by the names that PKCS#11 URIs use for ``type`` (RFC 7512, 2.3)."""
CLASS_NAMES = {number: name for name, number in CLASSES.items()}

CURVES = {
    "ec-p256": bytes.fromhex("06082a8648ce3d030107"),
    "ec-p384": bytes.fromhex("06052b81040022"),
    "ec-p521": bytes.fromhex("06052b81040023"),
}
"""CKA_EC_PARAMS: the curve's object identifier in DER (RFC 5480)."""
ED25519_PARAMS = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")
"""CKA_EC_PARAMS of Ed25519: the identifier (RFC 8410) as 3.0 has it, and the name that earlier modules want."""
RSA_SIZES = (2048, 3072, 4096)
KEY_ALGORITHMS = (*(f"rsa-{bits}" for bits in RSA_SIZES), *CURVES, "ed25519")

PUBLIC_KEY_KINDS = (
    ck.CKA_LABEL,
    ck.CKA_ID,
    ck.CKA_KEY_TYPE,
    ck.CKA_MODULUS,
    ck.CKA_PUBLIC_EXPONENT,
    ck.CKA_EC_PARAMS,
    ck.CKA_EC_POINT,
)
PRIVATE_KEY_KINDS = (
    ck.CKA_LABEL,
    ck.CKA_ID,
    ck.CKA_KEY_TYPE,
    ck.CKA_MODULUS,
    ck.CKA_PUBLIC_EXPONENT,
    ck.CKA_EC_PARAMS,
    ck.CKA_PRIVATE,
    ck.CKA_SENSITIVE,
    ck.CKA_EXTRACTABLE,
    ck.CKA_SIGN,
    ck.CKA_DECRYPT,
    ck.CKA_UNWRAP,
    ck.CKA_LOCAL,
    ck.CKA_NEVER_EXTRACTABLE,
    ck.CKA_ALWAYS_SENSITIVE,
    ck.CKA_ALWAYS_AUTHENTICATE,
)
"""Everything dojang wants to know of a private key, read with one call."""

_COMMON = (ck.CKA_CLASS, ck.CKA_LABEL)
_BY_CLASS = {
    ck.CKO_CERTIFICATE: (ck.CKA_LABEL, ck.CKA_ID, ck.CKA_VALUE, ck.CKA_CERTIFICATE_TYPE),
    ck.CKO_PUBLIC_KEY: PUBLIC_KEY_KINDS,
    ck.CKO_PRIVATE_KEY: PRIVATE_KEY_KINDS,
    ck.CKO_SECRET_KEY: (
        ck.CKA_LABEL,
        ck.CKA_ID,
        ck.CKA_KEY_TYPE,
        ck.CKA_VALUE_LEN,
        ck.CKA_SENSITIVE,
        ck.CKA_EXTRACTABLE,
    ),
    ck.CKO_DATA: (ck.CKA_LABEL, ck.CKA_ID, ck.CKA_APPLICATION, ck.CKA_OBJECT_ID),
}


class TokenObject(NamedTuple):
    """One object as it was when read. ``problem`` tells why it could not be read; the other fields are then empty."""

    type: str
    label: str = ""
    key_id: bytes = b""
    algorithm: str = ""
    value: bytes = b""
    application: str = ""
    attributes: Mapping[str, bool] = MappingProxyType({})
    problem: str = ""

    @property
    def name(self) -> str | None:
        """The label where it is one by which the object is found again; bytes that are no UTF-8 are not."""
        return self.label if self.label and "\ufffd" not in self.label else None


_FLAG_NAMES = {
    ck.CKA_PRIVATE: "private",
    ck.CKA_SENSITIVE: "sensitive",
    ck.CKA_EXTRACTABLE: "extractable",
    ck.CKA_SIGN: "sign",
    ck.CKA_DECRYPT: "decrypt",
    ck.CKA_UNWRAP: "unwrap",
    ck.CKA_LOCAL: "local",
    ck.CKA_NEVER_EXTRACTABLE: "never_extractable",
    ck.CKA_ALWAYS_SENSITIVE: "always_sensitive",
    ck.CKA_ALWAYS_AUTHENTICATE: "always_authenticate",
}


def read_object(session: Session, handle: int, object_class: int | None = None) -> TokenObject:
    """The object behind a handle. One that answers nonsense becomes a value that says so; a dead session raises."""
    try:
        if object_class is None:
            head = session.read(handle, _COMMON)
            object_class = decode_ulong(head.get(ck.CKA_CLASS, b"\xff"))
        if object_class not in _BY_CLASS:
            return TokenObject(type=f"class {object_class:#x}", label=_text(head.get(ck.CKA_LABEL, b"")))
        return _from_attributes(object_class, session.read(handle, _BY_CLASS[object_class]))
    except CryptokiError as error:
        if error.rv in ABOUT_THE_SESSION:
            raise
        return TokenObject(type=CLASS_NAMES.get(object_class or -1, "unknown"), problem=str(error))


def read_public(session: Session, key_id: bytes, label: bytes = b"") -> dict[int, bytes]:
    """The attributes of the one public key under a CKA_ID, or of the one with this label where several share it."""
    search = search_for(ck.CKO_PUBLIC_KEY, key_id=key_id)
    found = session.cryptoki.find_objects(session.handle, search, limit=2)
    if len(found) > 1:
        found = session.cryptoki.find_objects(session.handle, (*search, (ck.CKA_LABEL, label)), limit=2)
    return session.read(found[0], PUBLIC_KEY_KINDS) if len(found) == 1 else {}


ABOUT_THE_SESSION = frozenset(
    {
        ck.CKR_SESSION_HANDLE_INVALID,
        ck.CKR_SESSION_CLOSED,
        ck.CKR_CRYPTOKI_NOT_INITIALIZED,
        ck.CKR_DEVICE_REMOVED,
        ck.CKR_DEVICE_ERROR,
        ck.CKR_TOKEN_NOT_PRESENT,
    }
)
"""Answers that say nothing of the object that was asked for."""


def _from_attributes(object_class: int, values: dict[int, bytes]) -> TokenObject:
    problem = ""
    if object_class == ck.CKO_CERTIFICATE and not values.get(ck.CKA_VALUE):
        problem = "it has no value"
    return TokenObject(
        type=CLASS_NAMES[object_class],
        label=_text(values.get(ck.CKA_LABEL, b"")),
        key_id=values.get(ck.CKA_ID, b""),
        algorithm=algorithm_of(values) if ck.CKA_KEY_TYPE in values else "",
        value=values.get(ck.CKA_VALUE, b""),
        application=_text(values.get(ck.CKA_APPLICATION, b"")),
        attributes={name: values[kind] != b"\0" for kind, name in _FLAG_NAMES.items() if kind in values},
        problem=problem,
    )


def algorithm_of(values: dict[int, bytes]) -> str:
    """``rsa-2048``, ``ec-p256``, ``ed25519``, ``aes`` …; kinds without a name of ours show their CKK number."""
    key_type = decode_ulong(values.get(ck.CKA_KEY_TYPE, b"\xff"))
    parameters = values.get(ck.CKA_EC_PARAMS, b"")
    if key_type == ck.CKK_RSA:
        return f"rsa-{int.from_bytes(values.get(ck.CKA_MODULUS, b''), 'big').bit_length()}"
    if key_type == ck.CKK_EC:
        return next((name for name, der in CURVES.items() if der == parameters), f"ec-{parameters.hex() or 'unknown'}")
    if key_type == ck.CKK_EC_EDWARDS:
        return "ed25519" if parameters in ED25519_PARAMS else f"ed-{parameters.hex() or 'unknown'}"
    return {ck.CKK_AES: "aes", ck.CKK_GENERIC_SECRET: "generic-secret", ck.CKK_HOTP: "hotp"}.get(
        key_type, f"key type {key_type:#x}"
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").rstrip("\0")


def search_for(object_class: int | None = None, *, label: str | None = None, key_id: bytes | None = None) -> Search:
    """The template that finds objects by class, label and CKA_ID."""
    attributes: list[tuple[int, AttributeValue]] = []
    if object_class is not None:
        attributes.append((ck.CKA_CLASS, object_class))
    if key_id is not None:
        attributes.append((ck.CKA_ID, key_id))
    if label is not None:
        attributes.append((ck.CKA_LABEL, utf8(label)))
    return tuple(attributes)


def refuse_vanished(token: "OpenToken", *searches: Search) -> None:
    """``TokenFull`` when what was just made is not there: SoftHSM says CKR_OK of objects that a full disk did not take
    (seen, 2.6.1). Looks only where there is no room.
    """
    if not token.token.module.out_of_room():
        return

    def found(session: Session) -> bool:
        return any(session.cryptoki.find_objects(session.handle, search, limit=1) for search in searches)

    if not token.logged_in(found):
        raise errors.TokenFull(token=token.token.info.label)


def destroy_all(session: Session, searches: Sequence[Search]) -> int:
    """Destroy everything the searches find, in their order; the number of objects destroyed."""
    destroyed = 0
    for search in searches:
        for handle in session.cryptoki.find_objects(session.handle, search):
            session.cryptoki.destroy_object(session.handle, handle)
            session.handles.clear()  # at once: the handle may be given to the next object made
            destroyed += 1
    return destroyed
