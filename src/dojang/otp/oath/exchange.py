"""One exchange with the OATH application of a device: selected, unlocked, and what goes wrong told in our words."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from yubikit.core import ApplicationNotAvailableError, CommandError
from yubikit.core.smartcard import SW, ApduError
from yubikit.oath import OathSession

from dojang.errors import (
    DeviceBusy,
    DeviceFailure,
    DevicePasswordIncorrect,
    DeviceRefused,
    DojangError,
    Phrase,
    TokenFull,
    TokenRemoved,
)
from dojang.otp.oath.wire import Endless, Line, WireError, line
from dojang.secret import Secret

PATIENCE: Final = 5.0
"""Seconds that a card is waited for which another program has to itself."""

_NONSENSE: Final = (ValueError, LookupError, TypeError, struct.error, CommandError, Endless)
"""What Yubico's library raises over an answer that is cut off, has wrong tags or never ends."""

_WRONG_PASSWORD: Final = frozenset(
    {SW.INCORRECT_PARAMETERS, SW.DATA_INVALID, SW.SECURITY_CONDITION_NOT_SATISFIED, SW.VERIFY_FAIL_NO_RETRY}
)


@contextmanager
def exchange(reader: str, name: str, *, patience: float | None = None) -> Iterator[OathSession]:
    """The OATH application on the card in ``reader``, selected and alone with us.

    ``TokenRemoved`` when the card goes, ``DeviceBusy`` when another program keeps it, ``DeviceFailure`` over nonsense.
    """
    with told(name), line(reader, patience=PATIENCE if patience is None else patience) as opened:
        yield OathSession(opened)


@contextmanager
def told(name: str) -> Iterator[None]:
    """Turn what PC/SC, the device or Yubico's library complains about into an error about the device ``name``."""
    try:
        yield
    except DojangError:
        raise
    except WireError as error:
        raise _wire_error(name, error) from error
    except ApduError as error:
        raise refusal(name, error) from error
    except _NONSENSE as error:
        raise DeviceFailure(token=name, function="OATH", result=Phrase("what is no answer")) from error


def unlock(session: OathSession, address: str, password: Secret) -> None:
    """Prove the password, once; ``DevicePasswordIncorrect``."""
    try:
        session.validate(session.derive_key(password.reveal().decode(errors="replace")))
    except ApduError as error:
        if error.sw not in _WRONG_PASSWORD:
            raise
        raise DevicePasswordIncorrect(address=address) from error


def refusal(name: str, error: ApduError) -> DojangError:
    """What a status word means."""
    if error.sw == SW.NO_SPACE:
        return TokenFull(token=name, next_step="Delete a seed that is no longer needed: dojang otp list oath:")
    return DeviceRefused(
        token=name,
        function="OATH",
        result=f"{error.sw:04X}",
        next_step="See what is there: dojang otp list oath:",
    )


def has_oath(opened: Line) -> OathSession | None:
    """The OATH application, ``None`` where the card has none."""
    try:
        return OathSession(opened)
    except ApplicationNotAvailableError:
        return None


def _wire_error(name: str, error: WireError) -> DojangError:
    if error.gone:
        return TokenRemoved(token=name)
    kind = DeviceBusy if error.busy else DeviceFailure
    return kind(token=name, function=error.function, result=error.words)
