"""Keys for HMAC (RFC 2104) on a token."""

import hmac
from collections.abc import Callable

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.generation import Attributes, secret_template
from dojang.pkcs11.mechanisms import DIGEST_BYTES, HMAC
from dojang.pkcs11.objects import refuse_vanished, search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.structures import Mechanism

_BYTES = 32
_MUST_BE = {ck.CKA_SENSITIVE: b"\x01", ck.CKA_EXTRACTABLE: b"\0"}
_PROOF = b"proof"


def import_hmac_key(token: OpenToken, value: bytes, *, label: str, key_id: bytes, hash_name: str = "sha256") -> None:
    """Store a generic secret for HMAC: private, sensitive, not extractable, sign only; read back, proved by an HMAC.

    A value shorter than the hash's output gets zeros behind it, which leaves every HMAC as it is (RFC 2104, 2: a key
    is filled with zeros to the block); SoftHSM stores shorter ones and then refuses to use them (seen, 2.6.1).
    A token that keeps another key of it, or would show it (``DeviceDisobeyed``), or cannot use it, keeps none.
    ``AlreadyExists`` when there is a secret key under ``key_id``.
    """
    filled = value.ljust(DIGEST_BYTES[_known(hash_name)], b"\0")
    attributes = [*_template(label, key_id), (ck.CKA_VALUE, filled)]
    refuse_second(token, key_id)
    token.logged_in(lambda session: session.cryptoki.create_object(session.handle, attributes))

    def prove(mac: bytes) -> None:
        if not hmac.compare_digest(mac, hmac.digest(value, _PROOF, hash_name)):
            raise errors.DeviceDisobeyed(
                token=token.token.info.label, problem=errors.Phrase("its HMAC is not that of the secret")
            )

    _keep(token, key_id, hash_name, prove)


def generate_hmac_key(
    token: OpenToken, *, label: str, key_id: bytes, size: int = _BYTES, hash_name: str = "sha256"
) -> None:
    """A new secret of ``size`` bytes for HMAC that the token makes and never shows.

    A token that would show it (``DeviceDisobeyed``), or cannot use it, keeps none.
    """
    attributes = [*_template(label, key_id), (ck.CKA_VALUE_LEN, size)]
    mechanism = Mechanism(ck.CKM_GENERIC_SECRET_KEY_GEN)
    refuse_second(token, key_id)
    token.logged_in(lambda session: session.cryptoki.generate_key(session.handle, mechanism, attributes))
    _keep(token, key_id, _known(hash_name), lambda mac: None)


def refuse_second(token: OpenToken, key_id: bytes) -> None:
    """``AlreadyExists``: whatever is taken back is taken back by its CKA_ID, so nothing else may have it."""
    if has_hmac_key(token, key_id):
        raise errors.AlreadyExists(
            what=errors.Phrase("A key with the id {key_id}", key_id=key_id.hex()),
            where=errors.Phrase("token {token}", token=token.token.info.label),
        )


def _keep(token: OpenToken, key_id: bytes, hash_name: str, prove: Callable[[bytes], None]) -> None:
    """Keep what was just made if the token says that it never shows it, and its first HMAC passes ``prove``."""
    keep_secret_key(token, key_id, lambda: prove(hmac_digest(token, _PROOF, key_id=key_id, hash_name=hash_name)))


def keep_secret_key(token: OpenToken, key_id: bytes, prove: Callable[[], None]) -> None:
    """Keep a secret key that was just made if the token says that it never shows it and ``prove`` raises nothing."""
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)
    refuse_vanished(token, search)
    try:
        told = token.logged_in(lambda session: session.read(session.resolve(search), tuple(_MUST_BE)))
        if told != _MUST_BE:
            raise errors.DeviceDisobeyed(
                token=token.token.info.label, problem=errors.Phrase("it can be taken out of the token")
            )
        prove()
    except errors.DojangError:
        token.destroy(key_id, "secret-key")
        raise


def has_hmac_key(token: OpenToken, key_id: bytes) -> bool:
    """Whether there is a secret key with this CKA_ID."""
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)
    return bool(token.surely(lambda session: session.cryptoki.find_objects(session.handle, search, limit=1)))


class HmacKey:
    """A secret on an open token; it is used and never seen. ``digest`` is HMAC (RFC 2104) of a message under it."""

    __slots__ = ("digest",)

    def __init__(self, token: OpenToken, key_id: bytes, hash_name: str = "sha256") -> None:
        """``digest`` looks the key up when it is first needed; ``NotFound``, ``Ambiguous``."""
        mechanism = Mechanism(HMAC[_known(hash_name)])
        self.digest = token.signing(mechanism, search_for(ck.CKO_SECRET_KEY, key_id=key_id))


def hmac_digest(token: OpenToken, message: bytes, *, key_id: bytes, hash_name: str = "sha256") -> bytes:
    """HMAC (RFC 2104) of a message under a secret key on the token."""
    return HmacKey(token, key_id, hash_name).digest(message)


def _known(hash_name: str) -> str:
    if hash_name not in HMAC:
        raise errors.UnsupportedMechanism(where="dojang", mechanism=f"HMAC over {hash_name}")
    return hash_name


def _template(label: str, key_id: bytes) -> Attributes:
    return secret_template(ck.CKK_GENERIC_SECRET, label, key_id, {ck.CKA_SIGN: True, ck.CKA_VERIFY: False})
