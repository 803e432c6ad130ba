"""Keys for HMAC (RFC 2104) on a token."""

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.generation import Attributes
from dojang.pkcs11.mechanisms import HMAC
from dojang.pkcs11.objects import search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.structures import Mechanism, utf8


def import_hmac_key(token: OpenToken, value: bytes, *, label: str, key_id: bytes) -> None:
    """Store a generic secret for HMAC: private, sensitive, not extractable, sign only."""
    attributes: Attributes = [
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
        (ck.CKA_VALUE, value),
    ]
    token.logged_in(lambda session: session.cryptoki.create_object(session.handle, attributes))


def hmac_digest(token: OpenToken, message: bytes, *, key_id: bytes, hash_name: str = "sha256") -> bytes:
    """HMAC (RFC 2104) of a message under a secret key on the token."""
    if hash_name not in HMAC:
        raise errors.UnsupportedMechanism(where="dojang", mechanism=f"HMAC over {hash_name}")
    mechanism = Mechanism(HMAC[hash_name])
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)

    return token.logged_in(lambda session: session.sign(mechanism, session.resolve(search), message))
