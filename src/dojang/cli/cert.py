"""``dojang cert``: issue, request, install, list, show, delete."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dojang.cli.aftercare import Aftercare
from dojang.cli.context import Invocation
from dojang.cli.credentials import (
    certificate_data,
    certificate_lines,
    credential_data,
    credential_lines,
    credential_table,
)
from dojang.cli.elsewhere import authority_options
from dojang.cli.factors import FactorPrompts, applicant_option, factor_options
from dojang.cli.files import certificates_of, check_writable, pem_of, write_file
from dojang.cli.flags import key_file_options
from dojang.cli.frame import argument, command, option
from dojang.cli.key import ALGORITHMS, BACKUP_COST, backup_under_option
from dojang.cli.language import N_, _, message_of, say
from dojang.cli.meant import is_address
from dojang.cli.number import number_option
from dojang.cli.workplace import plan_words, workplace

if TYPE_CHECKING:
    from datetime import datetime

    from dojang.lifecycle.held import Held
    from dojang.x509.status import CertificateFacts

USUAL_ALGORITHM = "ec-p256"
EVENTS = {
    "issued": N_("issued"),
    "renewed": N_("issued as the successor of another"),
    "reissued": N_("issued in place of another, which was revoked"),
    "installed": N_("installed"),
    "retired": N_("retired"),
    "revoked": N_("revoked"),
    "suspended": N_("suspended"),
    "restored": N_("restored"),
    "copied": N_("copied"),
    "moved": N_("moved here"),
    "moved-away": N_("moved away"),
    "imported": N_("imported"),
    "brought-back": N_("restored from a backup"),
    "backed-up": N_("backed up"),
    "drilled": N_("restored from its backup on trial"),
    "wrapped": N_("wrapped"),
    "unwrapped": N_("unwrapped here"),
    "deleted": N_("deleted"),
    "challenged": N_("challenged to show its key"),
    "registered": N_("registered"),
    "checked": N_("checked again"),
}

alternative_name_option = option(
    "--alternative-name",
    "alternative_names",
    multiple=True,
    metavar="KIND:NAME",
    help=N_("A further name: dns:…, ip:…, email:… or uri:…; may be given again."),
)


@command(
    help=N_(
        "Make a key where it is to live, have it certified and install the certificate beside it. "
        "Run without options it asks for everything."
    ),
    examples=[
        "dojang cert issue",
        "dojang cert issue --to 'pkcs11:token=Hong' --subject 'CN=Hong Gildong,C=KR'",
        "dojang cert issue --to npki: --subject 'CN=Hong Gildong,C=KR' --profile personal --algorithm ec-p256",
        "dojang cert issue --to npki: --subject 'CN=홍길동,C=KR' --profile personal-general --ca office "
        "--number-source prompt",
        "dojang cert issue --to npki: --subject 'CN=Hong Gildong,C=KR' --ca https://ca.example/ --reference 1234567890 "
        "--code-source prompt",
        "dojang cert issue --to pkcs11:token=Hong --subject 'CN=Hong Gildong,C=KR' --ca https://ca.example/ "
        "--reference 1234567890 --code-source prompt --factor sms=prompt --factor 'otp=pkcs11:token=Hong;object=bank'",
    ],
)
@option("--to", metavar="ADDRESS", help=N_("Location of the new key: pkcs11:token=LABEL, npki: or npki:/folder."))
@option("--subject", metavar="DN", help=N_("Whose name the certificate bears, as in 'CN=Hong Gildong,C=KR'."))
@option("--profile", help=N_("Kind of certificate; 'dojang ca profiles' lists them."))
@option("--algorithm", type=click.Choice(ALGORITHMS), help=N_("Kind of key."))
@option("--label", help=N_("Name of the credential in its location; the common name unless said."))
@option(
    "--ca",
    metavar="NAME|URL",
    help=N_("The authority that issues, by its name here or its URL; the only one here unless said."),
)
@number_option
@authority_options
@factor_options
@applicant_option
@backup_under_option
@alternative_name_option
@key_file_options
def issue(
    invocation: Invocation,
    to: str | None,
    subject: str | None,
    profile: str | None,
    algorithm: str | None,
    label: str | None,
    ca: str | None,
    number_source: str | None,
    backup_under: str | None,
    alternative_names: tuple[str, ...],
) -> int:
    """Issue, and print what to try next."""
    from dojang.cli.issue_form import fill_in
    from dojang.lifecycle.issue import issue as issue_credential
    from dojang.lifecycle.issue import plan_issue

    after = Aftercare()
    with workplace(invocation) as opened:
        place = replace(opened, tell_checked=after.heard)
        order = fill_in(
            invocation,
            place,
            to=to,
            subject=subject,
            profile=profile,
            algorithm=algorithm,
            label=label,
            authority=ca,
            number_source=number_source,
            alternative_names=alternative_names,
        )
        order = replace(order, backup_under=backup_under)
        place = replace(place, pass_factors=FactorPrompts(invocation, order.to))
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_issue(order, place)), location=order.to)
            return 0
        held = issue_credential(order, place)
    if backup_under is not None:
        invocation.out.warning(_(BACKUP_COST))
    data = {"credential": credential_data(held), "authority": order.authority, "profile": order.profile}
    invocation.result(data | after.data(held), lambda: _issued(held, after), quiet=[held.stored.address])
    return after.exit_status


def _issued(held: "Held", after: Aftercare) -> str:
    address = held.stored.address
    return "\n".join(
        [
            _("Issued."),
            *credential_lines(held),
            *after.lines(held),
            "",
            _("Try next:"),
            f"  dojang sign cms --key '{address}' FILE",
            f"  dojang cert show '{address}'",
            f"  dojang renew now '{address}'",
        ]
    )


@command(
    help=N_("Make a key and write a certificate request (PKCS#10) for an authority that is not connected."),
    examples=[
        "dojang cert request pkcs11:token=Hong --subject 'CN=Hong Gildong,C=KR' -o hong.csr",
        "dojang cert install pkcs11:token=Hong --cert hong.pem",
    ],
)
@argument("address", metavar="[ADDRESS]", required=False)
@option("--subject", metavar="DN", help=N_("Whose name the request bears."))
@option(
    "--algorithm",
    type=click.Choice(ALGORITHMS),
    default=USUAL_ALGORITHM,
    show_default=True,
    help=N_("Kind of key."),
)
@option("--label", help=N_("Name of the credential in its location; the common name unless said."))
@alternative_name_option
@option("-o", "--output", metavar="OUT", type=click.Path(path_type=Path), help=N_("File to write; otherwise printed."))
@key_file_options
def request(
    invocation: Invocation,
    address: str | None,
    subject: str | None,
    algorithm: str,
    label: str | None,
    alternative_names: tuple[str, ...],
    output: Path | None,
) -> None:
    """Write the request in PEM; the key waits in its location for ``cert install``."""
    from dojang.cli.chooser import place_given
    from dojang.cli.issue_form import common_name, label_in, subject_name
    from dojang.lifecycle.request import RequestOrder, plan_request
    from dojang.lifecycle.request import request as make_request

    name, address = subject_name(invocation, subject), place_given(invocation, address, option="ADDRESS")
    order = RequestOrder(address, name, algorithm, label or label_in(address) or common_name(name), alternative_names)
    with workplace(invocation) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_request(order, place)), location=address)
            return
        if output is not None:
            check_writable(output)
        made = make_request(order, place)
    text = _request_pem(made.request_der)
    if output is not None:
        write_file(output, text.encode())
    data = {"location": made.location, "label": made.label, "id": made.key_id, "request": text, "output": output}
    invocation.out.note(say("Next: dojang cert install '{location}' --cert FILE", location=made.location))
    shown = text.rstrip() if output is None else say("Wrote the request: {path}", path=output)
    invocation.result(data, shown, quiet=[str(output or made.location)])


def _request_pem(request_der: bytes) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_der_x509_csr

    return load_der_x509_csr(request_der).public_bytes(Encoding.PEM).decode()


@command(
    help=N_(
        "Install a certificate that was issued elsewhere beside its key, after checking that they belong together."
    ),
    examples=["dojang cert install 'pkcs11:token=Hong' --cert hong.pem --chain issuing.pem"],
)
@argument("address", metavar="ADDRESS")
@option(
    "--cert", required=True, metavar="FILE", help=N_("The certificate, in PEM or DER; a chain may follow it in PEM.")
)
@option("--chain", multiple=True, metavar="FILE", help=N_("Certificates above it, its own issuer first."))
@option("--label", help=N_("Name of the credential, where the key has none."))
def install(invocation: Invocation, address: str, cert: str, chain: tuple[str, ...], label: str | None) -> None:
    """Check, install, prove."""
    from dojang.cli.issue_form import key_id_in, label_in
    from dojang.lifecycle.install import InstallOrder, plan_install
    from dojang.lifecycle.install import install as install_certificate

    address = invocation.address(address)
    certificate_der, *rest = certificates_of(cert)
    above = [der for path in chain for der in certificates_of(path)]
    order = InstallOrder(
        address, certificate_der, (*rest, *above), key_id=key_id_in(address), label=label or label_in(address)
    )
    with workplace(invocation) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_install(order, place)), location=address)
            return
        held = install_certificate(order, place)
    text = "\n".join([_("Installed."), *credential_lines(held)])
    invocation.result({"credential": credential_data(held)}, text, quiet=[held.stored.address])


@command(
    help=N_("List certificates with their state: at one location, or everywhere that is known."),
    examples=["dojang cert list", "dojang cert list 'pkcs11:token=Hong' --json"],
)
@argument("address", metavar="[ADDRESS]", required=False)
def list_(invocation: Invocation, address: str | None) -> None:
    """No PIN is asked and no key is touched."""
    from dojang.cli.where import survey
    from dojang.lifecycle.where import find_everywhere, find_in

    with workplace(invocation) as place:
        if address is not None:
            found = find_in(place, invocation.address(address))
        else:
            looked = survey(invocation, place)
            found = find_everywhere(looked.place, looked.addresses)
            found = replace(found, failures=(*looked.failures, *found.failures))
    for where, error in found.failures:
        invocation.out.warning(say("{address}: {problem}", address=where, problem=message_of(error)))
    data = {
        "credentials": [credential_data(held) for held in found.held],
        "unreachable": [{"address": where, "code": error.code} for where, error in found.failures],
    }
    addresses = [held.stored.address for held in found.held]
    invocation.result(data, lambda: credential_table(invocation, found.held), quiet=addresses)


@command(
    help=N_("Show one certificate: in a location, by its address, or in a file."),
    examples=[
        "dojang cert show 'pkcs11:token=Hong;object=Hong%20Gildong'",
        "dojang cert show 'npki:?cn=Hong Gildong' -o hong.pem",
        "dojang cert show hong.pem",
    ],
)
@argument("source", metavar="ADDRESS|FILE")
@option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help=N_("File for the certificate and its chain in PEM."),
)
def show(invocation: Invocation, source: str, output: Path | None) -> None:
    """What is no address is the name of a file."""
    if is_address(source):
        _show_credential(invocation, invocation.address(source), output)
    else:
        _show_file(invocation, source, output)


def _show_credential(invocation: Invocation, address: str, output: Path | None) -> None:
    from dojang.lifecycle.held import held_at
    from dojang.lifecycle.origin import fingerprint_of, history_of

    with workplace(invocation) as place:
        held, chain_der = held_at(place, address)
        history = history_of(place, held.stored)
        chain = [_facts(place.now(), der) for der in chain_der]
    pem = _written([held.stored.certificate_der, *chain_der], output)
    data = {
        "credential": credential_data(held),
        "fingerprint": fingerprint_of(held.stored.certificate_der),
        "certificate": pem,
        "output": output,
        "chain": [certificate_data(facts) for facts in chain],
        "history": [{"event": event.event, "at": event.at} for event in history],
    }
    lines = credential_lines(held)
    lines += [say("Issued under: {subject}", subject=facts.subject) for facts in chain]
    lines += [say("{at}: {event}", at=event.at, event=_(EVENTS.get(event.event, event.event))) for event in history]
    invocation.result(data, "\n".join(lines), quiet=[held.stored.address])


def _written(certificates_der: list[bytes], output: Path | None) -> str:
    """The certificates in PEM, in the file too if there is to be one."""
    pem = pem_of(certificates_der)
    if output is not None:
        write_file(output, pem.encode())
    return pem


def _show_file(invocation: Invocation, path: str, output: Path | None) -> None:
    from datetime import UTC, datetime

    certificates_der = certificates_of(path)
    shown = [_facts(datetime.now(UTC), der) for der in certificates_der]
    pem = _written(certificates_der, output)
    text = "\n\n".join("\n".join(certificate_lines(facts)) for facts in shown)
    data = {"certificates": [certificate_data(facts) for facts in shown], "certificate": pem, "output": output}
    invocation.result(data, text)


def _facts(at: "datetime", certificate_der: bytes) -> "CertificateFacts":
    from dojang.x509.status import credential_facts

    return credential_facts(certificate_der, at)


@command(
    help=N_(
        "Destroy a certificate and its key for good. The token's serial, or for a folder the certificate's, must be "
        "typed or passed."
    ),
    examples=["dojang cert delete 'pkcs11:token=Hong;object=sign' --yes 1a2b3c4d5e6f7081"],
)
@argument("address", metavar="ADDRESS")
@option("--yes", metavar="SERIAL", help=N_("That serial, to show that this credential is meant."))
def delete(invocation: Invocation, address: str, yes: str | None) -> None:
    """Key, certificate and all."""
    from dojang.lifecycle.delete import delete as delete_credential
    from dojang.lifecycle.delete import plan_delete
    from dojang.lifecycle.held import held_at

    address = invocation.address(address)
    with workplace(invocation) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_delete(address, place)), address=address)
            return
        held, _chain = held_at(place, address)
        what = say("the certificate and key of {subject}", subject=held.facts.subject)
        serial, question = _serial_to_type(held)
        invocation.confirm_serial(serial, yes, what=what, option="--yes SERIAL", question=question)
        held = delete_credential(address, place)
    text = say("Destroyed {subject} ({address}).", subject=held.facts.subject, address=held.stored.address)
    invocation.result({"credential": credential_data(held)}, text, quiet=[held.stored.address])


def _serial_to_type(held: "Held") -> tuple[str, str]:
    """A token is told apart by its serial; a folder has none, so its certificate's stands in."""
    from dojang.locations.address import parse_address

    serial = getattr(parse_address(held.stored.address), "serial", None)
    return (serial, N_("The token's serial")) if serial else (held.facts.serial, N_("The certificate's serial"))
