"""Others in the same process and on the same machine meddle with a token while eight threads sign on it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from service import Calls, Service, tell, tries_wasted, verified

from dojang import errors
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.modules import bring_up

ROUNDS = 5
FORKS = 40
CHILD_PATIENCE = 10

IN_BETWEEN = """
import sys
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.pkcs11.pin import PinSource
uri, source, module = sys.argv[1:]
with open_token(uri, PinSource.parse(source), search=ModuleSearch(module=module, discover=False)) as token:
    token.log_in()
    session = token._pool.take()
    session.cryptoki.logout(session.handle)
"""
KEYS_ANEW = """
import sys
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.pkcs11.pin import PinSource
uri, source, module = sys.argv[1:]
with open_token(uri, PinSource.parse(source), search=ModuleSearch(module=module, discover=False)) as token:
    for kind in ("rsa-2048", "ec-p256"):
        token.generate_key_pair(kind, label=kind, key_id=kind.encode())
"""

with bring_up("softhsm") as setup:
    os.environ.update(setup.environment)
    search = ModuleSearch(module=str(setup.module), discover=False)
    library = ctypes.CDLL(str(setup.module))  # the same instance, as another part of the program would have it
    words = [setup.uri, setup.pin_source, str(setup.module)]

    def log_out() -> None:
        session = ctypes.c_ulong()
        assert library.C_OpenSession(ctypes.c_ulong(token.token.slot_id), 4, None, None, ctypes.byref(session)) == 0
        library.C_Logout(session)
        library.C_CloseSession(session)

    def close_all() -> None:
        library.C_CloseAllSessions(ctypes.c_ulong(token._pool.slot_id))

    def log_out_elsewhere() -> None:
        subprocess.run([sys.executable, "-c", IN_BETWEEN, *words], check=True)

    def fork() -> str:
        child = os.fork()
        if child == 0:
            signal.alarm(CHILD_PATIENCE)
            status = 1
            try:
                status = 0 if all(verified(key, b"child") for key in keys) else 2
            finally:
                os._exit(status)
        return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    def outcome(work: Callable[[], object]) -> str:
        try:
            return str(work())
        except errors.DojangError as error:
            return f"{error.exit_status} {error.code}"

    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        keys = [token.generate_key_pair(kind, label=kind, key_id=kind.encode()) for kind in ("rsa-2048", "ec-p256")]
        calls = Calls(token)
        seconds: dict[str, list[float]] = {}
        children: list[str] = []
        with Service(keys, threads=8) as service:
            deeds = {
                "log out": log_out,
                "close all": lambda: service.paused(close_all),
                "log out elsewhere": log_out_elsewhere,
                "finalise": lambda: service.paused(lambda: library.C_Finalize(None)),
            }
            for _ in range(ROUNDS):
                for name, deed in deeds.items():
                    deed()
                    seconds.setdefault(name, []).append(service.recovered(time.monotonic()))
            for _ in range(FORKS):
                children.append(fork())
                time.sleep(0.005)
            seconds["fork"] = [service.recovered(time.monotonic())]
        tell(**service.outcome(calls), seconds={name: max(values) for name, values in seconds.items()})
        tell(children=sorted(set(children)))

        command = ["softhsm2-util", "--init-token", "--token", setup.label, "--label", setup.label]
        pins = ["--so-pin", str(setup.so_pin), "--pin", setup.pin]
        subprocess.run(command + pins, check=True, stdout=subprocess.DEVNULL)
        tell(wiped=[outcome(lambda key=key: verified(key, b"m")) for key in keys])
        subprocess.run([sys.executable, "-c", KEYS_ANEW, *words], check=True)
        tell(made_anew=[outcome(lambda key=key: verified(key, b"m")) for key in keys])
        tell(opened_anew=[verified(token.private_key(label=kind), b"m") for kind in ("rsa-2048", "ec-p256")])
        tell(tries_wasted=tries_wasted(token))
    tell(closed=[outcome(lambda key=key: verified(key, b"m")) for key in keys])
