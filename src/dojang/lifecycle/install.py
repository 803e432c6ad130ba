"""Install: bring a certificate that was issued elsewhere to its key."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from dojang.errors import AlreadyExists, AnswerMismatch, CertificateUnusable, NotFound, Phrase
from dojang.ledger import Event, Fact
from dojang.lifecycle.finish import finish_install
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.journal import answer_facts, identity_of, key_in, taken_back_on_failure
from dojang.lifecycle.recover import recover
from dojang.lifecycle.request import fingerprint_of_key
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import Location

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class InstallOrder:
    """A certificate and what is known of those above it, its own issuer first; the location of its key.

    ``key_id`` names the key where the ledger does not know it: one that ``cert request`` did not make.
    """

    to: str
    certificate_der: bytes
    chain_der: tuple[bytes, ...] = ()
    key_id: bytes | None = None
    label: str | None = None


def install(order: InstallOrder, place: Workplace) -> Held:
    """Put the certificate beside its key, proven to belong to it; installing it again changes nothing.

    ``AnswerMismatch`` when the key or the chain is another, ``CertificateUnusable`` when it has expired, ``NotFound``
    when no key here waits for it, ``AlreadyExists`` when the key has another certificate or its name is taken. The key
    is as it was then, and the same again may be tried once the obstacle is gone.
    """
    with place.open_location(order.to) as location:
        recover(place, location)
        facts = _checked(order, place, location)
        key_id = bytes.fromhex(str(facts["key_id"]))
        with (
            place.ledger.begin("install", key_in(location, key_id), facts) as operation,
            taken_back_on_failure(place, operation, location),
        ):
            stored = finish_install(place, operation, location)
        return look_at(place, location.traits, stored)


def plan_install(order: InstallOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``install`` would take, after the same refusals; the key is looked at, so a PIN may be asked."""
    with place.open_location(order.to) as location:
        facts = _checked(order, place, location)
        where = {"location": location.address, "label": str(facts["label"])}
        return Step("install", where), Step("prove", where)


def _checked(order: InstallOrder, place: Workplace, location: Location) -> dict[str, Fact]:
    """Everything that can be wrong, before anything is begun; what the journal will need."""
    from cryptography.x509 import load_der_x509_certificate

    certificate = load_der_x509_certificate(order.certificate_der)
    subject = certificate.subject.rfc4514_string()
    if certificate.not_valid_after_utc <= place.now():
        raise CertificateUnusable(
            subject=subject, problem=Phrase("it expired at {not_after}", not_after=certificate.not_valid_after_utc)
        )
    public_key = _public_key(certificate, subject)
    _check_chain([certificate, *map(load_der_x509_certificate, order.chain_der)])
    key_id, label = _waiting_key(order, place, location, fingerprint_of_key(public_key), subject)
    _refuse_other_certificate(location, key_id, order.certificate_der)
    if location.private_key(key_id).public_key() != public_key:
        raise AnswerMismatch(problems=["the key is another"])
    return {
        "location": location.address,
        "address": location.address,
        "key_id": key_id.hex(),
        "label": label,
        "subject": subject,
        **answer_facts(order.certificate_der, order.chain_der),
    }


def _check_chain(chain: "Sequence[Certificate]") -> None:
    from dojang.x509.path import is_signed_by

    for certificate, issuer in pairwise(chain):
        if not is_signed_by(certificate, issuer):
            raise AnswerMismatch(problems=[Phrase("{issuer} did not issue it", issuer=issuer.subject.rfc4514_string())])


def _public_key(certificate: "Certificate", subject: str) -> "PublicKeyTypes":
    from dojang.x509.reading import UNREADABLE

    try:
        return certificate.public_key()
    except UNREADABLE as error:
        raise CertificateUnusable(subject=subject, problem=Phrase("its key cannot be read")) from error


def _waiting_key(
    order: InstallOrder, place: Workplace, location: Location, fingerprint: str, subject: str
) -> tuple[bytes, str]:
    """The key that was made for the request of this public key, else the one that the order names."""
    for event in reversed(place.ledger.history(fingerprint=fingerprint)):
        if event.event == "requested" and _is_here(location, event):
            return bytes.fromhex(str(event.facts["key_id"])), str(event.facts["label"])
    if order.key_id is not None and location.has_key(order.key_id):
        return order.key_id, order.label or subject
    raise NotFound(
        what="the key of this certificate",
        where=location.address,
        command="dojang key list",
        next_step="Name the key by its id (…;id=…), or the location where 'dojang cert request' made it.",
    )


def _is_here(location: Location, event: Event) -> bool:
    return identity_of(str(event.facts["location"])) == identity_of(location.address)


def _refuse_other_certificate(location: Location, key_id: bytes, certificate_der: bytes) -> None:
    for stored in location.credentials():
        if stored.key_id == key_id and stored.live and stored.certificate_der != certificate_der:
            raise AlreadyExists(what="a certificate for this key", where=stored.address)
