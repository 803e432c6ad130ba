"""pkcsslotd, the daemon of opencryptoki, is ended and started again while threads sign."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from service import Calls, Service, tell, tries_wasted

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.pkcs11.pin import PinSource
from dojang.testing.modules.parts import program

ROUNDS = 3
MODULE, URI, SOURCE = (os.environ[name] for name in ("DOJANG_MODULE", "DOJANG_TOKEN", "DOJANG_PIN_SOURCE"))


def daemons() -> list[int]:
    """The numbers of the daemons that run in this PID namespace; one that ended and that nobody asks after is not."""
    stats = [(int(path.parent.name), path.read_text()) for path in Path("/proc").glob("[0-9]*/stat")]
    return [number for number, stat in stats if "(pkcsslotd)" in stat and ") Z" not in stat]


def end(number: int, patience: float = 2.0) -> bool:
    for one in daemons():
        os.kill(one, number)
    deadline = time.monotonic() + patience
    while daemons() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not daemons()


def start() -> None:
    """Start it as its package does; it reclaims the shared memory that a killed one left."""
    subprocess.run([program("pkcsslotd", "opencryptoki")], check=True, stderr=subprocess.DEVNULL)


def another_process() -> str:
    """How a command that uses the token ends, and what it says went wrong."""
    (folder / "letter").write_text("letter")
    command = [sys.executable, "-m", "dojang", "--json", "sign", "raw", "--key", f"{URI};object=rsa", "letter"]
    run = subprocess.run([*command, "-o", "letter.sig"], capture_output=True, text=True, cwd=folder)
    return f"{run.returncode} {json.loads(run.stdout).get('error', {}).get('code', '')}".strip()


search = ModuleSearch(module=MODULE, discover=False)
folder = Path(tempfile.mkdtemp())
with open_token(URI, PinSource.parse(SOURCE), search=search) as token:
    keys = [token.generate_key_pair("rsa-2048", label="rsa")]
    calls, seconds, elsewhere = Calls(token), [], {}
    with Service(keys, threads=4) as service:
        service.recovered(time.monotonic())
        elsewhere["before"] = another_process()
        tell(ends_under_clients=end(signal.SIGTERM, patience=1.0))
        seconds.append(service.recovered(time.monotonic()))
        for _ in range(ROUNDS):
            end(signal.SIGKILL)
            seconds.append(service.recovered(time.monotonic()))
            elsewhere["away"] = another_process()
            start()
            seconds.append(service.recovered(time.monotonic()))
            elsewhere["back"] = another_process()
    tell(**service.outcome(calls), tries_wasted=tries_wasted(token), seconds=seconds, elsewhere=elsewhere)
