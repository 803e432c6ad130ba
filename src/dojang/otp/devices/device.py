"""A registered device as a value, and what one is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row, Table

from dojang.errors import InvalidOtp, NotPermitted, Phrase
from dojang.otp import tables
from dojang.otp.parameters import OtpParameters

if TYPE_CHECKING:
    from dojang.otp.vault import Sealed

TABLE: Final[Table] = tables.otp_device
LARGEST: Final = 1 << 62
"""No counter goes as far; it still is a number for every database."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device as everybody may see it.

    ``counter`` is the first one that may still be accepted, of TOTP the first time step; ``drift`` is how many steps
    its clock is ahead. ``state`` is ``active``, ``locked`` (too many wrong codes), ``suspended`` or ``removed``.
    """

    id: str
    applicant: str | None
    name: str
    parameters: OtpParameters
    exportable: bool
    counter: int
    drift: int
    wrong_tries: int
    state: str
    created_at: datetime
    changed_at: datetime
    last_used_at: datetime | None
    challenge: str | None = None
    challenged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device to register. Without ``sealed`` the HSM makes its seed; ``origin`` tells where it comes from.

    ``id`` where it has one already, as in a file of a manufacturer. ``exportable``: its seed may be given out later.
    ``drift`` is how many steps its clock is known to be ahead.
    """

    parameters: OtpParameters
    applicant: str | None = None
    name: str = ""
    sealed: "Sealed | None" = field(default=None, repr=False)
    counter: int = 0
    exportable: bool = False
    origin: str = "made"
    id: str | None = None
    drift: int = 0

    def __post_init__(self) -> None:
        suite = self.parameters.ocra if self.parameters.kind == "ocra" else None
        if suite is not None and (suite.pin_hash is not None or suite.session is not None):
            raise InvalidOtp(problem=Phrase("a registered device answers a challenge alone, without PIN and session"))
        if not 0 <= self.counter < LARGEST:
            raise InvalidOtp(problem=Phrase("the counter is a number from 0 to 2^62"))


def device_in(row: Row[Any], tries: int) -> Device:
    """What a row of the table tells; ``tries`` wrong codes lock it, whatever became of who counted the last one."""
    is_locked = row.state == "active" and row.wrong_tries >= tries
    return Device(
        id=row.id,
        applicant=row.applicant,
        name=row.name,
        parameters=_parameters_in(row),
        exportable=row.exportable,
        counter=row.counter,
        drift=row.drift,
        wrong_tries=row.wrong_tries,
        state="locked" if is_locked else row.state,
        created_at=row.created_at,
        changed_at=row.changed_at,
        last_used_at=row.last_used_at,
        challenge=row.challenge,
        challenged_at=row.challenged_at,
    )


def columns_of(parameters: OtpParameters) -> Mapping[str, Any]:
    """How parameters are kept; issuer and account are on the device only."""
    return {
        "kind": parameters.kind,
        "hash": parameters.hash_name,
        "digits": parameters.digits,
        "period": parameters.period,
        "suite": parameters.suite,
    }


def named(device: str) -> Phrase:
    """A device in words."""
    return Phrase("device {id}", id=device[:64])


def refused(device: str, state: str) -> NotPermitted:
    """The device cannot do that as it stands."""
    problems = {
        "active": Phrase("device {id} is in use", id=device[:64]),
        "locked": Phrase("device {id} is locked after too many wrong codes", id=device[:64]),
        "suspended": Phrase("device {id} is suspended", id=device[:64]),
        "removed": Phrase("device {id} was removed", id=device[:64]),
    }
    return NotPermitted(problem=problems[state], remedy=Phrase("See: {command}", command="dojang otp list --ca NAME"))


def _parameters_in(row: Row[Any]) -> OtpParameters:
    if row.suite is not None:
        return OtpParameters(kind="ocra", suite=row.suite)
    return OtpParameters(kind=row.kind, hash_name=row.hash, digits=row.digits, period=row.period)
