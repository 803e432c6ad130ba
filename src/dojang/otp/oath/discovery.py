"""The OATH devices that are plugged in now: which reader, which serial number, whether a password locks them."""

from dataclasses import dataclass
from typing import Final

from yubikit.core import ApplicationNotAvailableError, NotSupportedError
from yubikit.core.smartcard import ApduError
from yubikit.management import ManagementSession

from dojang.errors import AmbiguousToken, DojangError, Phrase, TokenNotFound
from dojang.otp.oath.address import SCHEME, OathAddress
from dojang.otp.oath.exchange import APPLICATION, has_oath
from dojang.pcsc.told import told
from dojang.pcsc.wire import PATIENCE, Line, line, readers, service_runs

_PLUG_IN: Final = Phrase("Plug it in; 'dojang otp list oath:' shows what is there.")
_NO_SERVICE: Final = Phrase("Start the PC/SC daemon (Debian: apt-get install pcscd; systemctl start pcscd.socket).")


@dataclass(frozen=True, slots=True)
class Found:
    """A device with an OATH application in ``reader``; ``identity`` is made anew when its application is reset.

    ``serial`` is the number printed on it, where it tells one.
    """

    reader: str
    serial: int | None
    identity: str
    locked: bool

    @property
    def name(self) -> str:
        return self.reader if self.serial is None else str(self.serial)

    @property
    def address(self) -> str:
        return str(OathAddress(self.name))


def look(*, patience: float, only: str | None = None) -> tuple[list[Found], list[DojangError]]:
    """Every OATH device (in the reader ``only``, if one is named), and what went wrong with other cards.

    Cards without the application are passed over, and one that fails hides no other.
    """
    found, problems = [], []
    for reader in readers():
        if only in (None, reader):
            try:
                with told(reader, APPLICATION), line(reader, patience=patience) as opened:
                    found += _look_at(reader, opened)
            except DojangError as problem:
                problems.append(problem)
    return found, problems


def pick(wanted: str | None) -> Found:
    """The one device with that serial number or in the reader of that name; the only one where nothing is named."""
    with told(wanted or SCHEME, APPLICATION):
        found, problems = look(patience=PATIENCE)
    fitting = [one for one in found if wanted in (None, one.name, one.reader)]
    if len(fitting) > 1:
        matches = ", ".join(one.address for one in fitting)
        raise AmbiguousToken(wanted=str(OathAddress(wanted)), matches=matches)
    if fitting:
        return fitting[0]
    if problems:
        raise problems[0]
    raise TokenNotFound(wanted=str(OathAddress(wanted)), next_step=_PLUG_IN if service_runs() else _NO_SERVICE)


def _look_at(reader: str, opened: Line) -> list[Found]:
    session = has_oath(opened)
    if session is None:
        return []
    return [Found(reader, _serial(opened), session.device_id, session.locked)]


def _serial(opened: Line) -> int | None:
    """The serial number that the management application tells; other makers' devices and old ones tell none."""
    try:
        return ManagementSession(opened).read_device_info().serial
    except (ApplicationNotAvailableError, NotSupportedError, ApduError):
        return None
