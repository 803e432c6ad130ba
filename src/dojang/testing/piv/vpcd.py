"""The wire between a reader and its card: vpcd's protocol (two bytes of length, then an APDU or a control byte)."""

import socket
import threading
import time
from contextlib import suppress
from typing import Final, Protocol

from dojang.testing.piv.faults import Pulled, Reseated
from dojang.testing.setup import BringUpFailed

POWER_OFF, POWER_ON, RESET, ASK_ATR = 0, 1, 2, 4
_PATIENCE: Final = 20.0
_LOOKS_BEFORE_POWER: Final = 3
"""pcscd looks twice before it powers a card. A third look without power means that it takes this card for the one that
left in the middle of a command: it has to see the reader empty first."""

_BETWEEN_LOOKS: Final = 0.6
"""Seconds in which pcscd looks at least once, whether there is a card in the reader."""


class Powered(Protocol):
    """What is in the plug: something that answers commands and can lose power."""

    @property
    def atr(self) -> bytes: ...

    def power_on(self) -> None: ...

    def transmit(self, apdu: bytes) -> bytes: ...


class Plug(threading.Thread):
    """Holds one card in one reader until it is pulled, a fault pulls it, or the reader's daemon ends."""

    def __init__(self, card: Powered, port: int) -> None:
        super().__init__(name=f"card in reader {port}", daemon=True)
        self._card = card
        self._port = port
        self._line = self._connect()
        self._powered = threading.Event()
        self._pulled = False
        self._gone = False

    @property
    def holds(self) -> bool:
        """Whether the card is in the reader; not so any more before the reader hears that it is pulled."""
        return self.is_alive() and not self._gone

    def push(self) -> None:
        """Begin, and wait until the reader has powered the card and knows what it is."""
        self.start()
        if not self._powered.wait(_PATIENCE):
            self.pull()
            raise BringUpFailed(f"The reader at port {self._port} did not take the card.")

    def pull(self) -> None:
        """End."""
        self._pulled = True
        self._hang_up()
        if threading.current_thread() is not self:
            self.join()

    def run(self) -> None:
        """Serve, and come back after every loss of power."""
        while not self._pulled:
            try:
                self._serve()
            except Reseated:
                self._hang_up()
                with suppress(OSError):
                    self._line = self._connect()
                    continue
            except (Pulled, OSError):
                pass
            break
        self._gone = True
        self._hang_up()

    def _serve(self) -> None:
        self._card.power_on()
        on, looks = False, 0
        while True:
            message = self._receive(int.from_bytes(self._receive(2), "big"))
            if len(message) != 1:
                self._send(self._card.transmit(message))
            elif message[0] in (POWER_ON, POWER_OFF, RESET):
                self._card.power_on()
                on = message[0] != POWER_OFF
            elif message[0] == ASK_ATR:
                self._send(self._card.atr)
                looks += 1
                if on:
                    self._powered.set()
                elif looks == _LOOKS_BEFORE_POWER:
                    self._hang_up()
                    time.sleep(_BETWEEN_LOOKS)  # clients that go on sending hide an emptiness that is shorter
                    raise Reseated

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            # vpcd sends a length and then the rest; unless we acknowledge at once its kernel keeps the rest for 40 ms.
            if hasattr(socket, "TCP_QUICKACK"):
                self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            more = self._line.recv(count - len(data))
            if not more:
                raise Pulled
            data += more
        return data

    def _send(self, data: bytes) -> None:
        self._line.sendall(len(data).to_bytes(2, "big") + data)

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self._port), timeout=None)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()
