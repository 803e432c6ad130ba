"""Secret keys on a token: AES keys, HMAC, and other keys wrapped under them (AES key wrap, RFC 3394 and RFC 5649)."""

from ctypes import addressof, create_string_buffer

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.mechanisms import HMAC, REFUSALS, oaep_numbers
from dojang.pkcs11.objects import CLASSES, search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.session import Session
from dojang.pkcs11.structures import AttributeValue, Mechanism, OaepParams, utf8

_WRAP_ORDER = (ck.CKM_AES_KEY_WRAP_PAD, ck.CKM_AES_KEY_WRAP_KWP)
"""0x210A first: SoftHSM and NSS do RFC 5649 under it; 0x210B is the number that 3.0 gave the same algorithm."""


class OaepMechanism(Mechanism):
    """CKM_RSA_PKCS_OAEP with its label kept alive beside the parameter that points to it."""

    __slots__ = ("_label",)

    def __init__(self, hash_name: str, mgf_hash: str, label: bytes) -> None:
        """``hash_name`` hashes the label, ``mgf_hash`` makes the mask (RFC 8017, A.2.1)."""
        self._label = create_string_buffer(label, len(label)) if label else None
        parameter = OaepParams(
            oaep_numbers(hash_name)[0],
            oaep_numbers(mgf_hash)[1],
            ck.CKZ_DATA_SPECIFIED,
            addressof(self._label) if self._label is not None else None,
            len(label),
        )
        super().__init__(ck.CKM_RSA_PKCS_OAEP, parameter)


def oaep_mechanism(hash_name: str, mgf_hash: str, label: bytes) -> Mechanism:
    """RSAES-OAEP as a mechanism."""
    return OaepMechanism(hash_name, mgf_hash, label)


def generate_wrapping_key(token: OpenToken, *, label: str, key_id: bytes, bits: int = 256) -> None:
    """An AES key that wraps and unwraps other keys and never leaves the token."""
    attributes: list[tuple[int, AttributeValue]] = [
        (ck.CKA_CLASS, ck.CKO_SECRET_KEY),
        (ck.CKA_KEY_TYPE, ck.CKK_AES),
        (ck.CKA_VALUE_LEN, bits // 8),
        (ck.CKA_TOKEN, True),
        (ck.CKA_PRIVATE, True),
        (ck.CKA_SENSITIVE, True),
        (ck.CKA_EXTRACTABLE, False),
        (ck.CKA_WRAP, True),
        (ck.CKA_UNWRAP, True),
        (ck.CKA_ENCRYPT, False),
        (ck.CKA_DECRYPT, False),
        (ck.CKA_LABEL, utf8(label)),
        (ck.CKA_ID, key_id),
    ]
    mechanism = Mechanism(ck.CKM_AES_KEY_GEN)
    token.logged_in(lambda session: session.cryptoki.generate_key(session.handle, mechanism, attributes))


def wrap_key(token: OpenToken, *, object_type: str, key_id: bytes, under: bytes) -> bytes:
    """A key encrypted under the AES key whose CKA_ID is ``under``: AES-KWP (RFC 5649), a private key as PKCS#8."""
    wanted = search_for(CLASSES[object_type], key_id=key_id)
    wrapping = search_for(ck.CKO_SECRET_KEY, key_id=under)

    def wrap(session: Session, mechanism: Mechanism) -> bytes:
        kek, key = session.resolve(wrapping), session.resolve(wanted)
        return session.cryptoki.wrap_key(session.handle, mechanism, kek, key)

    for mechanism in _wrapping_mechanisms(token):
        try:
            return token.logged_in(lambda session, chosen=mechanism: wrap(session, chosen))  # type: ignore[misc]
        except errors.UnsupportedMechanism as error:
            _only_if_taken_back(token, mechanism, error)
    raise errors.UnsupportedMechanism(
        where=errors.Phrase("Token {token}", token=token.token.info.label), mechanism="AES key wrap with padding"
    )


def unwrap_private_key(
    token: OpenToken, wrapped: bytes, *, key_type: int, label: str, key_id: bytes, under: bytes
) -> None:
    """Put a wrapped private key (RFC 5649 over PKCS#8) on the token: private, sensitive, not extractable, sign only."""
    from dojang.pkcs11.generation import SIGN_ONLY, private_template

    wrapping = search_for(ck.CKO_SECRET_KEY, key_id=under)
    attributes: list[tuple[int, AttributeValue]] = [
        (ck.CKA_CLASS, ck.CKO_PRIVATE_KEY),
        (ck.CKA_KEY_TYPE, key_type),
        *private_template(label, key_id, SIGN_ONLY),
    ]

    def unwrap(session: Session, mechanism: Mechanism) -> int:
        kek = session.resolve(wrapping)
        return session.cryptoki.unwrap_key(session.handle, mechanism, kek, wrapped, attributes)

    for mechanism in _wrapping_mechanisms(token):
        try:
            token.logged_in(lambda session, chosen=mechanism: unwrap(session, chosen))  # type: ignore[misc]
        except errors.UnsupportedMechanism as error:
            _only_if_taken_back(token, mechanism, error)
        else:
            return
    raise errors.UnsupportedMechanism(
        where=errors.Phrase("Token {token}", token=token.token.info.label), mechanism="AES key unwrap with padding"
    )


def _wrapping_mechanisms(token: OpenToken) -> list[Mechanism]:
    return [Mechanism(number) for number in token.mechanisms.order(list(_WRAP_ORDER))]


def _only_if_taken_back(token: OpenToken, mechanism: Mechanism, error: errors.UnsupportedMechanism) -> None:
    cause = error.__cause__
    if not (isinstance(cause, CryptokiError) and cause.rv in REFUSALS):
        raise error
    token.mechanisms.refuse(mechanism.number)


def import_hmac_key(token: OpenToken, value: bytes, *, label: str, key_id: bytes) -> None:
    """Store a generic secret for HMAC: private, sensitive, not extractable, sign only."""
    attributes: list[tuple[int, AttributeValue]] = [
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
