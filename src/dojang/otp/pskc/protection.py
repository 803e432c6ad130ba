"""How secrets in a container are protected (RFC 6030, 6): by a key that both sides know, or by a password.

    AES-CBC (XML Encryption)   the IV first; a MAC over all of it, which is checked before anything is decrypted
    AES key wrap               RFC 3394 (kw-aes…) and RFC 5649 (kw-aes-…-pad); they hold a check of their own

What is wrapped need not be opened here: ``Cipher.way`` tells how an HSM takes it over. What is under CBC is decrypted
into memory that its taker overwrites.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from dojang.errors import Phrase
from dojang.otp.pskc.xml import Element, XmlRefused

if TYPE_CHECKING:
    from dojang.secret import Secret

XENC: Final = "http://www.w3.org/2001/04/xmlenc#"
XENC11: Final = "http://www.w3.org/2009/xmlenc11#"
DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
DSIG_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
PKCS5: Final = "http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#"
KEY_BYTES: Final = (16, 24, 32)
_BLOCK: Final = 16
_MOST_ITERATIONS: Final = 10_000_000
_LONGEST_SECRET: Final = 1024

Way = Literal["cbc", "kw", "kwp"]
CIPHERS: Final[dict[str, tuple[Way, int]]] = {
    **{f"{XENC}aes{bits}-cbc": ("cbc", bits // 8) for bits in (128, 192, 256)},
    **{f"{XENC}kw-aes{bits}": ("kw", bits // 8) for bits in (128, 192, 256)},
    **{f"{XENC11}kw-aes-{bits}-pad": ("kwp", bits // 8) for bits in (128, 192, 256)},
}
"""What encrypts, and how long its key is."""
MACS: Final[dict[str, str]] = {
    f"{DSIG}hmac-sha1": "sha1",
    **{f"{DSIG_MORE}hmac-sha{bits}": f"sha{bits}" for bits in (224, 256, 384, 512)},
}
PBKDF2: Final = (f"{PKCS5}pbkdf2", f"{XENC11}pbkdf2")


class KeyRefused(Exception):
    """The key or password is not the one; or somebody changed the file."""

    def __init__(self, problem: Phrase) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Derivation:
    """A key out of a password (PBKDF2, RFC 8018)."""

    salt: bytes
    iterations: int
    length: int
    hash_name: str

    def key(self, password: "Secret") -> bytes:
        return hashlib.pbkdf2_hmac(self.hash_name, password.reveal(), self.salt, self.iterations, self.length)


@dataclass(frozen=True, slots=True)
class Cipher:
    """Something encrypted, and how."""

    way: Way
    key_bytes: int
    data: bytes

    def check_key(self, key: bytes) -> None:
        if len(key) != self.key_bytes:
            raise KeyRefused(
                Phrase("this takes a key of {wanted} bytes, not of {length}", wanted=self.key_bytes, length=len(key))
            )

    def decrypted(self, key: bytes) -> bytearray:
        """In memory of this process; overwrite it."""
        from cryptography.hazmat.primitives.keywrap import (
            InvalidUnwrap,
            aes_key_unwrap,
            aes_key_unwrap_with_padding,
        )

        self.check_key(key)
        if self.way == "cbc":
            return _from_cbc(self.data, key)
        try:
            return bytearray((aes_key_unwrap if self.way == "kw" else aes_key_unwrap_with_padding)(key, self.data))
        except (InvalidUnwrap, ValueError):
            raise KeyRefused(Phrase("it does not open what is wrapped")) from None


def key_in(given: "Secret") -> bytes:
    """A key as it was given: in hex or in base64, 16, 24 or 32 bytes. ``KeyRefused``."""
    text = given.reveal().strip()
    for read in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        try:
            key = read(text.decode("ascii"))
        except ValueError:
            continue
        if len(key) in KEY_BYTES:
            return key
    raise KeyRefused(Phrase("a key is 16, 24 or 32 bytes, in hex or base64"))


def derivation_in(encryption_key: Element) -> Derivation | None:
    """How the key comes out of a password; ``None`` where both sides know the key."""
    derived = encryption_key.maybe("DerivedKey")
    if derived is None:
        return None
    method = derived.one("KeyDerivationMethod")
    if method.attributes.get("Algorithm") not in PBKDF2:
        raise XmlRefused(Phrase("its key is derived in a way that is not known here"))
    told = method.one("PBKDF2-params")
    prf = told.maybe("PRF")
    named = "" if prf is None else prf.attributes.get("Algorithm", prf.text)  # python-pskc writes it as text
    hash_name = MACS.get(named, "") if named else "sha1"
    iterations, length = number_in(told.said("IterationCount")), number_in(told.said("KeyLength"))
    if not hash_name or not 1 <= iterations <= _MOST_ITERATIONS or length not in KEY_BYTES:
        raise XmlRefused(Phrase("its key is derived in a way that is not known here"))
    return Derivation(octets_in(told.one("Salt").one("Specified")), iterations, length, hash_name)


def cipher_in(value: Element) -> Cipher:
    """What an EncryptedValue or a MACKey holds."""
    found = CIPHERS.get(value.one("EncryptionMethod").attributes.get("Algorithm", ""))
    if found is None:
        raise XmlRefused(Phrase("something is encrypted in a way that is not known here"))
    data = octets_in(value.one("CipherData").one("CipherValue"))
    blocks = _BLOCK if found[0] == "cbc" else 8
    if len(data) % blocks or not 2 * blocks <= len(data) <= _LONGEST_SECRET:
        raise XmlRefused(Phrase("something encrypted has a length that cannot be"))
    return Cipher(*found, data)


def octets_in(element: Element) -> bytes:
    """Base64, with blanks as XML has them."""
    try:
        return base64.b64decode("".join(element.text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise XmlRefused(Phrase("{name} is not in base64", name=element.name)) from None


def number_in(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise XmlRefused(Phrase("something that must be a number is none"))
    return int(text)


def check_mac(hash_name: str, key: bytes, cipher: Cipher, mac: bytes) -> None:
    """Over the ciphertext with its IV (RFC 6030, 6.1.1). ``KeyRefused``."""
    if not hmac.compare_digest(hmac.digest(key, cipher.data, hash_name), mac):
        raise KeyRefused(Phrase("its checksum does not fit"))


def to_cbc(plain: bytes | bytearray, key: bytes, iv: bytes) -> bytes:
    """As XML Encryption has it: IV, then blocks of which the last tells how much was filled up."""
    from cryptography.hazmat.primitives.ciphers import Cipher as Engine
    from cryptography.hazmat.primitives.ciphers import algorithms, modes

    fill = _BLOCK - len(plain) % _BLOCK
    engine = Engine(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return iv + engine.update(bytes(plain) + bytes([fill]) * fill) + engine.finalize()


def _from_cbc(data: bytes, key: bytes) -> bytearray:
    from cryptography.hazmat.primitives.ciphers import Cipher as Engine
    from cryptography.hazmat.primitives.ciphers import algorithms, modes

    engine = Engine(algorithms.AES(key), modes.CBC(data[:_BLOCK])).decryptor()
    plain = bytearray(len(data))
    written = engine.update_into(data[_BLOCK:], plain)
    engine.finalize()
    fill = plain[written - 1]
    if not 1 <= fill <= _BLOCK:
        plain[:] = bytes(len(plain))
        raise KeyRefused(Phrase("it does not open what is encrypted"))
    seed = bytearray(written - fill)  # to make ``plain`` shorter may leave a copy of it
    seed[:] = memoryview(plain)[: len(seed)]
    plain[:] = bytes(len(plain))
    return seed
