"""Request: a new key in a location and a PKCS#10 request for it, to be taken to an authority by hand."""

import hashlib
from dataclasses import dataclass
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.ledger import Event, Fact
from dojang.lifecycle.issue import refuse_early
from dojang.lifecycle.journal import KEY_ID_BYTES, key_id_of, name_in, taken_back_on_failure
from dojang.lifecycle.recover import recover
from dojang.lifecycle.workplace import Step, Workplace

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Name


@dataclass(frozen=True, slots=True)
class RequestOrder:
    """Where the key shall live and whose name the request bears."""

    to: str
    subject: "Name"
    algorithm: str
    label: str
    alternative_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WrittenRequest:
    """A signed request and where its key waits for the certificate."""

    request_der: bytes
    location: str
    label: str
    key_id: bytes


def request(order: RequestOrder, place: Workplace) -> WrittenRequest:
    """Make a key in its location and sign a request with it; ``install`` brings the certificate back to it.

    ``AlreadyExists`` for a label in use. After any error the location is as it was.
    """
    from dojang.x509.name import format_name
    from dojang.x509.request import build_request

    with place.open_location(order.to) as location:
        recover(place, location)
        refuse_early(location, order.label, order.subject, order.alternative_names)
        location.has_key(token_bytes(KEY_ID_BYTES))  # asks for the PIN, so that a wrong one ends here
        facts: dict[str, Fact] = {
            "location": location.address,
            "address": location.address,
            "key_id": token_bytes(KEY_ID_BYTES).hex(),
            "label": order.label,
            "subject": format_name(order.subject),
            "algorithm": order.algorithm,
        }
        with (
            place.ledger.begin("request", name_in(location, order.label), facts) as operation,
            taken_back_on_failure(place, operation, location),
        ):
            location.check_free(label=order.label, subject_der=order.subject.public_bytes())
            place.say("generate")
            key_id = key_id_of(operation)
            key = location.generate(order.algorithm, key_id=key_id, label=order.label)
            request_der = build_request(key, order.subject, order.alternative_names)
            kept = {name: facts[name] for name in ("location", "key_id", "label", "subject", "algorithm")}
            operation.finish(
                "requested", Event("requested", location.address, fingerprint_of_key(key.public_key()), kept)
            )
    return WrittenRequest(request_der, location.address, order.label, key_id)


def plan_request(order: RequestOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``request`` would take, after the same refusals."""
    with place.open_location(order.to) as location:
        refuse_early(location, order.label, order.subject, order.alternative_names)
        where = {"location": location.address, "label": order.label}
        return (Step("generate", {**where, "algorithm": order.algorithm}), Step("request", where))


def fingerprint_of_key(public_key: "PublicKeyTypes") -> str:
    """The SHA-256 of the SubjectPublicKeyInfo in hex: how the ledger finds the key that waits for a certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    spki_der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki_der).hexdigest()
