"""Public keys that look like any other and are not to be relied on, by what has been published about them.

Not looked for: the keys that Debian's OpenSSL made from 2006 to 2008 (CVE-2008-0166). That needs a list of some hundred
thousand fingerprints; such keys of 2048 bits are rare, and nobody who makes a key today gets one.
"""

from functools import lru_cache
from math import gcd, isqrt, prod
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dojang.errors import Phrase

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

# NIST SP 800-131A revision 2: 112 bits of strength, which is RSA-2048 and any curve of 224 bits; we ask 256 of a curve.
SMALLEST_RSA: Final = 2048
SMALLEST_CURVE: Final = 256
# FIPS 186-5 section 5.1: odd, more than 2**16, less than 2**256.
SMALLEST_EXPONENT: Final = 65537
LARGEST_EXPONENT: Final = 2**256 - 1
_SMALL_PRIMES: Final = tuple(one for one in range(2, 752) if all(one % other for other in range(2, isqrt(one) + 1)))
_SMALL_FACTORS: Final = prod(_SMALL_PRIMES)
_FERMAT_ROUNDS: Final = 100  # CA/Browser Forum baseline requirements, section 6.1.1.3
_SQUARES_MODULO_64: Final = frozenset(one * one % 64 for one in range(64))
# RFC 8032 section 5.1: y of the points of order 1, 2, 4 and 8, of which no signature can be trusted.
_FIELD: Final = 2**255 - 19
_ORDER_8: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER: Final = frozenset((0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8))


def is_weak(public_key: "PublicKeyTypes") -> bool:
    """Whether the key is too small, badly made, or of a kind that nobody relies on any more."""
    return weakness(public_key) is not None


def weakness(public_key: "PublicKeyTypes") -> Phrase | None:
    """Why nobody relies on the key; ``None`` for one that is good."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return _weakness_of_rsa(public_key)
    if isinstance(public_key, ec.EllipticCurvePublicKey):  # a point off its curve is not a key: it cannot be loaded
        return Phrase("its curve is too small") if public_key.curve.key_size < SMALLEST_CURVE else None
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        point = int.from_bytes(public_key.public_bytes_raw(), "little") % 2**255 % _FIELD
        return Phrase("it is one of the points that sign nothing") if point in _SMALL_ORDER else None
    # DSA and DH keys have parameters.
    return Phrase("it is of a kind that is not used any more") if hasattr(public_key, "parameters") else None


def _weakness_of_rsa(public_key: rsa.RSAPublicKey) -> Phrase | None:
    if public_key.key_size < SMALLEST_RSA:
        return Phrase("it has fewer than {bits} bits", bits=SMALLEST_RSA)
    numbers = public_key.public_numbers()
    if numbers.e % 2 == 0 or not SMALLEST_EXPONENT <= numbers.e <= LARGEST_EXPONENT:
        return Phrase("its public exponent is smaller than 65537, larger than 2**256, or even")
    return _weakness_of_modulus(numbers.n)


@lru_cache(maxsize=256)
def _weakness_of_modulus(modulus: int) -> Phrase | None:
    if has_roca_fingerprint(modulus):
        return Phrase("it was made by a chip with a fault (ROCA, CVE-2017-15361)")
    if gcd(modulus, _SMALL_FACTORS) != 1 or _has_close_factors(modulus):
        return Phrase("its prime factors are easily found")
    return None


def has_roca_fingerprint(modulus: int) -> bool:
    """Whether a chip's library made this key in the way of CVE-2017-15361 (ROCA).

    Its primes are ``k * M + (65537 ** a mod M)``, where M is the product of the first primes. So the modulus, too, is a
    power of 65537 modulo each of them; of other keys one in 2**27 is so by chance (Nemec and others, 2017, section 3).
    """
    return all(modulus % prime in powers for prime, powers in _powers_of_65537())


@lru_cache(maxsize=1)
def _powers_of_65537() -> tuple[tuple[int, frozenset[int]], ...]:
    """For each prime that tells something: what 65537 and its powers leave. The smallest M ends with 167."""
    found = []
    for prime in _SMALL_PRIMES[1:39]:
        powers = frozenset(pow(65537, exponent, prime) for exponent in range(prime - 1))
        if len(powers) < prime - 1:
            found.append((prime, powers))
    return tuple(found)


def _has_close_factors(modulus: int) -> bool:
    """Whether Fermat's method finds the factors at once, as they are where one prime was made from the other."""
    middle = isqrt(modulus - 1) + 1
    rest = middle * middle - modulus
    for _ in range(_FERMAT_ROUNDS):
        if rest & 63 in _SQUARES_MODULO_64 and isqrt(rest) ** 2 == rest:
            return True
        rest += 2 * middle + 1
        middle += 1
    return False
