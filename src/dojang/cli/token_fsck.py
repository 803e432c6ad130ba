"""``dojang token fsck``: what killed processes left on a token, and its removal."""

from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.frame import argument, command, option
from dojang.cli.key import open_at, parse
from dojang.cli.language import N_, _, say

if TYPE_CHECKING:
    from dojang.pkcs11.fsck import Findings, Rubbish
    from dojang.pkcs11.opened import OpenToken

SOME_STAYED = 15


@command(
    help=N_(
        "List what a killed process left on a token: objects that cannot be read or hold nothing, and files that the "
        "module never shows. With --remove it is removed, where there is no doubt; good objects are never touched. "
        "The token's serial must be typed or passed. Needs the PIN."
    ),
    examples=[
        "dojang token fsck 'pkcs11:token=Hong'",
        "dojang token fsck 'pkcs11:token=Hong' --remove --serial 1a2b3c4d5e6f7081",
    ],
)
@argument("address", metavar="ADDRESS")
@option("--remove", is_flag=True, help=N_("Remove what is beyond doubt."))
@option("--serial", metavar="SERIAL", help=N_("Serial of the token, to show that this one is meant."))
def fsck(invocation: Invocation, address: str, remove: bool, serial: str | None) -> int:
    """Print what was found; the status is 0 unless something that was to be removed stayed."""
    from dojang.pkcs11.fsck import examine

    uri = parse(invocation, address).token_part()
    with open_at(invocation, uri) as token:
        findings = examine(token)
        found = [one for one in findings.rubbish if one.removable]
        if not remove:
            _report(invocation, token, findings, [])
            return 0
        steps = [say("Remove {what}", what=_what(one)) for one in found]
        if invocation.planned(steps, **_data(token, findings, [])):
            return 0
        label_given = uri.token is not None
        removed = _removed(invocation, token, findings, serial, label_given=label_given) if found else []
    _report(invocation, token, findings, removed)
    return 0 if len(removed) == len(found) else SOME_STAYED


def _removed(
    invocation: Invocation, token: "OpenToken", findings: "Findings", serial: str | None, *, label_given: bool
) -> "list[Rubbish]":
    from dojang.pkcs11.fsck import remove

    info = token.token.info
    token.token.refuse_doubtful_serial(label_given=label_given)
    what = say("what killed processes left on token {label}", label=info.label)
    invocation.confirm_serial(info.serial, serial, what=what, option="--serial SERIAL")
    return remove(token, findings, kept_in=invocation.settings.state_dir / "rubbish" / info.serial)


def _data(token: "OpenToken", findings: "Findings", removed: "list[Rubbish]") -> dict[str, Any]:
    return {
        "address": token.address,
        "serial": token.token.info.serial,
        "rubbish": [
            {
                "kind": one.kind,
                "type": one.type,
                "file": one.path,
                "message": _what(one),
                "removable": one.removable,
                "doubt": say(one.doubt) if one.doubt else "",
                "removed": one in removed,
            }
            for one in findings.rubbish
        ],
        "removed": len(removed),
    }


def _report(invocation: Invocation, token: "OpenToken", findings: "Findings", removed: "list[Rubbish]") -> None:
    invocation.result(_data(token, findings, removed), lambda: _text(token, findings, removed))


def _text(token: "OpenToken", findings: "Findings", removed: "list[Rubbish]") -> str:
    if not findings.rubbish:
        return _("There is no rubbish on this token.")
    lines = [_line(one, removed) for one in findings.rubbish]
    if not removed and any(one.removable for one in findings.rubbish):
        text = N_("To remove it: dojang token fsck '{address}' --remove --serial {serial}")
        lines.append(say(text, address=token.address, serial=token.token.info.serial))
    return "\n".join(lines)


def _line(one: "Rubbish", removed: "list[Rubbish]") -> str:
    if one in removed:
        return say("removed: {what}", what=_what(one))
    if one.doubt:
        return say("kept: {what} ({problem})", what=_what(one), problem=one.doubt)
    return _what(one)


def _what(one: "Rubbish") -> str:
    from dojang.pkcs11.fsck import WORDS

    facts = [fact for fact in (one.type, one.result, one.path) if fact]
    words = say(WORDS[one.kind])
    return f"{words} ({', '.join(facts)})" if facts else words
