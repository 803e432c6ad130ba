"""Register: accept a certificate that another institution issued, after everything about it has been checked.

Nothing is made but the entry in the ledger, in one step: a run that is killed has registered it or has not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from dojang.errors import CertificateUnusable, NotFound, Phrase
from dojang.ledger import Event, Fact
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.possession import Answers, person_at, possession_at, possession_by_response
from dojang.lifecycle.recover import recover
from dojang.lifecycle.vetting import Terms, Vetted, refuse_unless_good, vet
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import StoredCredential
from dojang.x509.name import format_name
from dojang.x509.path import Check
from dojang.x509.revocation import GOOD, REVOKED, SUSPENDED, UNKNOWN

if TYPE_CHECKING:
    from dojang.secret import Secret

_STATES = (REVOKED, SUSPENDED, "restored")


@dataclass(frozen=True, slots=True)
class Registration:
    """What was accepted, and why. ``held`` where it lies in a location, ``again`` where it was registered before."""

    certificate_der: bytes
    checks: tuple[Check, ...]
    vetted: Vetted
    at: datetime
    again: bool = False
    held: Held | None = None


def register_at(address: str, terms: Terms, place: Workplace, *, number: "Secret | None" = None) -> Registration:
    """Accept the credential at ``address``: its certificate, its key, and with ``number`` the person it belongs to.

    Everything is checked before one error tells all that is wrong: ``RegistrationRefused``, ``CertificateRevoked``,
    ``CertificateSuspended``, ``StatusUnknown`` or ``PurposeRefused``, by what is gravest. Then nothing is registered,
    but what was accepted before is known as revoked from then on. Registering again refreshes.
    """
    _refuse_no_number(number)
    with place.open_location(address) as location:
        recover(place, location)
        stored = _live(location.find(address))
        vetted = _vet(stored.certificate_der, location.chain_of(stored.certificate_der), terms, place)
        place.say("prove")
        checks = [*vetted.checks, possession_at(location, stored)]
        if number is not None:
            checks.append(person_at(location, stored, number))
        facts = {"location": location.address, "key_id": stored.key_id.hex(), "label": stored.label}
        done = _accept(place, stored.address, stored.certificate_der, vetted, checks, facts)
        return replace(done, held=look_at(place, location.traits, stored))


def register_file(
    name: str,
    certificate_der: bytes,
    chain_der: Sequence[bytes],
    terms: Terms,
    place: Workplace,
    answers: Answers | None,
) -> Registration:
    """Accept a certificate whose key lies elsewhere, where ``answers`` tells that the key signed the challenge.

    ``name`` is the file it came from. Raises as ``register_at`` does.
    """
    vetted = _vet(certificate_der, chain_der, terms, place)
    checks = [*vetted.checks, possession_by_response(certificate_der, answers, place)]
    return _accept(place, name, certificate_der, vetted, checks, {})


def recheck_at(address: str, terms: Terms, place: Workplace) -> Registration:
    """Check again, without its key, what was registered before; the ledger then knows its state.

    ``NotFound`` for what was not registered; otherwise as ``register_at``.
    """
    with place.open_location(address) as location:
        stored = location.find(address)
        chain_der = location.chain_of(stored.certificate_der)
        done = recheck_file(stored.address, stored.certificate_der, chain_der, terms, place)
        return replace(done, held=look_at(place, location.traits, stored))


def recheck_file(
    name: str, certificate_der: bytes, chain_der: Sequence[bytes], terms: Terms, place: Workplace
) -> Registration:
    """As ``recheck_at``, for a certificate in a file."""
    if not _was_registered(place, certificate_der):
        raise NotFound(
            what=Phrase("A registration of {address}", address=name),
            where=place.ledger.path,
            command="dojang cert register",
            next_step="Register it first: dojang cert register ADDRESS.",
        )
    vetted = _vet(certificate_der, chain_der, terms, place)
    return _accept(place, name, certificate_der, vetted, vetted.checks, {}, event="checked")


def _vet(certificate_der: bytes, chain_der: Sequence[bytes], terms: Terms, place: Workplace) -> Vetted:
    place.say("check")
    return vet(certificate_der, chain_der, terms, place.now())


def _accept(
    place: Workplace,
    address: str,
    certificate_der: bytes,
    vetted: Vetted,
    checks: Sequence[Check],
    facts: Mapping[str, Fact],
    event: str = "registered",
) -> Registration:
    """Note it, or refuse with everything that is wrong; one moment for the answer and the ledger."""
    again, at = _was_registered(place, certificate_der), place.now()
    _note_state(place, address, certificate_der, vetted)
    refuse_unless_good(vetted, checks)
    fingerprint = fingerprint_of(certificate_der)
    place.ledger.record(Event(event, address, fingerprint, {**facts, **_facts(vetted, checks)}, at))
    return Registration(certificate_der, tuple(checks), vetted, at, again)


def _facts(vetted: Vetted, checks: Sequence[Check]) -> dict[str, Fact]:
    standing = vetted.finding.standing
    return {
        "subject": format_name(vetted.certificate.subject),
        "issuer": format_name(vetted.certificate.issuer),
        "serial": f"{vetted.certificate.serial_number:x}",
        "not_after": vetted.certificate.not_valid_after_utc.isoformat(),
        "checks": [check.name for check in checks],
        "policies": list(vetted.policies),
        "state": standing.state,
        "source": standing.source,
        "place": standing.place,
    }


def _was_registered(place: Workplace, certificate_der: bytes) -> bool:
    history = place.ledger.history(fingerprint=fingerprint_of(certificate_der))
    return any(event.event == "registered" for event in history)


def _note_state(place: Workplace, address: str, certificate_der: bytes, vetted: Vetted) -> None:
    """The state of the certificate itself, where it is one that the ledger knows and its state has changed."""
    fingerprint = fingerprint_of(certificate_der)
    names = [event.event for event in place.ledger.history(fingerprint=fingerprint) if event.event != "challenged"]
    standing = vetted.findings[0].standing if vetted.findings else None
    if not names or standing is None or standing.state == UNKNOWN:
        return
    before = next((name for name in reversed(names) if name in _STATES), "restored")
    now = "restored" if standing.state == GOOD else standing.state
    if now != before and before != REVOKED:
        told = {"source": standing.source, "place": standing.place}
        authority = format_name(vetted.certificate.issuer)
        place.ledger.record(Event(now, address, fingerprint, {"authority": authority, **told}))


def _live(stored: StoredCredential) -> StoredCredential:
    if not stored.live:
        raise CertificateUnusable(subject=stored.label, problem=Phrase("it is not in use"))
    return stored


def _refuse_no_number(number: "Secret | None") -> None:
    if number is not None:
        from dojang.npki.vid import check_number

        check_number(number)
