"""Signing again after p11-kit's server was restarted, as a multiple of a cold open, login and signature through it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from place import Place, Row

TARGET = 3.0
LABEL = "recovery"
COLD = """
import sys
from time import perf_counter
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.pkcs11.pin import PinSource
import dojang.pkcs11.discovery, dojang.pkcs11.guard, dojang.pkcs11.opened
uri, source, module, label = sys.argv[1:]
search, pin = ModuleSearch(module=module, discover=False), PinSource.parse(source)
begun = perf_counter()
with open_token(uri, pin, search=search) as token:
    token.signer(label=label).sign_digest(bytes(range(32)), "sha256")
    print(perf_counter() - begun)
"""


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    from dojang.pkcs11 import ModuleSearch, open_token
    from dojang.secret import Secret
    from dojang.testing.modules.parts import library

    client, socket = library("pkcs11/p11-kit-client.so", "p11-kit-modules"), place.folder / "socket"
    os.environ["P11_KIT_SERVER_ADDRESS"] = f"unix:path={socket}"
    words = [place.uri, place.pin_source, str(client), LABEL]
    colds, agains, server = [], [], _serve(place, socket)
    try:
        with open_token(place.uri, Secret(place.pin), search=ModuleSearch(module=str(client), discover=False)) as token:
            signer = token.generate_key_pair("ec-p256", label=LABEL).signer
            signer.sign_digest(bytes(range(32)), "sha256")
            for _ in range(rounds):
                cold = subprocess.run([sys.executable, "-c", COLD, *words], check=True, capture_output=True, text=True)
                colds.append(float(cold.stdout))
                _kill(server)
                server = _serve(place, socket)
                begun = perf_counter()
                signer.sign_digest(bytes(range(32)), "sha256")
                agains.append(perf_counter() - begun)
    finally:
        _kill(server)
    ratio = median(again / cold for again, cold in zip(agains, colds, strict=True))
    detail = f"{median(agains) * 1000:.1f} ms, cold {median(colds) * 1000:.1f} ms"
    return [Row("recovery", "p11-kit server restarted", ratio, TARGET, False, detail)]


def _serve(place: Place, socket: Path) -> "subprocess.Popen[bytes]":
    socket.unlink(missing_ok=True)
    command = ["p11-kit", "server", "-f", "-n", socket, "--provider", place.module, place.uri]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while not socket.exists():
        sleep(0.001)
    return server


def _kill(server: "subprocess.Popen[bytes]") -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
