"""Runs the contract of tokens on one kind of token, in a process of its own with that token brought up around it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.contract.token.abilities import README, columns_of

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CHAPTERS = tuple(sorted(path.stem.removeprefix("check_") for path in HERE.glob("check_*.py")))
SECONDS = 280  # at once for every chapter; a quarter of a minute where nobody else is at work


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of it: for each chapter the outcome of its checks, what the token can do, and what was printed."""

    results: dict[str, list[str]]
    abilities: dict[str, str]
    output: str

    def failures(self, chapter: str) -> list[str]:
        """Every check of a chapter that did not hold; a chapter that was not run is one."""
        outcomes = self.results.get(chapter) or [f"{chapter} was not run\n{self.output}"]
        return [outcome for outcome in outcomes if outcome != "passed"]


@cache
def contract_on(kind: str) -> Seen:
    """Bring up the token and run every chapter, once; a crash is in the output, and only of that process."""
    with tempfile.TemporaryDirectory(prefix="dojang-contract-") as folder:
        return _run(kind, Path(folder))


def _run(kind: str, folder: Path) -> Seen:
    report = folder / "report.json"
    suite = [sys.executable, "-m", "pytest", str(HERE), f"--confcutdir={HERE}", f"--report={report}"]
    options = ["-o", "python_files=check_*.py", "-p", "no:cacheprovider", "--timeout=60", "--tb=short", "-q"]
    command = [sys.executable, "-m", "dojang.testing", kind, *suite, *options, f"--basetemp={folder}/base"]
    ours = [name for name in os.environ if name.startswith(("DOJANG_", "PYTEST_", "SOFTHSM2_"))]
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {"LC_ALL": "C.UTF-8"}
    with (folder / "output").open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            ended = f"exit status {process.wait(SECONDS)}"
        except subprocess.TimeoutExpired:
            ended = f"not done after {SECONDS} seconds"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    output = f"{ended}\n{(folder / 'output').read_text()}"
    seen = json.loads(report.read_text()) if report.exists() else {"results": {}, "abilities": {}}
    return Seen(seen["results"], seen["abilities"], output)


def check_chapter(kind: str, chapter: str) -> None:
    """Fails with every check of the chapter that did not hold."""
    failures = contract_on(kind).failures(chapter)
    assert not failures, "\n\n".join(failures)


def check_readme(kind: str) -> None:
    """Fails where the README's column for this token differs from what was seen."""
    assert columns_of(README.read_text())[kind] == contract_on(kind).abilities
