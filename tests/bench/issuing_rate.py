"""Certificates per second as a share of the signatures that C gets from the authority's key; pages of what is due.

An authority with its records on disk, durable, and its key on the token; requests are made before. A batch is proved
by a process of its own and signed by several hands, so what C gets with two threads is stated beside what it gets with
one, which is the measure. A page of what is due is measured among a thousand certificates and among a million, half of
them due: rows put in at once.

What a certificate of a P-256 authority costs in a batch of a thousand: microseconds of a core's time, the least of
several runs on two cores, where C signs in 86.

    proving        108   91 of them OpenSSL's, to load the key and to verify; the rest takes the request apart
    writing         10   what a profile and a key have in common is written once
    signing        102   86 of them the token's; the rest is Python's way to it, slow since the token's code evicts it
    recording       36   21 of them SQLite's, for three rows and five indexes; 10 the hash chain and its texts
    asking           5   which transactions are known, and which certificate is whose
    waiting         40   of threads for each other, and the system's for the log that is written

That is 300, so two cores that never wait would give 0.57 of what C gets with one; 198 of it (verifying, signing, rows)
are not Python's, and would give 0.87. Measured is 0.37 to 0.40: the first requests of a batch are proved and its last
rows written while nothing is signed, and one thread of Python runs at a time. One by one, a certificate waits for the
disk.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

from cryptography.hazmat.primitives.asymmetric import ec
from many_certificates import fill
from place import Place, Row
from sqlalchemy import text

from dojang.authority import LocalAuthority, Submission, create_authority
from dojang.authority.database import Database
from dojang.authority.store import DueWindow, Store
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.x509.name import parse_name
from dojang.x509.request import build_request

SHARE, SLOWER = 0.6, 1.5
KEYS = {"rsa": "rsa-2048", "ec": "ec-p256"}
AT_ONCE = {"rsa": 32, "ec": 1_000}
FEW, MANY, PAGE, PAGES = 1_000, 1_000_000, 100, 40


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    search = ModuleSearch(module=place.module, discover=False)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, open_token(place.uri, Secret(place.pin), search=search) as token:
        for kind, algorithm in KEYS.items():
            key = token.generate_key_pair(algorithm, label=kind)
            subject = parse_name(f"CN=Bench {algorithm}")
            found = create_authority(Path(folder), name=kind, subject=subject, key=key, key_address=place.uri)
            with found as authority:
                rows += _rates(place, authority, kind, rounds, seconds)
        rows.append(_growth(Path(folder), rounds))
    return rows


def _rates(place: Place, authority: LocalAuthority, kind: str, rounds: int, seconds: float) -> Iterator[Row]:
    numbers = count()
    requests = [build_request(ec.generate_private_key(ec.SECP256R1()), parse_name(f"CN=S{one}")) for one in range(64)]

    def submission() -> Submission:
        number = next(numbers)
        return Submission("issue", requests[number % len(requests)], "personal", f"t{number}")

    def one_by_one() -> int:
        authority.submit(submission())
        return 1

    def many() -> int:
        answers = authority.submit_many([submission() for _ in range(AT_ONCE[kind])])
        assert not any(isinstance(answer, Exception) for answer in answers)
        return len(answers)

    steps = {f"in batches of {AT_ONCE[kind]:,}": (many, SHARE), "one by one": (one_by_one, None)}
    raw: list[float] = []
    twofold: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step, _target in steps.values():
        step()
    for _ in range(rounds):
        raw += place.c("sign", kind, 1, seconds)
        twofold += place.c("sign", kind, 2, seconds)
        for name, (step, _target) in steps.items():
            found[name].append(_rate(step, seconds))
    for name, (_step, target) in steps.items():
        ratio = median(ours / theirs for ours, theirs in zip(found[name], raw, strict=True))
        detail = f"{median(found[name]):,.0f}/s, C {median(raw):,.0f}/s, with two threads {median(twofold):,.0f}/s"
        yield Row("issuing_rate", f"{KEYS[kind]}, {name}", ratio, target, True, detail)


def _rate(step: Callable[[], int], seconds: float) -> float:
    """How many a second; the last step is counted whole."""
    done, begin = 0, perf_counter()
    while perf_counter() < begin + seconds:
        done += step()
    return done / (perf_counter() - begin)


def _growth(folder: Path, rounds: int) -> Row:
    with ExitStack() as opened:
        stores = [opened.enter_context(_filled(folder / f"{size}.sqlite", size)) for size in (FEW, MANY)]
        taken: list[list[float]] = [[], []]
        for _ in range(rounds):
            for times, store in zip(taken, stores, strict=True):
                times.append(median(_page_times(store)))
        few, many = map(median, taken)
        ratio = median(long / short for short, long in zip(*taken, strict=True))
    detail = f"{PAGE} of 1,000,000: {many * 1000:.2f} ms, of 1,000: {few * 1000:.2f} ms"
    return Row("issuing_rate", "a page of what is due, 1,000,000 certificates", ratio, SLOWER, False, detail)


def _page_times(store: Store) -> Iterator[float]:
    """Pages from different places among what is due."""
    at = datetime.now(UTC)
    windows = [DueWindow("personal", at + timedelta(days=30))]
    last: str | None = None
    for _ in range(PAGES):
        begin = perf_counter()
        page = store.due(windows, at, after=last, limit=PAGE)
        yield perf_counter() - begin
        last = page[-1].serial if len(page) == PAGE else None


@contextmanager
def _filled(path: Path, size: int) -> Iterator[Store]:
    """So many certificates, half of them due within the month."""
    database = Database.create(f"sqlite:///{path}")
    at = datetime.now(UTC)
    with database.writing() as connection:
        connection.execute(text("INSERT INTO signer (id, role, key_address) VALUES ('issuing', 'issuing', 'none')"))
        fill(connection, size, at, least=timedelta(), spread=timedelta(days=60))
    yield Store(database, "bench")
    database.close()
