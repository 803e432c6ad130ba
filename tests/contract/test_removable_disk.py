"""A removable disk keeps the contract of every location: the same suite, where a real one is mounted."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__)
SUITES = [HERE.with_name(name) for name in ("test_location.py", "test_abilities.py", "test_pairs.py")]
STICKS = HERE.parents[1] / "faults/stories/sticks.py"


def test_the_contract_is_kept() -> None:
    """All of it, on a file system of its own, in a mount namespace that nobody else sees."""
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "removable"]
    command = ["unshare", "--mount", sys.executable, STICKS, *suite, *SUITES]
    if os.geteuid() != 0:
        command = ["sudo", "-n", "-E", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=HERE.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(".") > 30, done.stdout
