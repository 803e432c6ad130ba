"""Which authority and profile a certificate came from, so that it can be renewed there and in time."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dojang.errors import NotRenewable
from dojang.ledger import Event
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import StoredCredential

DEFAULT_WINDOW = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Origin:
    authority: str
    profile: str


def fingerprint_of(certificate_der: bytes) -> str:
    """The SHA-256 of the certificate in hex: the name of a certificate in the ledger."""
    return hashlib.sha256(certificate_der).hexdigest()


def history_of(place: Workplace, credential: StoredCredential) -> list[Event]:
    """What the ledger knows of the certificate, oldest first."""
    return place.ledger.history(fingerprint=fingerprint_of(credential.certificate_der))


def recorded_origin(history: Iterable[Event]) -> Origin | None:
    """What the ledger says of a certificate; ``None`` when dojang did not ask for it."""
    for event in history:
        if event.event in ("issued", "renewed", "reissued"):
            return Origin(str(event.facts["authority"]), str(event.facts["profile"]))
    return None


def origin_of(place: Workplace, credential: StoredCredential) -> Origin:
    """The ledger's record, else the local authority that issued it; ``NotRenewable`` when neither knows."""
    origin = origin_known(place, credential.certificate_der)
    if origin is None:
        raise NotRenewable(
            address=credential.address,
            problem="no authority known here issued it",
            remedy="Issue a new one with 'dojang cert issue', or have it renewed by the authority that issued it.",
        )
    return origin


def origin_known(place: Workplace, certificate_der: bytes) -> Origin | None:
    """The ledger's record, else the local authority that issued it; ``None`` when neither knows."""
    history = place.ledger.history(fingerprint=fingerprint_of(certificate_der))
    return recorded_origin(history) or _issuer_of(place, certificate_der)


def window_of(place: Workplace, history: Iterable[Event]) -> timedelta:
    """How long before its expiry a certificate is due: as the workplace says, else its profile, else 30 days."""
    if place.window is not None:
        return place.window
    days = [event.facts["window_days"] for event in history if "window_days" in event.facts]
    return timedelta(days=int(str(days[0]))) if days else DEFAULT_WINDOW


def due_from(credential: StoredCredential, window: timedelta) -> datetime:
    """When the certificate's renewal window opens; that of a Korean one opens with the Korean day."""
    from dojang.npki.validity import renewal_opens_at
    from dojang.x509.reading import read_certificate

    return renewal_opens_at(read_certificate(credential.certificate_der), window)


def profile_in(history: Iterable[Event]) -> str | None:
    """The profile that a certificate was issued by, where the ledger knows it."""
    return next((str(event.facts["profile"]) for event in history if event.facts.get("profile")), None)


def _issuer_of(place: Workplace, certificate_der: bytes) -> Origin | None:
    for name in place.authorities():
        with place.open_authority(name) as authority:
            profile = authority.profile_of(certificate_der)
            if profile is not None:
                return Origin(name, profile)
    return None
