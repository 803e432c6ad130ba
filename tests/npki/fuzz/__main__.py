"""Fuzz one target: python tests/npki/fuzz TARGET SECONDS [SEED]. Says how many inputs it took, and fails on the first
that crashes, takes longer than ten seconds, or makes the process larger than 256 MiB.

The corpus was made with keys, passwords and names of the tests; it holds nobody's. An input that ends somewhere new
(an error from another line of ours) joins the pool that the next are made from.
"""

import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random, SystemRandom
from time import monotonic

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from mutation import mutated  # noqa: E402 – beside this file, however it is started
from targets import hurry, survives  # noqa: E402

MOST_MEMORY = 256 << 20
MOST_SECONDS = 10


class TookTooLong(BaseException):
    """No error of ours catches this."""


def corpus(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((HERE / "corpus" / target).iterdir())]


def main() -> int:
    target, seconds = sys.argv[1], float(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else SystemRandom().randrange(1 << 32)
    _limit()
    hurry()
    end, count = monotonic() + seconds, 0
    for data in _inputs(target, Random(seed)):
        if monotonic() > end:
            break
        if not _tried(target, data):
            return _failed(target, data, seed)
        count += 1
    peak = _peak()
    print(f"{target}: {count} inputs, {peak >> 20} MiB at most")
    return 0 if peak <= MOST_MEMORY and count > 100 else 1


def _peak() -> int:
    """The most memory in bytes; VmHWM begins anew with the program, ``ru_maxrss`` counts whoever started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


_KNOWN: set[tuple[object, ...]] = set()
_POOL: list[bytes] = []


def _inputs(target: str, random: Random) -> Iterator[bytes]:
    _POOL.extend(corpus(target))
    yield from list(_POOL)
    while True:
        yield mutated(random.choice(_POOL), _POOL, random)


def _tried(target: str, data: bytes) -> bool:
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        error = survives(target, data)
    except (Exception, TookTooLong):
        traceback.print_exc()
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if (trail := _trail(error)) not in _KNOWN and len(data) < 1 << 14:
        _KNOWN.add(trail)
        _POOL.append(data)
    return True


def _trail(error: BaseException | None) -> tuple[object, ...]:
    """Where an answer came from: the lines of ours on the way to it and to what caused it."""
    found: list[object] = [type(error)]
    while error is not None:
        found += [line.lineno for line in traceback.extract_tb(error.__traceback__) if "/dojang/" in line.filename]
        error = error.__cause__
    return tuple(found)


def _limit() -> None:
    """Memory beyond the promise is refused to the process; what it takes to run at all is not counted."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2 * MOST_MEMORY, in_use + 2 * MOST_MEMORY))
    signal.signal(signal.SIGALRM, _too_long)


def _too_long(number: int, frame: object) -> None:
    raise TookTooLong


def _failed(target: str, data: bytes, seed: int) -> int:
    print(f"{target} did not survive these {len(data)} bytes (seed {seed}):\n{data.hex()}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
