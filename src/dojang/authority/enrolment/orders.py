"""What the office can be told to do, by name: the same from the command line here and from an officer far away.

    counter.perform("code.new", {"profile": "personal", "subject": "CN=Hong"})                     # whoever is here
    counter.perform("enrolment.approve", {"reference": "…"}, officer=officer, evidence=order_der)   # with his roles

Arguments and answers are what JSON holds. Whoever stands before the authority's own folder needs no role, but cannot
speak for an officer. The answer of ``code.new`` is the only one that holds a secret: the code, once.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from dojang.authority.audit import acting
from dojang.authority.enrolment import answers
from dojang.authority.enrolment.answers import Answer
from dojang.authority.enrolment.applicants import CONTACTS, KINDS, Kind
from dojang.authority.enrolment.arguments import Arguments
from dojang.authority.enrolment.office import Office
from dojang.authority.enrolment.officers import ROLES, Officer, Officers, Role
from dojang.authority.enrolment.records import Terms
from dojang.authority.enrolment.states import WHY
from dojang.authority.factors.card_orders import CARD_ORDERS
from dojang.authority.factors.device_orders import DEVICE_ORDERS
from dojang.errors import NotPermitted, Phrase, Usage

if TYPE_CHECKING:
    from dojang.otp.cards import Cards
    from dojang.otp.devices import Devices

_HASH_BYTES: Final = 32


class Counter:
    """Where orders are given for one authority."""

    def __init__(
        self,
        office: Office,
        officers: Officers,
        cards: "Callable[[], Cards] | None" = None,
        devices: "Callable[[], Devices] | None" = None,
        called: str = "",
    ) -> None:
        """``cards`` and ``devices`` open what is sealed on the authority's token: security cards, seeds of devices.
        ``called`` is the authority's name for people, as messages have it.
        """
        self.office, self.officers, self.cards, self.devices = office, officers, cards, devices
        self.called = called

    def perform(
        self,
        method: str,
        arguments: Mapping[str, Any],
        *,
        officer: Officer | None = None,
        evidence: bytes | None = None,
    ) -> Answer:
        """Do it and say what came of it. ``officer`` has proved to be one; ``evidence`` is the order that he signed.

        ``Usage`` for an unknown method or argument, ``NotPermitted`` for a role that he does not have.
        """
        order = ORDERS.get(method)
        if order is None:
            raise Usage(problem=Phrase("'{method}' is nothing that an office does", method=method[:64]))
        if officer is not None:
            _check_may(officer, order)
        given = Arguments(arguments, evidence)
        with contextlib.nullcontext() if officer is None else acting(officer.actor):
            return order.perform(self, given)


@dataclass(frozen=True, slots=True)
class Order:
    """``role`` is who may order it from afar: a role, any officer, or nobody. ``changes`` tells whether it writes."""

    perform: Callable[[Counter, Arguments], Answer]
    role: Role | Literal["any", "nobody"]
    changes: bool = True


def _check_may(officer: Officer, order: Order) -> None:
    if order.role == "nobody":
        raise NotPermitted(
            problem=Phrase("this is done where the authority is, and nowhere else"),
            remedy=Phrase("Have somebody do it there."),
        )
    if order.role != "any" and not ("auditor" in officer.roles and not order.changes):
        officer.check_role(order.role)


def _applicant_add(counter: Counter, given: Arguments) -> Answer:
    kind = given.one_of("kind", KINDS)
    contact = {name: text for name in CONTACTS if (text := given.maybe_text(name)) is not None}
    name, number = given.text("name"), given.maybe_secret("number")
    given.finish()
    return {"applicant": answers.applicant(counter.office.add_applicant(cast("Kind", kind), name, contact, number))}


def _applicant_change(counter: Counter, given: Arguments) -> Answer:
    applicant, without = given.text("applicant"), given.texts("without")
    contact = {name: text for name in CONTACTS if (text := given.maybe_text(name)) is not None}
    given.finish()
    if not contact and not without:
        raise Usage(problem=Phrase("nothing was said that is to change"))
    if not set(without) <= set(CONTACTS) - contact.keys():
        raise Usage(problem=Phrase("what is to be removed is one of: {known}", known=", ".join(CONTACTS)))
    return {"applicant": answers.applicant(counter.office.change_applicant(applicant, contact, without))}


def _applicant_list(counter: Counter, given: Arguments) -> Answer:
    after, limit = given.page()
    given.finish()
    found = counter.office.applicants(after=after, limit=limit)
    return {"applicants": [answers.applicant(one) for one in found]}


def _applicant_show(counter: Counter, given: Arguments) -> Answer:
    wanted = given.text("applicant")
    given.finish()
    found, checks, enrolments = counter.office.applicant(wanted)
    return {
        "applicant": answers.applicant(found),
        "checks": [answers.check(one) for one in checks],
        "enrolments": [answers.enrolment(one) for one in enrolments],
    }


def _check_add(counter: Counter, given: Arguments) -> Answer:
    applicant, kind, evidence = given.text("applicant"), given.text("kind"), given.octets("evidence", _HASH_BYTES)
    given.finish()
    return {"applicant": applicant, "check": answers.check(counter.office.record_check(applicant, kind, evidence))}


def _code_new(counter: Counter, given: Arguments) -> Answer:
    terms = Terms(
        given.text("profile"), given.text("subject"), given.texts("alternative_names"), given.maybe_number("years")
    )
    more: dict[str, Any] = {
        "applicant": given.maybe_text("applicant"),
        "pre_authorised": given.switch("pre_authorised"),
        "valid_days": given.maybe_number("valid_days"),
        "uses": given.maybe_number("uses"),
        "evidence": given.evidence,
    }
    given.finish()
    handed = counter.office.new(terms, **more)
    answer = _with_standing(counter, handed.enrolment.reference)
    return {**answer, "code": handed.code.reveal().decode()}


def _enrolment_list(counter: Counter, given: Arguments) -> Answer:
    states, (after, limit) = given.texts("states"), given.page()
    given.finish()
    for state in states:
        if state not in WHY:
            raise Usage(problem=Phrase("an enrolment is one of: {states}", states=", ".join(WHY)))
    found = counter.office.enrolments(states=states, after=after, limit=limit)
    return {"enrolments": [answers.enrolment(one) for one in found]}


def _enrolment_show(counter: Counter, given: Arguments) -> Answer:
    reference = given.text("reference")
    given.finish()
    return _with_standing(counter, reference)


def _enrolment_approve(counter: Counter, given: Arguments) -> Answer:
    reference = given.text("reference")
    given.finish()
    counter.office.approve(reference, given.evidence)
    return _with_standing(counter, reference)


def _enrolment_refuse(counter: Counter, given: Arguments) -> Answer:
    reference, reason = given.text("reference"), given.text("reason")
    given.finish()
    counter.office.refuse(reference, reason, given.evidence)
    return _with_standing(counter, reference)


def _code_cancel(counter: Counter, given: Arguments) -> Answer:
    reference, reason = given.text("reference"), given.maybe_text("reason")
    given.finish()
    counter.office.cancel(reference, reason or "")
    return _with_standing(counter, reference)


def _code_unlock(counter: Counter, given: Arguments) -> Answer:
    reference = given.text("reference")
    given.finish()
    counter.office.unlock(reference)
    return _with_standing(counter, reference)


def _officer_add(counter: Counter, given: Arguments) -> Answer:
    certificate_der, roles = given.octets("certificate"), given.texts("roles")
    given.finish()
    return {"officer": answers.officer(counter.officers.add(certificate_der, roles))}


def _officer_list(counter: Counter, given: Arguments) -> Answer:
    given.finish()
    return {"officers": [answers.officer(one) for one in counter.officers.listed()], "roles": list(ROLES)}


def _officer_remove(counter: Counter, given: Arguments) -> Answer:
    wanted, reason = given.text("officer"), given.maybe_text("reason")
    given.finish()
    return {"officer": answers.officer(counter.officers.remove(wanted, reason or ""))}


def _with_standing(counter: Counter, reference: str) -> Answer:
    """An enrolment, and what is missing until its code works."""
    one, standing = counter.office.enrolment(reference), counter.office.standing(reference)
    missing = {"checks": list(standing.checks_missing), "approvals": standing.approvals_missing}
    passed = [answers.evidence(found) for found in counter.office.factors(reference)]
    return {"enrolment": answers.enrolment(one) | {"missing": missing, "factors": passed}}


ORDERS: Final[Mapping[str, Order]] = MappingProxyType(
    {
        "applicant.add": Order(_applicant_add, "registrar"),
        "applicant.change": Order(_applicant_change, "registrar"),
        "applicant.list": Order(_applicant_list, "registrar", changes=False),
        "applicant.show": Order(_applicant_show, "registrar", changes=False),
        "check.add": Order(_check_add, "registrar"),
        "code.new": Order(_code_new, "registrar"),
        "code.cancel": Order(_code_cancel, "registrar"),
        "code.unlock": Order(_code_unlock, "registrar"),
        "enrolment.list": Order(_enrolment_list, "any", changes=False),
        "enrolment.show": Order(_enrolment_show, "any", changes=False),
        "enrolment.approve": Order(_enrolment_approve, "approver"),
        "enrolment.refuse": Order(_enrolment_refuse, "approver"),
        "officer.add": Order(_officer_add, "nobody"),
        "officer.list": Order(_officer_list, "any", changes=False),
        "officer.remove": Order(_officer_remove, "nobody"),
        **{name: Order(perform, "registrar", changes) for name, (perform, changes) in CARD_ORDERS.items()},
        **{name: Order(perform, "registrar", changes) for name, (perform, changes) in DEVICE_ORDERS.items()},
    }
)
