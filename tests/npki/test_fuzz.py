"""Readers of what anybody may have written: no crash, no hang, no more than 256 MiB, whatever the bytes."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.npki.fuzz.targets import TARGETS, survives

FUZZ = Path(__file__).parent / "fuzz"
CORPUS = [(target, path) for target in TARGETS for path in sorted((FUZZ / "corpus" / target).iterdir())]


def fuzz(target: str, seconds: int, *seed: int) -> None:
    command = [sys.executable, FUZZ, target, str(seconds), *map(str, seed)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 100)
    assert run.returncode == 0, run.stderr[-4000:] + run.stdout


@pytest.mark.parametrize(("target", "path"), CORPUS, ids=[f"{target}-{path.name}" for target, path in CORPUS])
def test_the_corpus_is_survived(target: str, path: Path) -> None:
    """Every file kept, as it is and cut off at each length: an answer, or an error of ours; of DER always an error."""
    data = path.read_bytes()
    survives(target, data)
    for end in range(0, len(data), max(1, len(data) // 20)):
        assert survives(target, data[:end]) is not None or target == "pem"


@pytest.mark.parametrize("target", TARGETS)
def test_some_seconds_of_fuzzing_are_survived(target: str) -> None:
    """Eight seconds each, a minute for all of them, the same each time."""
    fuzz(target, 8, 1)


@pytest.mark.soak
@pytest.mark.timeout(720)
@pytest.mark.parametrize("target", TARGETS)
def test_ten_minutes_of_fuzzing_are_survived(target: str) -> None:
    """Another ten minutes each time."""
    fuzz(target, 600)
