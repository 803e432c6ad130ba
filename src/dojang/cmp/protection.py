"""Protection of a message (RFC 9810 section 5.1.3): what makes it, whether a shared secret or a private key does."""

from typing import TYPE_CHECKING, Protocol

from dojang.cmp.faults import FailInfo
from dojang.cmp.schema import Algorithm
from dojang.cmp.signatures import algorithm_for, sign, verify

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes as PublicKey


class Protector(Protocol):
    """Protects what is sent: ``Mac``, or ``Signing`` with a key."""

    @property
    def algorithm(self) -> Algorithm: ...

    def protect(self, data: bytes) -> bytes:
        """The bits of the protection over header and body, which stand in one SEQUENCE."""
        ...


class Signing:
    """Protects with a private key, which may be on a token."""

    def __init__(self, key: "PrivateKey") -> None:
        self._key = key
        self.algorithm = algorithm_for(key.public_key())

    def protect(self, data: bytes) -> bytes:
        """The signature; what the key's location raises passes through."""
        return sign(self._key, data)[1]


def verify_signature(public_key: "PublicKey", algorithm: Algorithm, protection: bytes, data: bytes) -> None:
    """Raises ``CmpFault`` with badAlg or badMessageCheck."""
    verify(public_key, algorithm, protection, data, failure=FailInfo.BAD_MESSAGE_CHECK)
