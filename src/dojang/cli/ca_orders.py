"""What the commands of an office have in common: an order goes to the authority, signed by an officer where wanted."""

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.factor_words import factor_name
from dojang.cli.frame import option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import open_authority_named
from dojang.errors import InputRequired, Phrase
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority
    from dojang.signing.digest import DigestSigner

officer_option = option(
    "--officer",
    metavar="ADDRESS",
    help=N_("Credential of an officer, who signs the order; without it, whoever is here gives it."),
)
STATES = {
    "drafted": N_("checks missing"),
    "waiting": N_("waits for approval"),
    "ready": N_("ready"),
    "used": N_("used"),
    "expired": N_("expired"),
    "cancelled": N_("cancelled"),
    "refused": N_("refused"),
    "locked": N_("locked"),
}


def ordered(
    invocation: Invocation, authority: str, method: str, arguments: Mapping[str, Any], officer: str | None = None
) -> dict[str, Any]:
    """Give the order and return what came of it. With ``officer`` it is his, signed by the key at that address.

    ``authority`` is the name of one here, or the URL of one behind a centre, which takes orders of officers alone.
    """
    if officer is None and is_ordered(authority, None):
        raise InputRequired(what=Phrase(N_("The credential of an officer")), option="--officer ADDRESS")
    from dojang.cmp.urls import is_url

    if officer is not None and is_url(authority):
        return _far_away(invocation, authority, method, arguments, officer)
    with open_authority_named(invocation, authority) as opened:
        if officer is None:
            return opened.counter.perform(method, arguments)
        from dojang.centre.methods import perform
        from dojang.centre.orders import read_order

        signed = _signed(invocation, opened, method, arguments, officer)
        order = read_order(signed)  # what the record keeps as evidence is what is carried out
        known = opened.counter.officers.officer_of(order.certificate_der)
        return perform(opened, order.method, order.arguments, known, order.der)


def is_ordered(authority: str, officer: str | None) -> bool:
    """Whether an officer's order is wanted, rather than what whoever is here does himself."""
    from dojang.cmp.urls import is_url

    return officer is not None or is_url(authority)


def ordered_certificates(
    invocation: Invocation,
    authority: str,
    officer: str | None,
    wanted: Mapping[str, Any],
    after: str | None,
    limit: int | None,
) -> tuple[list[dict[str, Any]], str | None]:
    """So many certificates on record there, or all, a page at a time; and the serial to go on after."""
    found: list[dict[str, Any]] = []
    while limit is None or len(found) < limit:
        most = 1000 if limit is None else min(1000, limit - len(found))
        arguments = {**wanted, "after": after, "limit": most}
        page = ordered(invocation, authority, "certificate.list", arguments, officer)
        found += map(certificate_from, page["certificates"])
        after = page["next"]
        if after is None:
            break
    return found, after


def certificate_from(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate in an answer, with moments as moments."""
    moments = ("not_before", "not_after", "revoked_at")
    return {name: moment(value) if name in moments and value else value for name, value in answer.items()}


def _far_away(
    invocation: Invocation, url: str, method: str, arguments: Mapping[str, Any], officer: str
) -> dict[str, Any]:
    from dojang.centre.remote_office import RemoteOffice

    tls = invocation.settings.ca_tls_certificate
    with (
        _hand_of(invocation, officer) as (signer, certificate_der),
        RemoteOffice(
            url, signer, certificate_der, anchors_der=_anchors_of(invocation, url), tls_certificates=tls
        ) as office,
    ):
        return office.perform(method, {name: _plain(value) for name, value in arguments.items()})


def _anchors_of(invocation: Invocation, url: str) -> tuple[bytes, ...]:
    """What the authority there is known by, from asking it for certificates or from ``--ca-certificate``."""
    from dojang.cli.files import certificates_of
    from dojang.ledger import Ledger
    from dojang.lifecycle.anchors import anchors_of

    given = tuple(der for path in invocation.flags.ca_certificates for der in certificates_of(path))
    if given or not invocation.settings.ledger_path.exists():
        return given
    with Ledger.open(invocation.settings.ledger_path) as ledger:
        return anchors_of(ledger, url)


def _plain(value: object) -> object:
    """A secret goes to the centre, which needs it, and nowhere else."""
    return value.reveal().decode() if isinstance(value, Secret) else value


def _signed(
    invocation: Invocation, authority: "LocalAuthority", method: str, arguments: Mapping[str, Any], officer: str
) -> bytes:
    from dojang.centre.orders import sign_order

    own_der, at = authority.certificate_der(), datetime.now(UTC)
    with _hand_of(invocation, officer) as (signer, certificate_der):
        return sign_order(authority.name, own_der, method, arguments, signer, certificate_der, at=at)


@contextlib.contextmanager
def _hand_of(invocation: Invocation, officer: str) -> "Iterator[tuple[DigestSigner, bytes]]":
    """The officer's key where it lies, and his certificate."""
    from dojang.cli.workplace import open_location_at
    from dojang.signing.private_key import PrivateKeySigner

    address = invocation.address(officer)
    with open_location_at(invocation, address) as location:
        stored = location.find(address)
        yield PrivateKeySigner(location.private_key(stored.key_id)), stored.certificate_der


def state_words(enrolment: Mapping[str, Any]) -> str:
    """Where it stands, for people."""
    state = enrolment["state"]
    return _(STATES[state])


def moment(text: str) -> datetime:
    """A moment in an answer, which ``say`` puts into words."""
    return datetime.fromisoformat(text)


def day_and_time(text: str) -> str:
    """The same for tables."""
    return f"{moment(text):%Y-%m-%d %H:%M}"


def enrolment_lines(enrolment: Mapping[str, Any]) -> list[str]:
    """An enrolment for people."""
    missing = enrolment["missing"]
    lines = [
        say("Reference number: {reference}", reference=enrolment["reference"]),
        say("State: {detail}", detail=state_words(enrolment)),
        say("Subject: {subject}", subject=enrolment["subject"]),
        say("Profile: {profile}", profile=enrolment["profile"]),
        say("Usable until: {until}", until=moment(enrolment["expires_at"])),
        say("Registered by: {actor}", actor=enrolment["created_by"]),
    ]
    if enrolment["alternative_names"]:
        lines.insert(3, say("Further names: {names}", names=enrolment["alternative_names"]))
    if enrolment["state"] == "drafted" and missing["checks"]:
        lines.append(say("Checks missing: {kinds}", kinds=missing["checks"]))
    if enrolment["state"] in ("drafted", "waiting") and missing["approvals"]:
        lines.append(say("Approvals missing: {count}", count=missing["approvals"]))
    if enrolment["wrong_tries"]:
        lines.append(say("Wrong tries: {count}", count=enrolment["wrong_tries"]))
    if enrolment["reason"]:
        lines.append(say("Reason: {reason}", reason=enrolment["reason"]))
    return lines + [_factor_line(one) for one in enrolment.get("factors", ())]


def _factor_line(passed: Mapping[str, Any]) -> str:
    """A factor that was passed: by what, when, and whether it was used."""
    facts = {"factor": factor_name(passed["factor"]), "device": passed["device"], "at": moment(passed["passed_at"])}
    if passed["certificate"] is not None:
        return say("Passed: {factor} ({device}) at {at}, for {serial}", serial=passed["certificate"], **facts)
    return say("Passed: {factor} ({device}) at {at}, not used", **facts)
