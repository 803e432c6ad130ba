"""``dojang doctor``: what is wrong, in words, and the command that mends it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.describe import token_data, token_lines
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, advice_of, message_of, say
from dojang.errors import DojangError, Usage

if TYPE_CHECKING:
    from dojang.lifecycle.doctor import Finding
    from dojang.pkcs11 import Token, TokenListing

# What the ledger calls operations and the steps they reached.
OPERATIONS = [N_("issue"), N_("renew"), N_("request"), N_("install"), N_("delete")]
STEPS = [N_("begun"), N_("answered"), N_("confirmed"), N_("undoing")]
WORDS = {
    "module-unloadable": N_("The PKCS#11 module {module} cannot be loaded: {problem}. {remedy}"),
    "no-module": N_("No PKCS#11 module was found. Install one (Debian: apt install softhsm2 or opensc-pkcs11)."),
    "token-not-found": N_("The modules load, but no slot was found: is the reader plugged in?"),
    "no-token": N_("There is a slot, but no token in it that was initialised."),
    "pin-not-set": N_("Token {token} has no user PIN."),
    "pin-locked": N_("The user PIN of token {token} is locked."),
    "pin-last-try": N_("One try of the user PIN of token {token} is left."),
    "pin-count-low": N_("A wrong user PIN was given to token {token}; the right one clears this."),
    "pin-to-be-changed": N_("The user PIN of token {token} must be changed."),
    "so-pin-locked": N_("The SO PIN of token {token} is locked; only the maker's tool can reset it."),
    "same-label": N_("More than one token has the label {label}; name them by serial: {matches}."),
    "operation-incomplete": N_(
        "'{verb}' of {subject} was cut short after '{step}' ({begun_at}). If its token or disk will never come back: "
        "dojang doctor --give-up {operation_id}"
    ),
    "state-not-private": N_("Others may look into {path}, which holds dojang's records."),
    "invalid-setting": N_("The configuration {path} cannot be used: {problem}."),
    "sign-test-failed": N_("The key {address} did not sign: {message} {advice}"),
}


@command(
    help=N_(
        "Find out what is wrong: modules, tokens, the state of their PINs, operations that were cut short. Every "
        "finding comes with the command that mends it; the exit status is 0 when nothing is wrong."
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
    from dojang.pkcs11 import find_token, list_tokens

    if give_up is not None:
        return _give_up(invocation, give_up)
    if sign_test and address is None:
        raise Usage(problem=N_("--sign-test needs the address of a token or key"))
    search = invocation.search()
    listing = list_tokens(search)
    tokens = listing.tokens if address is None else [find_token(invocation.address(address), search)]
    findings = list(_examine(invocation, listing, tokens, everything=address is None))
    tested: list[dict[str, Any]] = []
    if sign_test and address is not None:
        findings += _sign_test(invocation, address, tested)
    _report(invocation, listing, tokens, findings, tested)
    return next((finding.exit_status for finding in findings if finding.serious), 0)


def _give_up(invocation: Invocation, operation_id: str) -> int:
    from dojang.cli.workplace import workplace
    from dojang.lifecycle.give_up import give_up

    if invocation.planned([say("Give up the operation {operation}", operation=operation_id)]):
        return 0
    with workplace(invocation) as place:
        record = give_up(place, operation_id)
    subject = record.facts.get("address", record.subject_key)
    data = {"given_up": {"operation": operation_id, "verb": record.verb, "subject": subject}}
    invocation.result(data, say("Given up: '{verb}' of {subject}.", verb=record.verb, subject=subject))
    return 0


def _examine(
    invocation: Invocation, listing: "TokenListing", tokens: "list[Token]", *, everything: bool
) -> "Iterator[Finding]":
    from dojang.lifecycle.doctor import examine_modules, examine_operations, examine_state, examine_tokens

    settings = invocation.settings
    yield from examine_tokens(tokens)
    if not everything:
        return
    yield from examine_modules(listing, named=bool(invocation.flags.module or settings.module))
    yield from examine_state(settings.state_dir)
    if settings.ledger_path.exists():
        from dojang.ledger import Ledger

        with Ledger.open(settings.ledger_path) as ledger:
            yield from examine_operations(ledger.incomplete())


def _sign_test(invocation: Invocation, address: str, tested: list[dict[str, Any]]) -> "Iterator[Finding]":
    """Findings for the keys that fail; every key that was tried is noted in ``tested``."""
    from dojang.cli.key import open_at, parse
    from dojang.lifecycle.doctor import Finding, sign_test

    uri = parse(invocation, address)
    with open_at(invocation, uri) as token:
        for key_address, error in sign_test(token, label=uri.object, key_id=uri.id):
            tested.append({"address": key_address, "ok": error is None})
            if error is not None:
                yield Finding("sign-test-failed", error.exit_status, _explained(key_address, error))


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
