"""``dojang otp … --ca``: the devices that an authority has registered, whose seeds lie under a key on its token."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.ca_orders import day_and_time, is_ordered, ordered
from dojang.cli.context import Invocation
from dojang.cli.language import N_, _, say
from dojang.cli.otp_held import kind_words
from dojang.cli.otp_new_seed import new_seed
from dojang.cli.otp_qr import check_picture, write_picture
from dojang.cli.workplace import chosen_authority, open_authority_named
from dojang.errors import Phrase, Usage

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority
    from dojang.otp.base import NewSeed
    from dojang.otp.devices import Device
    from dojang.secret import Secret

STATES = {
    "active": N_("in use"),
    "locked": N_("locked"),
    "suspended": N_("suspended"),
    "removed": N_("removed"),
}


def add(invocation: Invocation, *, ca: str | None, officer: str | None, applicant: str | None, **given: Any) -> None:
    """Made by the authority's token or given; as a QR code it is shown once, where it is made, and never again."""
    picture: Path | None = given.pop("export_qr")
    show: bool = given.pop("show")
    if given["touch"] or given["pskc"] is not None:
        raise Usage(problem=N_("--touch is for devices at hand; files go in with: dojang otp import FILE --ca NAME"))
    authority = chosen_authority(invocation, ca)
    new = new_seed(invocation, "", given)
    plan = [
        say("Register a device ({kind}) for {applicant}", kind=kind_words(new.parameters), applicant=applicant or "-")
    ]
    if picture is not None:
        plan.append(say("Write its QR code into {file}", file=picture))
    if invocation.planned(plan, authority=authority):
        return
    if is_ordered(authority, officer):
        _order(invocation, authority, officer, new, applicant, given, shown=picture is not None or show)
        return
    if picture is not None:
        check_picture(picture)
    with open_authority_named(invocation, authority) as opened:
        if applicant is not None:
            opened.counter.office.applicant(applicant)
        device, uri = _registered(opened, new, applicant, given, picture, wanted=picture is not None or show)
    _show_added(invocation, authority, device, picture, uri if show else None)


def _order(
    invocation: Invocation,
    authority: str,
    officer: str | None,
    new: "NewSeed",
    applicant: str | None,
    given: Mapping[str, Any],
    *,
    shown: bool,
) -> None:
    """By an officer, here or from afar: the seed is made there, and goes into no order and no answer."""
    if shown or new.secret is not None or new.counter:
        raise Usage(problem=N_("an officer has a seed made; one is given or shown only where the authority is"))
    parameters = new.parameters
    wanted = {
        "kind": parameters.kind,
        "applicant": applicant,
        "name": given["name"],
        "exportable": given["exportable"],
    }
    if parameters.suite is not None:
        wanted["suite"] = parameters.suite
    else:
        wanted |= {"hash": parameters.hash_name, "digits": parameters.digits, "period": parameters.period}
    device = ordered(invocation, authority, "otp.new", wanted, officer)["device"]
    text = say("Device {id} ({kind})", id=device["id"], kind=_kind(device))
    invocation.result({"authority": authority, "device": device, "file": None}, text, quiet=[device["id"]])


def _registered(
    authority: "LocalAuthority",
    new: "NewSeed",
    applicant: str | None,
    given: Mapping[str, Any],
    picture: Path | None,
    *,
    wanted: bool,
) -> "tuple[Device, Secret | None]":
    """The device, and its seed as a URI where that is wanted; it is registered when its picture is whole, and of what
    fails neither is left.
    """
    from dojang.otp.devices import NewDevice
    from dojang.otp.devices.provisioning import provision, register, seal

    devices, origin = authority.devices, "made" if new.secret is None else "given"
    told = NewDevice(
        new.parameters, applicant, given["name"] or "", None, new.counter, exportable=given["exportable"], origin=origin
    )
    if not wanted:
        return devices.add(replace(told, sealed=seal(devices, new.parameters.hash_name, new.secret))), None
    issuer, account = new.parameters.issuer or authority.counter.called, new.parameters.account or new.name
    made = provision(devices, told, issuer, account, new.secret)
    if picture is None:
        return register(devices, made), made.uri
    write_picture(picture, made.uri)
    try:
        return register(devices, made), made.uri
    except Exception:
        picture.unlink(missing_ok=True)
        raise


def _show_added(
    invocation: Invocation, authority: str, device: "Device", picture: Path | None, uri: "Secret | None"
) -> None:
    from dojang.authority.factors.device_orders import device_data

    lines = [say("Device {id} ({kind})", id=device.id, kind=kind_words(device.parameters))]
    if picture is not None:
        lines += [say("Its QR code: {file}", file=picture), _("Have it read, and delete the file.")]
    if uri is not None:
        from dojang.otp.qr import on_terminal

        lines.append(on_terminal(uri))
    data = {"authority": authority, "device": device_data(device), "file": picture}
    shown = {"uri": uri.reveal().decode()} if uri is not None else {}
    invocation.result(data | shown, "\n".join(lines), quiet=[device.id])


def list_(invocation: Invocation, *, ca: str, applicant: str | None, officer: str | None) -> None:
    """Every device, page by page; no PIN is asked."""
    authority, found = chosen_authority(invocation, ca), list[dict[str, Any]]()
    while True:
        after = found[-1]["id"] if found else None
        wanted = {"applicant": applicant, "after": after, "limit": 1000}
        page = ordered(invocation, authority, "otp.list", wanted, officer)["devices"]
        found += page
        if len(page) < 1000:
            break
    columns = [N_("Device"), N_("Applicant"), N_("Name"), N_("Kind"), N_("State"), N_("Wrong tries"), N_("Last used")]
    rows = [
        [one["id"], one["applicant"] or "", one["name"], _kind(one), _state(one), one["wrong_tries"],
         day_and_time(one["last_used_at"]) if one["last_used_at"] else ""]
        for one in found
    ]  # fmt: skip
    text = invocation.out.table(columns, rows) if rows else _("There are no registered devices.")
    invocation.result({"authority": authority, "devices": found}, text, quiet=[one["id"] for one in found])


def verify(
    invocation: Invocation, device: str, *, ca: str, officer: str | None, code_source: str | None, **asked: Any
) -> None:
    """Exit status 13 for a code that is not accepted, whatever the reason; the list tells an officer more."""
    if any(asked.values()):
        raise Usage(problem=N_("what a registered device answers is asked with: dojang otp challenge ID"))
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Check a code of device {id}", id=device)], authority=authority):
        return
    code = _typed(invocation, code_source, "--code-source", _("Code"))
    answer = ordered(invocation, authority, "otp.verify", {"device": device, "code": _for(officer, code)}, officer)
    invocation.result({"authority": authority, "valid": True, **answer}, _("The code is right."))


def resync(
    invocation: Invocation,
    device: str,
    *,
    ca: str,
    officer: str | None,
    sources: tuple[str | None, str | None],
    counter: int | None,
) -> None:
    """By two codes that follow each other; a counter that somebody says proves nothing."""
    if counter is not None:
        raise Usage(problem=N_("a registered device is found again by two codes, not by a counter"))
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Find device {id} again by two codes", id=device)], authority=authority):
        return
    code = _typed(invocation, sources[0], "--code-source", _("Code"))
    following = _typed(invocation, sources[1], "--next-code-source", _("The code after that"))
    wanted = {"device": device, "code": _for(officer, code), "next": _for(officer, following)}
    _show(invocation, authority, ordered(invocation, authority, "otp.resync", wanted, officer))


def delete(invocation: Invocation, device: str, *, ca: str, officer: str | None, yes: str | None) -> None:
    """Its id is typed or passed once more."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Remove device {id} for good", id=device)], authority=authority):
        return
    what = say("device {id}", id=device)
    invocation.confirm_serial(device, yes, what=what, option="--yes ID", question=N_("The device's id"))
    _show(invocation, authority, ordered(invocation, authority, "otp.remove", {"device": device}, officer))


def decide(
    invocation: Invocation, ca: str | None, officer: str | None, method: str, wanted: dict[str, Any], step: str
) -> None:
    """Give an order about one device, and show where it stands now."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([step], authority=authority):
        return
    _show(invocation, authority, ordered(invocation, authority, method, wanted, officer))


def _show(invocation: Invocation, authority: str, answer: Mapping[str, Any]) -> None:
    device = answer["device"]
    text = say("Device {id}: {state}", id=device["id"], state=_state(device))
    invocation.result({"authority": authority, **answer}, text, quiet=[device["state"]])


def _state(device: Mapping[str, Any]) -> str:
    state = device["state"]
    return _(STATES[state])


def _kind(device: Mapping[str, Any]) -> str:
    words = device["suite"] or f"{device['kind'].upper()} {device['hash'].upper()} {device['digits']}"
    return f"{words} / {device['period']} s" if device["period"] else words


def _for(officer: str | None, code: "Secret") -> "Secret | str":
    """As an order has it, which an officer signs."""
    return code if officer is None else code.reveal().decode("utf-8", "replace")


def _typed(invocation: Invocation, source: str | None, option: str, question: str) -> "Secret":
    return invocation.secrets.typed(source, option, Phrase(N_("one-time password")), question)
