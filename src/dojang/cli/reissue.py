"""``dojang cert reissue``."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dojang.cli.aftercare import Aftercare
from dojang.cli.context import Invocation
from dojang.cli.credentials import certificate_data, credential_data, credential_lines
from dojang.cli.elsewhere import authority_options
from dojang.cli.factors import FactorPrompts, applicant_option, factor_options
from dojang.cli.flags import key_file_options
from dojang.cli.frame import command, option
from dojang.cli.key import BACKUP_COST, backup_under_option
from dojang.cli.language import N_, _, advice_of, message_of, say
from dojang.cli.meant import ca_option, meant_by, serial_option, source_argument
from dojang.cli.new_passwords import OPTION, new_password_option
from dojang.cli.number import number_asker, number_option
from dojang.cli.revoke import warn_of_standing
from dojang.cli.workplace import open_location_at, plan_words, workplace
from dojang.errors import DojangError, InputRequired, Phrase

if TYPE_CHECKING:
    from dojang.lifecycle.reissue import Reissue
    from dojang.lifecycle.workplace import Workplace
    from dojang.locations.base import PasswordProvider
    from dojang.pkcs11.pin import PinProvider
    from dojang.secret import Secret

REASONS = ("superseded", "keyCompromise")


@command(
    help=N_(
        "Replace a certificate whose key is lost, whose password is forgotten or whose key others may know: a new key "
        "and a certificate with the same names for the rest of the term. The old certificate is revoked once the new "
        "one is there; with --reason keyCompromise it is revoked first, and stays so whatever follows (run the same "
        "again for the new one). With --to the new key is made in another place, as where a key cannot be copied. "
        "Where the old place is gone, a file with the certificate or its serial is enough. After its end, use 'dojang "
        "cert issue'. A local authority does this for whoever has its PIN: that is the proof of identity it asks for. "
        "One elsewhere takes the word of the old key for it, or a code (--reference, --code-source). A VID goes over "
        "with R of the old key; where that is lost or known to others, --number-source makes both anew."
    ),
    examples=[
        "dojang cert reissue 'npki:?cn=Hong Gildong' --new-password-source prompt",
        "dojang cert reissue 'pkcs11:token=Hong;object=sign' --to pkcs11:token=Second",
        "dojang cert reissue --serial 3f2a91 --to pkcs11:token=Second --reason keyCompromise",
        "dojang cert reissue 'npki:?cn=홍길동' --new-password-source prompt --number-source prompt",
        "dojang cert reissue hong.pem --to pkcs11:token=Second --reference 1234567890 --code-source prompt",
    ],
)
@source_argument
@serial_option
@option("--to", metavar="ADDRESS", help=N_("Where the new key is made; in the old one's place unless said."))
@option("--label", help=N_("What the new one is called in another place; as the old one unless said."))
@option(
    "--reason",
    type=click.Choice(REASONS),
    default=REASONS[0],
    show_default=True,
    help=N_("Why the old one is revoked."),
)
@backup_under_option
@option("--again", is_flag=True, help=N_("Reissue even what came from a reissue itself."))
@option("--old-pin-source", metavar="SRC", help=N_("With --to: where the PIN of the old token comes from."))
@ca_option
@number_option
@authority_options
@factor_options
@applicant_option
@new_password_option
@key_file_options
def reissue(
    invocation: Invocation,
    source: str | None,
    serial: str | None,
    to: str | None,
    label: str | None,
    reason: str,
    backup_under: str | None,
    again: bool,
    old_pin_source: str | None,
    ca: str | None,
    number_source: str | None,
    new_password_source: str | None,
) -> int:
    """Nothing of the old key is needed."""
    from dojang.lifecycle.reissue import ReissueOrder, plan_reissue
    from dojang.lifecycle.reissue import reissue as reissue_certificate

    meant = meant_by(invocation, source, serial, ca)
    target = None if to is None else invocation.address(to)
    order = ReissueOrder(meant, target, label, reason, again, backup_under, number_asker(invocation, number_source))
    after = Aftercare()
    with _workplace(invocation, target, old_pin_source, new_password_source) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_reissue(order, place)), to=target)
            return 0
        with _telling_what_is_revoked(invocation, place) as told:
            done = reissue_certificate(order, replace(told, tell_checked=after.heard))
    if backup_under is not None:
        invocation.out.warning(_(BACKUP_COST))
    warn_of_standing(invocation, done.fallout.standing)
    if not done.revoked:
        text = N_("The old certificate ({serial}) was not revoked by the word of its own key; ask the authority of it.")
        invocation.out.warning(say(text, serial=_previous(done)["serial"]))
    data = {"credential": credential_data(done.credential), "previous": _previous(done), "reason": reason}
    data |= {"copies": list(done.fallout.copies), "still_valid": [one.serial for one in done.fallout.standing]}
    quiet = [done.credential.stored.address]
    invocation.result(data | after.data(done.credential), lambda: _text(done, after), quiet=quiet)
    return after.exit_status


@contextlib.contextmanager
def _workplace(
    invocation: Invocation, to: str | None, old_pin_source: str | None, new_password_source: str | None
) -> "Iterator[Workplace]":
    """``--pin-source`` is about the token that gets the new key; the PIN of another comes from elsewhere."""
    passwords = _passwords(invocation, new_password_source)
    with workplace(invocation) as place:
        prompts = FactorPrompts(invocation, to)
        place = replace(place, warn=lambda error: _warn(invocation, error), pass_factors=prompts)
        if to is None:
            yield replace(place, open_location=lambda address: open_location_at(invocation, address, passwords))
            return
        yield replace(
            place,
            open_location=lambda address: open_location_at(
                invocation, address, pins=_old_pins(invocation, address, old_pin_source)
            ),
            open_other=lambda address: open_location_at(invocation, address, passwords),
        )


@contextlib.contextmanager
def _telling_what_is_revoked(invocation: Invocation, place: "Workplace") -> "Iterator[Workplace]":
    """When what comes after revoking a compromised key fails, it has to be said that no certificate is left."""
    steps: list[str] = []

    def say_step(step: str) -> None:
        steps.append(step)
        place.say(step)

    try:
        yield replace(place, say=say_step)
    except DojangError:
        if "revoke" in steps[:-1]:
            text = N_("The old certificate is revoked and there is no new one yet; run the same command again for it.")
            invocation.out.warning(_(text))
        raise


def _passwords(invocation: Invocation, new_source: str | None) -> "PasswordProvider":
    """What exists is opened by ``--password-source``; what is made gets the new password, or else that one."""

    def provide(path: str, new: bool) -> "Secret":
        if new and new_source is not None:
            return invocation.secrets.password(new_source, path, new=True)
        known = invocation.flags.password_source or invocation.settings.password_source
        if new and not known and not invocation.can_ask:
            raise InputRequired(what=Phrase(N_("The new password for {purpose}"), purpose=path), option=OPTION)
        return invocation.password(path, new=new)

    return provide


def _old_pins(invocation: Invocation, address: str, source: str | None) -> "PinProvider | None":
    from dojang.locations.address import parse_address
    from dojang.pkcs11.uri import Pkcs11Uri

    parsed = parse_address(address)
    if not isinstance(parsed, Pkcs11Uri):
        return None
    return invocation.secrets.from_uri(parsed) or invocation.secrets.provider(source, "--old-pin-source")


def _warn(invocation: Invocation, error: DojangError) -> None:
    text = say("The old one could not be retired where it lies: {problem}", problem=message_of(error))
    invocation.out.warning(f"{text} {advice_of(error)}")


def _previous(done: "Reissue") -> dict[str, Any]:
    """The old credential; of one whose place is not known, what its certificate says."""
    from datetime import UTC, datetime

    from dojang.x509.status import credential_facts

    if done.previous is not None:
        return credential_data(done.previous)
    return {
        "address": None,
        **certificate_data(credential_facts(done.previous_der, datetime.now(UTC))),
        "state": "revoked" if done.revoked else "retired",
    }


def _text(done: "Reissue", after: Aftercare) -> str:
    address = done.credential.stored.address
    lines = [_("Reissued."), *credential_lines(done.credential)]
    if done.revoked:
        lines.append(say("Revoked: {serial}", serial=_previous(done)["serial"]))
    if done.previous is not None:
        old = done.previous.stored
        text = (
            N_("Retired: {address}")
            if old.retired or not done.revoked
            else N_("Still in its place, and revoked: {address}")
        )
        lines.append(say(text, address=old.address))
    lines += [say("A copy of it, now revoked too: {address}", address=copy) for copy in done.fallout.copies]
    lines.append(_("Register the new one wherever the old one was registered."))
    lines += after.lines(done.credential)
    lines += ["", _("Try next:"), f"  dojang sign cms --key '{address}' FILE"]
    if done.previous is not None:
        lines.append(f"  dojang cert delete '{done.previous.stored.address}'")
    return "\n".join(lines)
