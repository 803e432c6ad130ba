"""Issue: a new key in a location and a certificate for it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.ledger import Fact, Operation
from dojang.lifecycle.aftercare import tell_checks
from dojang.lifecycle.asking import Terms, ask_steps, asked_by, certify, is_elsewhere, terms_of, write_request
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
from dojang.lifecycle.person import (
    AskNumber,
    ask_number,
    check_named,
    keep_r,
    new_person,
    prove_person,
    refuse_number,
)
from dojang.lifecycle.possession import person_at
from dojang.lifecycle.recover import finished_now, recover, refuse_pending
from dojang.lifecycle.workplace import Recovered, Step, Workplace
from dojang.locations.base import KeepsKeys, Location

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from dojang.secret import Secret


@dataclass(frozen=True, slots=True)
class IssueOrder:
    """What to issue: where the key shall live, whose name it bears, by which authority and profile.

    ``backup_under`` names the wrapping key of a token whose key shall be able to leave it wrapped. ``ask_number`` gives
    the resident or business number of the owner, for a certificate with a VID.
    """

    to: str
    subject: "Name"
    authority: str
    profile: str
    algorithm: str
    label: str
    alternative_names: tuple[str, ...] = ()
    backup_under: str | None = None
    ask_number: AskNumber | None = None


def issue(order: IssueOrder, place: Workplace) -> Held:
    """Make a key in its location and bring the certificate for it there; complete and proven when this returns.

    ``AlreadyExists`` for a label in use, ``NotPermitted`` for what the profile rules out, ``AnswerMismatch`` when the
    authority sent something else. After any error the location is as it was; after a kill, the next run sees to it, and
    so it does after ``AnswerPending``, when the authority has the request and its answer is not there yet.
    ``InputRequired`` and ``NotPermitted`` for a number that the profile wants, or does not want.
    """
    with place.open_location(order.to) as location, place.open_authority(order.authority) as authority:
        refuse_number(authority, order.profile, location, given=order.ask_number is not None)
        number = ask_number(order.ask_number)
        recovered = [one for one in recover(place, location) if _is_asked_again(one, order, location, number)]
        if (done := finished_now(recovered, "issue", name_in(location, order.label))) is not None:
            tell_checks(place, location, done)
            return look_at(place, location.traits, done)
        refuse_pending(recovered, "issue", name_in(location, order.label))
        order, key_id = _key_for(order, location)
        terms = terms_of(authority, order.profile, order.algorithm)
        refuse_early(location, order.label, order.subject, order.alternative_names)
        _refuse_no_backup(order, location)
        if is_elsewhere(authority):
            authority.has_reference(needed=True)
        location.has_key(token_bytes(KEY_ID_BYTES))  # asks for the PIN, so that a wrong one ends here
        person = new_person(order.subject, number)
        with (
            _begin(order, place, location, terms, key_id) as operation,
            asked_by(authority, place, operation, location) as asked,
        ):
            with taken_back_on_failure(place, operation, location):
                location.check_free(label=order.label, subject_der=order.subject.public_bytes())
                keep_r(location, person, key_id=key_id_of(operation))
                place.say(_key_step(location))
                key = make_key(
                    location,
                    order.algorithm,
                    key_id=key_id_of(operation),
                    label=order.label,
                    backup_under=order.backup_under,
                )
                request_der = write_request(asked, key, order.subject, order.alternative_names)
                vid_der = None if person is None else person.vid_der
                answer = certify(place, operation, asked, request_der, vid_der=vid_der)
                check_named(answer.certificate_der, person)
                operation.advance("answered", **answer_facts(answer.certificate_der, answer.chain_der))
            with _undone(place, operation, location):
                stored = install_and_prove(place, operation, location, key)
                prove_person(location, stored, person)
            confirm(place, operation, asked)
            operation.finish("issued", certified_event("issued", operation, stored))
        tell_checks(place, location, stored)
        return look_at(place, location.traits, stored)


def plan_issue(order: IssueOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``issue`` would take, after the same refusals; nothing is made and no PIN is asked."""
    with place.open_location(order.to) as location, place.open_authority(order.authority) as authority:
        refuse_number(authority, order.profile, location, given=order.ask_number is not None)
        order, _ = _key_for(order, location)
        terms_of(authority, order.profile, order.algorithm)
        refuse_early(location, order.label, order.subject, order.alternative_names)
        _refuse_no_backup(order, location)
        where = {"location": location.address, "label": order.label}
        return (
            Step(_key_step(location), {**where, "algorithm": order.algorithm}),
            *ask_steps(authority, order.authority, order.profile, "issue"),
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


def _is_asked_again(recovered: Recovered, order: IssueOrder, location: Location, number: "Secret | None") -> bool:
    from dojang.pkcs11.uri import Pkcs11Uri
    from dojang.x509.name import format_name

    record, credential = recovered.record, recovered.credential
    wanted = {
        "subject": format_name(order.subject),
        "authority": order.authority,
        "profile": order.profile,
        "algorithm": order.algorithm,
    }
    if isinstance(location, KeepsKeys):  # the key says its algorithm, and the address which one it is
        key_id = Pkcs11Uri.from_text(order.to).id
        wanted["algorithm"] = str(record.facts.get("algorithm"))
        wanted["key_id"] = str(record.facts.get("key_id")) if key_id is None else key_id.hex()
    if (number is not None) != bool(record.facts.get("vid")) or any(
        record.facts.get(name) != value for name, value in wanted.items()
    ):
        return False
    return number is None or credential is None or person_at(location, credential, number).ok


def _undone(place: Workplace, operation: Operation, location: Location) -> AbstractContextManager[None]:
    """What was not installed is taken back; but where the key was there before, the next run ends it: whether its
    place holds the old certificate or the new one may not be known, and the old one cannot be had again.
    """
    return nullcontext() if isinstance(location, KeepsKeys) else taken_back_on_failure(place, operation, location)


def _key_for(order: IssueOrder, location: Location) -> tuple[IssueOrder, bytes]:
    """The ``key_id`` of the key to come; where one is there already, its own, and the order then says its algorithm."""
    waiting = location.waiting_key(order.to) if isinstance(location, KeepsKeys) else None
    if waiting is None:
        if isinstance(location, KeepsKeys):
            location.refuse_new_key()
        return order, token_bytes(KEY_ID_BYTES)
    return replace(order, algorithm=waiting.algorithm), waiting.key_id


def _key_step(location: Location) -> str:
    """What is done for the key to come: where it is there already, it is only used."""
    return "use-key" if isinstance(location, KeepsKeys) else "generate"


def _begin(order: IssueOrder, place: Workplace, location: Location, terms: Terms, key_id: bytes) -> Operation:
    from dojang.x509.name import format_name

    facts: dict[str, Fact] = {
        "location": location.address,
        "address": location.address,
        "key_id": key_id.hex(),
        "label": order.label,
        "subject": format_name(order.subject),
        "authority": order.authority,
        "profile": terms.name,
        "window_days": terms.renewal_window_days,
        "algorithm": order.algorithm,
    }
    if order.backup_under is not None:
        facts["backup_under"] = order.backup_under
    if order.ask_number is not None:
        facts["vid"] = True
    return place.ledger.begin("issue", name_in(location, order.label), facts)
