"""A service on three tokens at once, under a random sequence of faults: storm.py SECONDS SEED."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from service import Calls, Service, calm, tell, tries_wasted, verified

from dojang.pkcs11 import ModuleSearch, OpenToken, open_token
from dojang.pkcs11 import constants as ck
from dojang.secret import Secret
from dojang.testing.modules import bring_up
from dojang.testing.piv import Ins, plugged_in, removal, reset, slow, status
from dojang.testing.piv.plugged import PluggedIn
from dojang.testing.setup import TokenSetup

CALM = 0.15  # seconds between two faults, on the average
CHILD_PATIENCE = 20
CARD_KEY = b"\x01"
NEIGHBOUR = """
import os, signal, sys
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
uri, pin, module, deed = sys.argv[1:]
with open_token(uri, Secret(pin), search=ModuleSearch(module=module, discover=False)) as token:
    token.log_in()
    if deed == "log out":
        session = token._pool.take()
        session.cryptoki.logout(session.handle)
    else:
        token.generate_key_pair("ec-p256", label="neighbour", key_id=str(os.getpid()).encode())
        if deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        token.destroy(str(os.getpid()).encode())
"""


class Part(NamedTuple):
    """One token under the storm, and the service that signs on it."""

    setup: TokenSetup
    token: OpenToken
    keys: list[Any]
    calls: Calls
    service: Service


def part(setup: TokenSetup, token: OpenToken, keys: list[Any], threads: int) -> Part:
    for key in keys:
        assert verified(key, b"before the storm")
    return Part(setup, token, keys, Calls(token), Service(keys, threads, pause=0.001))


@contextmanager
def places() -> Iterator[tuple[Part, Part, Part, PluggedIn]]:
    """SoftHSM in this process, a token behind p11-kit's server, and a card."""
    with bring_up("softhsm") as soft, bring_up("p11-kit") as served, plugged_in() as place:
        os.environ.update({**soft.environment, **served.environment})
        opened = [
            open_token(one.uri, Secret(one.pin), search=ModuleSearch(module=str(one.module), discover=False))
            for one in (soft, served, place.setup)
        ]
        kinds = ("rsa-2048", "ec-p256")
        made = [
            [token.generate_key_pair(kind, label=kind, key_id=kind.encode()) for kind in kinds] for token in opened[:2]
        ]
        first, second = part(soft, opened[0], made[0], 4), part(served, opened[1], made[1], 3)
        third = part(place.setup, opened[2], [opened[2].private_key(key_id=CARD_KEY)], 2)
        yield first, second, third, place
        for token in opened:
            token.close()


class Storm:
    """What can happen, each a method; ``blow`` lets one of them happen, at random."""

    def __init__(self, soft: Part, served: Part, place: PluggedIn, chance: random.Random) -> None:
        self.soft, self.served, self.place, self.chance = soft, served, place, chance
        self.library = ctypes.CDLL(str(soft.setup.module))
        self.children: list[subprocess.Popen[bytes]] = []
        self.happened: Counter[str] = Counter()
        self.child_failures: list[str] = []
        self.deeds: list[Callable[[], None]] = [
            self.log_out, self.close_all, self.finalise, self.fork, self.neighbour_logs_out, self.neighbour_makes,
            self.neighbour_dies, self.kill_server, self.pull_card, self.pull_in_signature, self.reset_card,
            self.slow_card, self.card_says_no, self.restart_daemon, self.card_elsewhere,
        ]  # fmt: skip

    def blow(self) -> None:
        deed = self.chance.choice(self.deeds)
        self.happened[deed.__name__] += 1
        deed()
        time.sleep(self.chance.expovariate(1 / CALM))

    def _slot(self) -> ctypes.c_ulong:
        return ctypes.c_ulong(self.soft.token._pool.slot_id)

    def log_out(self) -> None:
        session = ctypes.c_ulong()
        if self.library.C_OpenSession(self._slot(), 4, None, None, ctypes.byref(session)) == 0:
            self.library.C_Logout(session)
            self.library.C_CloseSession(session)

    def close_all(self) -> None:
        self.soft.service.paused(lambda: self.library.C_CloseAllSessions(self._slot()))

    def finalise(self) -> None:
        self.soft.service.paused(lambda: self.library.C_Finalize(None))

    def fork(self) -> None:
        child = os.fork()
        if child == 0:
            signal.alarm(CHILD_PATIENCE)
            end = 1
            try:
                end = 0 if all(verified(key, b"child") for key in self.soft.keys) else 2
            finally:
                os._exit(end)
        end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if end:
            self.child_failures.append(f"a forked child ended with {end}")

    def _neighbour(self, deed: str) -> None:
        setup = self.soft.setup
        command = [sys.executable, "-c", NEIGHBOUR, setup.uri, setup.pin, str(setup.module), deed]
        self.children.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        for child in [child for child in self.children if child.poll() is not None]:
            self.children.remove(child)

    def neighbour_logs_out(self) -> None:
        self._neighbour("log out")

    def neighbour_makes(self) -> None:
        self._neighbour("make")

    def neighbour_dies(self) -> None:
        self._neighbour("die")

    def kill_server(self) -> None:
        server = self.served.setup.daemons["p11-kit server"]
        server.stop(signal.SIGKILL)
        Path(self.served.setup.environment["P11_KIT_SERVER_ADDRESS"].removeprefix("unix:path=")).unlink(missing_ok=True)
        time.sleep(self.chance.uniform(0, 0.2))
        server.start()

    def pull_card(self) -> None:
        self.place.card.remove()
        time.sleep(self.chance.uniform(0, 0.2))
        self.place.card.insert(self.place.port)

    def pull_in_signature(self) -> None:
        done_first = self.chance.random() < 0.5
        self.place.card.faults.add(
            removal(after_the_work=done_first), on=Ins.GENERAL_AUTHENTICATE, after=int(done_first)
        )
        time.sleep(self.chance.uniform(0.1, 0.3))
        self.place.card.faults.clear()
        self.place.card.insert(self.place.port)

    def reset_card(self) -> None:
        self.place.card.faults.add(reset(), on=Ins.GENERAL_AUTHENTICATE)

    def slow_card(self) -> None:
        self.place.card.faults.add(slow(0.3))

    def card_says_no(self) -> None:
        self.place.card.faults.add(status(0x6F00), on=Ins.GENERAL_AUTHENTICATE)

    def restart_daemon(self) -> None:
        self.place.daemon.restart()
        self.place.card.insert(self.place.port)

    def card_elsewhere(self) -> None:
        setup = self.place.setup
        command = ["pkcs11-tool", "--module", str(setup.module), "--login", "--pin", setup.pin, "-O"]
        subprocess.run(command, env={**os.environ, **setup.environment}, capture_output=True)


def keeps(part: Part) -> bool:
    """Whether the token still has every key, the very same, and tells of no wrong PIN."""
    search = ModuleSearch(module=str(part.setup.module), discover=False)
    with open_token(part.setup.uri, Secret(part.setup.pin), search=search) as token:
        found = [token.private_key(key_id=key.signer.attributes[ck.CKA_ID]) for key in part.keys]
        same = [one.public_key() == key.public_key() for one, key in zip(found, part.keys, strict=True)]
        return all(same) and all(verified(one, b"after the storm") for one in found) and not tries_wasted(token)


def main(seconds: float, seed: int) -> None:
    with places() as (soft, served, card, place):
        parts = {"softhsm": soft, "p11-kit": served, "card": card}
        storm = Storm(soft, served, place, random.Random(seed))
        with soft.service, served.service, card.service:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                storm.blow()
            place.card.faults.clear()
            if not place.card.inserted:
                place.card.insert(place.port)
            after = time.monotonic()
            recovered = {name: one.service.recovered(after) for name, one in parts.items()}
        for child in storm.children:
            child.wait(60)
        tell(seed=seed, happened=storm.happened, recovered=recovered, children=storm.child_failures)
        for name, one in parts.items():
            tell(**{name: one.service.outcome(one.calls)})
        tell(card_tries=place.card.tries_left, card_verifications=place.card.verifications)
        calm(card.keys[0])
        tell(kept={name: keeps(one) for name, one in parts.items()})


main(float(sys.argv[1]), int(sys.argv[2]))
