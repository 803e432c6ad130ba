"""Keys for HMAC (RFC 2104) on a token."""

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.generation import Attributes
from dojang.pkcs11.mechanisms import HMAC
from dojang.pkcs11.objects import refuse_vanished, search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.structures import Mechanism, utf8

_BYTES = 32
_MUST_BE = {ck.CKA_SENSITIVE: b"\x01", ck.CKA_EXTRACTABLE: b"\0"}


def import_hmac_key(token: OpenToken, value: bytes, *, label: str, key_id: bytes) -> None:
    """Store a generic secret for HMAC: private, sensitive, not extractable, sign only."""
    attributes = [*_template(label, key_id), (ck.CKA_VALUE, value)]
    token.logged_in(lambda session: session.cryptoki.create_object(session.handle, attributes))


def generate_hmac_key(token: OpenToken, *, label: str, key_id: bytes) -> None:
    """A new secret of 256 bits for HMAC that the token makes and never shows.

    A token that would show it (``DeviceDisobeyed``), or cannot use it, keeps none.
    """
    attributes = [*_template(label, key_id), (ck.CKA_VALUE_LEN, _BYTES)]
    mechanism = Mechanism(ck.CKM_GENERIC_SECRET_KEY_GEN)
    token.logged_in(lambda session: session.cryptoki.generate_key(session.handle, mechanism, attributes))
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)
    refuse_vanished(token, search)
    try:
        told = token.logged_in(lambda session: session.read(session.resolve(search), tuple(_MUST_BE)))
        if told != _MUST_BE:
            raise errors.DeviceDisobeyed(
                token=token.token.info.label, problem=errors.Phrase("it can be taken out of the token")
            )
        hmac_digest(token, b"proof", key_id=key_id)
    except errors.DojangError:
        token.destroy(key_id, "secret-key")
        raise


def has_hmac_key(token: OpenToken, key_id: bytes) -> bool:
    """Whether there is a secret key with this CKA_ID."""
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)
    return bool(token.surely(lambda session: session.cryptoki.find_objects(session.handle, search, limit=1)))


class HmacKey:
    """A secret on an open token; it is used and never seen."""

    def __init__(self, token: OpenToken, key_id: bytes) -> None:
        self._token, self._key_id = token, key_id

    def digest(self, message: bytes) -> bytes:
        """HMAC-SHA256 of the message."""
        return hmac_digest(self._token, message, key_id=self._key_id)


def _template(label: str, key_id: bytes) -> Attributes:
    return [
        (ck.CKA_CLASS, ck.CKO_SECRET_KEY),
        (ck.CKA_KEY_TYPE, ck.CKK_GENERIC_SECRET),
        (ck.CKA_TOKEN, True),
        (ck.CKA_PRIVATE, True),
        (ck.CKA_SENSITIVE, True),
        (ck.CKA_EXTRACTABLE, False),
        (ck.CKA_SIGN, True),
        (ck.CKA_VERIFY, False),
        (ck.CKA_LABEL, utf8(label)),
        (ck.CKA_ID, key_id),
    ]


def hmac_digest(token: OpenToken, message: bytes, *, key_id: bytes, hash_name: str = "sha256") -> bytes:
    """HMAC (RFC 2104) of a message under a secret key on the token."""
    if hash_name not in HMAC:
        raise errors.UnsupportedMechanism(where="dojang", mechanism=f"HMAC over {hash_name}")
    mechanism = Mechanism(HMAC[hash_name])
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)

    return token.logged_in(lambda session: session.sign(mechanism, session.resolve(search), message))
