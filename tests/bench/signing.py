"""Signatures per second through dojang's session pool, as a share of what C gets with as many threads."""

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

from place import HERE, Place, Row

TARGETS = {("rsa", 1): 0.95, ("rsa", 2): 0.90, ("ec", 1): 0.85, ("ec", 2): 0.75}
BETWEEN_LOOKS = 8  # signatures between two looks at the clock, which Python pays dearly for and C does not
ALGORITHMS = {"rsa": "rsa-2048", "ec": "ec-p256"}


def rate(sign: Callable[[], object], threads: int, seconds: float) -> float:
    """How often ``sign`` ran per second, called from ``threads`` threads for ``seconds``."""
    counts = [0] * threads

    def work(index: int) -> None:
        done, end = 0, perf_counter() + seconds
        while perf_counter() < end:
            for _ in range(BETWEEN_LOOKS):
                sign()
            done += BETWEEN_LOOKS
        counts[index] = done

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / seconds


class PythonPkcs11:
    """python-pkcs11 on the same token in a process of its own; one thread, since it initialises without locking."""

    def __init__(self, place: Place) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "reference.py", place.module, place.pin],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rate(self, kind: str, seconds: float) -> float:
        assert self._process.stdin
        assert self._process.stdout
        print(kind, seconds, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    from dojang.pkcs11 import open_token
    from dojang.secret import Secret

    rows = []
    digest = bytes(range(32))
    with open_token(place.uri, Secret(place.pin)) as token:
        keys = {kind: token.generate_key_pair(name, label=name) for kind, name in ALGORITHMS.items()}
        prehashed = utils.Prehashed(hashes.SHA256())
        through_key = {
            "rsa": lambda: keys["rsa"].sign(digest, padding.PKCS1v15(), prehashed),
            "ec": lambda: keys["ec"].sign(digest, ec.ECDSA(prehashed)),
        }
        reference = PythonPkcs11(place)
        for kind, name in ALGORITHMS.items():
            signer = token.signer(label=name)
            # r and s as C_Sign gives them; the DER that certificates want is in the row of the cryptography key.
            sign = partial(signer.sign_digest, digest, "sha256", plain=True)
            rates: dict[str, list[float]] = {who: [] for who in ("c1", "d1", "k1", "p1", "c2", "d2")}
            for _ in range(rounds):
                rates["c1"] += place.c("sign", kind, 1, seconds)
                rates["d1"].append(rate(sign, 1, seconds))
                rates["k1"].append(rate(through_key[kind], 1, seconds))
                rates["p1"].append(reference.rate(kind, seconds))
                rates["c2"] += place.c("sign", kind, 2, seconds)
                rates["d2"].append(rate(sign, 2, seconds))
            rows += _rows(kind, name, rates)
        reference.close()
    return rows


def _rows(kind: str, name: str, rates: dict[str, list[float]]) -> list[Row]:
    def row(what: str, ours: str, theirs: str, target: float | None) -> Row:
        ratio = median(a / b for a, b in zip(rates[ours], rates[theirs], strict=True))
        detail = f"{median(rates[ours]):,.0f}/s, C {median(rates[theirs]):,.0f}/s"
        return Row("signing", f"{name}, {what}", ratio, target, True, detail)

    return [
        row("1 thread", "d1", "c1", TARGETS[kind, 1]),
        row("2 threads", "d2", "c2", TARGETS[kind, 2]),
        row("1 thread, as a cryptography key", "k1", "c1", None),
        row("1 thread, python-pkcs11", "p1", "c1", None),
    ]
