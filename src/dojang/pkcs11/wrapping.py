"""Wrapping keys on a token, and other keys wrapped under them (AES key wrap with padding, RFC 5649)."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.generation import SIGN_ONLY, Attributes, KeyUse, private_template, secret_template
from dojang.pkcs11.mechanisms import REFUSALS
from dojang.pkcs11.objects import CLASSES, refuse_vanished, search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.quirks import quirk_of
from dojang.pkcs11.session import Session
from dojang.pkcs11.structures import Mechanism, decode_ulong

T = TypeVar("T")

_WRAP_ORDER = (ck.CKM_AES_KEY_WRAP_KWP, ck.CKM_AES_KEY_WRAP_PAD)
"""0x210B first: the number that 3.0 gave RFC 5649. SoftHSM does it under 0x210A only, where NSS pads in another way."""

_WRAPPED_BLOCK = 8
_CHECKED = bytes(16)
_LEAKS = {
    ck.CKA_SENSITIVE: (True, errors.Phrase("the token shows its value")),
    ck.CKA_EXTRACTABLE: (False, errors.Phrase("it can be taken out of the token")),
    ck.CKA_DECRYPT: (False, errors.Phrase("it decrypts data, too, and keys that it has wrapped are data")),
}
"""What a wrapping key must be told to be, and what everything wrapped under another one suffers."""
_TOLD = (ck.CKA_LABEL, ck.CKA_ID, ck.CKA_KEY_TYPE, ck.CKA_WRAP, ck.CKA_UNWRAP, ck.CKA_TRUSTED, ck.CKA_LOCAL)
_KEK_KINDS = (*_TOLD, *_LEAKS)


class WrappingKey(NamedTuple):
    """An AES key on a token that wraps other keys (a KEK); ``trusted``: the security officer has marked it as one.

    ``came_in``: the token says that it was not made there. ``check`` tells it from other keys and gives nothing of it
    away: the first four bytes, in hex, of 16 zero bytes wrapped under it (RFC 5649).
    """

    key_id: bytes
    label: str
    check: str
    trusted: bool
    came_in: bool = False


def generate_wrapping_key(token: OpenToken, *, label: str, key_id: bytes, bits: int = 256) -> WrappingKey:
    """An AES key that wraps and unwraps other keys, does nothing else and never leaves the token.

    A token that makes such keys and cannot wrap under them (``UnsupportedMechanism``) keeps none. ``AlreadyExists``
    when there is a secret key under ``key_id``.
    """
    _refuse_second(token, key_id)
    attributes = [*_kek_template(label, key_id), (ck.CKA_VALUE_LEN, bits // 8)]
    mechanism = Mechanism(ck.CKM_AES_KEY_GEN)
    token.logged_in(lambda session: session.cryptoki.generate_key(session.handle, mechanism, attributes))
    return _tried(token, key_id)


def import_wrapping_key(token: OpenToken, value: bytes, *, label: str, key_id: bytes) -> WrappingKey:
    """The same with a value that was made elsewhere; from now on it does not leave either.

    Proved by what it wraps; a token that has made another key of it (``DeviceDisobeyed``) gets it removed.
    """
    _refuse_second(token, key_id)
    attributes = [*_kek_template(label, key_id), (ck.CKA_VALUE, value)]
    token.logged_in(lambda session: session.cryptoki.create_object(session.handle, attributes))
    made = _tried(token, key_id)
    if made.check != check_value(value):
        token.destroy(key_id, "secret-key")
        raise errors.DeviceDisobeyed(token=token.token.info.label, problem="it does not wrap as the key does")
    return made


def _refuse_second(token: OpenToken, key_id: bytes) -> None:
    """Whatever is taken back is taken back by its CKA_ID, so nothing else may have it."""
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)
    if token.surely(lambda session: session.cryptoki.find_objects(session.handle, search, limit=1)):
        raise errors.AlreadyExists(
            what=errors.Phrase("A key with the id {key_id}", key_id=key_id.hex()),
            where=errors.Phrase("token {token}", token=token.token.info.label),
        )


def _tried(token: OpenToken, key_id: bytes) -> WrappingKey:
    refuse_vanished(token, search_for(ck.CKO_SECRET_KEY, key_id=key_id))
    try:
        return wrapping_key(token, key_id=key_id)
    except errors.NotPermitted as error:
        token.destroy(key_id, "secret-key")
        raise errors.DeviceDisobeyed(token=token.token.info.label, problem=error.facts["problem"]) from error
    except errors.DojangError:
        token.destroy(key_id, "secret-key")
        raise


def check_value(value: bytes) -> str:
    """What ``WrappingKey.check`` is for a key in hand."""
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

    return aes_key_wrap_with_padding(value, _CHECKED)[:4].hex()


def wrapping_key(token: OpenToken, *, label: str | None = None, key_id: bytes | None = None) -> WrappingKey:
    """The one wrapping key that matches; ``NotFound``, ``Ambiguous``; ``NotPermitted`` for a key that may not wrap, or
    under which a key in a file would be as good as in plain (see ``_LEAKS``).
    """
    search = search_for(ck.CKO_SECRET_KEY, label=label, key_id=key_id)

    def read(session: Session) -> dict[int, bytes]:
        session.handles.pop(search, None)
        return session.read(session.resolve(search), _KEK_KINDS)

    values = token.logged_in(read)
    name = values.get(ck.CKA_LABEL, b"").decode("utf-8", "replace")
    wraps = values.get(ck.CKA_WRAP) == values.get(ck.CKA_UNWRAP) == b"\x01"
    if decode_ulong(values.get(ck.CKA_KEY_TYPE, b"\xff")) != ck.CKK_AES or not wraps or not values.get(ck.CKA_ID):
        raise errors.NotPermitted(
            problem=errors.Phrase("'{label}' is no AES key that wraps and unwraps others", label=name),
            remedy=errors.Phrase("Make one with: dojang key generate ADDRESS --algorithm aes-256 --label NAME"),
        )
    _refuse_leaking(values, name)
    trusted, came_in = values.get(ck.CKA_TRUSTED) == b"\x01", values.get(ck.CKA_LOCAL) == b"\0"
    found = WrappingKey(values[ck.CKA_ID], name, "", trusted, came_in)
    return found._replace(check=wrap_value(token, _CHECKED, under=found.key_id)[:4].hex())


def _refuse_leaking(values: dict[int, bytes], name: str) -> None:
    problems = [problem for kind, (wanted, problem) in _LEAKS.items() if values.get(kind) != bytes([wanted])]
    if problems:
        raise errors.NotPermitted(
            problem=errors.Phrase("'{label}' protects no other key: {problems}", label=name, problems=problems),
            remedy=errors.Phrase(
                "Use one that dojang has made: dojang key generate ADDRESS --algorithm aes-256 --label NAME, "
                "or dojang key custody split."
            ),
        )


def wrap_key(token: OpenToken, *, object_type: str, key_id: bytes, under: bytes) -> bytes:
    """A key encrypted under the AES key whose CKA_ID is ``under``: AES-KWP (RFC 5649), a private key as PKCS#8.

    SoftHSM puts zeros after the PKCS#8 up to a multiple of eight, and leaves the public half of an EC key out.
    """
    wanted = search_for(CLASSES[object_type], key_id=key_id)
    return _wrap(token, lambda session: session.resolve(wanted), under)


def wrap_value(token: OpenToken, value: bytes, *, under: bytes) -> bytes:
    """Bytes in hand encrypted in the same way; a multiple of eight of them, so that no module has to pad them."""
    if len(value) % _WRAPPED_BLOCK or not value:
        raise ValueError("its length is no multiple of eight")
    attributes = [*_passing_secret(), (ck.CKA_VALUE, value)]
    return _wrap(token, lambda session: session.cryptoki.create_object(session.handle, attributes), under, passing=True)


def unwrap_value(token: OpenToken, wrapped: bytes, *, under: bytes) -> bytes:
    """What ``wrap_value`` encrypted."""

    def unwrap(session: Session, mechanism: Mechanism, kek: int) -> bytes:
        handle = session.cryptoki.unwrap_key(session.handle, mechanism, kek, wrapped, _passing_secret())
        try:
            return session.read(handle, (ck.CKA_VALUE,)).get(ck.CKA_VALUE, b"")
        finally:
            session.cryptoki.destroy_object(session.handle, handle)

    return with_wrapping_key(token, under, unwrap)


def unwrap_private_key(
    token: OpenToken,
    wrapped: bytes,
    *,
    key_type: int,
    label: str,
    key_id: bytes,
    under: bytes,
    use: KeyUse = SIGN_ONLY,
    point: bytes = b"",
) -> None:
    """Put a wrapped private key (RFC 5649 over PKCS#8) on the token: private, sensitive, and as ``use`` says.

    ``point`` is the public point of an EC key, for modules that want to be told.
    """
    attributes: Attributes = [
        (ck.CKA_CLASS, ck.CKO_PRIVATE_KEY),
        (ck.CKA_KEY_TYPE, key_type),
        *private_template(label, key_id, use),
    ]
    beside = quirk_of(token.token.module).point_beside
    if beside is not None and point:
        attributes.append((beside, point))

    def unwrap(session: Session, mechanism: Mechanism, kek: int) -> None:
        session.cryptoki.unwrap_key(session.handle, mechanism, kek, wrapped, attributes)

    with_wrapping_key(token, under, unwrap)
    refuse_vanished(token, search_for(ck.CKO_PRIVATE_KEY, key_id=key_id))
    _limit(token, key_id, use)


def _limit(token: OpenToken, key_id: bytes, use: KeyUse) -> None:
    """Say once more what the key may do: SoftHSM lets every key that comes wrapped decrypt (seen, 2.6.1)."""
    search = search_for(ck.CKO_PRIVATE_KEY, key_id=key_id)
    wanted = {ck.CKA_SIGN: use.sign, ck.CKA_DECRYPT: use.decrypt, ck.CKA_UNWRAP: use.unwrap}

    def limit(session: Session) -> None:
        handle = session.resolve(search)
        told = session.read(handle, tuple(wanted))
        wrong: Attributes = [(kind, may) for kind, may in wanted.items() if told.get(kind) != bytes([may])]
        if wrong:
            session.cryptoki.set_attributes(session.handle, handle, wrong)

    token.logged_in(limit)


def _kek_template(label: str, key_id: bytes) -> Attributes:
    may = {ck.CKA_WRAP: True, ck.CKA_UNWRAP: True}
    not_ = dict.fromkeys((ck.CKA_ENCRYPT, ck.CKA_DECRYPT, ck.CKA_SIGN, ck.CKA_VERIFY, ck.CKA_DERIVE), False)
    return secret_template(ck.CKK_AES, label, key_id, may | not_)


def _passing_secret() -> Attributes:
    """A secret that lives no longer than its session, and comes out in plain: for bytes that are in hand anyway."""
    return [
        (ck.CKA_CLASS, ck.CKO_SECRET_KEY),
        (ck.CKA_KEY_TYPE, ck.CKK_GENERIC_SECRET),
        (ck.CKA_TOKEN, False),
        (ck.CKA_PRIVATE, True),
        (ck.CKA_SENSITIVE, False),
        (ck.CKA_EXTRACTABLE, True),
    ]


def _wrap(token: OpenToken, find: Callable[[Session], int], under: bytes, *, passing: bool = False) -> bytes:
    def wrap(session: Session, mechanism: Mechanism, kek: int) -> bytes:
        key = find(session)
        try:
            return session.cryptoki.wrap_key(session.handle, mechanism, kek, key)
        finally:
            if passing:
                session.cryptoki.destroy_object(session.handle, key)

    return with_wrapping_key(token, under, wrap)


def with_wrapping_key(token: OpenToken, under: bytes, work: Callable[[Session, Mechanism, int], T]) -> T:
    """Do ``work`` with the wrapping key, by the first mechanism that the token does not take back."""
    wrapping = search_for(ck.CKO_SECRET_KEY, key_id=under)
    for number in token.mechanisms.order(list(_WRAP_ORDER)):
        mechanism = Mechanism(number)

        def once(session: Session, mechanism: Mechanism = mechanism) -> T:
            return work(session, mechanism, session.resolve(wrapping))

        try:
            return token.logged_in(once)
        except errors.UnsupportedMechanism as error:
            cause = error.__cause__
            if not (isinstance(cause, CryptokiError) and cause.rv in REFUSALS):
                raise
            token.mechanisms.refuse(number)
    raise errors.UnsupportedMechanism(
        where=errors.Phrase("Token {token}", token=token.token.info.label), mechanism="AES key wrap with padding"
    )
