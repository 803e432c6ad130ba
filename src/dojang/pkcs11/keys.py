"""Private keys on a token as ``cryptography`` private keys: every builder of that library signs with them as they are.

Parameter names are those of the abstract classes, because callers (signxml, pyHanko) pass them by keyword. What would
need the key itself (``private_numbers``, ``private_bytes``) is refused with ``KeyDoesNotLeave``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.utils import Buffer

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.signer import TokenSigner

if TYPE_CHECKING:
    from dojang.pkcs11.opened import OpenToken

_CURVES: dict[str, ec.EllipticCurve] = {
    "ec-p256": ec.SECP256R1(),
    "ec-p384": ec.SECP384R1(),
    "ec-p521": ec.SECP521R1(),
}


class _OnToken:
    """What the three kinds of key share: the signer, the public key, and the refusal to hand out the private one."""

    def __init__(self, token: "OpenToken", signer: TokenSigner, public: Any) -> None:
        self._token = token
        self.signer = signer
        self._public = public

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Any:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.signer.algorithm} on {self._token.address}>"

    def sign_all(self, messages: Sequence[bytes], hash_name: str) -> list[bytes | errors.DojangError]:
        """A signature of each message, or the error that ``sign`` would raise; RSA is PKCS#1 v1.5.

        What leads to the token is paid for once, not with every signature.
        """
        return self.signer.sign_messages(messages, hash_name)

    def private_numbers(self) -> NoReturn:
        """Refused: the key does not leave its token."""
        raise errors.KeyDoesNotLeave(address=self._token.address)

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,  # noqa: A002 - the name the abstract class gives it
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> NoReturn:
        """Refused: the key does not leave its token."""
        raise errors.KeyDoesNotLeave(address=self._token.address)


class TokenRSAPrivateKey(_OnToken, rsa.RSAPrivateKey):
    """An RSA private key that signs (and, where its attributes allow, decrypts) on its token."""

    @property
    def key_size(self) -> int:
        return int(self._public.key_size)

    def public_key(self) -> rsa.RSAPublicKey:
        public: rsa.RSAPublicKey = self._public
        return public

    def sign(
        self,
        data: bytes,
        padding: padding.AsymmetricPadding,
        algorithm: Prehashed | hashes.HashAlgorithm | NoDigestInfo,
    ) -> bytes:
        """RSASSA-PKCS1-v1_5 or RSASSA-PSS (RFC 8017, 8); ``algorithm`` may be ``Prehashed``."""
        scheme, salt_length = _rsa_scheme(padding, algorithm, self)
        return _sign(self.signer, data, algorithm, scheme, salt_length)

    def decrypt(self, ciphertext: bytes, padding: padding.AsymmetricPadding) -> bytes:
        """RSAES-OAEP (RFC 8017, 7.1); the key must have been made for decryption."""
        if getattr(padding, "name", "") != "EME-OAEP":
            raise errors.UnsupportedMechanism(where="dojang", mechanism="RSA decryption other than OAEP")
        oaep: Any = padding
        return self._token.decrypt_oaep(
            self.signer.search, ciphertext, oaep.algorithm.name, oaep.mgf._algorithm.name, oaep._label or b""
        )


class TokenECPrivateKey(_OnToken, ec.EllipticCurvePrivateKey):
    """An elliptic-curve private key that makes ECDSA signatures on its token."""

    @property
    def curve(self) -> ec.EllipticCurve:
        return _CURVES[self.signer.algorithm]

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        public: ec.EllipticCurvePublicKey = self._public
        return public

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """ECDSA (FIPS 186-5), as Ecdsa-Sig-Value in DER; the hash may be ``Prehashed``."""
        if not isinstance(signature_algorithm, ec.ECDSA):
            raise errors.UnsupportedMechanism(where="dojang", mechanism="elliptic-curve signatures other than ECDSA")
        return _sign(self.signer, bytes(data), signature_algorithm.algorithm, "ecdsa", None)

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Refused: dojang's keys sign and nothing else."""
        raise errors.UnsupportedMechanism(where="dojang", mechanism="ECDH with a key that signs")


class TokenEd25519PrivateKey(_OnToken, ed25519.Ed25519PrivateKey):
    """An Ed25519 private key that signs on its token."""

    def public_key(self) -> ed25519.Ed25519PublicKey:
        public: ed25519.Ed25519PublicKey = self._public
        return public

    def sign(self, data: Buffer) -> bytes:
        """PureEdDSA (RFC 8032, 5.1.6): 64 bytes over the whole message."""
        return self.signer.sign_message(bytes(data))

    def private_bytes_raw(self) -> NoReturn:
        """Refused: the key does not leave its token."""
        raise errors.KeyDoesNotLeave(address=self._token.address)


TokenPrivateKey = TokenRSAPrivateKey | TokenECPrivateKey | TokenEd25519PrivateKey


def private_key(
    token: "OpenToken", signer: TokenSigner, public_attributes: dict[int, bytes] | None = None
) -> TokenPrivateKey:
    """The key object for a signer, with its public key read from the token or from the certificate beside it."""
    public = _public_key(token, signer, public_attributes)
    if isinstance(public, rsa.RSAPublicKey):
        return TokenRSAPrivateKey(token, signer, public)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return TokenECPrivateKey(token, signer, public)
    return TokenEd25519PrivateKey(token, signer, public)


def _public_key(
    token: "OpenToken", signer: TokenSigner, known: dict[int, bytes] | None
) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    values = signer.attributes
    try:
        if signer.family == "rsa" and values.get(ck.CKA_MODULUS) and values.get(ck.CKA_PUBLIC_EXPONENT):
            return _rsa_public(values)
        key_id = values.get(ck.CKA_ID)
        values = known or signer.public or (token.public_key_attributes(key_id) if key_id else {})
        if signer.family == "rsa" and values.get(ck.CKA_MODULUS):
            return _rsa_public(values)
        if signer.algorithm in _CURVES and values.get(ck.CKA_EC_POINT):
            curve = _CURVES[signer.algorithm]
            point = _unwrapped(values[ck.CKA_EC_POINT], 2 * ((curve.key_size + 7) // 8) + 1)
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        if signer.algorithm == "ed25519" and values.get(ck.CKA_EC_POINT):
            return ed25519.Ed25519PublicKey.from_public_bytes(_unwrapped(values[ck.CKA_EC_POINT], 32))
    except ValueError as error:
        raise errors.DeviceDisobeyed(token=token.token.info.label, problem="its public key is not one") from error
    return _from_certificate(token, signer)


def _from_certificate(
    token: "OpenToken", signer: TokenSigner
) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    """Smart cards often keep no public key object: the certificate under the same CKA_ID has it."""
    from cryptography import x509

    key_id = signer.attributes.get(ck.CKA_ID)
    for found in token.certificates(key_id=key_id) if key_id else ():
        try:
            public = x509.load_der_x509_certificate(found.value).public_key()
        except ValueError:
            continue
        if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
            return public
    raise errors.UnsupportedMechanism(
        where=errors.Phrase("Token {token}", token=token.token.info.label),
        mechanism=f"a {signer.algorithm} key without its public half",
    )


def _rsa_public(values: dict[int, bytes]) -> rsa.RSAPublicKey:
    modulus = int.from_bytes(values[ck.CKA_MODULUS], "big")
    exponent = int.from_bytes(values[ck.CKA_PUBLIC_EXPONENT], "big")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _unwrapped(value: bytes, length: int) -> bytes:
    """The ``length`` bytes of a point: CKA_EC_POINT is a DER OCTET STRING of it (2.40, mechanisms 2.3.3).

    Some modules store the point itself; tpm2-pkcs11 (seen, 1.9.0) writes the length of a P-521 point into one byte.
    """
    header = value[: max(len(value) - length, 0)]
    wrapped = header in (bytes([0x04, length]), bytes([0x04, 0x81, length]))
    return value[len(header) :] if wrapped else value


def _rsa_scheme(
    chosen: padding.AsymmetricPadding,
    algorithm: Prehashed | hashes.HashAlgorithm | NoDigestInfo,
    key: rsa.RSAPrivateKey,
) -> tuple[str, int | None]:
    if isinstance(chosen, padding.PKCS1v15):
        return "pkcs1v15", None
    if not isinstance(chosen, padding.PSS) or isinstance(algorithm, NoDigestInfo):
        raise errors.UnsupportedMechanism(where="dojang", mechanism=f"RSA signatures with {chosen.name}")
    hashed = _hash_of(algorithm)
    mask = getattr(chosen.mgf, "_algorithm", hashed)
    if mask.name != hashed.name:
        raise errors.UnsupportedMechanism(where="dojang", mechanism="PSS with a mask over another hash")
    salt = chosen._salt_length
    if isinstance(salt, int):
        return "pss", salt
    return "pss", padding.calculate_max_pss_salt_length(key, hashed) if salt is padding.PSS.MAX_LENGTH else None


def _hash_of(algorithm: Prehashed | hashes.HashAlgorithm) -> hashes.HashAlgorithm:
    return algorithm._algorithm if isinstance(algorithm, Prehashed) else algorithm


def _sign(
    signer: TokenSigner,
    data: bytes,
    algorithm: Prehashed | hashes.HashAlgorithm | NoDigestInfo,
    scheme: str,
    salt_length: int | None,
) -> bytes:
    if isinstance(algorithm, Prehashed):
        return signer.sign_digest(data, algorithm._algorithm.name, scheme, salt_length=salt_length)
    if isinstance(algorithm, NoDigestInfo):
        raise errors.UnsupportedMechanism(where="dojang", mechanism="RSA signatures without DigestInfo")
    return signer.sign_message(data, algorithm.name, scheme, salt_length=salt_length)
