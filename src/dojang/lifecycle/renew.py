"""Renew: a successor certificate before the old one expires, with a new key unless told to keep it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.authority.withdrawn import refuse_withdrawn
from dojang.errors import NothingDue, NotPermitted, Phrase
from dojang.ledger import Event, Operation
from dojang.lifecycle.aftercare import tell_checks
from dojang.lifecycle.asking import Terms, ask_steps, terms_of
from dojang.lifecycle.finish import switch
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.hooks import run_pre_hook
from dojang.lifecycle.journal import KEY_ID_BYTES, key_in, taken_back_on_failure
from dojang.lifecycle.new_key import refuse_no_new_key
from dojang.lifecycle.new_root import learn_root
from dojang.lifecycle.origin import Origin, due_from, fingerprint_of, history_of, origin_of, window_of
from dojang.lifecycle.person import same_person
from dojang.lifecycle.predecessor import check_secret
from dojang.lifecycle.recover import recover, refuse_pending
from dojang.lifecycle.successor import (
    algorithm_in,
    as_it_is_now,
    bring,
    claim,
    load,
    refuse_unusable,
    replaced_already,
    replaced_now,
    successor_facts,
)
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import Location, StoredCredential

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority


@dataclass(frozen=True, slots=True)
class RenewOrder:
    """Which credential to renew.

    Renewing before the window is allowed once: what came from a renewal itself is renewed again only inside the window
    (``window``, else its profile's), or when ``again`` says so. So a command that is run twice renews once.
    ``fingerprint`` is the certificate that is meant; the address may have come to name its successor.
    """

    address: str
    keep_key: bool = False
    again: bool = False
    window: timedelta | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """The new credential under the old one's name, and the old one, retired but still readable."""

    credential: Held
    previous: Held


def renew(order: RenewOrder, place: Workplace) -> Renewal:
    """Replace a credential by its successor without a moment in which neither works.

    ``NothingDue`` when it has been renewed already, ``NotRenewable`` when it has expired or nobody knows its authority,
    ``CredentialBusy`` while another process or another machine renews it. After any error, and after a kill and the
    next run, the old pair or the new pair is complete and usable.
    """
    with place.open_location(order.address) as location:
        recovered = recover(place, location)
        old = location.find(order.address)
        if (replaced := replaced_now(recovered, "renew", location, old)) is not None:
            return _renewal(place, location, old, replaced)
        subject_key = key_in(location, old.key_id)
        refuse_pending(recovered, "renew", subject_key)
        _refuse_unrenewable(order, place, location, old)
        origin = origin_of(place, old)
        with place.open_authority(origin.authority) as authority:
            terms = _terms_for(order, place, location, authority, origin, old)
            _check_secret(location, old)
            person = None if order.keep_key else same_person(location, old, authority)
            with _begin(order, place, location, old, origin, terms, subject_key) as operation:
                claim(place, operation, location, old)
                with taken_back_on_failure(place, operation, location):
                    run_pre_hook(place, operation)
                bring(place, operation, location, authority, old.certificate_der, person)
                stored = switch(place, operation, location)
            learn_root(place, operation, location, authority)
        return _renewal(place, location, stored, as_it_is_now(location, old))


def _check_secret(location: Location, old: StoredCredential) -> None:
    """A wrong PIN ends it here, and so does a password that does not open the old key: the new one would be sealed
    under something that was mistyped, and nobody could open it.
    """
    check_secret(location, old)
    if location.traits.opened_by != "password":
        location.has_key(old.key_id)  # which asks a token, and with it for its PIN


def plan_renewal(order: RenewOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``renew`` would take, after the same refusals; nothing is made and no PIN is asked."""
    with place.open_location(order.address) as location:
        old = location.find(order.address)
        _refuse_unrenewable(order, place, location, old)
    origin = origin_of(place, old)
    with place.open_authority(origin.authority) as authority:
        _terms_for(order, place, location, authority, origin, old)
        ask = ask_steps(authority, origin.authority, origin.profile, "renew")
    where = {"location": location.address, "label": old.label}
    rest = [Step("install", where), Step("prove", where), Step("confirm", {"authority": origin.authority})]
    made = [] if order.keep_key else [Step("generate", {**where, "algorithm": algorithm_in(old.certificate_der)})]
    return (*made, *ask, *rest, Step("switch", {**where, "address": old.address}))


def _refuse_unrenewable(order: RenewOrder, place: Workplace, location: Location, old: StoredCredential) -> None:
    if order.fingerprint not in (None, fingerprint_of(old.certificate_der)):
        raise replaced_already()
    _refuse_not_due(order, place, location, old)
    refuse_unusable(place, old.address, old.certificate_der, live=old.live)


def _refuse_not_due(order: RenewOrder, place: Workplace, location: Location, old: StoredCredential) -> None:
    history = history_of(place, old)
    if _has(history, "retired"):
        raise replaced_already()
    window = window_of(place, history) if order.window is None else order.window
    early = place.now() < due_from(old, window)
    if early and not order.again and (_has(history, "renewed") or _has_predecessor(location, old)):
        raise NothingDue(next_step="It was renewed before and has time left; --again renews it all the same.")


def _terms_for(
    order: RenewOrder,
    place: Workplace,
    location: Location,
    authority: "CertificateAuthority",
    origin: Origin,
    old: StoredCredential,
) -> Terms:
    refuse_withdrawn(origin.authority, _state_of(place, authority, old))
    terms = terms_of(authority, origin.profile, algorithm_in(old.certificate_der))
    if order.keep_key and not terms.keep_key_allowed:
        raise NotPermitted(
            problem=Phrase("the profile '{name}' wants a new key at each renewal", name=terms.name),
            remedy="Leave --keep-key out.",
        )
    if not order.keep_key:
        refuse_no_new_key(location, old.address, keep_key_allowed=terms.keep_key_allowed)
    return terms


def _state_of(place: Workplace, authority: "CertificateAuthority", old: StoredCredential) -> str:
    """As its record says; of one whose record is elsewhere the ledger knows what it had revoked, which is for good."""
    return authority.state_of(old.certificate_der) or ("revoked" if _has(history_of(place, old), "revoked") else "")


def _has(history: Iterable[Event], name: str) -> bool:
    return any(event.event == name for event in history)


def _has_predecessor(location: Location, credential: StoredCredential) -> bool:
    """Whether it came from a renewal, as the location itself shows: the ledger may be another machine's."""
    own = load(credential.certificate_der)
    retired = [load(one.certificate_der) for one in location.credentials() if one.retired]
    return any(
        (one.subject, one.issuer) == (own.subject, own.issuer) and one.not_valid_before_utc <= own.not_valid_before_utc
        for one in retired
    )


def _begin(
    order: RenewOrder,
    place: Workplace,
    location: Location,
    old: StoredCredential,
    origin: Origin,
    terms: Terms,
    subject_key: str,
) -> Operation:
    key_id = old.key_id if order.keep_key else token_bytes(KEY_ID_BYTES)
    facts = successor_facts(location, old.certificate_der, origin, terms, key_id=key_id, label=old.label)
    facts |= {"address": old.address, "old_key_id": old.key_id.hex()}
    return place.ledger.begin("renew", subject_key, facts)


def _renewal(place: Workplace, location: Location, new: StoredCredential, old: StoredCredential) -> Renewal:
    tell_checks(place, location, new)
    return Renewal(look_at(place, location.traits, new), look_at(place, location.traits, old))
