"""One exchange with the OATH application of a device: selected, unlocked, and what goes wrong told in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from yubikit.core import ApplicationNotAvailableError
from yubikit.core.smartcard import SW, ApduError
from yubikit.oath import OathSession

from dojang.errors import DevicePasswordIncorrect
from dojang.pcsc.told import told
from dojang.pcsc.wire import PATIENCE, Line, line
from dojang.secret import Secret

APPLICATION: Final = "OATH"

_WRONG_PASSWORD: Final = frozenset(
    {SW.INCORRECT_PARAMETERS, SW.DATA_INVALID, SW.SECURITY_CONDITION_NOT_SATISFIED, SW.VERIFY_FAIL_NO_RETRY}
)


@contextmanager
def exchange(reader: str, name: str, *, patience: float | None = None) -> Iterator[OathSession]:
    """The OATH application on the card in ``reader``, selected and alone with us; errors as of ``told``."""
    with told(name, APPLICATION), line(reader, patience=PATIENCE if patience is None else patience) as opened:
        yield OathSession(opened)


def unlock(session: OathSession, address: str, password: Secret) -> None:
    """Prove the password, once; ``DevicePasswordIncorrect``."""
    try:
        session.validate(session.derive_key(password.reveal().decode(errors="replace")))
    except ApduError as error:
        if error.sw not in _WRONG_PASSWORD:
            raise
        raise DevicePasswordIncorrect(address=address) from error


def has_oath(opened: Line) -> OathSession | None:
    """The OATH application, ``None`` where the card has none."""
    try:
        return OathSession(opened)
    except ApplicationNotAvailableError:
        return None
