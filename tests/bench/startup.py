"""Wall time of whole processes, as a multiple of ``python -c pass`` with the same interpreter."""

import sys
from pathlib import Path
from statistics import median

from place import Place, Row, timed

TARGETS = {"dojang --version": 2.5, "dojang sign raw": 8.0}


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    dojang = Path(sys.executable).with_name("dojang")
    document = place.folder / "document"
    document.write_bytes(b"to be signed")
    credential = f"{place.uri};object=cold"
    pin = ["--pin-source", place.pin_source]
    timed([dojang, "key", "generate", place.uri, "--algorithm", "ec-p256", "--label", "cold", *pin])
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "dojang --version": [dojang, "--version"],
        "dojang sign raw": [dojang, "sign", "raw", "--key", credential, document, "-o", place.folder / "out", *pin],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        timed(command)  # writes bytecode and fills the file cache
    for _ in range(rounds):
        (place.folder / "out").unlink(missing_ok=True)
        for name, command in commands.items():
            times[name].append(timed(command))
    bare = times["python -c pass"]
    return [_row(name, times[name], bare) for name in TARGETS]


def _row(name: str, times: list[float], bare: list[float]) -> Row:
    ratio = median(a / b for a, b in zip(times, bare, strict=True))
    detail = f"{median(times) * 1000:.1f} ms, bare python {median(bare) * 1000:.1f} ms"
    return Row("startup", name, ratio, TARGETS[name], False, detail)
