"""What an office orders of registered devices. No answer holds a seed; a seed that somebody is to see stays here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dojang.errors import Phrase, UnsupportedOperation

if TYPE_CHECKING:
    from dojang.authority.enrolment.arguments import Arguments
    from dojang.authority.enrolment.orders import Counter
    from dojang.otp.devices import Device, Devices
    from dojang.secret import Secret

Answer = dict[str, Any]


def _new(counter: "Counter", given: "Arguments") -> Answer:
    """Its seed is made by the HSM and does not leave: for a device that is provisioned from an export later on."""
    from dojang.otp.devices import NewDevice
    from dojang.otp.parameters import KINDS, OtpParameters

    said: dict[str, Any] = {
        "kind": given.one_of("kind", KINDS),
        "hash_name": given.maybe_text("hash"),
        "digits": given.maybe_number("digits"),
        "period": given.maybe_number("period"),
        "suite": given.maybe_text("suite"),
    }
    applicant, name = given.maybe_text("applicant"), given.maybe_text("name") or ""
    exportable = given.switch("exportable")
    given.finish()
    if applicant is not None:
        counter.office.applicant(applicant)
    parameters = OtpParameters(**{key: value for key, value in said.items() if value is not None})
    new = NewDevice(parameters, applicant, name, exportable=exportable)
    return {"device": device_data(_devices(counter).add(new))}


def _list(counter: "Counter", given: "Arguments") -> Answer:
    applicant, (after, limit) = given.maybe_text("applicant"), given.page()
    given.finish()
    found = _devices(counter).listed(applicant=applicant, after=after, limit=limit)
    return {"devices": [device_data(one) for one in found]}


def _challenge(counter: "Counter", given: "Arguments") -> Answer:
    question = given.maybe_text("question")
    device = _device(given)
    return {"device": device, "challenge": _devices(counter).challenge(device, question)}


def _verify(counter: "Counter", given: "Arguments") -> Answer:
    code, device = _code(given, "code"), _device(given)
    return {"device": device_data(_devices(counter).verify(device, code))}


def _resync(counter: "Counter", given: "Arguments") -> Answer:
    first, second, device = _code(given, "code"), _code(given, "next"), _device(given)
    return {"device": device_data(_devices(counter).resync(device, first, second))}


def _unlock(counter: "Counter", given: "Arguments") -> Answer:
    device = _device(given)
    return {"device": device_data(_devices(counter).unlock(device))}


def _suspend(counter: "Counter", given: "Arguments") -> Answer:
    reason, device = given.maybe_text("reason"), _device(given)
    return {"device": device_data(_devices(counter).suspend(device, reason or ""))}


def _restore(counter: "Counter", given: "Arguments") -> Answer:
    device = _device(given)
    return {"device": device_data(_devices(counter).restore(device))}


def _remove(counter: "Counter", given: "Arguments") -> Answer:
    reason, device = given.maybe_text("reason"), _device(given)
    return {"device": device_data(_devices(counter).remove(device, reason or ""))}


def device_data(device: "Device") -> Answer:
    """A device as every answer tells of it."""
    parameters = device.parameters
    return {
        "id": device.id,
        "applicant": device.applicant,
        "name": device.name,
        "kind": parameters.kind,
        "hash": parameters.hash_name,
        "digits": parameters.digits,
        "period": parameters.period if parameters.kind == "totp" else None,
        "suite": parameters.suite,
        "exportable": device.exportable,
        "state": device.state,
        "wrong_tries": device.wrong_tries,
        "drift": device.drift,
        "created_at": device.created_at.isoformat(),
        "last_used_at": None if device.last_used_at is None else device.last_used_at.isoformat(),
    }


def _code(given: "Arguments", name: str) -> "Secret":
    from dojang.secret import Secret

    return given.maybe_secret(name) or Secret("")


def _device(given: "Arguments") -> str:
    """The id of a device, the last argument to be taken."""
    device = given.text("device")
    given.finish()
    return device


def _devices(counter: "Counter") -> "Devices":
    if counter.devices is None:
        raise UnsupportedOperation(where=Phrase("This authority"), operation=Phrase("check one-time passwords"))
    return counter.devices()


DEVICE_ORDERS: Final[Mapping[str, tuple[Callable[["Counter", "Arguments"], Answer], bool]]] = MappingProxyType(
    {
        "otp.new": (_new, True),
        "otp.list": (_list, False),
        "otp.challenge": (_challenge, True),
        "otp.verify": (_verify, True),
        "otp.resync": (_resync, True),
        "otp.unlock": (_unlock, True),
        "otp.suspend": (_suspend, True),
        "otp.restore": (_restore, True),
        "otp.remove": (_remove, True),
    }
)
"""By name: what is done, and whether it changes anything. A registrar may order each."""
