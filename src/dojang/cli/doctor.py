"""``dojang doctor``: what is wrong, in words, and the command that mends it."""

import contextlib
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.describe import token_data, token_lines
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, advice_of, message_of, say
from dojang.errors import DojangError, InvalidUri, TokenNotFound, Usage

if TYPE_CHECKING:
    from dojang.lifecycle.doctor import Finding
    from dojang.lifecycle.doctor_contents import Contents
    from dojang.lifecycle.workplace import Workplace
    from dojang.pkcs11 import Token, TokenListing, TokenObject

# What the ledger calls operations and the steps they reached.
OPERATIONS = [N_("reissue"), N_("revoke"), N_("suspend"), N_("release"), N_("ca init")]
OPERATIONS += [N_("copy"), N_("move"), N_("import"), N_("restore"), N_("backup"), N_("drill")]
OPERATIONS += [N_("import-key"), N_("unwrap-key"), N_("make-kek")]
OPERATIONS += [N_("issue"), N_("renew"), N_("request"), N_("install"), N_("delete")]
STEPS = [N_("begun"), N_("answered"), N_("confirmed"), N_("undoing")]
WORDS = {
    "module-unloadable": N_("The PKCS#11 module {module} cannot be loaded: {problem}. {remedy}"),
    "daemon-silent": N_(
        "{daemon} does not answer, and the PKCS#11 module {module} shows no token without it. {remedy}"
    ),
    "slot-unreadable": N_("The slot {slot} of {module} cannot be read: {result}."),
    "no-module": N_("No PKCS#11 module was found. Install one (Debian: apt install softhsm2 or opensc-pkcs11)."),
    "token-not-found": N_("The modules load, but no slot was found: is the reader plugged in?"),
    "no-token": N_("There is a slot, but no token in it that was initialised."),
    "token-slow": N_("Token {token} had not answered after {seconds} seconds; what is on it was not looked at."),
    "token-failed": N_("Token {token} could not be looked at: {message} {advice}"),
    "pin-not-set": N_("Token {token} has no user PIN."),
    "pin-locked": N_("The user PIN of token {token} is locked."),
    "pin-last-try": N_("One try of the user PIN of token {token} is left."),
    "pin-count-low": N_("A wrong user PIN was given to token {token}; the right one clears this."),
    "pin-to-be-changed": N_("The user PIN of token {token} must be changed."),
    "so-pin-locked": N_("The SO PIN of token {token} is locked; only the maker's tool can reset it."),
    "so-pin-last-try": N_("One try of the SO PIN of token {token} is left; nothing can unlock it afterwards."),
    "so-pin-count-low": N_("A wrong SO PIN was given to token {token}; the right one clears this."),
    "so-pin-to-be-changed": N_("The SO PIN of token {token} must be changed, with the maker's tool."),
    "same-label": N_("More than one token has the label {label}; name them by serial: {matches}."),
    "serial-doubtful": N_(
        "The serial of token {token} ('{serial}') does not tell it from others, so it cannot be wiped by its serial."
    ),
    "certificate-unreadable": N_("What is stored as the certificate {address} is none."),
    "certificate-not-yet-valid": N_("The certificate {subject} is valid from {not_before} only. Is the clock right?"),
    "certificate-due": N_("The certificate {subject} ends on {not_after} ({days_left} days left)."),
    "certificate-expired": N_("The certificate {subject} ended on {not_after}."),
    "certificate-without-key": N_("The certificate {address} has no key on its token."),
    "certificate-staged": N_("The renewal of {label} has not switched to its new certificate."),
    "certificate-retired": N_("{label} is kept to be read; it is not used any more."),
    "key-without-certificate": N_("The key {address} ({algorithm}) has no certificate on its token."),
    "rubbish": N_("Killed processes left things on token {token}: {count}."),
    "objects-unreadable": N_("Objects on token {token} that cannot be read: {count}."),
    "mechanisms-refused": N_("Token {token} lists mechanisms that it refuses: {mechanisms}."),
    "mechanisms-unlisted": N_("Token {token} can do more than it lists: {mechanisms}."),
    "mechanisms-wrong": N_("Token {token} computes wrong results with: {mechanisms}. Do not use it."),
    "operation-incomplete": N_(
        "'{verb}' of {subject} was cut short after '{step}' ({begun_at}). If its token or disk will never come back: "
        "dojang doctor --give-up {operation_id}"
    ),
    "registration-revoked": N_("The certificate {subject} ({address}), which was registered, is revoked."),
    "registration-suspended": N_("The certificate {subject} ({address}), which was registered, is suspended."),
    "registration-expired": N_("The certificate {subject} ({address}), which was registered, ended on {not_after}."),
    "registration-unchecked": N_(
        "Whether the certificate {subject} ({address}) is still good was last looked up at {checked_at}."
    ),
    "never-backed-up": N_("{subject} ({address}) has neither a backup nor a copy; back it up, in case it is lost."),
    "place-failed": N_("{address}: {message} {advice}"),
    "clock-behind": N_("The clock says {now}, but dojang wrote its records at {newest} before. Set the clock."),
    "state-not-private": N_("Others may look into {path}, which holds dojang's records."),
    "secret-file-exposed": N_("Others may read or write {path}, which holds a PIN or password (mode {mode})."),
    "invalid-setting": N_("The configuration {path} cannot be used: {problem}."),
    "sign-test-failed": N_("The key {address} did not sign: {message} {advice}"),
}


_PLACES = ("location", "origin_location", "target", "second")
"""Where an operation that was cut short may have left something, by the names of its facts."""


@command(
    help=N_(
        "Find out what is wrong: modules, tokens, the state of their PINs, certificates and keys, certificate folders "
        "that cannot be read, lists of mechanisms that lie, leftovers of what was cut short. Every finding comes with "
        "the command that mends it where there is one; the exit status is 0 when nothing is wrong. With an address and "
        "--pin-source the private keys are looked at too."
    ),
    examples=["dojang doctor", "dojang doctor 'pkcs11:token=Hong' --sign-test"],
)
@argument("address", metavar="[ADDRESS]", required=False)
@option(
    "--give-up",
    metavar="OPERATION",
    help=N_("Close an operation that was cut short and whose token or disk will never come back."),
)
@option("--sign-test", is_flag=True, help=N_("Sign something with every key at ADDRESS and verify it; needs the PIN."))
def doctor(invocation: Invocation, address: str | None, give_up: str | None, sign_test: bool) -> int:
    """Print every finding; the status is that of the first serious one."""
    if give_up is not None:
        return _give_up(invocation, give_up)
    if sign_test and address is None:
        raise Usage(problem=N_("--sign-test needs the address of a token or key"))
    tested: list[dict[str, Any]] = []
    listing, tokens = _called(invocation, address)
    findings = list(_examine(invocation, listing, tokens, everything=address is None))
    if address is not None and (sign_test or invocation.flags.pin_source):
        findings += _inside(invocation, address, tested, sign_test=sign_test)
    else:
        findings += _outside(invocation, tokens)
    _report(invocation, listing, tokens, findings, tested)
    return next((finding.exit_status for finding in findings if finding.serious), 0)


def _called(invocation: Invocation, address: str | None) -> "tuple[TokenListing, list[Token]]":
    """Everything that answers, or the one token that is named; a module that hangs is waited for, not longer."""
    from dojang.pkcs11.discovery import for_address
    from dojang.pkcs11.listing import choose, find_token
    from dojang.pkcs11.roll_call import roll_call
    from dojang.pkcs11.uri import Pkcs11Uri

    search = invocation.search()
    if address is None:
        listing = roll_call(search)
        return listing, listing.tokens
    uri = Pkcs11Uri.from_text(invocation.address(address))
    listing = roll_call(for_address(search, uri))
    try:
        return listing, [choose(listing, uri)]
    except TokenNotFound:
        return listing, [find_token(uri, search)]


def _give_up(invocation: Invocation, operation_id: str) -> int:
    from dojang.cli.workplace import workplace
    from dojang.lifecycle.give_up import give_up

    if invocation.planned([say("Give up the operation {operation}", operation=operation_id)]):
        return 0
    with workplace(invocation) as place:
        record = give_up(place, operation_id)
    subject = record.facts.get("address", record.subject_key)
    data = {"given_up": {"operation": operation_id, "verb": record.verb, "subject": subject}}
    lines = [say("Given up: '{verb}' of {subject}.", verb=record.verb, subject=subject)]
    left = N_("What it had made, or had yet to remove, may still be there: {command}")
    places = dict.fromkeys(str(record.facts[name]) for name in _PLACES if name in record.facts)
    lines += [say(left, command=shlex.join(["dojang", "cert", "list", where])) for where in places]
    invocation.result(data, "\n".join(lines))
    return 0


def _examine(
    invocation: Invocation, listing: "TokenListing", tokens: "list[Token]", *, everything: bool
) -> "Iterator[Finding]":
    """What is seen without opening a token."""
    from dojang.lifecycle.doctor import examine_modules, examine_secret_files, examine_state, examine_tokens

    settings = invocation.settings
    yield from examine_tokens(tokens)
    if not everything:
        return
    yield from examine_modules(listing, named=bool(invocation.flags.module or settings.module))
    yield from examine_state(settings.state_dir)
    yield from examine_secret_files(_sources(invocation))
    with _place(invocation) as place:
        yield from _places(invocation, place)
        if place is not None:
            yield from _records(place)


def _sources(invocation: Invocation) -> list[str]:
    """Every source of a PIN or password that the settings, the flags and the saved addresses name."""
    from dojang.pkcs11.uri import Pkcs11Uri

    flags, settings = invocation.flags, invocation.settings
    named = [settings.pin_source, settings.so_pin_source, settings.password_source]
    named += [flags.pin_source, flags.so_pin_source, flags.password_source, flags.ca_pin_source]
    for text in settings.aliases.values():
        with contextlib.suppress(InvalidUri):
            named.append(Pkcs11Uri.from_text(text).pin_source)
    return [f"file:{source}" if source.startswith("/") else source for source in named if source]


def _places(invocation: Invocation, place: "Workplace | None") -> "Iterator[Finding]":
    """What lies on the disks and cannot be read, in the words of ``where``."""
    from dojang.cli.where import KINDS, known_places
    from dojang.cli.workplace import open_location_at
    from dojang.lifecycle.doctor import Finding
    from dojang.lifecycle.doctor_places import unreadable
    from dojang.pkcs11.roll_call import PATIENCE

    ledger = place.ledger if place is not None else None
    known = known_places(invocation, ledger, PATIENCE, frozenset(KINDS) - {"token"})
    failures = unreadable(lambda address: open_location_at(invocation, address), known.addresses)
    for address, error in (*known.failures, *failures):
        yield Finding("place-failed", error.exit_status, _explained(address, error))


def _records(place: "Workplace") -> "Iterator[Finding]":
    from dojang.lifecycle.doctor import examine_clock, examine_operations
    from dojang.lifecycle.doctor_contents import newest_moment
    from dojang.lifecycle.doctor_registered import examine_registrations

    yield from examine_operations(place.ledger.incomplete())
    yield from examine_clock(newest_moment(place), datetime.now(UTC))
    yield from examine_registrations(place.ledger.history(), datetime.now(UTC))
    yield from _backups(place)


def _backups(place: "Workplace") -> "Iterator[Finding]":
    from dojang.cli.aftercare import next_steps
    from dojang.errors import NotFound
    from dojang.lifecycle.doctor import Finding
    from dojang.lifecycle.doctor_backups import never_backed_up

    for held, under in never_backed_up(place):
        facts = {"subject": held.facts.subject, "address": held.stored.address}
        yield Finding("never-backed-up", NotFound.exit_status, facts, next_steps(held, under)[0], serious=False)


@contextlib.contextmanager
def _place(invocation: Invocation) -> "Iterator[Workplace | None]":
    """The workplace where there is a ledger; the doctor makes none."""
    if not invocation.settings.ledger_path.exists():
        yield None
        return
    from dojang.cli.workplace import workplace

    with workplace(invocation) as place:
        yield place


def _outside(invocation: Invocation, tokens: "list[Token]") -> "Iterator[Finding]":
    """What lies on the tokens, as far as it is seen without a PIN; all are asked at once."""
    from dojang.lifecycle.doctor import Finding, not_answering
    from dojang.lifecycle.doctor_contents import gather
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.roll_call import PATIENCE, ask_all

    guard = invocation.pin_guard()

    def look(token: "Token") -> "Contents":
        with OpenToken(token, None, guard) as opened:
            return gather(opened, log_in=False)

    seen = []
    for token, outcome in zip(tokens, ask_all(look, tokens), strict=True):
        if outcome.answer is not None:
            seen.append(outcome.answer)
        elif isinstance(outcome.error, DojangError):
            facts = {**_explained(token.address, outcome.error), "token": token.info.label}
            yield Finding("token-failed", outcome.error.exit_status, facts)
        elif outcome.error is not None:
            raise outcome.error
        else:
            yield not_answering(token, PATIENCE)
    yield from _contents(invocation, seen)


def _inside(
    invocation: Invocation, address: str, tested: list[dict[str, Any]], *, sign_test: bool
) -> "Iterator[Finding]":
    """What lies on one token, seen with its PIN; with ``sign_test`` every key that was tried is noted in ``tested``."""
    from dojang.cli.key import open_at, parse
    from dojang.lifecycle.doctor import Finding
    from dojang.lifecycle.doctor_contents import gather
    from dojang.lifecycle.doctor_contents import sign_test as test

    uri = parse(invocation, address)
    with open_at(invocation, uri) as token:

        def to_be_tried(key: "TokenObject") -> bool:
            return sign_test and uri.object in (None, key.label) and uri.id in (None, key.key_id)

        yield from _contents(invocation, [gather(token, log_in=True, to_be_tried=to_be_tried)])
        for key_address, error in test(token, label=uri.object, key_id=uri.id) if sign_test else ():
            tested.append({"address": key_address, "ok": error is None})
            if error is not None:
                yield Finding("sign-test-failed", error.exit_status, _explained(key_address, error))


def _contents(invocation: Invocation, seen: "list[Contents]") -> "Iterator[Finding]":
    from dojang.lifecycle.doctor_contents import background, examine_contents

    days = invocation.settings.renewal_window_days
    window = None if days is None else timedelta(days=days)
    with _place(invocation) as place:
        yield from examine_contents(seen, background(place, datetime.now(UTC), window))


def _explained(address: str, error: DojangError) -> dict[str, object]:
    return {"address": address, "code": error.code, "message": message_of(error), "advice": advice_of(error)}


def _report(
    invocation: Invocation,
    listing: "TokenListing",
    tokens: "list[Token]",
    findings: "list[Finding]",
    tested: list[dict[str, Any]],
) -> None:
    rows = [
        {
            "code": finding.code,
            "serious": finding.serious,
            "message": _sentence(finding),
            "command": finding.mend,
            "details": finding.facts,
        }
        for finding in findings
    ]
    data = {
        "healthy": not any(finding.serious for finding in findings),
        "findings": rows,
        "modules": [{"path": module.path, "name": module.name} for module in listing.modules],
        "tokens": [token_data(token) for token in tokens],
        "sign_test": tested,
    }
    invocation.result(data, lambda: _text(listing, tokens, findings, tested))


def _sentence(finding: "Finding") -> str:
    return say(WORDS[finding.code], **finding.facts)


def _text(
    listing: "TokenListing", tokens: "list[Token]", findings: "list[Finding]", tested: list[dict[str, Any]]
) -> str:
    lines = [say("Module: {module}", module=module.path) for module in listing.modules]
    for token in tokens:
        lines += ["", *token_lines(token)]
    for test in tested:
        if test["ok"]:
            lines.append(say("Signed and verified: {address}", address=test["address"]))
    lines.append("")
    for finding in findings:
        lines.append(("✗ " if finding.serious else "· ") + _sentence(finding))
        if finding.mend:
            lines.append(f"    {finding.mend}")
    serious = sum(finding.serious for finding in findings)
    lines.append(say("Things to mend: {count}.", count=serious) if serious else _("Nothing is wrong."))
    return "\n".join(lines)
