"""How much memory a process holds that signs, and loses its sessions, many times: memory.py SIGNATURES LOSSES.

Prints the resident bytes at every tenth of the way, for each of the two, as JSON. In a process of its own: what other
tests have left behind in an allocator would be measured, too.
"""

import ctypes
import gc
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.modules import bring_up

STEPS, THREADS = 10, 2
WARM_UP = 0.1  # of what is measured, and at least that often
FEWEST = {"signatures": 4000, "losses": 200}
DIGEST = hashlib.sha256(b"m").digest()


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_threads(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measured(once: Callable[[int], None], number: int, fewest: int) -> list[int]:
    """Resident bytes after the warm-up and after each tenth of ``number``."""
    once(max(int(number * WARM_UP), fewest))
    held = [resident()]
    for _ in range(STEPS):
        once(number // STEPS)
        held.append(resident())
    return held


with bring_up("softhsm") as setup:
    os.environ.update(setup.environment)
    library = ctypes.CDLL(str(setup.module))
    with open_token(
        setup.uri, Secret(setup.pin), search=ModuleSearch(module=str(setup.module), discover=False)
    ) as token:
        signer = token.generate_key_pair("ec-p256", label="k").signer
        slot = ctypes.c_ulong(token.token.slot_id)

        def sign(number: int) -> None:
            def some() -> None:
                for _ in range(number // THREADS):
                    signer.sign_digest(DIGEST, "sha256")

            in_threads(some)

        def lose(number: int) -> None:
            """Half of them lose the sessions, half the login alone; a signature after each."""
            for turn in range(number):
                if turn % 2:
                    assert library.C_CloseAllSessions(slot) == 0
                else:
                    session = ctypes.c_ulong()
                    assert library.C_OpenSession(slot, 4, None, None, ctypes.byref(session)) == 0
                    assert library.C_Logout(session) == 0
                    library.C_CloseSession(session)
                assert signer.sign_digest(DIGEST, "sha256")

        numbers = {"signatures": int(sys.argv[1]), "losses": int(sys.argv[2])}
        for name, work in (("signatures", sign), ("losses", lose)):
            print(json.dumps({name: measured(work, numbers[name], FEWEST[name])}), flush=True)
