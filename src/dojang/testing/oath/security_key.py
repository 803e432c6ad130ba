"""A security key: the emulated PIV card with an OATH and a management application beside, one chosen by SELECT."""

import secrets
from typing import Any, Final, Protocol

from dojang.testing.oath import applet, management
from dojang.testing.oath.applet import OathApplet, OathIns
from dojang.testing.oath.finger import Finger
from dojang.testing.oath.management import ManagementApplet
from dojang.testing.piv.apdu import Command, Ins
from dojang.testing.piv.card import Card

VERSION: Final = (5, 4, 3)
_BY_NAME: Final = 0x04


class _Applet(Protocol):
    def select(self) -> bytes: ...

    def obey(self, command: Command) -> bytes: ...


class SecurityKey(Card):
    """A PIV ``Card`` that has one-time passwords too: ``oath`` is what is stored, ``finger`` touches the device.

    Choosing another application ends what was proved to the one before, as on the real ones: a PIN is asked anew.
    """

    def __init__(self, *, serial: int | None = None, version: tuple[int, int, int] = VERSION, **card: Any) -> None:
        """``serial`` is the number printed on the device; ``card`` is what ``Card`` takes."""
        self.serial = serial or 10_000_000 + secrets.randbelow(90_000_000)
        self.finger = Finger()
        self.oath = OathApplet(self.finger, version)
        self._applets: dict[bytes, _Applet] = {
            applet.AID: self.oath,
            management.AID: ManagementApplet(self.serial, version),
        }
        super().__init__(**card)

    def power_on(self) -> None:
        super().power_on()
        self._chosen: _Applet | None = None
        self.oath.power_on()

    def _perform(self, command: Command) -> bytes:
        if self._chosen is self.oath and command.ins == OathIns.SEND_REMAINING:
            return self._rest
        return super()._perform(command)

    def _obey(self, command: Command) -> bytes:
        # CALCULATE ALL has the number of SELECT and other parameters.
        if self._chosen and (command.ins, command.p1) != (Ins.SELECT, _BY_NAME):
            return self._chosen.obey(command)
        chosen = self._applets.get(command.data) if command.ins == Ins.SELECT else None
        if chosen is None:
            answer = super()._obey(command)
            self._chosen = None
            return answer
        super().power_on()
        self._chosen = chosen
        return chosen.select()
