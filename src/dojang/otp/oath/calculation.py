"""One code from an unlocked OATH application, and an account taken away."""

from datetime import UTC, datetime
from typing import Final

from yubikit.core.smartcard import SW, ApduError
from yubikit.oath import OATH_TYPE, Credential, OathSession

from dojang.errors import ObjectVanished, TouchTimedOut
from dojang.otp.base import Code, Seed

_GONE: Final = frozenset({SW.DATA_INVALID, SW.FILE_NOT_FOUND})
_DIGITS: Final = range(6, 11)


def calculated(session: OathSession, seed: Seed, at: datetime, device: str) -> Code:
    """The code of this one account; CALCULATE ALL is for none, and a counter goes on by one."""
    by_time = seed.parameters.kind == "totp"
    credential = Credential(
        device_id=session.device_id,
        id=seed.key_id,
        issuer=None,
        name=seed.name,
        oath_type=OATH_TYPE.TOTP if by_time else OATH_TYPE.HOTP,
        period=seed.parameters.period,
        touch_required=seed.touch,
    )
    try:
        code = session.calculate_code(credential, max(int(at.timestamp()), 1))
    except ApduError as error:
        if error.sw == SW.SECURITY_CONDITION_NOT_SATISFIED:  # the session is unlocked, so it is the finger
            raise TouchTimedOut(token=device) from error
        if error.sw in _GONE:
            raise _vanished(seed, device) from error
        raise
    if len(code.value) not in _DIGITS:
        raise ValueError("a code of so many digits is none")
    return Code(code.value, datetime.fromtimestamp(code.valid_to, UTC) if by_time else None)


def removed(session: OathSession, seed: Seed) -> None:
    """Delete it; gone is gone."""
    try:
        session.delete_credential(seed.key_id)
    except ApduError as error:
        if error.sw not in _GONE:
            raise


def _vanished(seed: Seed, device: str) -> ObjectVanished:
    return ObjectVanished(
        what=seed.name,
        token=device,
        address=seed.address.partition("/")[0],
        next_step="See what is there: dojang otp list '{address}'",
    )
