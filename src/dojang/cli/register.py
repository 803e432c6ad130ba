"""``dojang cert register``: accept a certificate that another institution issued."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.credentials import certificate_data, certificate_lines, credential_data, credential_lines
from dojang.cli.files import certificates_of, check_writable, read_file, write_file
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, _, say, spoken
from dojang.cli.meant import is_address
from dojang.cli.register_terms import sources_of, terms_of
from dojang.cli.workplace import workplace
from dojang.errors import Usage

if TYPE_CHECKING:
    from dojang.lifecycle.register import Registration
    from dojang.lifecycle.vetting import Terms
    from dojang.lifecycle.workplace import Workplace
    from dojang.npki.policies import Policy
    from dojang.secret import Secret
    from dojang.x509.status import CertificateFacts

_PATH = FilePath()


@command(
    help=N_(
        "Accept a certificate that another institution issued: that it leads to a trusted one, is valid and not "
        "revoked, is for an allowed purpose, that its key is in the right hands, and with --vid-number-source whose it "
        "is. Everything that is wrong is said at once. In a location its key signs something; for a certificate in a "
        "file, --challenge prints what the key is to sign elsewhere, and --response takes the signature."
    ),
    examples=[
        "dojang cert register 'npki:?cn=Hong Gildong' --trust root.pem --crl issuer.crl",
        "dojang cert register 'pkcs11:token=Hong;object=sign' --allow-policy '개인 범용' --vid-number-source prompt",
        "dojang cert register hong.pem --challenge -o challenge.txt",
        "dojang cert register hong.pem --response challenge.txt.p7s --ocsp http://ocsp.example.kr",
        "dojang cert register 'npki:?cn=Hong Gildong' --recheck",
    ],
)
@argument("source", metavar="ADDRESS|FILE")
@option("--trust", type=_PATH, metavar="FILE", multiple=True, help=N_("Certificates to trust; may be given again."))
@option("--chain", type=_PATH, metavar="FILE", multiple=True, help=N_("Certificates above it, its own issuer first."))
@option("--crl", metavar="FILE|URL", multiple=True, help=N_("Revocation list to look into; may be given again."))
@option("--ocsp", metavar="URL", help=N_("Responder to ask (OCSP), before those that the certificate names."))
@option("--offline", is_flag=True, help=N_("Ask nobody over the network."))
@option(
    "--allow-policy",
    "allowed",
    metavar="PURPOSE",
    multiple=True,
    help=N_("Purpose to allow: '개인 범용', 'yessign 개인 범용' or an OID; may be given again. All, unless said."),
)
@option("--vid-number-source", metavar="SRC", help=N_("Where the owner's resident or business number comes from."))
@option("--challenge", is_flag=True, help=N_("Print what the key of a certificate in a file is to sign."))
@option("-o", "--output", type=_PATH, metavar="OUT", help=N_("File for the challenge; otherwise printed."))
@option(
    "--response", type=_PATH, metavar="FILE", help=N_("The signed challenge: a bare signature, or CMS in DER or PEM.")
)
@option("--recheck", is_flag=True, help=N_("Check again what was registered before, without its key."))
def register(
    invocation: Invocation,
    source: str,
    trust: tuple[Path, ...],
    chain: tuple[Path, ...],
    crl: tuple[str, ...],
    ocsp: str | None,
    offline: bool,
    allowed: tuple[str, ...],
    vid_number_source: str | None,
    challenge: bool,
    output: Path | None,
    response: Path | None,
    recheck: bool,
) -> None:
    """Check everything, then note it; what is wrong is one error with every check in it."""
    in_file = not is_address(source)
    _refuse_contradictions(in_file, vid_number_source, challenge, output, response, recheck)
    if challenge:
        _give_challenge(invocation, source, output)
        return
    terms = terms_of(invocation, trust, chain, sources_of(invocation, crl, ocsp, offline), allowed)
    with workplace(invocation) as place:
        if invocation.flags.plan:
            _plan(invocation, source, terms, place, in_file, recheck=recheck, number=vid_number_source is not None)
            return
        if in_file:
            done = _in_file(source, terms, place, response, recheck=recheck)
        else:
            number = _number(invocation, vid_number_source)
            done = _at_address(invocation.address(source), terms, place, number, recheck=recheck)
    _tell(invocation, source, done, recheck=recheck)
    if in_file:
        invocation.out.note(_("'dojang where' lists no files; 'dojang doctor' says when to look at this one again."))


def _refuse_contradictions(
    in_file: bool, number: str | None, challenge: bool, output: Path | None, response: Path | None, recheck: bool
) -> None:
    if not in_file and (challenge or response is not None):
        raise Usage(problem=N_("At an address the key itself is asked; leave out --challenge and --response."))
    if in_file and number is not None:
        raise Usage(problem=N_("The owner is proved where the key lies, with its random number R; name its address."))
    if output is not None and not challenge:
        raise Usage(problem=N_("-o is for the challenge; give --challenge as well."))
    if sum((challenge, response is not None, recheck)) > 1 or (recheck and number is not None):
        raise Usage(problem=N_("--challenge, --response and --recheck go one at a time, and --recheck proves nobody."))


def _give_challenge(invocation: Invocation, source: str, output: Path | None) -> None:
    from dojang.lifecycle.possession import give_challenge

    certificate_der, *_rest = certificates_of(source)
    if invocation.planned([say("Give out a challenge for the certificate in {path}", path=source)], path=source):
        return
    if output is not None:
        check_writable(output)
    with workplace(invocation) as place:
        given = give_challenge(certificate_der, _absolute(source), place)
    if output is not None:
        write_file(output, f"{given.text}\n".encode())
    data = {"challenge": given.text, "ends_at": given.ends_at, "output": output}
    invocation.out.note(
        say(
            "Have its key sign this until {ends_at}, as with: dojang sign cms --key ADDRESS {path}. "
            "Then: dojang cert register {source} --response FILE",
            ends_at=given.ends_at,
            path=shlex.quote(str(output or "FILE")),
            source=shlex.quote(source),
        )
    )
    invocation.result(data, given.text if output is None else say("Wrote the challenge: {path}", path=output))


def _number(invocation: Invocation, source: str | None) -> "Secret | None":
    return None if source is None else invocation.secrets.number(source, "--vid-number-source")


def _in_file(
    source: str, terms: "Terms", place: "Workplace", response: Path | None, *, recheck: bool
) -> "Registration":
    from dojang.lifecycle.register import recheck_file, register_file
    from dojang.signing.response import is_response

    certificate_der, *above = certificates_of(source)
    if recheck:
        return recheck_file(_absolute(source), certificate_der, above, terms, place)
    answers = partial(is_response, read_file(response)) if response is not None else None
    return register_file(_absolute(source), certificate_der, above, terms, place, answers)


def _at_address(
    address: str, terms: "Terms", place: "Workplace", number: "Secret | None", *, recheck: bool
) -> "Registration":
    from dojang.lifecycle.register import recheck_at, register_at

    if recheck:
        return recheck_at(address, terms, place)
    return register_at(address, terms, place, number=number)


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _plan(
    invocation: Invocation,
    source: str,
    terms: "Terms",
    place: "Workplace",
    in_file: bool,
    *,
    recheck: bool,
    number: bool,
) -> None:
    """No PIN is asked and nobody is called; what can be looked at here is looked at."""
    from dojang.lifecycle.held import held_at

    if in_file:
        certificates_of(source)
    else:
        held_at(place, invocation.address(source))
    steps = [
        _("Check path, validity, revocation and purpose of the certificate"),
        *([_("Ask the responders and fetch the lists that are named")] if not terms.sources.offline else []),
        *([] if recheck else [_("Have its key sign a challenge, or check the one that was signed elsewhere")]),
        *([_("Check that the number is its owner's (VID)")] if number else []),
        _("Note in the ledger what was checked"),
    ]
    invocation.planned(steps, source=source)


def _tell(invocation: Invocation, source: str, done: "Registration", *, recheck: bool) -> None:
    from dojang.lifecycle.vetting import status_of
    from dojang.npki.policies import policy
    from dojang.x509.status import credential_facts

    facts = done.held.facts if done.held is not None else credential_facts(done.certificate_der, done.at)
    purposes = [policy(oid) for oid in done.vetted.policies]
    data: dict[str, Any] = {
        "certificate": certificate_data(facts),
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in done.checks],
        "status": status_of(done.vetted.finding),
        "purposes": [_purpose_data(one) for one in purposes],
        "registered_at": done.at,
        "again": done.again,
    }
    if done.held is not None:
        data["credential"] = credential_data(done.held)
    address = done.held.stored.address if done.held is not None else source
    first = _("It still holds.") if recheck else _("Registered again.") if done.again else _("Registered.")
    invocation.result(data, lambda: _text(invocation, first, done, facts, purposes), quiet=[address])


def _purpose_data(purpose: "Policy") -> dict[str, object]:
    named = {"oid": purpose.oid, "purpose": dict(purpose.purposes), "holder": purpose.holder}
    return {**named, "authority": purpose.authority, "doubt": purpose.doubt}


def _text(
    invocation: Invocation, first: str, done: "Registration", facts: "CertificateFacts", purposes: "list[Policy]"
) -> str:
    described = credential_lines(done.held) if done.held is not None else certificate_lines(facts)
    told = [say("Policy: {text} ({oid})", text=one.purposes[spoken()], oid=one.oid) for one in purposes]
    rows = [[_(check.name), "✓", say("{detail}", detail=check.detail)] for check in done.checks]
    return "\n".join([first, *described, *told, invocation.out.table([N_("Check"), "", N_("Detail")], rows)])
