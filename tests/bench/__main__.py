"""Measures dojang against C on the same token. Ratios inside one run; rounds interleaved; medians.

Each part runs in a process of its own with a SoftHSM2 of its own on tmpfs, since a loaded SoftHSM keeps every token it
found in memory. Exit status 1 when a promised ratio was missed.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from place import Row, bring_up, scratch

PARTS = (
    *("signing", "startup", "issuing", "renewing", "searching", "npki", "where", "batch", "testing", "modules"),
    *("agent", "recovery", "status", "cmp_rate", "issuing_rate", "hotp", "otp_verify", "otp_scale"),
)


def main() -> int:
    options = _options()
    if options.part:
        rows = _measure_here(options.part, options.rounds, options.seconds)
        print(json.dumps([asdict(row) for row in rows]))
        return 0
    rows = []
    for part in options.only or PARTS:
        print(f"measuring {part} …", file=sys.stderr)
        rows += _measure_apart(part, options)
    _print_table(rows)
    results = [asdict(row) | {"met": row.met} for row in rows]
    options.output.write_text(json.dumps({"schema": 1, "cores": os.cpu_count(), "rows": results}, indent=2) + "\n")
    return 0 if all(row.met for row in rows) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="run this part only; may be repeated")
    parser.add_argument("--rounds", type=int, default=25, help="interleaved rounds of each measurement")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of one signing round")
    parser.add_argument("--quick", action="store_const", const=5, dest="rounds", help="five rounds")
    parser.add_argument("--output", type=Path, default=Path("bench-results.json"), help="where the JSON goes")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure_here(part: str, rounds: int, seconds: float) -> list[Row]:
    with scratch() as folder:
        place = bring_up(Path(folder))
        return list(import_module(part).measure(place, rounds=rounds, seconds=seconds))


def _measure_apart(part: str, options: argparse.Namespace) -> list[Row]:
    command = [sys.executable, str(Path(__file__).parent), "--part", part]
    command += ["--rounds", str(options.rounds), "--seconds", str(options.seconds)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(f"measuring {part} failed")
    return [Row(**row) for row in json.loads(run.stdout)]


def _print_table(rows: list[Row]) -> None:
    width = max(len(row.name) for row in rows)
    print(f"{'part':10} {'measured':{width}} {'ratio':>7} {'promise':>8}        detail")
    for row in rows:
        promise = "" if row.target is None else f"{'>=' if row.at_least else '<='} {row.target:.2f}"
        verdict = "" if row.target is None else "met" if row.met else "MISSED"
        print(f"{row.part:10} {row.name:{width}} {row.ratio:7.2f} {promise:>8} {verdict:6} {row.detail}")


if __name__ == "__main__":
    sys.exit(main())
