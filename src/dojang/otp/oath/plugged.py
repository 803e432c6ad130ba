"""What is plugged in now, told quickly and without side effects: for whoever could offer a code, or shows a token.

Nothing is asked of a person and nothing is computed; a device with a password tells only that it is there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dojang.errors import DojangError, ExtraMissing
from dojang.otp.base import Seed
from dojang.otp.oath.extra import smartcard_extra

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
            from dojang.otp.oath.exchange import told
    except ExtraMissing:
        return []
    try:
        with told(reader or ""):
            found, _ = look(patience=_NO_PATIENCE, only=reader)
    except DojangError:
        return []
    return [described for one in found if (described := _described(one)) is not None]


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
