"""Keys that look like any other and are refused: by size, by exponent, by how they were made."""

from math import prod
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from dojang.x509.keys import is_strong
from dojang.x509.weak_keys import has_roca_fingerprint

PRIMES = [one for one in range(2, 1000) if all(one % other for other in range(2, one))]


def is_prime(number: int) -> bool:
    """Fermat's test to four bases; enough for a number that nobody chose to fool it."""
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7))


def next_prime(number: int) -> int:
    return next(one for one in range(number | 1, number + 10**6, 2) if is_prime(one))


def roca_prime(bits: int, seed: int) -> int:
    """``k * M + (65537 ** a mod M)`` as the library made it; M is that of 2048-bit keys, the product of 126 primes."""
    product = prod(PRIMES[:126])
    k, a = (1 << (bits - 1)) // product + seed, 1000 + seed
    while not is_prime(prime := k * product + pow(65537, a, product)):
        a += 1
    return prime


def public(modulus: int, exponent: int = 65537) -> Any:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


@pytest.fixture(scope="module")
def good() -> Any:
    return rsa.generate_private_key(65537, 2048).private_numbers()


def test_a_roca_key_is_weak() -> None:
    """Made in the published way, it has the fingerprint, and is refused."""
    modulus = roca_prime(1024, 1) * roca_prime(1025, 2)
    assert has_roca_fingerprint(modulus)
    assert not is_strong(public(modulus))


def test_usual_keys_have_no_such_fingerprint(good: Any) -> None:
    """Nor are they weak in any other way."""
    assert not has_roca_fingerprint(good.public_numbers.n)
    assert is_strong(public(good.public_numbers.n))
    assert is_strong(ec.generate_private_key(ec.SECP256R1()).public_key())
    assert is_strong(ed25519.Ed25519PrivateKey.generate().public_key())


@pytest.mark.parametrize("exponent", [3, 17, 257, 65535, 2**256 + 1])
def test_an_exponent_out_of_bounds_is_weak(good: Any, exponent: int) -> None:
    """FIPS 186-5: more than 2**16, less than 2**256."""
    assert not is_strong(public(good.public_numbers.n, exponent))


def test_an_even_exponent_is_no_key_at_all(good: Any) -> None:
    """It cannot be loaded, so nobody can ask with it."""
    with pytest.raises(ValueError, match="odd"):
        public(good.public_numbers.n, 65536 * 2)


def test_small_keys_are_weak() -> None:
    """RSA below 2048, curves below 256, and what nobody uses any more."""
    assert not is_strong(rsa.generate_private_key(65537, 1024).public_key())
    assert not is_strong(rsa.generate_private_key(65537, 2040).public_key())
    assert not is_strong(ec.generate_private_key(ec.SECP224R1()).public_key())
    assert not is_strong(dsa.generate_private_key(1024).public_key())


def test_close_primes_are_weak(good: Any) -> None:
    """Fermat's method would have the factors at once."""
    assert not is_strong(public(good.p * next_prime(good.p + 2)))


def test_a_small_factor_is_weak(good: Any) -> None:
    """Such a modulus was never made of two large primes."""
    assert not is_strong(public(good.public_numbers.n * 751))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_point_off_its_curve_is_no_key(curve: Any) -> None:
    """It cannot be loaded."""
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    with pytest.raises(ValueError, match="curve"):
        ec.EllipticCurvePublicNumbers(numbers.x, numbers.y ^ 2, curve).public_key()


@pytest.mark.parametrize(
    "point",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ],
)
def test_a_point_of_small_order_is_weak(point: str) -> None:
    """Ed25519 signatures of such a key fit more than was signed (the points of order 1, 2, 4 and 8)."""
    assert not is_strong(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(point)))
