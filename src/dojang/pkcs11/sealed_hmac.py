"""HMAC under seeds that lie wrapped outside the token: unwrapped into a session key, used, and destroyed in one turn.

A seed is a secret whose length is a multiple of eight, so that no module has to pad it (see ``wrapping``). It is made
on the token, or comes in once; afterwards it is outside only under a wrapping key (AES-KWP, RFC 5649), and on the token
only for as long as one turn takes. Neither the bytes nor a handle ever get out of here.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.generation import Attributes
from dojang.pkcs11.mechanisms import HMAC, REFUSALS
from dojang.pkcs11.objects import search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.session import Search, Session
from dojang.pkcs11.structures import Mechanism
from dojang.pkcs11.wrapping import with_wrapping_key

T = TypeVar("T")

BLOCK: Final = 8
TRANSPORTS: Final = {"kw": ck.CKM_AES_KEY_WRAP, "kwp": ck.CKM_AES_KEY_WRAP_PAD}
"""How a seed may come wrapped from elsewhere: RFC 3394 and RFC 5649."""
_HASHES: Final = {name: Mechanism(number) for name, number in HMAC.items()}


def new_seed(token: OpenToken, length: int, *, under: bytes) -> bytes:
    """A seed that the token makes, wrapped under the key whose CKA_ID is ``under``."""
    made = Mechanism(ck.CKM_GENERIC_SECRET_KEY_GEN)
    attributes = [*_passing(wrappable=True), (ck.CKA_VALUE_LEN, length)]

    def work(session: Session, mechanism: Mechanism, kek: int) -> bytes:
        return _wrapped(session, mechanism, kek, session.cryptoki.generate_key(session.handle, made, attributes))

    return with_wrapping_key(token, under, work)


def seal_seed(token: OpenToken, value: bytearray, *, under: bytes) -> bytes:
    """A seed that was made elsewhere, wrapped; ``value`` is read where it is and overwritten with zeros.

    It is filled up with zeros to a multiple of eight, which makes no difference to an HMAC (RFC 2104, 2).
    """
    value.extend(bytes(-len(value) % BLOCK))

    def work(session: Session, mechanism: Mechanism, kek: int) -> bytes:
        attributes = [*_passing(wrappable=True), (ck.CKA_VALUE, value)]
        return _wrapped(session, mechanism, kek, session.cryptoki.create_object(session.handle, attributes))

    try:
        return with_wrapping_key(token, under, work)
    finally:
        value[:] = bytes(len(value))


def take_seed(token: OpenToken, wrapped: bytes, transport_key: bytes, way: str, *, under: bytes) -> bytes:
    """A seed that came wrapped under a key both sides know, wrapped anew under ours; it is plain on the token only.

    ``way`` is one of ``TRANSPORTS``. A ``DeviceError`` for a wrong key, ``UnsupportedMechanism`` where the token does
    not unwrap so.
    """
    came = Mechanism(TRANSPORTS[way])

    def work(session: Session, mechanism: Mechanism, kek: int) -> bytes:
        cryptoki, handle = session.cryptoki, session.handle
        theirs = cryptoki.create_object(handle, _transport(transport_key))
        try:
            template = _passing(wrappable=True)
            seed = _beside(token, came, lambda: cryptoki.unwrap_key(handle, came, theirs, wrapped, template))
        finally:
            cryptoki.destroy_object(handle, theirs)
        return _wrapped(session, mechanism, kek, seed)

    return with_wrapping_key(token, under, work)


def give_seed(token: OpenToken, wrapped: bytes, transport_key: bytes, way: str, *, under: bytes) -> bytes:
    """The other way round: a seed under our key, wrapped under one that both sides know."""
    goes = Mechanism(TRANSPORTS[way])

    def work(session: Session, mechanism: Mechanism, kek: int) -> bytes:
        cryptoki, handle = session.cryptoki, session.handle
        seed = cryptoki.unwrap_key(handle, mechanism, kek, wrapped, _passing(wrappable=True))
        try:
            theirs = cryptoki.create_object(handle, _transport(transport_key))
            try:
                return _beside(token, goes, lambda: cryptoki.wrap_key(handle, goes, theirs, seed))
            finally:
                cryptoki.destroy_object(handle, theirs)
        finally:
            cryptoki.destroy_object(handle, seed)

    return with_wrapping_key(token, under, work)


def rewrap_seeds(token: OpenToken, wrapped: Sequence[bytes], *, under: bytes, to: bytes) -> list[bytes]:
    """Seeds under one key of the token, each under another one of it; in one turn."""
    new = _key(to)

    def work(session: Session, mechanism: Mechanism, kek: int) -> list[bytes]:
        other, cryptoki, handle = session.resolve(new), session.cryptoki, session.handle
        template = _passing(wrappable=True)
        return [
            _wrapped(session, mechanism, other, cryptoki.unwrap_key(handle, mechanism, kek, one, template))
            for one in wrapped
        ]

    return with_wrapping_key(token, under, work)


def seed_hmacs(
    token: OpenToken, wrapped: bytes, messages: Sequence[bytes], *, under: bytes, hash_name: str
) -> list[bytes]:
    """HMAC of each message under a wrapped seed; the seed is a key that cannot be taken out, gone before this returns.

    ``NotFound`` when the wrapping key is gone.
    """
    hashed = _HASHES.get(hash_name)
    if hashed is None:
        raise errors.UnsupportedMechanism(where="dojang", mechanism=f"HMAC over {hash_name}")

    def work(session: Session, mechanism: Mechanism, kek: int) -> list[bytes]:
        seed = session.cryptoki.unwrap_key(session.handle, mechanism, kek, wrapped, _USED_ONLY)
        try:
            return _beside(token, hashed, lambda: [session.sign(hashed, seed, message) for message in messages])
        finally:
            session.cryptoki.destroy_object(session.handle, seed)

    return with_wrapping_key(token, under, work)


def _beside(token: OpenToken, mechanism: Mechanism, call: Callable[[], T]) -> T:
    """A call by another mechanism than the wrapping key's. Where the token refuses it, that is final: taken for a
    refusal of the key wrap, it would be held against everything that lies wrapped.
    """
    try:
        return call()
    except CryptokiError as error:
        if error.rv not in REFUSALS:
            raise
        where = errors.Phrase("Token {token}", token=token.token.info.label)
        name = ck.mechanism_name(mechanism.number)
        raise errors.UnsupportedMechanism(where=where, mechanism=name) from None


def _wrapped(session: Session, mechanism: Mechanism, kek: int, seed: int) -> bytes:
    """The seed behind a handle, wrapped; the handle is gone afterwards."""
    try:
        return session.cryptoki.wrap_key(session.handle, mechanism, kek, seed)
    finally:
        session.cryptoki.destroy_object(session.handle, seed)


def _key(key_id: bytes) -> Search:
    return search_for(ck.CKO_SECRET_KEY, key_id=key_id)


def _passing(*, wrappable: bool) -> Attributes:
    """A seed that lives no longer than its session and is never shown; wrapped it leaves only where it must."""
    return [
        (ck.CKA_CLASS, ck.CKO_SECRET_KEY),
        (ck.CKA_KEY_TYPE, ck.CKK_GENERIC_SECRET),
        (ck.CKA_TOKEN, False),
        (ck.CKA_PRIVATE, True),
        (ck.CKA_SENSITIVE, True),
        (ck.CKA_EXTRACTABLE, wrappable),
        (ck.CKA_SIGN, True),
    ]


def _transport(value: bytes) -> Attributes:
    return [
        (ck.CKA_CLASS, ck.CKO_SECRET_KEY),
        (ck.CKA_KEY_TYPE, ck.CKK_AES),
        (ck.CKA_TOKEN, False),
        (ck.CKA_PRIVATE, True),
        (ck.CKA_SENSITIVE, True),
        (ck.CKA_EXTRACTABLE, False),
        (ck.CKA_WRAP, True),
        (ck.CKA_UNWRAP, True),
        (ck.CKA_VALUE, value),
    ]


_USED_ONLY: Final = _passing(wrappable=False)
