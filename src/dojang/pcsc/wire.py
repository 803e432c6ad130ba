"""The line to a card in a PC/SC reader: shared with other programs, and alone with the card for one exchange.

Every exchange is one PC/SC transaction that begins with SELECT, so that nothing of another program (OpenSC with the
PIV keys of the same device, in this process or another) comes between, and leaves the card powered as it was. Whoever
comes next selects its own application again; OpenSC does, and proves its PIN again where the card forgot it.

This loads pyscard and Yubico's library (the extra ``smartcard``); nothing else here may at import.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from smartcard import scard
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import SmartCardConnection

from dojang.pcsc.aside import aside

_MORE: Final = 0x61
_MOST_PARTS: Final = 256
"""Parts of one answer, of 256 bytes each: several times what a full device lists."""
PATIENCE: Final = 5.0
"""Seconds that a card is waited for which another program has to itself."""
_PAUSE: Final = 0.05
_NO_READERS: Final = {scard.SCARD_E_NO_READERS_AVAILABLE}
_NO_SERVICE: Final = {scard.SCARD_E_NO_SERVICE, scard.SCARD_E_SERVICE_STOPPED}
_PROTOCOLS: Final = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1


class WireError(Exception):
    """What PC/SC said (``result``) when ``function`` was called."""

    def __init__(self, function: str, result: int) -> None:
        super().__init__(f"{function}: {scard.SCardGetErrorMessage(result)}")
        self.function = function
        self.result = result & 0xFFFFFFFF

    @property
    def words(self) -> str:
        return str(scard.SCardGetErrorMessage(self.result)).rstrip(".")

    @property
    def gone(self) -> bool:
        """Whether the card or its reader is not there any more, or stopped in the middle of an answer."""
        return self.result in _GONE

    @property
    def busy(self) -> bool:
        return self.result in _BUSY

    @property
    def no_service(self) -> bool:
        return self.result in _NO_SERVICE


class Endless(Exception):
    """The card says that there is more, and more, and more."""


_GONE: Final = frozenset(
    {
        scard.SCARD_W_REMOVED_CARD,
        scard.SCARD_E_NO_SMARTCARD,
        scard.SCARD_W_UNPOWERED_CARD,
        scard.SCARD_W_UNRESPONSIVE_CARD,
        scard.SCARD_W_RESET_CARD,
        scard.SCARD_E_READER_UNAVAILABLE,
        scard.SCARD_E_UNKNOWN_READER,
        scard.SCARD_E_NOT_TRANSACTED,
        scard.SCARD_E_INVALID_HANDLE,
        scard.SCARD_E_COMM_DATA_LOST,
        scard.SCARD_F_COMM_ERROR,
        *_NO_SERVICE,
    }
)
_BUSY: Final = frozenset({scard.SCARD_E_SHARING_VIOLATION})


def readers() -> list[str]:
    """The readers that hold a card now, by name; none where no PC/SC daemon runs. Nothing is said to any card."""
    try:
        with _context() as context:
            result, names = _call(scard.SCardListReaders, context, [])
            if result in _NO_READERS:
                return []
            _check("SCardListReaders", result)
            asked = [(name, scard.SCARD_STATE_UNAWARE) for name in names]
            result, states = _call(scard.SCardGetStatusChange, context, 0, asked)
            _check("SCardGetStatusChange", result)
    except WireError as error:
        if error.no_service:
            return []
        raise
    return [name for name, state, _ in states if state & scard.SCARD_STATE_PRESENT]


def service_runs() -> bool:
    """Whether a PC/SC daemon answers."""
    try:
        with _context():
            return True
    except WireError:
        return False


class Line(SmartCardConnection):
    """What Yubico's library sends its commands through."""

    # Short commands, which every reader and every device takes; USB would mean extended ones.
    transport = TRANSPORT.NFC

    def __init__(self, card: int, protocol: int) -> None:
        self._card = card
        self._header = scard.SCARD_PCI_T1 if protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0
        self._parts = 0

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        """One command; ``Endless`` for an answer that has too many parts."""
        result, answer = _call(scard.SCardTransmit, self._card, self._header, list(apdu))
        _check("SCardTransmit", result)
        if len(answer) < 2:
            raise WireError("SCardTransmit", scard.SCARD_F_COMM_ERROR)
        data = bytes(byte & 0xFF for byte in answer)
        self._parts = self._parts + 1 if data[-2] == _MORE else 0
        if self._parts > _MOST_PARTS:
            raise Endless
        return data[:-2], int.from_bytes(data[-2:], "big")

    def close(self) -> None:
        """Nothing: who opened it closes it (``line``)."""


@contextmanager
def line(reader: str, *, patience: float) -> Iterator[Line]:
    """The card in ``reader`` to ourselves until the end of the block.

    A card that another program keeps for itself is waited for as many seconds as ``patience`` says.
    """
    with _context() as context:
        card, protocol = _connected(context, reader, time.monotonic() + patience)
        try:
            _check("SCardBeginTransaction", _call(scard.SCardBeginTransaction, card))
            try:
                yield Line(card, protocol)
            finally:
                _release(scard.SCardEndTransaction, card, scard.SCARD_LEAVE_CARD)
        finally:
            _release(scard.SCardDisconnect, card, scard.SCARD_LEAVE_CARD)


def _connected(context: int, reader: str, deadline: float) -> tuple[int, int]:
    while True:
        result, card, protocol = _call(scard.SCardConnect, context, reader, scard.SCARD_SHARE_SHARED, _PROTOCOLS)
        if result & 0xFFFFFFFF not in _BUSY or time.monotonic() >= deadline:
            _check("SCardConnect", result)
            return card, protocol
        time.sleep(_PAUSE)


@contextmanager
def _context() -> Iterator[int]:
    result, context = _call(scard.SCardEstablishContext, scard.SCARD_SCOPE_USER)
    _check("SCardEstablishContext", result)
    try:
        yield context
    finally:
        _release(scard.SCardReleaseContext, context)


def _call(function: Callable[..., Any], *given: Any) -> Any:
    """What PC/SC returns. Ctrl-C, which is the main thread's, need not wait for a daemon that does not answer."""
    if threading.current_thread() is not threading.main_thread():
        return function(*given)
    return aside(partial(function, *given), "PC/SC")(None)


def _release(function: Callable[..., Any], *given: Any) -> None:
    """Give something back; after Ctrl-C nobody waits until the call that was left has ended, and this one with it."""
    if isinstance(sys.exc_info()[1], KeyboardInterrupt):
        aside(partial(function, *given), "PC/SC")
    else:
        _call(function, *given)


def _check(function: str, result: int) -> None:
    if result != scard.SCARD_S_SUCCESS:
        raise WireError(function, result)
