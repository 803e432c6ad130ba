"""Keys made on a token: what dojang asks for, and the proof that the token did as it was told."""

from collections.abc import Mapping
from typing import NamedTuple

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.objects import (
    CURVES,
    ED25519_PARAMS,
    KEY_ALGORITHMS,
    PRIVATE_KEY_KINDS,
    PUBLIC_KEY_KINDS,
    algorithm_of,
    search_for,
)
from dojang.pkcs11.same_key import half_of, narrowed
from dojang.pkcs11.session import Search, Session
from dojang.pkcs11.structures import AttributeValue, Mechanism, utf8

Attributes = list[tuple[int, AttributeValue]]

_PUBLIC_EXPONENT = (65537).to_bytes(3, "big")
_WRONG_PARAMETERS = (
    ck.CKR_ATTRIBUTE_VALUE_INVALID,
    ck.CKR_DOMAIN_PARAMS_INVALID,
    ck.CKR_CURVE_NOT_SUPPORTED,
    ck.CKR_TEMPLATE_INCONSISTENT,
    ck.CKR_FUNCTION_FAILED,
    ck.CKR_GENERAL_ERROR,
)


class KeyUse(NamedTuple):
    """What the private key may do; sign only, and never leave, unless told otherwise.

    ``wrappable``: other keys of the token may wrap it, so that a backup can be made; with ``only_trusted`` none but one
    that the security officer has marked (CKA_WRAP_WITH_TRUSTED).
    """

    sign: bool = True
    decrypt: bool = False
    unwrap: bool = False
    always_authenticate: bool = False
    wrappable: bool = False
    only_trusted: bool = False


SIGN_ONLY = KeyUse()


class KeyPair(NamedTuple):
    """What a token says of the two keys it has just made."""

    private: dict[int, bytes]
    public: dict[int, bytes]


def generate(
    session: Session,
    algorithm: str,
    *,
    label: str,
    key_id: bytes,
    use: KeyUse = SIGN_ONLY,
    unsaid: frozenset[int] = frozenset(),
) -> KeyPair:
    """Make a key pair: private, sensitive, not extractable. What was made is read back (``DeviceDisobeyed``).

    ``unsaid`` are attributes of the public key that this module must not be told (see ``quirks``).
    After C_GenerateKeyPair nothing here is repeated: a pair that cannot be read back is removed and the error is ours.
    """
    if algorithm not in KEY_ALGORITHMS:
        raise errors.UnsupportedMechanism(where="dojang", mechanism=f"keys of kind {algorithm}")
    search = search_for(ck.CKO_PRIVATE_KEY, key_id=key_id)
    if session.cryptoki.find_objects(session.handle, search, limit=1):
        raise errors.AlreadyExists(
            what=errors.Phrase("A key with the id {key_id}", key_id=key_id.hex()),
            where=errors.Phrase("token {token}", token=session.token_label),
        )
    private = private_template(label, key_id, use)
    public = [attribute for attribute in public_template(label, key_id, use) if attribute[0] not in unsaid]
    if algorithm.startswith("rsa-"):
        size: Attributes = [(ck.CKA_MODULUS_BITS, int(algorithm[4:])), (ck.CKA_PUBLIC_EXPONENT, _PUBLIC_EXPONENT)]
        handles = _make(session, ck.CKM_RSA_PKCS_KEY_PAIR_GEN, public + size, private)
    elif algorithm == "ed25519":
        handles = _make_edwards(session, public, private, search)
    else:
        curve: Attributes = [(ck.CKA_EC_PARAMS, CURVES[algorithm])]
        handles = _make(session, ck.CKM_EC_KEY_PAIR_GEN, public + curve, private)
    pair = _read_back(session, handles, algorithm, use)
    session.handles[narrowed(search, half_of(pair.private | pair.public))] = handles[1]
    return pair


def public_template(label: str, key_id: bytes, use: KeyUse) -> Attributes:
    """Attributes of the public key: verify what the private one signs, encrypt what it decrypts."""
    return [
        (ck.CKA_TOKEN, True),
        (ck.CKA_LABEL, utf8(label)),
        (ck.CKA_ID, key_id),
        (ck.CKA_VERIFY, use.sign),
        (ck.CKA_ENCRYPT, use.decrypt),
        (ck.CKA_WRAP, use.unwrap),
    ]


def private_template(label: str, key_id: bytes, use: KeyUse) -> Attributes:
    """Attributes of the private key: it stays, it is hidden, and it does only what ``use`` says."""
    attributes: Attributes = [
        (ck.CKA_TOKEN, True),
        (ck.CKA_PRIVATE, True),
        (ck.CKA_SENSITIVE, True),
        (ck.CKA_EXTRACTABLE, use.wrappable),
        (ck.CKA_LABEL, utf8(label)),
        (ck.CKA_ID, key_id),
        (ck.CKA_SIGN, use.sign),
        (ck.CKA_DECRYPT, use.decrypt),
        (ck.CKA_UNWRAP, use.unwrap),
        (ck.CKA_DERIVE, False),
    ]
    if use.always_authenticate:
        attributes.append((ck.CKA_ALWAYS_AUTHENTICATE, True))
    if use.only_trusted:
        attributes.append((ck.CKA_WRAP_WITH_TRUSTED, True))
    return attributes


def secret_template(key_type: int, label: str, key_id: bytes, may: Mapping[int, bool]) -> Attributes:
    """A secret that stays on the token and is seen by nobody, and what it may be used for."""
    return [
        (ck.CKA_CLASS, ck.CKO_SECRET_KEY),
        (ck.CKA_KEY_TYPE, key_type),
        (ck.CKA_TOKEN, True),
        (ck.CKA_PRIVATE, True),
        (ck.CKA_SENSITIVE, True),
        (ck.CKA_EXTRACTABLE, False),
        *may.items(),
        (ck.CKA_LABEL, utf8(label)),
        (ck.CKA_ID, key_id),
    ]


def _make(session: Session, mechanism: int, public: Attributes, private: Attributes) -> tuple[int, int]:
    return session.cryptoki.generate_key_pair(session.handle, Mechanism(mechanism), public, private)


def _make_edwards(session: Session, public: Attributes, private: Attributes, made: Search) -> tuple[int, int]:
    first, second = ED25519_PARAMS
    try:
        return _make(session, ck.CKM_EC_EDWARDS_KEY_PAIR_GEN, [*public, (ck.CKA_EC_PARAMS, first)], private)
    except CryptokiError as error:
        # Some of these answers do not say that nothing was made, and a second pair would be one too many.
        if error.rv not in _WRONG_PARAMETERS or session.cryptoki.find_objects(session.handle, made, limit=1):
            raise
    return _make(session, ck.CKM_EC_EDWARDS_KEY_PAIR_GEN, [*public, (ck.CKA_EC_PARAMS, second)], private)


def _read_back(session: Session, handles: tuple[int, int], algorithm: str, use: KeyUse) -> KeyPair:
    """Compare what the token made with what it was asked for; remove it and raise when they differ."""
    public, private = handles
    kinds = (*PRIVATE_KEY_KINDS, ck.CKA_WRAP_WITH_TRUSTED) if use.only_trusted else PRIVATE_KEY_KINDS
    try:
        pair = KeyPair(session.read(private, kinds), session.read(public, PUBLIC_KEY_KINDS))
    except CryptokiError as error:
        _remove(session, handles)
        raise errors.DeviceFailure(
            token=session.token_label, function=error.function, result=ck.result_name(error.rv)
        ) from error
    wrong = disobedience(pair.private, algorithm, use)
    told = pair.private | pair.public
    if not told.get(ck.CKA_MODULUS) and not told.get(ck.CKA_EC_POINT):
        wrong.append("its public half is not told")
    if wrong:
        _remove(session, handles)
        raise errors.DeviceDisobeyed(token=session.token_label, problem=", ".join(wrong))
    return pair


def _remove(session: Session, handles: tuple[int, int]) -> None:
    """Take back a pair that cannot be trusted; where even that fails, its label and CKA_ID still name it."""
    for handle in reversed(handles):
        try:
            session.cryptoki.destroy_object(session.handle, handle)
        except CryptokiError:
            session.spoiled = True


def disobedience(values: dict[int, bytes], algorithm: str, use: KeyUse) -> list[str]:
    """Every difference between a private key's attributes and what was asked for; an attribute not told is one, too."""
    expected = {
        ck.CKA_PRIVATE: ("private", True),
        ck.CKA_SENSITIVE: ("sensitive", True),
        ck.CKA_EXTRACTABLE: ("extractable", use.wrappable),
        ck.CKA_SIGN: ("sign", use.sign),
        ck.CKA_DECRYPT: ("decrypt", use.decrypt),
        ck.CKA_UNWRAP: ("unwrap", use.unwrap),
    }
    wrong = [
        f"{name} is {_told(values.get(kind))}, not {str(wanted).lower()}"
        for kind, (name, wanted) in expected.items()
        if values.get(kind) != (b"\x01" if wanted else b"\x00")
    ]
    if use.always_authenticate and values.get(ck.CKA_ALWAYS_AUTHENTICATE) != b"\x01":
        wrong.append("always-authenticate is not set")
    if use.only_trusted and values.get(ck.CKA_WRAP_WITH_TRUSTED) != b"\x01":
        wrong.append("any key may wrap it")
    made_here = values.get(ck.CKA_LOCAL) == b"\x01" and not use.wrappable
    if made_here and values.get(ck.CKA_NEVER_EXTRACTABLE, b"\x01") == b"\x00":
        wrong.append("it was extractable at some time")
    made = algorithm_of(values)
    if made != algorithm:
        wrong.append(f"it is {made}, not {algorithm}")
    return wrong


def _told(raw: bytes | None) -> str:
    return "not told" if raw is None else str(raw != b"\0").lower()
