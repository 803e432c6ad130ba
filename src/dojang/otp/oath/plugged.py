"""What is plugged in now, told quickly and without side effects: for whoever could offer a code, or shows a token.

Nothing is asked of a person and nothing is computed; a device with a password tells only that it is there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dojang.errors import DojangError, ExtraMissing
from dojang.otp.base import Seed
from dojang.pcsc.extra import smartcard_extra
from dojang.pcsc.naming import fits

if TYPE_CHECKING:
    from dojang.otp.oath.discovery import Found

_NO_PATIENCE: Final = 0.0


@dataclass(frozen=True, slots=True)
class Plugged:
    """A device with its seeds; ``locked`` devices have them behind a password, and tell none."""

    address: str
    name: str
    reader: str
    locked: bool
    seeds: tuple[Seed, ...]


def plugged(*, reader: str | None = None) -> list[Plugged]:
    """The OATH devices (in that reader only, if one is named); none without the extra or a PC/SC daemon.

    A device that is busy, fails or goes meanwhile is left out: whoever wants a code of it is told by ``open_at``.
    """
    try:
        with smartcard_extra():
            from dojang.otp.oath.discovery import look
            from dojang.otp.oath.exchange import APPLICATION
            from dojang.pcsc.told import told
    except ExtraMissing:
        return []
    try:
        with told(reader or "", APPLICATION):
            found, _ = look(patience=_NO_PATIENCE, only=reader)
    except DojangError:
        return []
    return [described for one in found if (described := _described(one)) is not None]


def beside(devices: "list[Plugged]", slot_description: str, token_serial: str) -> Plugged | None:
    """The device of ``devices`` that is the PKCS#11 token in that slot, too; ``None`` where that is not certain.

    Where the reader's name is cut off and fits several, the serial number decides: ykcs11 says the device's own. OpenSC
    makes its serial of the card's GUID, which is no help, so nothing is guessed then.
    """
    fitting = [one for one in devices if fits(one.reader, slot_description)]
    if len(fitting) > 1:
        fitting = [one for one in fitting if one.name == token_serial]
    return fitting[0] if len(fitting) == 1 else None


def _described(found: "Found") -> Plugged | None:
    from dojang.otp.oath.exchange import exchange
    from dojang.otp.oath.stored import stored

    seeds: tuple[Seed, ...] = ()
    try:
        if not found.locked:
            with exchange(found.reader, found.name, patience=_NO_PATIENCE) as session:
                seeds = tuple(one.seed(found.name) for one in stored(session))
    except DojangError:
        return None
    return Plugged(found.address, found.name, found.reader, found.locked, seeds)
