"""A PKCS#11 module in a process of its own: the functions are called here and carried out there.

``move_away()`` in a process that has loaded no module yet; from then on no module is loaded in it, and none of what a
token knows is in its memory. Run as a program, it is the other process: it loads the module and does what it is told.
With ``pause`` it stops in each C_Sign until it is told to go on, with the key in its hands.
"""

import ctypes
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from dojang.pkcs11.cryptoki import Cryptoki, CryptokiError
from dojang.pkcs11.structures import AttributeReader, Mechanism, MechanismStruct


class FarModule(Cryptoki):
    """Looks like the functions of a module."""

    def __init__(self, path: str, pause: str) -> None:
        ours, theirs = Pipe()
        command = [sys.executable, "-m", "tests.otp.devices.far_token", str(theirs.fileno()), path, pause]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self._line: Connection = ours
        self._sign_with = 0

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name in ("sign_init", "sign_into", "function", "load"):
            return object.__getattribute__(self, name)
        return lambda *given, **named: self._ask(name, [_packed(one) for one in given], named)

    def _ask(self, name: str, given: list[Any], named: dict[str, Any]) -> Any:
        self._line.send((name, given, named))
        answer, error = self._line.recv()
        if error is not None:
            raise CryptokiError(*error)
        return answer

    def function(self, name: str) -> Any:
        raise CryptokiError(name, 0x54)

    def sign_init(self, session: int, mechanism: int, key: int) -> int:
        self._sign_with = MechanismStruct.from_address(mechanism).mechanism
        return int(self._ask("sign_init", [session, self._sign_with, key], {}))

    def sign_into(self, session: int, data: bytes, size: int, place: int, length: int) -> int:
        rv, signature = self._ask("sign_into", [session, data[:size]], {})
        ctypes.memmove(place, signature, len(signature))
        ctypes.c_ulong.from_address(length).value = len(signature)
        return int(rv)


def move_away(pause: str = "-") -> None:
    """From now on modules are loaded elsewhere."""
    Cryptoki.load = classmethod(lambda _, path: FarModule(path, pause))  # type: ignore[method-assign,assignment]


def _packed(one: Any) -> Any:
    if isinstance(one, Mechanism):
        return ("mechanism", one.number)
    return ("reader", one.kinds) if isinstance(one, AttributeReader) else ("plain", one)


def _unpacked(one: Any) -> Any:
    kind, value = one
    return {"mechanism": Mechanism, "reader": AttributeReader, "plain": lambda same: same}[kind](value)


class Server:
    """Carries out what the other side asks for."""

    def __init__(self, path: str, pause: str) -> None:
        self.module, self.pause = Cryptoki.load(path), pause

    def sign_init(self, session: int, number: int, key: int) -> int:
        self._mechanism = Mechanism(number)
        return self.module.sign_init(session, self._mechanism.address, key)

    def sign_into(self, session: int, data: bytes) -> tuple[int, bytes]:
        if self.pause != "-":
            Path(self.pause + ".reached").touch()
            Path(self.pause).read_text()  # a pipe: it ends when somebody opens and closes its other end
        room, length = ctypes.create_string_buffer(512), ctypes.c_ulong(512)
        place = ctypes.addressof(room), ctypes.addressof(length)
        rv = self.module.sign_into(session, data, len(data), *place)
        return rv, room.raw[: length.value]

    def do(self, name: str, given: list[Any], named: dict[str, Any]) -> Any:
        if name in ("sign_init", "sign_into"):
            return getattr(self, name)(*given)
        return getattr(self.module, name)(*(_unpacked(one) for one in given), **named)


def serve(line: Connection, server: Server) -> None:
    while True:
        try:
            name, given, named = line.recv()
        except EOFError:
            return
        try:
            line.send((server.do(name, given, named), None))
        except CryptokiError as error:
            line.send((None, (error.function, error.rv)))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), Server(sys.argv[2], sys.argv[3]))
