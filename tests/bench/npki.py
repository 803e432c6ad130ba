"""Korean key files as a multiple of the derivation they ask for; PKCS#12 files as a multiple of cryptography alone."""

import datetime
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from place import Place, Row

from dojang.npki.keyfile import generate_key, open_key, open_pkcs8, seal_pkcs8
from dojang.npki.pkcs8 import Pkcs8, new_random_number
from dojang.npki.pkcs12 import read_pkcs12
from dojang.npki.pkcs12_bags import Pkcs12, Pkcs12Entry
from dojang.npki.pkcs12_writing import PROFILES, write_pkcs12
from dojang.npki.schemes import read_scheme
from dojang.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

PASSWORD = Secret("correct horse 1!")
KEY_FILES = {"seed-cbc-sha1": "scheme A", "pbes2-seed": "scheme C", "pbes2-aes256": "AES-256"}


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del place, seconds
    key = generate_key("rsa-2048", where="bench")
    pkcs8 = Pkcs8.from_key(key, new_random_number())
    rows = [row for scheme, name in KEY_FILES.items() for row in _key_file(scheme, name, pkcs8, rounds)]
    entry = Pkcs12Entry(pkcs8, _certificate(key), "bench")
    return rows + [_pkcs12(profile, Pkcs12((entry,)), rounds) for profile in PROFILES]


def _key_file(scheme: str, name: str, pkcs8: Pkcs8, rounds: int) -> list[Row]:
    """From the file's bytes to the PKCS#8 with R, and on to a key that signs, against its own derivation."""
    sealed = seal_pkcs8(pkcs8.der, PASSWORD, scheme=scheme)
    derive = _derivation_of(sealed)
    decoded = _interleaved(lambda: open_pkcs8(sealed, PASSWORD, "bench"), derive, rounds)
    opened = _interleaved(lambda: open_key(sealed, PASSWORD, "bench"), derive, rounds)
    return [
        _row(f"decoding a key file, RSA-2048, {name}", *decoded, 1.3, "its derivation"),
        _row(f"the same and loading the key, {name}", *opened, None, "its derivation"),
    ]


def _derivation_of(sealed: bytes) -> Callable[[], object]:
    from dojang.der import children, parse

    scheme, password = read_scheme(children(parse(sealed))[0]), PASSWORD.reveal()
    if hasattr(scheme, "key_and_iv"):
        return lambda: scheme.key_and_iv(password)
    return lambda: scheme.derivation.derive(password, scheme.cipher.key_bytes)


def _pkcs12(profile: str, contents: Pkcs12, rounds: int) -> Row:
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    data = write_pkcs12(contents, PASSWORD, profile=profile)
    ours, theirs = _interleaved(
        lambda: read_pkcs12(data, PASSWORD, "bench").entries[0].pkcs8.key(),
        lambda: load_pkcs12(data, PASSWORD.reveal()).key,
        rounds,
    )
    return _row(f"reading PKCS#12, RSA-2048, {profile}", ours, theirs, 1.2, "cryptography")


def _interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[list[float], list[float]]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, found in zip((ours, theirs), times, strict=True):
            found.append(min(_seconds(call) for _ in range(5)))
    return times


def _seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def _row(name: str, ours: list[float], theirs: list[float], target: float | None, other: str) -> Row:
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    detail = f"{median(ours) * 1000:.2f} ms, {other} {median(theirs) * 1000:.2f} ms"
    return Row("npki", name, ratio, target, False, detail)


def _certificate(key: "PrivateKey") -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    now, name = datetime.datetime.now(datetime.UTC), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)
