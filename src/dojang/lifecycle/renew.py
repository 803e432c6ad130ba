"""Renew: a successor certificate before the old one expires, with a new key unless told to keep it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.errors import CredentialBusy, NotFound, NothingDue, NotPermitted, NotRenewable, Phrase
from dojang.ledger import Event, Fact, Operation
from dojang.lifecycle.claims import drop_claim, take_claim
from dojang.lifecycle.finish import confirm, install_and_prove, switch
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.hooks import run_pre_hook
from dojang.lifecycle.issue import KEY_ID_BYTES, profile_of
from dojang.lifecycle.journal import answer_facts, key_id_of, key_in, moment, taken_back_on_failure
from dojang.lifecycle.origin import Origin, due_from, fingerprint_of, history_of, origin_of, window_of
from dojang.lifecycle.recover import recover
from dojang.lifecycle.workplace import Recovered, Step, Workplace
from dojang.locations.base import Location, StoredCredential

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.x509 import Certificate

    from dojang.authority.base import CertificateAuthority
    from dojang.x509.profiles import Profile


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
    from dojang.authority.base import Submission
    from dojang.x509.check import check_issued

    with place.open_location(order.address) as location:
        recovered = recover(place, location)
        old = location.find(order.address)
        if (replaced := _replaced_now(recovered, location, old)) is not None:
            return _renewal(place, location, old, replaced)
        _refuse_unrenewable(order, place, location, old)
        origin = origin_of(place, old)
        with place.open_authority(origin.authority) as authority:
            profile = _profile_for(order, authority, origin, old)
            location.has_key(old.key_id)  # asks for the PIN, so that a wrong one ends here
            with _begin(order, place, location, old, origin, profile) as operation:
                _claim(operation, place, location, old)
                with taken_back_on_failure(place, operation, location):
                    run_pre_hook(place, operation)
                    key = _successor_key(order, place, location, operation, old)
                    request_der = _request_like(old, key)
                    place.say("ask")
                    answer = authority.submit(
                        Submission("renew", request_der, profile.name, operation.operation_id, old.certificate_der)
                    )
                    check_issued(
                        answer.certificate_der, request_der=request_der, chain_der=answer.chain_der, at=place.now()
                    )
                    operation.advance("answered", **answer_facts(answer.certificate_der, answer.chain_der))
                    install_and_prove(place, operation, location, key)
                confirm(place, operation, authority)
                operation.advance("confirmed")
                stored = switch(place, operation, location)
        return _renewal(place, location, stored, _retired(location, old))


def plan_renewal(order: RenewOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``renew`` would take, after the same refusals; nothing is made and no PIN is asked."""
    with place.open_location(order.address) as location:
        old = location.find(order.address)
        _refuse_unrenewable(order, place, location, old)
    origin = origin_of(place, old)
    with place.open_authority(origin.authority) as authority:
        _profile_for(order, authority, origin, old)
    where = {"location": location.address, "label": old.label}
    ask = Step("ask", {"authority": origin.authority, "profile": origin.profile})
    rest = [Step("install", where), Step("prove", where), Step("confirm", {"authority": origin.authority})]
    made = [] if order.keep_key else [Step("generate", {**where, "algorithm": _algorithm_of(old)})]
    return (*made, ask, *rest, Step("switch", {**where, "address": old.address}))


def _refuse_unrenewable(order: RenewOrder, place: Workplace, location: Location, old: StoredCredential) -> None:
    if order.fingerprint not in (None, fingerprint_of(old.certificate_der)):
        raise _renewed_already()
    _refuse_not_due(order, place, location, old)
    if not old.live:
        raise NotRenewable(
            address=old.address, problem="it is not in use", remedy="Name the one in use; 'dojang cert list' shows it."
        )
    not_after = _certificate(old).not_valid_after_utc
    if not_after <= place.now():
        raise NotRenewable(
            address=old.address,
            problem=Phrase("it expired at {not_after}", not_after=not_after),
            remedy="Issue a new one with 'dojang cert issue'.",
        )


def _refuse_not_due(order: RenewOrder, place: Workplace, location: Location, old: StoredCredential) -> None:
    history = history_of(place, old)
    if _has(history, "retired"):
        raise _renewed_already()
    window = window_of(place, history) if order.window is None else order.window
    early = place.now() < due_from(old, window)
    if early and not order.again and (_has(history, "renewed") or _has_predecessor(location, old)):
        raise NothingDue(next_step="It was renewed before and has time left; --again renews it all the same.")


def _profile_for(
    order: RenewOrder, authority: "CertificateAuthority", origin: Origin, old: StoredCredential
) -> "Profile":
    profile = profile_of(authority, origin.profile, _algorithm_of(old))
    if order.keep_key and not profile.keep_key_allowed:
        raise NotPermitted(
            problem=Phrase("the profile '{name}' wants a new key at each renewal", name=profile.name),
            remedy="Leave --keep-key out.",
        )
    return profile


def _has(history: Iterable[Event], name: str) -> bool:
    return any(event.event == name for event in history)


def _has_predecessor(location: Location, credential: StoredCredential) -> bool:
    """Whether it came from a renewal, as the location itself shows: the ledger may be another machine's."""
    own = _certificate(credential)
    retired = [_certificate(one) for one in location.credentials() if one.retired]
    return any(
        (one.subject, one.issuer) == (own.subject, own.issuer) and one.not_valid_before_utc <= own.not_valid_before_utc
        for one in retired
    )


def _claim(operation: Operation, place: Workplace, location: Location, old: StoredCredential) -> None:
    """From here on nobody else begins; whoever was quicker since the old one was looked at has renewed it."""
    try:
        take_claim(operation, location)
        if _has(history_of(place, old), "retired") or not _is_still(location, old):
            raise _renewed_already()
    except (CredentialBusy, NothingDue) as error:
        drop_claim(operation, location)
        operation.undo(error.code)
        raise
    operation.advance("claimed")


def _is_still(location: Location, old: StoredCredential) -> bool:
    try:
        return location.find(old.address).certificate_der == old.certificate_der
    except NotFound:
        return False


def _renewed_already() -> NothingDue:
    return NothingDue(next_step="It was renewed already; 'dojang cert list' shows its successor.")


def _begin(
    order: RenewOrder, place: Workplace, location: Location, old: StoredCredential, origin: Origin, profile: "Profile"
) -> Operation:
    from dojang.x509.name import format_name

    facts: dict[str, Fact] = {
        "location": location.address,
        "address": old.address,
        "key_id": (old.key_id if order.keep_key else token_bytes(KEY_ID_BYTES)).hex(),
        "old_key_id": old.key_id.hex(),
        "old_fingerprint": fingerprint_of(old.certificate_der),
        "old_not_after": moment(_certificate(old).not_valid_after_utc),
        "label": old.label,
        "subject": format_name(_certificate(old).subject),
        "authority": origin.authority,
        "profile": profile.name,
        "window_days": profile.renewal_window_days,
        "algorithm": _algorithm_of(old),
    }
    return place.ledger.begin("renew", key_in(location, old.key_id), facts)


def _successor_key(
    order: RenewOrder, place: Workplace, location: Location, operation: Operation, old: StoredCredential
) -> "PrivateKey":
    if order.keep_key:
        return location.private_key(old.key_id)
    place.say("generate")
    return location.generate(_algorithm_of(old), key_id=key_id_of(operation), label=old.label, replaces=old.key_id)


def _renewal(place: Workplace, location: Location, new: StoredCredential, old: StoredCredential) -> Renewal:
    return Renewal(look_at(place, location.traits, new), look_at(place, location.traits, old))


def _replaced_now(
    recovered: Iterable[Recovered], location: Location, found: StoredCredential
) -> StoredCredential | None:
    """The credential that ``found`` has just replaced, when it was the recovery that finished its renewal."""
    for outcome in recovered:
        new = outcome.credential
        if outcome.record.verb == "renew" and new is not None and new.certificate_der == found.certificate_der:
            fingerprint = outcome.record.facts["old_fingerprint"]
            for old in location.credentials():
                if fingerprint_of(old.certificate_der) == fingerprint:
                    return old
    return None


def _retired(location: Location, old: StoredCredential) -> StoredCredential:
    """The old credential where it is found now."""
    for credential in location.credentials():
        if credential.certificate_der == old.certificate_der:
            return credential
    return replace(old, retired=True)


def _certificate(credential: StoredCredential) -> "Certificate":
    from cryptography.x509 import load_der_x509_certificate

    return load_der_x509_certificate(credential.certificate_der)


def _algorithm_of(credential: StoredCredential) -> str:
    from dojang.x509.keys import algorithm_of

    return algorithm_of(_certificate(credential).public_key())


def _request_like(old: StoredCredential, key: "PrivateKey") -> bytes:
    """A request for the same names as the old certificate bears."""
    from dojang.x509.alternative_names import alternative_names_of, format_alternative_names
    from dojang.x509.request import build_request

    certificate = _certificate(old)
    return build_request(key, certificate.subject, format_alternative_names(alternative_names_of(certificate)))
