"""The asymmetric keys in the card's slots: made by ``cryptography``, used as raw operations the way cards do."""

from typing import Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dojang.testing.piv.apdu import Refused, Status
from dojang.testing.piv.tlv import tlv

RSA_2048, EC_P256 = 0x07, 0x11
"""Algorithm identifiers (NIST SP 800-78-4, table 6-2)."""

ALGORITHMS: Final = {"rsa-2048": RSA_2048, "ec-p256": EC_P256}
SoftwareKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_RSA_BYTES: Final = 256
_EC_BYTES: Final = 32


class CardKey(Protocol):
    """A private key in a slot."""

    @property
    def algorithm(self) -> int: ...

    @property
    def private(self) -> SoftwareKey: ...

    def public_template(self) -> bytes:
        """The public key as GENERATE ASYMMETRIC KEY PAIR answers it (part 2, table 11)."""
        ...

    def respond(self, challenge: bytes) -> bytes:
        """The raw private operation: RSA on a padded block, ECDSA on a digest."""
        ...

    def agree(self, point: bytes) -> bytes:
        """ECDH with the other side's point: the shared secret Z."""
        ...


class RsaKey:
    """RSA-2048."""

    algorithm = RSA_2048

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self.private = private
        self._numbers = private.private_numbers()

    def public_template(self) -> bytes:
        public = self._numbers.public_numbers
        exponent = public.e.to_bytes((public.e.bit_length() + 7) // 8, "big")
        return tlv(0x81, public.n.to_bytes(_RSA_BYTES, "big")) + tlv(0x82, exponent)

    def respond(self, challenge: bytes) -> bytes:
        number, block = self._numbers, int.from_bytes(challenge, "big")
        if len(challenge) != _RSA_BYTES or block >= number.public_numbers.n:
            raise Refused(Status.WRONG_DATA)
        first, second = pow(block, number.dmp1, number.p), pow(block, number.dmq1, number.q)
        result = second + number.q * ((first - second) * number.iqmp % number.p)
        return result.to_bytes(_RSA_BYTES, "big")

    def agree(self, point: bytes) -> bytes:
        raise Refused(Status.WRONG_DATA)


class EcKey:
    """P-256."""

    algorithm = EC_P256

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self.private = private

    def public_template(self) -> bytes:
        public = self.private.public_key()
        return tlv(0x86, public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    def respond(self, challenge: bytes) -> bytes:
        if not challenge:
            raise Refused(Status.WRONG_DATA)
        # ECDSA takes the leftmost bits of a digest as a number, so a shorter one is the same with zeros before it.
        digest = challenge[:_EC_BYTES].rjust(_EC_BYTES, b"\0")
        return self.private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))

    def agree(self, point: bytes) -> bytes:
        try:
            other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError:
            raise Refused(Status.WRONG_DATA) from None
        return self.private.exchange(ec.ECDH(), other)


def adopt(key: str | SoftwareKey) -> CardKey:
    """A key of an algorithm by its name, or one that was made elsewhere."""
    if isinstance(key, str):
        return generate(ALGORITHMS[key])
    return RsaKey(key) if isinstance(key, rsa.RSAPrivateKey) else EcKey(key)


def generate(algorithm: int) -> CardKey:
    """A new key; ``Refused`` (6A80) for algorithms that this card has not."""
    if algorithm == RSA_2048:
        return RsaKey(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    if algorithm == EC_P256:
        return EcKey(ec.generate_private_key(ec.SECP256R1()))
    raise Refused(Status.WRONG_DATA)
