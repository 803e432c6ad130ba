"""1,000 files signed by one command, against pkcs11-tool once a file and the C loop; whole commands, RSA-2048."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from place import Place, Row, timed

FILES = 1000
ONE_BY_ONE = 40  # files that pkcs11-tool signs in a round; it starts anew for each, so their number changes nothing
SIZE = 4096


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    folder = place.folder / "files"
    folder.mkdir()
    files = [folder / f"{number:04}" for number in range(FILES)]
    for file in files:
        file.write_bytes(os.urandom(SIZE))
    dojang = Path(sys.executable).with_name("dojang")
    key, pin = f"{place.uri};object=batch", ["--pin-source", place.pin_source]
    timed([dojang, "key", "generate", key, "--algorithm", "rsa-2048", *pin])
    ours, tool, c1, c2 = [], [], [], []
    for _ in range(rounds):
        ours.append(FILES / timed([dojang, "sign", "raw", "--key", key, *pin, *files]))
        tool.append(_with_pkcs11_tool(place, files[:ONE_BY_ONE]))
        c1 += place.c("sign", "rsa", 1, seconds)
        c2 += place.c("sign", "rsa", 2, seconds)
    name = f"{FILES:,} files with one command"
    return [
        _row(f"{name}, against pkcs11-tool once a file", ours, tool, "pkcs11-tool", 15.0),
        _row(f"{name}, against C with 1 thread", ours, c1, "C", 0.9),
        _row(f"{name}, against C with 2 threads", ours, c2, "C", None),
    ]


def _with_pkcs11_tool(place: Place, files: list[Path]) -> float:
    """Files per second."""
    os.environ["BENCH_PIN"] = place.pin
    tool = ["pkcs11-tool", "--module", place.module, "--token-label", place.label, "--login", "--pin", "env:BENCH_PIN"]
    sign = [*tool, "--sign", "--mechanism", "SHA256-RSA-PKCS", "--label", "batch"]
    output = ["-o", place.folder / "out"]
    return len(files) / sum(timed([*sign, "-i", file, *output], stderr=subprocess.DEVNULL) for file in files)


def _row(name: str, ours: list[float], theirs: list[float], who: str, target: float | None) -> Row:
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row("batch", name, ratio, target, True, f"{median(ours):,.0f}/s, {who} {median(theirs):,.0f}/s")
