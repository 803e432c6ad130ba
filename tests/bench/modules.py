"""Two threads against one, on every kind of token: the second must not cost anything, and helps where it can.

Each token is brought up around a process of its own, which is this file as a program: it prints its rates as JSON.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from place import HERE, Place, Row

AT_LEAST = 0.95
WHERE_C_DOES = 1.5
ENOUGH, LONGEST, ROUNDS = 50, 1.0, 11  # signatures a round, within so many seconds, and at most so many rounds
WITH_C = ("softhsm", "nss")


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    from dojang.testing.modules import KINDS

    rows = []
    for kind in KINDS:
        loop = place.folder / "loop" if kind in WITH_C else ""
        words = [HERE / "modules.py", min(rounds, ROUNDS), seconds, loop]
        command = [sys.executable, "-m", "dojang.testing", kind, sys.executable, *map(str, words)]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        rows += _rows(kind, json.loads(run.stdout))
    return rows


def _rows(kind: str, rates: dict[str, list[float]]) -> list[Row]:
    def ratio(two: str, one: str) -> float:
        return median(b / a for a, b in zip(rates[one], rates[two], strict=True))

    reached = ratio("c2", "c1") if "c1" in rates else 0.0
    target = WHERE_C_DOES if reached >= WHERE_C_DOES else AT_LEAST
    detail = f"{median(rates['d2']):,.0f}/s, 1 thread {median(rates['d1']):,.0f}/s"
    rows = [Row("modules", f"rsa-2048 on {kind}, 2 threads to 1", ratio("d2", "d1"), target, True, detail)]
    if reached:
        detail = f"{median(rates['c2']):,.0f}/s, 1 thread {median(rates['c1']):,.0f}/s"
        rows.append(Row("modules", f"rsa-2048 on {kind}, the C loop's own", reached, None, True, detail))
    return rows


def rate(sign: Callable[[], object], threads: int, seconds: float) -> float:
    """Signatures a second: what each thread made by the time it took, since some tokens make only a few."""
    rates = [0.0] * threads

    def work(index: int) -> None:
        done, start = 0, perf_counter()
        while (taken := perf_counter() - start) < seconds or not done:
            sign()
            done += 1
        rates[index] = done / taken

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(rates)


def _sign_here(rounds: int, seconds: float, loop: str) -> dict[str, list[float]]:
    """With an RSA key of the token that was brought up around this process."""
    import os

    from dojang.pkcs11 import ModuleSearch, PinGuard, PinSource, open_token
    from dojang.pkcs11 import constants as ck
    from dojang.settings import load

    settings = load()
    search = ModuleSearch(settings.module, settings.modules, discover=False)
    guard = PinGuard(settings.state_dir / "pin-guard")
    with open_token(
        os.environ["DOJANG_TOKEN"], PinSource.parse(settings.pin_source), search=search, guard=guard
    ) as token:
        if token.mechanisms.has(ck.CKM_RSA_PKCS_KEY_PAIR_GEN):
            token.generate_key_pair("rsa-2048", label="bench", key_id=b"bench")
        key_id = next(
            one.key_id for one in list(token.keys()) if one.algorithm == "rsa-2048" and one.attributes["sign"]
        )
        sign = partial(token.signer(key_id=key_id).sign_digest, bytes(range(32)), "sha256")
        c = partial(_c, loop, token, settings)
        rates: dict[str, list[float]] = {who: [] for who in ("d1", "d2", *(("c1", "c2") if loop else ()))}
        rate(sign, 2, seconds)
        seconds = max(seconds, min(ENOUGH / rate(sign, 1, seconds), LONGEST))
        for _ in range(rounds):
            for who, counted in rates.items():
                threads = int(who[1])
                counted.append(c(threads, seconds) if who[0] == "c" else rate(sign, threads, seconds))
    return rates


def _c(loop: str, token, settings, threads: int, seconds: float) -> float:
    import os

    pin = Path(settings.pin_source.removeprefix("file:")).read_text()
    init = [("LOOP_INIT", one.init_string) for one in settings.modules if one.init_string]
    command = [loop, settings.module, token.token.info.label, "sign", "rsa", str(threads), str(seconds)]
    done = subprocess.run(
        command, input=f"{pin}\n", env=os.environ | dict(init), capture_output=True, text=True, check=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    print(json.dumps(_sign_here(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])))
