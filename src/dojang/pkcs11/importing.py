"""Keys that were made elsewhere, put on a token: from then on as sensitive and unextractable as one made there."""

from contextlib import suppress
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dojang import errors
from dojang.der import OCTET_STRING, tlv
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.generation import SIGN_ONLY, Attributes, private_template, public_template
from dojang.pkcs11.objects import CURVES, ED25519_PARAMS, refuse_vanished, search_for

if TYPE_CHECKING:
    from dojang.pkcs11.keys import TokenPrivateKey
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.session import Session

SoftwareKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
SoftwarePublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_CHALLENGE = b"dojang: is this the key?"
_CURVE_NAMES = {"secp256r1": "ec-p256", "secp384r1": "ec-p384", "secp521r1": "ec-p521"}


def import_key_pair(token: "OpenToken", key: SoftwareKey, *, label: str, key_id: bytes) -> None:
    """Store both halves of a key pair under one CKA_ID: private, sensitive, not extractable, sign only.

    The public half goes first; if the private half is refused it is taken back, so no half pair stays behind.
    """
    public, private = _halves(key)
    public_object = [(ck.CKA_CLASS, ck.CKO_PUBLIC_KEY), *public_template(label, key_id, SIGN_ONLY), *public]
    private_object = [(ck.CKA_CLASS, ck.CKO_PRIVATE_KEY), *private_template(label, key_id, SIGN_ONLY), *private]

    def store_public(session: "Session") -> tuple[int, int]:
        return session.generation, session.cryptoki.create_object(session.handle, public_object)

    def take_back(session: "Session") -> None:
        if session.generation == generation:  # later on, the handle may be another object's
            session.cryptoki.destroy_object(session.handle, handle)

    # One object a step: a step may be repeated, and none of it may have been done by then.
    generation, handle = token.logged_in(store_public)
    try:
        token.logged_in(lambda session: session.cryptoki.create_object(session.handle, private_object))
        for object_class in (ck.CKO_PUBLIC_KEY, ck.CKO_PRIVATE_KEY):
            refuse_vanished(token, search_for(object_class, key_id=key_id))
    except BaseException:
        with suppress(errors.DojangError):
            token.logged_in(take_back)
        raise


def store_public_key(token: "OpenToken", public: SoftwarePublicKey, *, label: str, key_id: bytes) -> None:
    """Store the public half of a key whose private half comes by another way."""
    kinds, found = _public_half(public)
    attributes = [(ck.CKA_CLASS, ck.CKO_PUBLIC_KEY), *public_template(label, key_id, SIGN_ONLY), *kinds, *found]
    token.logged_in(lambda session: session.cryptoki.create_object(session.handle, attributes))
    refuse_vanished(token, search_for(ck.CKO_PUBLIC_KEY, key_id=key_id))


def signs_like(imported: "TokenPrivateKey", original: SoftwareKey) -> bool:
    """Whether the imported key signs as the original does; ``UnsupportedMechanism`` where it cannot sign at all."""
    signature = imported.signer.sign_message(_CHALLENGE)
    public = original.public_key()
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, _CHALLENGE, padding.PKCS1v15(), SHA256())
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, _CHALLENGE, ec.ECDSA(SHA256()))
        else:
            public.verify(signature, _CHALLENGE)
    except InvalidSignature:
        return False
    return True


def _halves(key: SoftwareKey) -> tuple[Attributes, Attributes]:
    """The attributes of the public and of the private key that are the key itself (2.40 mechanisms, 2.1 and 2.3)."""
    if not isinstance(key, SoftwareKey):
        raise errors.UnsupportedMechanism(where="dojang", mechanism=f"importing a {type(key).__name__}")
    kinds, public = _public_half(key.public_key())
    if isinstance(key, rsa.RSAPrivateKey):
        return [*kinds, *public], [*kinds, *public, *_rsa(key.private_numbers())]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        secret = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
    else:
        secret = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return [*kinds, *public], [*kinds, (ck.CKA_VALUE, secret)]


def _public_half(key: SoftwarePublicKey) -> tuple[Attributes, Attributes]:
    """What kind of key it is, which both halves tell, and the public key itself."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        modulus, exponent = (ck.CKA_MODULUS, _unsigned(numbers.n)), (ck.CKA_PUBLIC_EXPONENT, _unsigned(numbers.e))
        return [(ck.CKA_KEY_TYPE, ck.CKK_RSA)], [modulus, exponent]
    if isinstance(key, ed25519.Ed25519PublicKey):
        kind, parameters = ck.CKK_EC_EDWARDS, ED25519_PARAMS[0]
    else:
        name = _CURVE_NAMES.get(key.curve.name)
        if name is None:
            raise errors.UnsupportedMechanism(where="dojang", mechanism=f"keys on the curve {key.curve.name}")
        kind, parameters = ck.CKK_EC, CURVES[name]
    wrapped = tlv(OCTET_STRING, public_point(key))
    return [(ck.CKA_KEY_TYPE, kind), (ck.CKA_EC_PARAMS, parameters)], [(ck.CKA_EC_POINT, wrapped)]


def public_point(key: SoftwarePublicKey) -> bytes:
    """The point of a key on a curve as it is written down; nothing for RSA."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return b"" if isinstance(key, rsa.RSAPublicKey) else key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _rsa(numbers: rsa.RSAPrivateNumbers) -> Attributes:
    return [
        (ck.CKA_PRIVATE_EXPONENT, _unsigned(numbers.d)),
        (ck.CKA_PRIME_1, _unsigned(numbers.p)),
        (ck.CKA_PRIME_2, _unsigned(numbers.q)),
        (ck.CKA_EXPONENT_1, _unsigned(numbers.dmp1)),
        (ck.CKA_EXPONENT_2, _unsigned(numbers.dmq1)),
        (ck.CKA_COEFFICIENT, _unsigned(numbers.iqmp)),
    ]


def _unsigned(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
