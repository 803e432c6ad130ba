"""5,000 objects on a token: finding one credential as a multiple of one search in C; listing as the number grows."""

import datetime
from pathlib import Path
from statistics import median
from time import perf_counter

from place import Place, Row

from dojang.pkcs11 import ModuleSearch, OpenToken, open_token

MANY = {"certificates": 4000, "others": 1000}
FEW = {"certificates": 1000, "others": 250}


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    few, search = place.another("few"), ModuleSearch(module=place.module, discover=False)
    certificate = _certificate(place.folder / "certificate.der")
    place.c("fill", MANY["certificates"], certificate, MANY["others"])
    few.c("fill", FEW["certificates"], certificate, FEW["others"])
    theirs, ours, listing = [], [], {place.uri: [], few.uri: []}
    with open_token(place.uri, search=search) as token, open_token(few.uri, search=search) as small:
        for number in range(rounds):
            label = f"bench-{number * MANY['certificates'] // rounds}"
            theirs.append(median(place.c("scan", label, 3)))
            ours.append(median(_find(place, search, f"bench-{number * 7 + again}") for again in range(3)))
            listing[place.uri].append(_list(token, MANY["certificates"]))
            listing[few.uri].append(_list(small, FEW["certificates"]))
    return [_found(ours, theirs), _listed(listing[place.uri], listing[few.uri])]


def _certificate(path: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    key, now, name = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    path.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.DER))
    return path


def _find(place: Place, search: ModuleSearch, label: str) -> float:
    """Seconds for one credential by its URI, from opening the token to its certificate."""
    start = perf_counter()
    with open_token(place.uri, search=search) as token:
        (found,) = token.certificates(label=label)
        assert found.value
    return perf_counter() - start


def _list(token: OpenToken, expected: int) -> float:
    start = perf_counter()
    assert sum(1 for _ in token.certificates()) == expected
    return perf_counter() - start


def _found(ours: list[float], theirs: list[float]) -> Row:
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    detail = f"{median(ours) * 1000:.1f} ms, C {median(theirs) * 1000:.1f} ms"
    return Row("searching", "one credential by URI, 5,000 objects", ratio, 1.5, False, detail)


def _listed(many: list[float], few: list[float]) -> Row:
    most, fewest = MANY["certificates"], FEW["certificates"]
    ratio = median(a / b * fewest / most for a, b in zip(many, few, strict=True))
    detail = f"{median(many) * 1000:.0f} ms for {most:,}, {median(few) * 1000:.0f} ms for {fewest:,}"
    return Row("searching", "listing, per certificate, 4 times as many", ratio, 1.3, False, detail)
