"""What renewing and reissuing share: a successor for one certificate, up to the authority's knowing that it works."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from dojang.errors import (
    Ambiguous,
    AnswerMismatch,
    AuthorityRefused,
    CredentialBusy,
    NotFound,
    NothingDue,
    NotRenewable,
    Phrase,
)
from dojang.ledger import Fact, Operation
from dojang.lifecycle.asking import Terms, asked_by, certify, is_elsewhere, write_request
from dojang.lifecycle.claims import check_claim, drop_claim, take_claim
from dojang.lifecycle.finish import confirm, install_and_prove, note_confirmed
from dojang.lifecycle.journal import answer_facts, key_id_of, moment, replaced_by, taken_back_on_failure
from dojang.lifecycle.new_key import backup_of, make_key
from dojang.lifecycle.origin import Origin, fingerprint_of, history_of
from dojang.lifecycle.person import Person, check_named, keep_r, prove_person
from dojang.lifecycle.workplace import Recovered, Workplace
from dojang.locations.address import address_of_key
from dojang.locations.base import Location, StoredCredential

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.x509 import Certificate

    from dojang.authority.base import CertificateAuthority


def successor_facts(
    location: Location, old_der: bytes, origin: Origin, terms: Terms, *, key_id: bytes, label: str
) -> dict[str, Fact]:
    """What the journal keeps of any successor; where it takes the old one's place, ``old_key_id`` comes to it."""
    from dojang.x509.name import format_name

    old = load(old_der)
    return {
        "location": location.address,
        "address": location.address,
        "key_id": key_id.hex(),
        "old_fingerprint": fingerprint_of(old_der),
        "old_not_after": moment(old.not_valid_after_utc),
        "label": label,
        "subject": format_name(old.subject),
        "authority": origin.authority,
        "profile": terms.name,
        "window_days": terms.renewal_window_days,
        "algorithm": algorithm_in(old_der),
    }


def claim(place: Workplace, operation: Operation, location: Location, old: StoredCredential) -> None:
    """From here on nobody else begins; whoever was quicker since the old one was looked at has replaced it.

    ``CredentialBusy``, ``NothingDue``; then the operation is closed and nothing was made.
    """
    try:
        claimed = take_claim(operation, location)
        if any(event.event == "retired" for event in history_of(place, old)) or not _is_still(location, old):
            raise replaced_already()
    except (CredentialBusy, NothingDue) as error:
        drop_claim(operation, location)
        operation.undo(error.code)
        raise
    operation.advance("claimed", claimed=claimed)


def refuse_unusable(place: Workplace, where: str, certificate_der: bytes, *, live: bool) -> None:
    """``NotRenewable`` for a certificate that is not in use any more, or that has expired."""
    if not live:
        raise NotRenewable(
            address=where, problem="it is not in use", remedy="Name the one in use; 'dojang cert list' shows it."
        )
    not_after = load(certificate_der).not_valid_after_utc
    if not_after <= place.now():
        raise NotRenewable(
            address=where,
            problem=Phrase("it expired at {not_after}", not_after=not_after),
            remedy="Issue a new one with 'dojang cert issue'.",
        )


def replaced_already() -> NothingDue:
    return NothingDue(next_step="It was replaced already; 'dojang cert list' shows its successor.")


def bring(
    place: Workplace,
    operation: Operation,
    location: Location,
    authority: "CertificateAuthority",
    old_der: bytes,
    person: Person | None = None,
) -> None:
    """From the intent in the journal to a successor that is certified, installed, proven and confirmed.

    ``person`` is whoever its VID names.

    After an error everything is as it was, save after ``AnswerPending``: then the next run goes on. After this, only
    the switch is left.
    """
    with asked_by(authority, place, operation, location) as asked:
        _bring(place, operation, location, asked, old_der, person)
        note_confirmed(place, operation, location, asked)


def _bring(
    place: Workplace,
    operation: Operation,
    location: Location,
    authority: "CertificateAuthority",
    old_der: bytes,
    person: Person | None,
) -> None:
    under = _wrapping_key(place, operation, location, old_der)
    with taken_back_on_failure(place, operation, location):
        key = _key(place, operation, location, old_der, under, person)
        _certify(place, operation, authority, key, old_der, under, person)
        check_claim(operation, location)
        stored = install_and_prove(place, operation, location, key)
        prove_person(location, stored, person)
    with taken_back_on_failure(place, operation, location, AuthorityRefused):  # any other error may yet pass
        confirm(place, operation, authority)


def _wrapping_key(place: Workplace, operation: Operation, location: Location, old_der: bytes) -> str | None:
    """The one that was asked for; in the old one's place that of the old one."""
    if (asked := operation.record.facts.get("backup_under")) is not None:
        return str(asked)
    # Another token has other wrapping keys, and one that is lost must not keep its successor from being made.
    return None if replaced_by(operation) is None else backup_of(place, location, old_der)


def _is_still(location: Location, old: StoredCredential) -> bool:
    try:
        return location.find(old.address).certificate_der == old.certificate_der
    except NotFound:
        return False


def _key(
    place: Workplace,
    operation: Operation,
    location: Location,
    old_der: bytes,
    backup_under: str | None,
    person: Person | None,
) -> "PrivateKey":
    """The key that is kept, or a new one: staged where it takes the old one's place."""
    key_id, label, replaces = key_id_of(operation), str(operation.record.facts["label"]), replaced_by(operation)
    if key_id == replaces:
        return location.private_key(key_id)
    if replaces is None:
        location.check_free(label=label, subject_der=load(old_der).subject.public_bytes())
    place.say("generate")
    keep_r(location, person, key_id=key_id, replaces=replaces)
    algorithm = str(operation.record.facts["algorithm"])
    return make_key(location, algorithm, key_id=key_id, label=label, replaces=replaces, backup_under=backup_under)


def _certify(
    place: Workplace,
    operation: Operation,
    authority: "CertificateAuthority",
    key: "PrivateKey",
    old_der: bytes,
    backup_under: str | None,
    person: Person | None,
) -> None:
    """Ask, check that the answer is what was asked for, and write it into the journal."""
    verb = operation.record.verb
    # A renewal keeps the VID of the old certificate by itself, whatever its profile says by now.
    vid_der = person.vid_der if person is not None and verb == "reissue" else None
    # Elsewhere a code brings a first certificate, which comes after none; the old one is revoked by itself.
    first = verb == "reissue" and is_elsewhere(authority) and authority.has_reference()
    request_der = request_like(authority, old_der, key, first=first)
    answer = certify(place, operation, authority, request_der, old_der, vid_der)
    check_named(answer.certificate_der, person)
    if verb == "reissue" and not is_elsewhere(authority):
        _check_same_end(answer.certificate_der, old_der)
    facts = answer_facts(answer.certificate_der, answer.chain_der)
    operation.advance("answered", **facts, **({} if backup_under is None else {"backup_under": backup_under}))


def _check_same_end(new_der: bytes, old_der: bytes) -> None:
    found, wanted = load(new_der).not_valid_after_utc, load(old_der).not_valid_after_utc
    if found != wanted:
        problem = Phrase("it ends at {found} instead of {wanted}", found=found, wanted=wanted)
        raise AnswerMismatch(problems=(problem,))


def request_like(authority: "CertificateAuthority", old_der: bytes, key: "PrivateKey", *, first: bool) -> bytes:
    """A request for the same names as the old certificate bears; ``first`` does not say that it comes after that.

    A VID is no name that is asked for: it is the authority's word.
    """
    from dojang.npki.vid import is_vid
    from dojang.x509.alternative_names import alternative_names_of, format_alternative_names

    certificate = load(old_der)
    names = format_alternative_names(name for name in alternative_names_of(certificate) if not is_vid(name))
    return write_request(authority, key, certificate.subject, names, None if first else old_der)


def load(certificate_der: bytes) -> "Certificate":
    """The certificate; the same few are asked for again and again. ``FileMalformed``."""
    from dojang.x509.reading import read_certificate

    return read_certificate(certificate_der)


def algorithm_in(certificate_der: bytes) -> str:
    """The kind of key that a certificate is for."""
    from dojang.x509.keys import algorithm_of

    return algorithm_of(load(certificate_der).public_key())


def replaced_now(
    recovered: Iterable[Recovered], verb: str, location: Location, found: StoredCredential
) -> StoredCredential | None:
    """The credential that ``found`` has just replaced, when it was the recovery that finished that."""
    for outcome in recovered:
        new = outcome.credential
        if outcome.record.verb == verb and new is not None and new.certificate_der == found.certificate_der:
            fingerprint = outcome.record.facts["old_fingerprint"]
            for old in location.credentials():
                if fingerprint_of(old.certificate_der) == fingerprint:
                    return old
    return None


def as_it_is_now(location: Location, old: StoredCredential) -> StoredCredential:
    """The old credential where it is found after the switch."""
    with contextlib.suppress(NotFound, Ambiguous):  # one question, where a list may be long
        found = location.find(address_of_key(location.address, old.key_id))
        if found.certificate_der == old.certificate_der:
            return found
    for credential in location.credentials():
        if credential.certificate_der == old.certificate_der:
            return credential
    return replace(old, retired=True)
