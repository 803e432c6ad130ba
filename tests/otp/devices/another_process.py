"""A process that checks codes, started by the tests: reads orders from standard input, answers each with one line.

    verify DEVICE CODE [THREADS]    how many of its threads had the code accepted
    take FILE                       reads a seed from a file into memory of its own, registers a device, tells its id
    keep                            shows a seed in its own memory, to prove that looking for one finds it
    rotate                          a new key over everything
    until FILE DEVICE SEED          checks one code after the other until there is that file; how many were accepted

another_process.py SETUP            a JSON text; with "far" the module is in yet another process
"""

import hmac
import json
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

from dojang.authority import audit
from dojang.authority.database import Database
from dojang.errors import OtpIncorrect
from dojang.otp import hotp
from dojang.otp.devices import DevicePolicy, Devices, NewDevice
from dojang.otp.keks import Home, Keks, SealingKeys
from dojang.otp.parameters import OtpParameters
from dojang.otp.rotation import Rotation
from dojang.otp.vault import Vault
from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.secret import Secret


class Worker:
    def __init__(self, setup: dict[str, Any]) -> None:
        if setup.get("far"):
            from tests.otp.devices.far_token import move_away

            move_away(setup["far"])
        at = datetime.fromisoformat(setup["at"])
        self.database = Database.open(setup["url"])
        search = ModuleSearch(module=setup["module"], discover=False)
        token = open_token(setup["uri"], Secret(setup["pin"]), search=search, guard=PinGuard(Path(setup["guard"])))
        home = Home(setup["uri"], setup["mark"].encode())
        keks = Keks(self.database, lambda _: home, lambda _: token, audit.record, lambda: at, "test")
        self.vault = Vault(keks)
        self.devices = Devices(self.database, self.vault, audit.record, lambda: at, DevicePolicy(), "test")
        self.rotation = Rotation(self.database, self.vault, audit.record, lambda: at)
        self.kept: list[Any] = [SealingKeys(keks)]

    def verify(self, device: str, code: str, threads: str = "1") -> int:
        accepted: list[int] = []
        gate = threading.Barrier(int(threads))

        def one() -> None:
            gate.wait()
            accepted.append(self._verified(device, code))

        many = [threading.Thread(target=one) for _ in range(int(threads))]
        for thread in many:
            thread.start()
        for thread in many:
            thread.join()
        assert len(accepted) == int(threads)  # nobody failed otherwise
        return sum(accepted)

    def _verified(self, device: str, code: str) -> bool:
        try:
            self.devices.verify(device, Secret(code))
        except OtpIncorrect:
            return False
        return True

    def take(self, file: str) -> str:
        seed = bytearray(32)
        with Path(file).open("rb", buffering=0) as source:
            source.readinto(seed)
        parameters = OtpParameters(kind="hotp", hash_name="sha256")
        return self.devices.add(NewDevice(parameters, sealed=self.vault.take(seed, "sha256"), origin="file")).id

    def keep(self, device: str) -> str:
        _, sealed = self.devices.for_export(device, "qr")
        self.kept.append(self.vault.reveal_unprotected(sealed))
        return "kept"

    def rotate(self) -> str:
        return self.rotation.run().current

    def until(self, file: str, device: str, seed: str) -> int:
        counter = accepted = 0
        while not Path(file).exists():
            code = hotp.code(lambda message: hmac.digest(bytes.fromhex(seed), message, "sha1"), counter)
            assert self._verified(device, code), counter
            counter, accepted = counter + 1, accepted + 1
        return accepted


if __name__ == "__main__":
    worker = Worker(json.loads(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        order, *words = line.split()
        print(getattr(worker, order)(*words), flush=True)
