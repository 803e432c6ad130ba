"""Memory stays flat over signatures and lost sessions: a minute of it for every change, the rest in the soak."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = Path(__file__).with_name("memory.py")
FLAT = 5 * 2**20


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("signatures", "losses"),
    [(60_000, 600), pytest.param(1_000_000, 10_000, marks=pytest.mark.soak)],
)
def test_memory_is_flat(signatures, losses, tmp_path):
    """Within 5 MiB, up and down, from the end of the warm-up to the last signature and the last lost session."""
    command = [sys.executable, MEMORY, str(signatures), str(losses)]
    environment = {**os.environ, "DOJANG_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    held = {name: values for line in done.stdout.splitlines() for name, values in json.loads(line).items()}
    assert set(held) == {"signatures", "losses"}
    for values in held.values():
        assert max(values) - min(values) <= FLAT, held
