"""The agent on modules that are not SoftHSM2: with a daemon behind them, an init string, a TPM."""

import os
import subprocess
import sys

import pytest

STORY = """
set -eu
key="$DOJANG_TOKEN;object=agent"
dojang() { "$PYTHON" -m dojang "$@"; }
dojang key generate "$DOJANG_TOKEN" --algorithm rsa-2048 --label agent --quiet >&2
dojang agent start --key "$key" --quiet >&2
trap 'dojang agent stop >&2' EXIT
unset DOJANG_PIN_SOURCE
dojang sign raw --key "$key" "$DOCUMENT" --no-input --quiet
SSH_AUTH_SOCK="$(dojang agent status --quiet)" ssh-add -L | cut -d ' ' -f 1
dojang agent lock --quiet
dojang sign raw --key "$key" "$DOCUMENT" --no-input --quiet || echo "locked: $?"
"""


@pytest.mark.parametrize("name", ["nss", "p11-kit", "opencryptoki", "tpm"])
def test_a_token_of_another_kind(name, tmp_path):
    """One PIN, then a signature for dojang and a key for ssh; nothing after ``lock``."""
    document = tmp_path / "document"
    document.write_bytes(b"to be signed")
    done = subprocess.run(
        [sys.executable, "-m", "dojang.testing", name, "sh", "-c", STORY],
        env={**os.environ, "PYTHON": sys.executable, "DOCUMENT": str(document)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.splitlines() == [f"{document}.sig", "ssh-rsa", "locked: 2"], done.stderr
