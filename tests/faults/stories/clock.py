"""The clock jumps by years, days and seconds, both ways, while threads sign and processes wait for each other.

Started with ``clock.c`` preloaded and ``CLOCK_OFFSET`` naming the file that both read.
"""

import datetime
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from service import Calls, Service, tell

from dojang import errors
from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.secret import Secret
from dojang.testing.modules import bring_up

DAY = 86_400
JUMPS = (1, -1, 3600, -3600, DAY, -DAY, 3650 * DAY, -3650 * DAY, 0)
HELD = 1.5


def jump(seconds: int) -> None:
    with Path(os.environ["CLOCK_OFFSET"]).open("r+b") as file:
        file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


def run(*words: str) -> str:
    command = [sys.executable, "-m", "dojang", "--json", "--module", str(setup.module)]
    done = subprocess.run([*command, "--pin-source", setup.pin_source, *words], capture_output=True, text=True)
    return f"{done.returncode} {json.loads(done.stdout).get('error', {}).get('code', '')}".strip()


def issue(name: str) -> str:
    return run("cert", "issue", "--to", setup.uri, "--subject", f"CN={name}", "--label", name, "--ca", "office")


with bring_up("softhsm") as setup:
    os.environ.update(setup.environment)
    search = ModuleSearch(module=str(setup.module), discover=False)
    before = datetime.datetime.now(datetime.UTC)
    jump(DAY)
    tell(moved=(datetime.datetime.now(datetime.UTC) - before).total_seconds())
    jump(0)
    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        keys = [token.generate_key_pair(kind, label=kind) for kind in ("rsa-2048", "ec-p256")]
        calls, seconds = Calls(token), []
        with Service(keys, threads=4) as service:
            for offset in JUMPS:
                jump(offset)
                seconds.append(service.recovered(time.monotonic()))
    tell(**service.outcome(calls), seconds=seconds)

    folder = Path(tempfile.mkdtemp())
    guard = PinGuard(folder / "guard")
    with open_token(setup.uri, Secret("00000000"), search=search, guard=guard) as token:
        try:
            token.log_in()
        except errors.PinIncorrect:
            locks = list((folder / "guard.locks").glob("user-*.lock"))
    with locks[0].open("r+b") as held, open_token(setup.uri, Secret(setup.pin), search=search, guard=guard) as token:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(HELD / 2, jump, (365 * DAY,)).start()
        threading.Timer(HELD, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        begun = time.monotonic()
        token.log_in()
        tell(waited=time.monotonic() - begun)
    jump(0)

    tell(founded=run("ca", "init", "--alias", "office", "--key", f"{setup.uri};object=root", "--name", "CN=Office CA"))
    issued = [issue("now")]
    for name, offset in (("yesterday", -2 * DAY), ("in-a-century", 36_500 * DAY), ("again", 0)):
        jump(offset)
        issued.append(issue(name))
    tell(issued=issued)
