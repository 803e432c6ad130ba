"""A seed put into an OATH application: never over another one, and proved by what the device computes with it.

PUT is one command, done or not done, so a run that is killed leaves nothing half made: the same command again finds
the account and says so.
"""

import hmac
import re
from typing import Final

from yubikit.oath import HASH_ALGORITHM, OATH_TYPE, CredentialData, OathSession

from dojang.errors import (
    AlreadyExists,
    DeviceDisobeyed,
    InvalidOtp,
    NothingToDo,
    Phrase,
    UnsupportedOperation,
)
from dojang.otp.base import NewSeed, Seed
from dojang.otp.oath.address import OathAddress
from dojang.otp.oath.stored import DEFAULT_PERIOD, LONG_AGO, Stored, stored

_LONGEST_NAME: Final = 64
_LOOKS_LIKE_PERIOD: Final = re.compile(r"\d+/", re.ASCII)
_SINCE: Final = {"sha512": (4, 3, 1), "touch": (4, 2, 6)}


def refuse_unfit(new: NewSeed, address: str) -> None:
    """Before anything is asked of the device: what no OATH application holds, or would take for something else."""
    if new.parameters.kind == "ocra":
        raise UnsupportedOperation(where=address, operation=Phrase("compute OCRA"))
    if new.secret is None:
        raise UnsupportedOperation(
            where=address,
            operation=Phrase("make a seed itself"),
            next_step="Give the seed with --uri-source or --pskc.",
        )
    if not len(new.secret):
        raise InvalidOtp(problem="the seed is empty")
    if not new.name or _LOOKS_LIKE_PERIOD.match(_with_issuer(new)):
        raise InvalidOtp(problem="the name is empty, or begins with digits and '/', which a device takes for seconds")
    if not _is_text(_with_issuer(new)):
        raise InvalidOtp(problem="the name is not UTF-8")
    if len(_data(new).get_id()) > _LONGEST_NAME:
        raise InvalidOtp(problem=Phrase("a device keeps at most {longest} bytes of a name", longest=_LONGEST_NAME))


def put(session: OathSession, new: NewSeed, device: str) -> Seed:
    """``AlreadyExists`` for a name in use, ``NothingToDo`` where it is this very seed."""
    _refuse_too_new(session, new, device)
    data = _data(new)
    for one in stored(session):
        if one.credential_id == data.get_id():
            raise _exists(session, one, data, device)
    made = session.put_credential(data, new.touch)
    one = Stored(made.id, data.oath_type, data.hash_algorithm.name.lower(), data.digits, new.touch)
    if _can_compare(one) and not _computes_alike(session, one, data):
        session.delete_credential(made.id)
        raise DeviceDisobeyed(token=device, problem=Phrase("it computes other codes than the seed has"))
    return one.seed(device)


def _data(new: NewSeed) -> CredentialData:
    parameters = new.parameters
    assert new.secret is not None
    return CredentialData(
        name=_with_issuer(new),
        oath_type=OATH_TYPE[parameters.kind.upper()],
        hash_algorithm=HASH_ALGORITHM[parameters.hash_name.upper()],
        secret=new.secret.reveal(),
        digits=parameters.digits,
        period=parameters.period if parameters.kind == "totp" else DEFAULT_PERIOD,
        counter=new.counter,
    )


def _with_issuer(new: NewSeed) -> str:
    """Devices keep one text, in which the issuer stands before a colon."""
    issuer = new.parameters.issuer
    return new.name if not issuer or new.name.startswith(f"{issuer}:") else f"{issuer}:{new.name}"


def _is_text(name: str) -> bool:
    """Bytes that a shell took for a name and that are none come as surrogates."""
    return all(not 0xD800 <= ord(one) < 0xE000 for one in name)


def _refuse_too_new(session: OathSession, new: NewSeed, device: str) -> None:
    """What this device learnt in a later version."""
    where = str(OathAddress(device))
    if new.parameters.hash_name == "sha512" and session.version < _SINCE["sha512"]:
        raise UnsupportedOperation(where=where, operation=Phrase("compute SHA-512"))
    if new.touch and session.version < _SINCE["touch"]:
        raise UnsupportedOperation(where=where, operation=Phrase("wait for a touch"))


def _exists(session: OathSession, one: Stored, data: CredentialData, device: str) -> AlreadyExists | NothingToDo:
    there = one.seed(device)
    alike = (one.kind, one.hash_name, one.digits) == (data.oath_type, data.hash_algorithm.name.lower(), data.digits)
    if alike and _can_compare(one) and _computes_alike(session, one, data):
        problem = Phrase("this seed is on the device already, as {address}", address=there.address)
        return NothingToDo(problem=problem, address=there.address, next_step="Use it: dojang otp code '{address}'")
    return AlreadyExists(
        what=there.name,
        where=there.address,
        next_step="Choose another --name, or remove that one first: dojang otp delete '{where}'",
    )


def _can_compare(one: Stored) -> bool:
    """Asking costs nothing: no counter goes on, and nobody has to touch anything."""
    return one.kind == OATH_TYPE.TOTP and not one.touch


def _computes_alike(session: OathSession, one: Stored, data: CredentialData) -> bool:
    """Whether the device's HMAC over a moment long ago is that of the seed."""
    theirs = session.calculate(one.credential_id, LONG_AGO)
    return hmac.compare_digest(theirs, hmac.digest(data.secret, LONG_AGO, one.hash_name))
