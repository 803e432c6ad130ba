"""Keys under which a token encrypts data (AES-256-GCM), and the token's random numbers.

Such a key encrypts and decrypts and does nothing else. It is never one that wraps keys: under a key that did both, a
wrapped key could be decrypted as if it were data.
"""

from collections.abc import Sequence
from ctypes import addressof, create_string_buffer
from typing import Final

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.generation import Attributes, secret_template
from dojang.pkcs11.objects import refuse_vanished, search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.session import Search, Session
from dojang.pkcs11.structures import GcmParams, Mechanism

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_MUST_BE: Final = {ck.CKA_SENSITIVE: b"\x01", ck.CKA_EXTRACTABLE: b"\0", ck.CKA_WRAP: b"\0", ck.CKA_UNWRAP: b"\0"}

Bound = tuple[bytes, bytes]
"""Something to seal or to open, and what it is bound to (GCM's additional data)."""


class GcmMechanism(Mechanism):
    """CKM_AES_GCM with its nonce and its additional data kept alive beside the parameter that points to them."""

    __slots__ = ("_bound", "_nonce")

    def __init__(self, nonce: bytes, bound_to: bytes) -> None:
        """The tag has 128 bits."""
        self._nonce = create_string_buffer(nonce, len(nonce))
        self._bound = create_string_buffer(bound_to, len(bound_to)) if bound_to else None
        where = addressof(self._bound) if self._bound is not None else None
        parameter = GcmParams(addressof(self._nonce), len(nonce), len(nonce) * 8, where, len(bound_to), _TAG_BYTES * 8)
        super().__init__(ck.CKM_AES_GCM, parameter)


class SealingKey:
    """A key on an open token that seals data: whoever has the token can open it, and notices what was changed."""

    def __init__(self, token: OpenToken, key_id: bytes) -> None:
        self._token, self._search = token, search_for(ck.CKO_SECRET_KEY, key_id=key_id)

    def random(self, count: int) -> bytes:
        """So many bytes that the token has drawn."""
        return random_bytes(self._token, count)

    def seal(self, plain: Sequence[Bound]) -> list[bytes]:
        """Each one encrypted for itself, in one turn on the token: nonce, ciphertext, tag."""

        def work(session: Session) -> list[bytes]:
            key, cryptoki, handle = session.resolve(self._search), session.cryptoki, session.handle
            nonces = cryptoki.random(handle, _NONCE_BYTES * len(plain))
            sealed = []
            for number, (value, bound_to) in enumerate(plain):
                nonce = nonces[number * _NONCE_BYTES : (number + 1) * _NONCE_BYTES]
                sealed.append(nonce + cryptoki.encrypt(handle, GcmMechanism(nonce, bound_to), key, value))
            return sealed

        return self._token.logged_in(work)

    def open(self, sealed: Sequence[Bound]) -> list[bytes]:
        """What ``seal`` encrypted. ``DeviceRefused`` for what was changed, or is bound to something else."""

        def work(session: Session) -> list[bytes]:
            key = session.resolve(self._search)
            return [_opened(session, key, value, bound_to) for value, bound_to in sealed]

        return self._token.logged_in(work)


def random_bytes(token: OpenToken, count: int) -> bytes:
    """So many bytes that the token has drawn (C_GenerateRandom)."""
    return token.logged_in(lambda session: session.cryptoki.random(session.handle, count))


def has_sealing_key(token: OpenToken, key_id: bytes) -> bool:
    """Whether there is a key for data with this CKA_ID; ``DeviceDisobeyed`` for another one that has it."""
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)
    if not token.surely(lambda session: session.cryptoki.find_objects(session.handle, search, limit=1)):
        return False
    _refuse_leaking(token, search)
    return True


def generate_sealing_key(token: OpenToken, *, label: str, key_id: bytes) -> None:
    """An AES key of 256 bits that the token makes and never shows; proved by what it seals and opens again.

    A token that would show it (``DeviceDisobeyed``), or cannot use it, keeps none.
    """
    attributes = [*_template(label, key_id), (ck.CKA_VALUE_LEN, _KEY_BYTES)]
    mechanism = Mechanism(ck.CKM_AES_KEY_GEN)
    token.logged_in(lambda session: session.cryptoki.generate_key(session.handle, mechanism, attributes))
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)
    refuse_vanished(token, search)
    try:
        _refuse_leaking(token, search)
        key = SealingKey(token, key_id)
        if key.open([(key.seal([(b"proof", b"trial")])[0], b"trial")]) != [b"proof"]:
            raise errors.DeviceDisobeyed(token=token.token.info.label, problem="it does not open what it has sealed")
    except errors.DojangError:
        token.destroy(key_id, "secret-key")
        raise


def _refuse_leaking(token: OpenToken, search: Search) -> None:
    told = token.logged_in(lambda session: session.read(session.resolve(search), (*_MUST_BE, ck.CKA_LOCAL)))
    came_in = told.pop(ck.CKA_LOCAL, b"") == b"\0"
    if came_in or told != _MUST_BE:
        problem = errors.Phrase("a key for data came from elsewhere, can be taken out, or wraps other keys")
        raise errors.DeviceDisobeyed(token=token.token.info.label, problem=problem)


def _opened(session: Session, key: int, sealed: bytes, bound_to: bytes) -> bytes:
    mechanism = GcmMechanism(sealed[:_NONCE_BYTES], bound_to)
    return session.cryptoki.decrypt(session.handle, mechanism, key, sealed[_NONCE_BYTES:])


def _template(label: str, key_id: bytes) -> Attributes:
    may = {ck.CKA_ENCRYPT: True, ck.CKA_DECRYPT: True}
    not_ = dict.fromkeys((ck.CKA_WRAP, ck.CKA_UNWRAP, ck.CKA_SIGN, ck.CKA_VERIFY), False)
    return secret_template(ck.CKK_AES, label, key_id, may | not_)
