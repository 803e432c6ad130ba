"""Keys and signatures in the forms of SSH: RFC 4253 and 8332 (RSA), RFC 5656 (ECDSA), RFC 8709 (Ed25519)."""

from typing import TYPE_CHECKING

from dojang.agent.wire import RSA_SHA2_256, RSA_SHA2_512, Malformed, Reader, string
from dojang.errors import DojangError
from dojang.pkcs11 import constants as ck

if TYPE_CHECKING:
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.signer import TokenSigner

_RSA = {RSA_SHA2_256: ("rsa-sha2-256", "sha256"), RSA_SHA2_512: ("rsa-sha2-512", "sha512")}
_ECDSA = {
    "ec-p256": ("ecdsa-sha2-nistp256", "sha256"),
    "ec-p384": ("ecdsa-sha2-nistp384", "sha384"),
    "ec-p521": ("ecdsa-sha2-nistp521", "sha512"),
}


def public_parts(opened: "OpenToken", signer: "TokenSigner") -> tuple[dict[int, bytes], bytes]:
    """The public attributes of a key, as PKCS#11 writes them, and its SSH key blob, empty where there is none."""
    from base64 import b64decode

    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from dojang.pkcs11.keys import private_key

    kept = (ck.CKA_ID, ck.CKA_KEY_TYPE, ck.CKA_EC_PARAMS)
    attributes = {kind: value for kind, value in signer.attributes.items() if kind in kept}
    try:
        public = private_key(opened, signer).public_key()
    except DojangError:
        return attributes, b""
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        attributes[ck.CKA_MODULUS] = _unsigned(numbers.n)
        attributes[ck.CKA_PUBLIC_EXPONENT] = _unsigned(numbers.e)
    else:
        edwards = signer.family == "ed25519"
        form = (Encoding.Raw, PublicFormat.Raw) if edwards else (Encoding.X962, PublicFormat.UncompressedPoint)
        attributes[ck.CKA_EC_POINT] = public.public_bytes(*form)
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return attributes, b64decode(line.split(b" ")[1])


def signature(signer: "TokenSigner", data: bytes, flags: int) -> bytes:
    """The signature blob over ``data``. ``Malformed`` where only SHA-1 was asked for, or the key is of no SSH kind."""
    if signer.family == "rsa":
        if not flags & (RSA_SHA2_256 | RSA_SHA2_512):
            raise Malformed
        name, hash_name = _RSA[RSA_SHA2_512 if flags & RSA_SHA2_512 else RSA_SHA2_256]
        return string(name.encode()) + string(signer.sign_message(data, hash_name, "pkcs1v15"))
    if signer.algorithm in _ECDSA:
        name, hash_name = _ECDSA[signer.algorithm]
        return string(name.encode()) + string(_integers(signer.sign_message(data, hash_name, "ecdsa")))
    if signer.algorithm == "ed25519":
        return string(b"ssh-ed25519") + string(signer.sign_message(data))
    raise Malformed


def _integers(der: bytes) -> bytes:
    """r and s of an Ecdsa-Sig-Value as two mpints (RFC 4251 section 5): DER INTEGERs have the same octets."""
    body = Reader(der)
    if body.byte() != 0x30:
        raise Malformed
    if body.byte() == 0x81:
        body.byte()
    return b"".join(string(_integer(body)) for _ in range(2))


def _integer(body: Reader) -> bytes:
    if body.byte() != 0x02:
        raise Malformed
    return bytes(body.byte() for _ in range(body.byte()))


def _unsigned(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
