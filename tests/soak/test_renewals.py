"""A credential renewed over and over: the life of twenty years in a few minutes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak

RENEWALS = 60
ROUNDS = 300
GROWTH = 4 << 20


def test_a_credential_outlives_many_renewals(make_token, run_dojang, home):
    """After sixty renewals the address names one working credential; every old one is still there, retired."""
    token, office = make_token(), make_token()
    pins = ["--pin-source", token.pin_source, "--ca-pin-source", office.pin_source]
    address = f"{token.uri};object=hong"

    def succeed(*words: str) -> dict:
        run = run_dojang(*words, *pins, "--json", timeout=120)
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)["data"]

    succeed("ca", "init", "--alias", "office", "--key", f"{office.uri};object=root", "--name", "CN=Office CA")
    succeed("cert", "issue", "--to", token.uri, "--label", "hong", "--subject", "CN=Hong", "--ca", "office")
    for _ in range(RENEWALS):
        renewed = succeed("renew", "now", address, "--again")
        assert renewed["credential"]["serial"] != renewed["previous"]["serial"]
    states = [one["state"] for one in succeed("cert", "list", token.uri)["credentials"]]
    assert states.count("retired") == RENEWALS
    (home / "letter").write_text("letter")
    succeed("sign", "cms", "--key", address, str(home / "letter"), "-o", str(home / "letter.p7s"))
    succeed("ca", "show", "office", "-o", str(home / "office.pem"))
    succeed("verify", str(home / "letter.p7s"), "--trust", str(home / "office.pem"))


def test_the_service_does_not_grow(make_token, run_dojang, home, softhsm_module):
    """After three hundred rounds over a token and a folder it takes no more memory than after the first fifty."""
    token, office = make_token(), make_token()
    pins = ["--pin-source", token.pin_source, "--ca-pin-source", office.pin_source]
    made = run_dojang("ca", "init", "--alias", "office", "--key", f"{office.uri};object=root", "--name", "CN=O", *pins)
    assert made.returncode == 0, made.stderr
    for name in ("one", "two"):
        issued = run_dojang("cert", "issue", "--to", token.uri, "--subject", f"CN={name}", "--ca", "office", *pins)
        assert issued.returncode == 0, issued.stderr
    command = [sys.executable, "-m", "dojang", "renew", "daemon", token.uri, "npki:", *pins, "--json"]
    environment = {**os.environ, "DOJANG_HOME": str(home), "DOJANG_MODULE": softhsm_module}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as daemon:
        sizes = []
        try:
            for line in daemon.stdout:
                if json.loads(line)["data"]["event"] == "waiting":
                    sizes.append(_resident(daemon.pid))
                    if len(sizes) == ROUNDS:
                        break
                    daemon.send_signal(signal.SIGHUP)
        finally:
            daemon.terminate()
            daemon.stdout.read()
    assert daemon.returncode == 0
    assert max(sizes[-50:]) - max(sizes[:50]) < GROWTH, sizes


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
