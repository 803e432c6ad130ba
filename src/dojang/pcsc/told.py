"""What PC/SC, a card or Yubico's library complains about, in our words."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from yubikit.core import CommandError
from yubikit.core.smartcard import SW, ApduError

from dojang.errors import DeviceBusy, DeviceFailure, DeviceRefused, DojangError, Phrase, TokenFull, TokenRemoved
from dojang.pcsc.wire import Endless, WireError

_NONSENSE: Final = (ValueError, LookupError, TypeError, struct.error, CommandError, Endless)
"""What Yubico's library raises over an answer that is cut off, has wrong tags or never ends."""


@contextmanager
def told(name: str, application: str) -> Iterator[None]:
    """Errors about the device ``name``: ``TokenRemoved`` when the card goes, ``DeviceBusy`` when another program keeps
    it, ``DeviceRefused`` and ``TokenFull`` for its status words, ``DeviceFailure`` over nonsense.
    """
    try:
        yield
    except DojangError:
        raise
    except WireError as error:
        raise _wire_error(name, error) from error
    except ApduError as error:
        raise _refusal(name, application, error) from error
    except _NONSENSE as error:
        raise DeviceFailure(token=name, function=application, result=Phrase("what is no answer")) from error


def _refusal(name: str, application: str, error: ApduError) -> DojangError:
    if error.sw == SW.NO_SPACE:
        return TokenFull(token=name, next_step="Delete what is no longer needed: dojang otp list oath:")
    return DeviceRefused(
        token=name,
        function=application,
        result=f"{error.sw:04X}",
        next_step="See what is there: dojang token list",
    )


def _wire_error(name: str, error: WireError) -> DojangError:
    if error.gone:
        return TokenRemoved(token=name)
    kind = DeviceBusy if error.busy else DeviceFailure
    return kind(token=name, function=error.function, result=error.words)
