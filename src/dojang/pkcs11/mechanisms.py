"""Which mechanism makes which signature on this token: what it lists, corrected by what it really does.

The host hashes and the token signs the digest wherever the token has the raw mechanism; the mechanism that hashes
inside the token is the second choice, and one the token does not list is tried last (lists lie both ways).
"""

from collections.abc import Iterator
from typing import NamedTuple

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.structures import Mechanism, PssParams

DIGEST_BYTES = {"sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}

_DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha224": bytes.fromhex("302d300d06096086480165030402040500041c"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""DER of DigestInfo up to the digest itself (RFC 8017, 9.2 note 1)."""

_HASH_MECHANISM = {
    "sha1": ck.CKM_SHA_1,
    "sha224": ck.CKM_SHA224,
    "sha256": ck.CKM_SHA256,
    "sha384": ck.CKM_SHA384,
    "sha512": ck.CKM_SHA512,
}
_COMBINED = {
    "pkcs1v15": {
        "sha1": ck.CKM_SHA1_RSA_PKCS,
        "sha224": ck.CKM_SHA224_RSA_PKCS,
        "sha256": ck.CKM_SHA256_RSA_PKCS,
        "sha384": ck.CKM_SHA384_RSA_PKCS,
        "sha512": ck.CKM_SHA512_RSA_PKCS,
    },
    "pss": {
        "sha224": ck.CKM_SHA224_RSA_PKCS_PSS,
        "sha256": ck.CKM_SHA256_RSA_PKCS_PSS,
        "sha384": ck.CKM_SHA384_RSA_PKCS_PSS,
        "sha512": ck.CKM_SHA512_RSA_PKCS_PSS,
    },
    "ecdsa": {
        "sha1": ck.CKM_ECDSA_SHA1,
        "sha224": ck.CKM_ECDSA_SHA224,
        "sha256": ck.CKM_ECDSA_SHA256,
        "sha384": ck.CKM_ECDSA_SHA384,
        "sha512": ck.CKM_ECDSA_SHA512,
    },
}
_RAW = {"pkcs1v15": ck.CKM_RSA_PKCS, "pss": ck.CKM_RSA_PKCS_PSS, "ecdsa": ck.CKM_ECDSA}

HMAC = {
    "sha1": ck.CKM_SHA_1_HMAC,
    "sha256": ck.CKM_SHA256_HMAC,
    "sha384": ck.CKM_SHA384_HMAC,
    "sha512": ck.CKM_SHA512_HMAC,
}

REFUSALS = frozenset({ck.CKR_MECHANISM_INVALID, ck.CKR_MECHANISM_PARAM_INVALID, ck.CKR_FUNCTION_NOT_SUPPORTED})
"""Answers of an Init function by which a token takes back what its list promised."""


class Plan(NamedTuple):
    """One way to make a signature: the mechanism, what goes before the digest, and who hashes."""

    mechanism: Mechanism
    prefix: bytes
    takes_message: bool


class MechanismTable:
    """What one token can do: its own list, and what trials have shown since."""

    def __init__(self, listed: frozenset[int], cannot: frozenset[tuple[str, str]] = frozenset()) -> None:
        """``listed`` is the answer of C_GetMechanismList; ``cannot`` are schemes and hashes not to try (``quirks``)."""
        self.listed = listed
        self._cannot = cannot
        self.refused: set[int] = set()
        self.proved: set[int] = set()

    def names(self) -> list[str]:
        """The listed mechanisms by the standard's names, sorted."""
        return sorted(ck.mechanism_name(number) for number in self.listed)

    def has(self, mechanism: int) -> bool:
        """Listed or proved, and not taken back by a trial."""
        return mechanism not in self.refused and (mechanism in self.listed or mechanism in self.proved)

    def refuse(self, mechanism: int) -> None:
        """Remember that a trial failed."""
        self.refused.add(mechanism)
        self.proved.discard(mechanism)

    def prove(self, mechanism: int) -> None:
        """Remember that a trial worked."""
        self.proved.add(mechanism)

    def order(self, numbers: list[int]) -> list[int]:
        """Those not refused: listed or proved ones first, in the order given."""
        left = [number for number in numbers if number not in self.refused]
        return [n for n in left if self.has(n)] + [n for n in left if not self.has(n)]

    def plans(self, scheme: str, hash_name: str, salt_length: int | None, *, have_message: bool) -> list[Plan]:
        """Every way worth trying, best first; empty when none is left."""
        if scheme == "eddsa":
            return [Plan(Mechanism(ck.CKM_EDDSA), b"", True)] if self.order([ck.CKM_EDDSA]) else []
        if (scheme, hash_name) in self._cannot:
            return []
        numbers = [_RAW[scheme]]
        if have_message and hash_name in _COMBINED[scheme]:
            numbers.append(_COMBINED[scheme][hash_name])
        return [_plan(scheme, number, hash_name, salt_length) for number in self.order(numbers)]


def _plan(scheme: str, number: int, hash_name: str, salt_length: int | None) -> Plan:
    raw = number == _RAW[scheme]
    parameter = None
    if scheme == "pss":
        salt = DIGEST_BYTES[hash_name] if salt_length is None else salt_length
        parameter = PssParams(_HASH_MECHANISM[hash_name], ck.CKG_MGF1[hash_name], salt)
    prefix = _DIGEST_INFO[hash_name] if raw and scheme == "pkcs1v15" else b""
    return Plan(Mechanism(number, parameter), prefix, not raw)


def digests() -> Iterator[tuple[str, int]]:
    """Every hash and the mechanism that makes it."""
    yield from _HASH_MECHANISM.items()


def every_plan(scheme: str) -> Iterator[tuple[Plan, str]]:
    """Each mechanism of a scheme, with a hash that goes with it."""
    if scheme == "eddsa":
        yield Plan(Mechanism(ck.CKM_EDDSA), b"", True), "sha256"
        return
    yield _plan(scheme, _RAW[scheme], "sha256", None), "sha256"
    for hash_name, number in _COMBINED[scheme].items():
        yield _plan(scheme, number, hash_name, None), hash_name


def oaep_numbers(hash_name: str) -> tuple[int, int]:
    """Hash mechanism and mask generation function for CK_RSA_PKCS_OAEP_PARAMS."""
    check_hash(hash_name)
    return _HASH_MECHANISM[hash_name], ck.CKG_MGF1[hash_name]


def check_hash(hash_name: str) -> None:
    """``UnsupportedMechanism`` for a hash that this package does not sign with."""
    if hash_name not in DIGEST_BYTES:
        raise errors.UnsupportedMechanism(where="dojang", mechanism=f"signatures over {hash_name or 'no hash'}")


_BYTE = tuple(bytes([value]) for value in range(256))
_P256_OPENING = (b"\x30\x44\x02\x20", b"\x30\x45\x02\x21\0", b"\x30\x45\x02\x20", b"\x30\x46\x02\x21\0")
_P256_MIDDLE = (b"\x02\x20", b"\x02\x20", b"\x02\x21\0", b"\x02\x21\0")


def ecdsa_der(signature_raw: bytes) -> bytes:
    """Ecdsa-Sig-Value (RFC 3279, 2.2.3) from the r and s that a token puts side by side."""
    if len(signature_raw) == 64 and signature_raw[0] and signature_raw[32]:
        # Nearly every P-256 signature: only whether r and s need a sign byte is open.
        shape = (signature_raw[0] > 127) + 2 * (signature_raw[32] > 127)
        return _P256_OPENING[shape] + signature_raw[:32] + _P256_MIDDLE[shape] + signature_raw[32:]
    half = len(signature_raw) // 2
    r = signature_raw[:half].lstrip(b"\0") or b"\0"
    s = signature_raw[half:].lstrip(b"\0") or b"\0"
    if r[0] > 127:
        r = b"\0" + r
    if s[0] > 127:
        s = b"\0" + s
    length = len(r) + len(s) + 4
    header = b"\x30" + _BYTE[length] if length < 128 else b"\x30\x81" + _BYTE[length]
    return b"".join((header, b"\x02", _BYTE[len(r)], r, b"\x02", _BYTE[len(s)], s))
