"""What signs a digest, and which hash and padding go with which key.

Nothing here imports more than the standard library, so that a token key signs a file without loading ``cryptography``.
"""

from typing import NamedTuple, Protocol, runtime_checkable

from dojang.errors import UnsupportedMechanism

HASHES = ("sha256", "sha384", "sha512")
_HASH_OF_KEY = {"ec-p384": "sha384", "ec-p521": "sha512"}
_SCHEMES_OF_FAMILY = {"rsa": ("pkcs1v15", "pss"), "ec": ("ecdsa",), "ed25519": ("ed25519",)}
_LABELS = {"pkcs1v15": "rsa-{}", "pss": "rsa-pss-{}", "ecdsa": "ecdsa-{}", "ed25519": "ed25519"}


class DigestSigner(Protocol):
    """A private key, wherever it lies, that signs what the host has hashed."""

    @property
    def algorithm(self) -> str:
        """``rsa-2048``, ``ec-p256``, ``ed25519`` …"""
        ...

    def sign_digest(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        """Sign ``digest`` by ``pkcs1v15``, ``pss`` (MGF1 with the same hash, salt as long as the digest) or ``ecdsa``.

        ECDSA gives a DER ``Ecdsa-Sig-Value`` (RFC 3279 section 2.2.3).
        """
        ...

    def sign_message(self, message: bytes) -> bytes:
        """Sign ``message`` itself by PureEdDSA (RFC 8032)."""
        ...


@runtime_checkable
class ManyAtOnce(Protocol):
    """A signer that says how many threads may sign with it at the same time; with any other it is one."""

    @property
    def at_once(self) -> int: ...


class Scheme(NamedTuple):
    """How one signature is made: ``padding`` is ``pkcs1v15``, ``pss``, ``ecdsa`` or ``ed25519``."""

    padding: str
    hash_name: str

    @property
    def label(self) -> str:
        """The name shown to people and scripts: ``rsa-sha256``, ``rsa-pss-sha256``, ``ecdsa-sha384``, ``ed25519``."""
        return _LABELS[self.padding].format(self.hash_name)


def choose_scheme(key_algorithm: str, *, hash_name: str | None = None, padding: str | None = None) -> Scheme:
    """The scheme for this key: what is asked for, or PKCS#1 v1.5 / ECDSA / Ed25519 with the hash that suits the key.

    ``UnsupportedMechanism`` when the key cannot do what is asked. The hash of an Ed25519 scheme is that of the signed
    attributes in CMS, always SHA-512 (RFC 8419 section 3.1).
    """
    paddings = _SCHEMES_OF_FAMILY.get(key_algorithm.split("-")[0], ())
    padding = padding or (paddings[0] if paddings else "signing")
    if padding not in paddings:
        raise UnsupportedMechanism(
            where=key_algorithm, mechanism=padding, next_step="Leave --padding out, or sign with an RSA key."
        )
    allowed = ("sha512",) if padding == "ed25519" else HASHES
    hash_name = hash_name or ("sha512" if padding == "ed25519" else _HASH_OF_KEY.get(key_algorithm, "sha256"))
    if hash_name not in allowed:
        raise UnsupportedMechanism(
            where=key_algorithm, mechanism=hash_name, next_step="Leave --hash out; the one that suits the key is taken."
        )
    return Scheme(padding, hash_name)


def sign_prepared(signer: DigestSigner, scheme: Scheme, *, digest: bytes, message: bytes) -> bytes:
    """One signature, asked for once: over ``digest``, or over ``message`` where the scheme takes the message itself."""
    if scheme.padding == "ed25519":
        return signer.sign_message(message)
    return signer.sign_digest(digest, scheme.hash_name, scheme.padding)
