"""Issue: a new key in a location and a certificate for it."""

from dataclasses import dataclass
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.errors import NotPermitted, Phrase
from dojang.ledger import Fact, Operation, OperationRecord
from dojang.lifecycle.aftercare import tell_checks
from dojang.lifecycle.finish import confirm, install_and_prove
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.journal import (
    KEY_ID_BYTES,
    answer_facts,
    certified_event,
    key_id_of,
    name_in,
    taken_back_on_failure,
)
from dojang.lifecycle.new_key import make_key, wrapping
from dojang.lifecycle.recover import finished_now, recover
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import Location

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from dojang.authority.base import CertificateAuthority
    from dojang.x509.profiles import Profile


@dataclass(frozen=True, slots=True)
class IssueOrder:
    """What to issue: where the key shall live, whose name it bears, by which authority and profile.

    ``backup_under`` names the wrapping key of a token whose key shall be able to leave it wrapped.
    """

    to: str
    subject: "Name"
    authority: str
    profile: str
    algorithm: str
    label: str
    alternative_names: tuple[str, ...] = ()
    backup_under: str | None = None


def issue(order: IssueOrder, place: Workplace) -> Held:
    """Make a key in its location and bring the certificate for it there; complete and proven when this returns.

    ``AlreadyExists`` for a label in use, ``NotPermitted`` for what the profile rules out, ``AnswerMismatch`` when the
    authority sent something else. After any error the location is as it was; after a kill, the next run sees to it.
    """
    from dojang.authority.base import Submission
    from dojang.x509.check import check_issued
    from dojang.x509.request import build_request

    with place.open_location(order.to) as location, place.open_authority(order.authority) as authority:
        recovered = [one for one in recover(place, location) if _is_asked_again(one.record, order)]
        if (done := finished_now(recovered, "issue", name_in(location, order.label))) is not None:
            tell_checks(place, location, done)
            return look_at(place, location.traits, done)
        profile = profile_of(authority, order.profile, order.algorithm)
        refuse_early(location, order.label, order.subject, order.alternative_names)
        _refuse_no_backup(order, location)
        location.has_key(token_bytes(KEY_ID_BYTES))  # asks for the PIN, so that a wrong one ends here
        with _begin(order, place, location, profile) as operation:
            with taken_back_on_failure(place, operation, location):
                location.check_free(label=order.label, subject_der=order.subject.public_bytes())
                place.say("generate")
                key = make_key(
                    location,
                    order.algorithm,
                    key_id=key_id_of(operation),
                    label=order.label,
                    backup_under=order.backup_under,
                )
                request_der = build_request(key, order.subject, order.alternative_names)
                place.say("ask")
                answer = authority.submit(Submission("issue", request_der, order.profile, operation.operation_id))
                check_issued(
                    answer.certificate_der, request_der=request_der, chain_der=answer.chain_der, at=place.now()
                )
                operation.advance("answered", **answer_facts(answer.certificate_der, answer.chain_der))
                stored = install_and_prove(place, operation, location, key)
            confirm(place, operation, authority)
            operation.finish("issued", certified_event("issued", operation, stored))
        tell_checks(place, location, stored)
        return look_at(place, location.traits, stored)


def plan_issue(order: IssueOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``issue`` would take, after the same refusals; nothing is made and no PIN is asked."""
    with place.open_location(order.to) as location, place.open_authority(order.authority) as authority:
        profile_of(authority, order.profile, order.algorithm)
        refuse_early(location, order.label, order.subject, order.alternative_names)
        _refuse_no_backup(order, location)
        where = {"location": location.address, "label": order.label}
        return (
            Step("generate", {**where, "algorithm": order.algorithm}),
            Step("ask", {"authority": order.authority, "profile": order.profile}),
            Step("install", where),
            Step("prove", where),
            Step("confirm", {"authority": order.authority}),
        )


def refuse_early(location: Location, label: str, subject: "Name", alternative_names: tuple[str, ...]) -> None:
    """What would stop a new key at once: a name that is taken, or is none."""
    from dojang.x509.alternative_names import parse_alternative_names

    parse_alternative_names(alternative_names)
    location.check_free(label=label, subject_der=subject.public_bytes())


def _refuse_no_backup(order: IssueOrder, location: Location) -> None:
    if order.backup_under is not None:
        wrapping(location)


def profile_of(authority: "CertificateAuthority", name: str, algorithm: str) -> "Profile":
    """The authority's profile of that name; ``NotPermitted`` when it has none or this one rules the algorithm out."""
    offered = {profile.name: profile for profile in authority.profiles()}
    if name not in offered:
        raise NotPermitted(
            problem=Phrase("{authority} does not issue by the profile '{name}'", authority=authority.name, name=name),
            remedy=Phrase("Choose one of: {choices}.", choices=", ".join(sorted(offered))),
        )
    allowed = offered[name].algorithms
    if algorithm not in allowed:
        raise NotPermitted(
            problem=Phrase("the profile '{name}' does not allow {algorithm}", name=name, algorithm=algorithm),
            remedy=Phrase("Choose one of: {choices}.", choices=", ".join(allowed)),
        )
    return offered[name]


def _is_asked_again(record: OperationRecord, order: IssueOrder) -> bool:
    from dojang.x509.name import format_name

    wanted = {
        "subject": format_name(order.subject),
        "authority": order.authority,
        "profile": order.profile,
        "algorithm": order.algorithm,
    }
    return all(record.facts.get(name) == value for name, value in wanted.items())


def _begin(order: IssueOrder, place: Workplace, location: Location, profile: "Profile") -> Operation:
    from dojang.x509.name import format_name

    facts: dict[str, Fact] = {
        "location": location.address,
        "address": location.address,
        "key_id": token_bytes(KEY_ID_BYTES).hex(),
        "label": order.label,
        "subject": format_name(order.subject),
        "authority": order.authority,
        "profile": profile.name,
        "window_days": profile.renewal_window_days,
        "algorithm": order.algorithm,
    }
    if order.backup_under is not None:
        facts["backup_under"] = order.backup_under
    return place.ledger.begin("issue", name_in(location, order.label), facts)
