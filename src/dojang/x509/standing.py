"""What a source says of one certificate, a revocation list or a responder, and what several of them say together."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from dojang.errors import FileMalformed, Phrase
from dojang.x509.reading import read_crl
from dojang.x509.revocation import REVOKED, UNKNOWN, since, state_in, why_silent

CLOCK_SKEW = timedelta(minutes=5)
OCSP, CRL, CRL_FILE, ANCHOR = "ocsp", "crl", "crl-file", "trust-anchor"


@dataclass(frozen=True, slots=True)
class Standing:
    """``state`` is good, revoked, suspended or unknown, and then ``problem`` says why; ``place`` is an URL or a file.

    ``this_update_at`` is when the source was known to be right, ``since_at`` from when the certificate is revoked or
    suspended.
    """

    state: str
    source: str
    place: str
    this_update_at: datetime | None = None
    next_update_at: datetime | None = None
    since_at: datetime | None = None
    problem: str = ""

    @property
    def known(self) -> bool:
        return self.state != UNKNOWN


def not_known(source: str, place: str, template: str, **facts: object) -> Standing:
    """A source that told nothing, and why."""
    return Standing(UNKNOWN, source, place, problem=Phrase(template, **facts))


def decide(standings: Iterable[Standing]) -> Standing | None:
    """What holds when several were asked: what is revoked stays so, of the rest the newest answer; ``None`` for none.

    ``Standing`` of an unknown state where nobody knew.
    """
    asked = list(standings)
    revoked = [one for one in asked if one.state == REVOKED]
    known = revoked or sorted((one for one in asked if one.known), key=_newest, reverse=True)
    return next(iter([*known, *asked]), None)


def _newest(standing: Standing) -> float:
    return standing.this_update_at.timestamp() if standing.this_update_at else 0.0


def standing_in_list(
    crl_der: bytes,
    *,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    source: str = CRL_FILE,
    place: str = "",
) -> Standing:
    """What a list says of a certificate at the moment ``at``. Hostile bytes, strangers' and old lists say nothing."""
    try:
        crl = read_crl(crl_der, place)
    except FileMalformed as error:
        return not_known(source, place, "it is no revocation list ({problem})", problem=error.facts["problem"])
    silent = why_silent(crl, certificate, issuer)
    if silent is not None:
        return Standing(UNKNOWN, source, place, problem=silent)
    if crl.last_update_utc > at + CLOCK_SKEW:
        return not_known(source, place, "it is from {moment}, which is still to come", moment=crl.last_update_utc)
    state = state_in(crl, certificate, max(at, crl.last_update_utc))
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    return Standing(
        state,
        source,
        place,
        this_update_at=crl.last_update_utc,
        next_update_at=crl.next_update_utc,
        since_at=since(entry) if entry is not None and state != UNKNOWN else None,
        problem="" if state != UNKNOWN else _why_unknown(crl, certificate, at),
    )


def _why_unknown(crl: x509.CertificateRevocationList, certificate: x509.Certificate, at: datetime) -> Phrase:
    if crl.next_update_utc is None:
        return Phrase("it does not say until when it holds")
    if at <= crl.next_update_utc:
        return Phrase(
            "it leaves out what expired before it, as this at {moment}", moment=certificate.not_valid_after_utc
        )
    return Phrase("it held until {moment} only", moment=crl.next_update_utc)
