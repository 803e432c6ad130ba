"""Certificates per second as a share of the signatures that C gets from the authority's key; pages of what is due.

An authority with its records on disk, durable, and its key on the token; requests are made before. A batch is drafted
by two processes beside, and a slow key signs with several hands, so what C gets with two threads is stated beside what
it gets with one, which is the measure. A page of what is due is measured among a thousand certificates and among a
million, half of them due: rows put in at once.

What a certificate of a P-256 authority costs in a batch of a thousand: microseconds of a core's time, least of several
runs on two cores that others used as well, where C signs in 80.

    drafting       119   by two processes beside: 91 to load the key and to verify, the rest takes the request apart,
                         writes the certificate and brings it back; 70 where the applicant's key is RSA-2048
    signing        103   84 where nothing else runs; the rest is waiting for other threads, and memory gone cold
    recording       62   37 where nothing else runs: three rows and their indexes, hash chain, log; 14 for the commit
    the rest        16   which transactions are known, handing parts to and fro, which chain belongs to which

That is 300, and 250 with RSA-2048 applicants: two cores that never wait would make 0.53 and 0.64 of what C gets with
one. Measured is less. A thread that signs needs the interpreter's lock twice a signature and, as far as could be seen,
stands still while another turns rows into parameters; and the last rows are written when nothing is left to sign.
Verifying, C_Sign and SQLite's own work are 200 of it. One by one, a certificate waits for the disk.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

from cryptography.hazmat.primitives.asymmetric import ec, rsa
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
    with_p256 = [build_request(ec.generate_private_key(ec.SECP256R1()), parse_name(f"CN=S{one}")) for one in range(64)]
    with_rsa = [build_request(rsa.generate_private_key(65537, 2048), parse_name(f"CN=R{one}")) for one in range(16)]

    def submission(requests: list[bytes]) -> Submission:
        number = next(numbers)
        return Submission("issue", requests[number % len(requests)], "personal", f"t{number}")

    def one_by_one() -> int:
        authority.submit(submission(with_p256))
        return 1

    def many(requests: list[bytes]) -> int:
        answers = authority.submit_many([submission(requests) for _ in range(AT_ONCE[kind])])
        assert not any(isinstance(answer, Exception) for answer in answers)
        return len(answers)

    in_batches = f"in batches of {AT_ONCE[kind]:,}"
    steps: dict[str, tuple[Callable[[], int], float | None]] = {
        in_batches: (partial(many, with_p256), SHARE),
        f"{in_batches}, RSA-2048 applicants": (partial(many, with_rsa), None),
        "one by one": (one_by_one, None),
    }
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
