"""Revoking at an authority elsewhere, by the word of the certificate's own key or of a code.

Its records are not here: what is known of a certificate is what the certificate and the ledger say.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import TYPE_CHECKING

from dojang.errors import (
    AnswerPending,
    AuthorityError,
    AuthorityUnreachable,
    DeviceError,
    DojangError,
    Phrase,
    PolicyError,
    Usage,
    UserError,
)
from dojang.ledger import Event, Fact, Operation
from dojang.lifecycle.asking import elsewhere_of
from dojang.lifecycle.origin import fingerprint_of, profile_in
from dojang.lifecycle.status import subject_of
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import Location

if TYPE_CHECKING:
    from cryptography.x509 import ReasonFlags

VERB = "revoke"
_CERTIFICATE = "certificate_der"
# What a subscriber cannot say for good of his own certificate.
_NOT_FOR_GOOD = ("certificateHold", "removeFromCRL", "cACompromise", "aACompromise")


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """What is known here of a certificate that an authority elsewhere issued; fields as in the records of one here."""

    serial: str
    certificate_der: bytes
    profile: str
    subject: str
    not_before_at: datetime
    not_after_at: datetime
    state: str
    reason: str | None
    revoked_at: datetime | None
    replaces: str | None = None


def known_record(place: Workplace, certificate_der: bytes) -> KnownRecord:
    """The certificate, and whether it is known to be revoked."""
    from dojang.x509.name import format_name
    from dojang.x509.reading import read_certificate

    certificate = read_certificate(certificate_der)
    history = place.ledger.history(fingerprint=fingerprint_of(certificate_der))
    revoked = [event for event in history if event.event == "revoked"]
    return KnownRecord(
        serial=f"{certificate.serial_number:x}",
        certificate_der=certificate_der,
        profile=profile_in(history) or "",
        subject=format_name(certificate.subject),
        not_before_at=certificate.not_valid_before_utc,
        not_after_at=certificate.not_valid_after_utc,
        state="revoked" if revoked else "confirmed",
        reason=str(revoked[-1].facts.get("reason", "")) if revoked else None,
        revoked_at=revoked[-1].at if revoked else None,
    )


def revoke_elsewhere(
    place: Workplace, url: str, certificate_der: bytes, reason: str, *, by_key: bool = False
) -> KnownRecord:
    """Have it revoked and note it in the ledger; ``by_key``: not with a code, whatever was given.

    After ``AnswerPending`` it waits in the journal; after any other error nothing has begun, as far as is known.
    """
    facts = _facts(place, url, certificate_der, reason)
    with place.ledger.begin(VERB, subject_of(url, str(facts["serial"])), facts) as begun:
        try:
            finish_revoking(place, begun, by_key=by_key)
        except AnswerPending:
            raise
        except DojangError as error:
            begun.undo(error.code)
            raise
    return known_record(place, certificate_der)


def finish_revoking(place: Workplace, operation: Operation, *, by_key: bool = False) -> str:
    """From ``begun`` to the end; asked before, the same is sent again."""
    facts = operation.record.facts
    certificate_der, reason = b64decode(str(facts[_CERTIFICATE])), str(facts["reason"])
    with elsewhere_of(place, operation, by_key=by_key) as authority:
        authority.revoke_for(operation.operation_id, certificate_der, reason_flag(reason))
    noted = {name: facts[name] for name in ("authority", "serial", "reason")}
    operation.finish("revoked", Event("revoked", str(facts.get("address", "")), str(facts["fingerprint"]), noted))
    return "finished"


def revoke_replaced(place: Workplace, operation: Operation, location: Location) -> bool:
    """After a reissue: have the old one revoked, where its own key can say so. Whether it is known to be revoked now.

    What keeps that key from speaking takes nothing from the new certificate.
    """
    facts = operation.record.facts
    transaction = str(facts.get("rr_transaction") or token_hex(16))
    if "rr_transaction" not in facts:
        operation.advance(operation.record.step, rr_transaction=transaction)
    try:
        with elsewhere_of(place, operation, location, by_key=True, prefix="rr_") as authority:
            old = authority.signer()
            if old is None:
                return False
            authority.revoke_for(transaction, old.certificate_der, reason_flag(str(facts["reason"])))
    except (AnswerPending, AuthorityUnreachable):
        raise
    except (AuthorityError, DeviceError, PolicyError, UserError):
        return False
    return True


def reason_flag(text: str) -> "ReasonFlags":
    """A reason as RFC 5280 spells it, in any case and with or without hyphens. Raises ``Usage``."""
    from cryptography.x509 import ReasonFlags

    known = {one.value.lower(): one for one in ReasonFlags if one.value not in _NOT_FOR_GOOD}
    found = known.get(text.replace("-", "").replace("_", "").replace(" ", "").lower())
    if found is None:
        reasons = ", ".join(one.value for one in known.values())
        raise Usage(
            problem=Phrase("'{reason}' is not a reason; choose one of {reasons}", reason=text[:64], reasons=reasons)
        )
    return found


def _facts(place: Workplace, url: str, certificate_der: bytes, reason: str) -> dict[str, Fact]:
    from dojang.x509.reading import read_certificate

    fingerprint = fingerprint_of(certificate_der)
    facts: dict[str, Fact] = {
        "authority": url,
        "serial": f"{read_certificate(certificate_der).serial_number:x}",
        "fingerprint": fingerprint,
        "reason": reason_flag(reason).value,
        _CERTIFICATE: b64encode(certificate_der).decode(),
    }
    known = [past.address for past in place.ledger.history(fingerprint=fingerprint) if past.address]
    return facts | {"address": known[-1]} if known else facts
