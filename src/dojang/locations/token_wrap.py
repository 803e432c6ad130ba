"""Keys that leave a token and come to one encrypted under a wrapping key that both tokens have."""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dojang.der import OCTET_STRING, MalformedDer, expect, parse, tlv
from dojang.errors import (
    DeviceDisobeyed,
    DeviceRefused,
    DojangError,
    KeyDoesNotLeave,
    NotFound,
    Phrase,
    UnsupportedMechanism,
    UnsupportedOperation,
)
from dojang.locations.base import WrappedKey
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import wrapping
from dojang.pkcs11.generation import SIGN_ONLY, KeyUse, disobedience
from dojang.pkcs11.objects import PRIVATE_KEY_KINDS, algorithm_of, search_for
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.locations.base import PrivateKey
    from dojang.pkcs11 import OpenToken
    from dojang.pkcs11.importing import SoftwarePublicKey
    from dojang.pkcs11.wrapping import WrappingKey

_BLOCK: Final = 8
_KEY_TYPES: Final = {"rsa": ck.CKK_RSA, "ec": ck.CKK_EC, "ed25519": ck.CKK_EC_EDWARDS}
_MADE_FOR_BACKUP: Final = (
    "Only a key that was made for a backup can be wrapped: dojang key generate '{token}' --backup-under NAME, "
    "or dojang cert issue --to '{token}' --backup-under NAME. For this one, issue a second certificate elsewhere."
)


def find(token: "OpenToken", name: str) -> "WrappingKey":
    """The wrapping key of that label, or the one that an address names."""
    uri = Pkcs11Uri.from_text(name) if name.startswith("pkcs11:") else Pkcs11Uri(object=name)
    info = token.token.info
    here = uri.matches_token(label=info.label, manufacturer=info.manufacturer, model=info.model, serial=info.serial)
    with suppress(NotFound):
        if here:
            return wrapping.wrapping_key(token, label=uri.object, key_id=uri.id)
    raise NotFound(
        what=Phrase("The wrapping key {name}", name=name),
        where=token.address,
        next_step="See what is there: dojang key list '{where}'. "
        "Custodians bring theirs with: dojang key custody join '{where}' --label NAME",
    )


def generate(token: "OpenToken", algorithm: str, *, key_id: bytes, label: str, under: "WrappingKey") -> "PrivateKey":
    """A key pair that signs and may be wrapped; by trusted wrapping keys only, where ``under`` is one.

    Wrapped once to see that it can be: a token that refuses keeps no such key (SoftHSM wraps no Ed25519 key).
    """
    use = KeyUse(wrappable=True, only_trusted=under.trusted)
    key = token.generate_key_pair(algorithm, label=label, key_id=key_id, use=use)
    try:
        wrapping.wrap_key(token, object_type="private", key_id=key_id, under=under.key_id)
    except DeviceRefused as error:
        _destroy_pair(token, key_id)
        raise UnsupportedOperation(
            where=token.address,
            operation=Phrase("wrap a key of this kind ({algorithm}) under {kek}", algorithm=algorithm, kek=under.label),
            next_step="Choose another --algorithm, or make the key without a backup.",
        ) from error
    except DojangError:
        _destroy_pair(token, key_id)
        raise
    return key


def _destroy_pair(token: "OpenToken", key_id: bytes) -> None:
    """The pair alone: a certificate or R may have been there under its CKA_ID before."""
    for kind in ("public", "private"):
        token.destroy(key_id, kind)


def wrap(token: "OpenToken", key_id: bytes, under: "WrappingKey", random_number: Secret | None) -> WrappedKey:
    """One key, with R. Nobody but the token sees the key; R passes through here."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = token.private_key(key_id=key_id)
    values = _attributes(token, key_id)
    if values.get(ck.CKA_EXTRACTABLE) != b"\x01":
        raise KeyDoesNotLeave(address=token.address, token=token.address, next_step=_MADE_FOR_BACKUP)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    sealed = wrapping.wrap_key(token, object_type="private", key_id=key_id, under=under.key_id)
    held = b"" if random_number is None else wrapping.wrap_value(token, _padded(random_number), under=under.key_id)
    return WrappedKey(algorithm_of(values), public, sealed, held)


def unwrap(token: "OpenToken", wrapped: WrappedKey, under: "WrappingKey", *, key_id: bytes, label: str) -> "PrivateKey":
    """Both halves under ``key_id``, read back; ``DeviceDisobeyed`` for a token that keeps the key in another way."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    from dojang.pkcs11.importing import public_point, store_public_key

    public: SoftwarePublicKey = load_der_public_key(wrapped.public_key_der)  # type: ignore[assignment]
    store_public_key(token, public, label=label, key_id=key_id)
    try:
        wrapping.unwrap_private_key(
            token,
            wrapped.key,
            key_type=_key_type(wrapped.algorithm),
            label=label,
            key_id=key_id,
            under=under.key_id,
            point=public_point(public),
        )
        wrong = disobedience(_attributes(token, key_id), wrapped.algorithm, SIGN_ONLY)
        if wrong:
            raise DeviceDisobeyed(token=token.token.info.label, problem=", ".join(wrong))
        return token.private_key(key_id=key_id)
    except DojangError:
        token.destroy(key_id)
        raise


def unwrap_r(token: "OpenToken", wrapped: WrappedKey, under: "WrappingKey") -> Secret:
    """R as ``wrap`` put it in."""
    plain = wrapping.unwrap_value(token, wrapped.random_number, under=under.key_id)
    try:
        held = plain[: 2 + plain[1]]
        return Secret(expect(parse(held), OCTET_STRING).content)
    except (MalformedDer, IndexError) as error:
        raise DeviceDisobeyed(token=token.token.info.label, problem="what it unwrapped is no R") from error


def _attributes(token: "OpenToken", key_id: bytes) -> dict[int, bytes]:
    """What the token itself says of a private key, whoever signs with it."""
    search = search_for(ck.CKO_PRIVATE_KEY, key_id=key_id)
    return token.logged_in(lambda session: session.read(session.resolve(search), PRIVATE_KEY_KINDS))


def _padded(random_number: Secret) -> bytes:
    value = tlv(OCTET_STRING, random_number.reveal())
    return value + bytes(-len(value) % _BLOCK)


def _key_type(algorithm: str) -> int:
    key_type = _KEY_TYPES.get(algorithm.partition("-")[0])
    if key_type is None:
        raise UnsupportedMechanism(where="dojang", mechanism=f"keys of kind {algorithm}")
    return key_type
