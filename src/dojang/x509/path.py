"""Certification paths (RFC 5280 section 6): found from the certificate up to a trust anchor and checked all over.

Checks never stop each other: the report lists all of them. Where several paths lead to an anchor, the best is reported.
``cryptography.x509.verification`` is not used: it refuses a certificate without alternative names or with a critical
policy, as Korean ones have, stops at the first fault, and knows neither revocation nor, with such rules relaxed, key
sizes.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.errors import FileMalformed, Phrase
from dojang.x509.name import format_name
from dojang.x509.path_checks import CHECKS, PURPOSES, Fault, Path
from dojang.x509.reading import UNREADABLE, read_certificate, read_crl
from dojang.x509.revocation import GOOD, UNKNOWN, state_of, worst_of

T = TypeVar("T")

LONGEST_PATH = 10
# Enough for any real hierarchy; a bag of certificates made to be expensive ends here.
_MOST_SIGNATURES = 100
_MOST_PATHS = 8


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``detail`` is empty, or says what is wrong; for revocation it is the state."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PathReport:
    """All checks of one path. ``path_der`` runs from the certificate to the anchor, or as far up as one was found."""

    checks: tuple[Check, ...]
    path_der: tuple[bytes, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def revocation(self) -> str:
        """``good``, ``revoked``, ``suspended`` or ``unknown``."""
        return next(check.detail for check in self.checks if check.name == "revocation")

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, one phrase for each failed check."""
        return tuple(_problem(check) for check in self.checks if not check.ok)


def _problem(check: Check) -> str:
    return (
        Phrase("its revocation state is '{state}'", state=check.detail) if check.name == "revocation" else check.detail
    )


def check_path(
    certificate_der: bytes,
    *,
    intermediates_der: Iterable[bytes],
    anchors_der: Iterable[bytes],
    crls_der: Iterable[bytes] = (),
    at: datetime,
    purpose: str | None = None,
    require_revocation: bool = False,
) -> PathReport:
    """Check the certificate at the moment ``at`` (UTC-aware) for ``purpose``, one of ``PURPOSES`` or ``None`` for any.

    Unknown revocation is a fault only with ``require_revocation``. Intermediates and lists that cannot be read are
    passed over; a certificate or an anchor that cannot be read raises ``FileMalformed``.
    """
    if purpose is not None and purpose not in PURPOSES:
        raise ValueError(f"no purpose is called {purpose!r}")
    leaf = read_certificate(certificate_der)
    anchors = [read_certificate(der, "trust anchor") for der in anchors_der]
    crls = list(_readable(read_crl, crls_der))
    search = _Search(anchors, list(_readable(read_certificate, intermediates_der)))
    reports = [
        _report(Path(tuple(found), why_not is None, at, purpose), why_not, crls, require_revocation)
        for found, why_not in search.paths(leaf)
    ]
    return min(reports, key=lambda report: sum(not check.ok for check in report.checks))


class _Search:
    """Depth first, anchors before intermediates, with a limit on the work."""

    def __init__(self, anchors: Sequence[x509.Certificate], others: Sequence[x509.Certificate]) -> None:
        self._anchors = set(anchors)
        self._by_subject: dict[bytes, list[x509.Certificate]] = {}
        for certificate in dict.fromkeys([*anchors, *others]):
            self._by_subject.setdefault(certificate.subject.public_bytes(), []).append(certificate)
        self._signatures_left = _MOST_SIGNATURES
        self._longest: list[x509.Certificate] = []
        self._forged = False

    def paths(self, leaf: x509.Certificate) -> list[tuple[list[x509.Certificate], Phrase | None]]:
        """Paths that reach an anchor; else the longest one found, and why it reaches none."""
        found = list(itertools.islice(self._from([leaf]), _MOST_PATHS))
        return [(path, None) for path in found] or [(self._longest, self._why_not())]

    def _why_not(self) -> Phrase:
        last = self._longest[-1]
        if self._forged:
            return Phrase("the signature on {subject} does not verify", subject=format_name(last.subject))
        if last.subject == last.issuer:
            return Phrase("the path ends at {subject}, which is not trusted", subject=format_name(last.subject))
        return Phrase("no trusted certificate of the issuer {issuer} was found", issuer=format_name(last.issuer))

    def _from(self, path: list[x509.Certificate]) -> Iterator[list[x509.Certificate]]:
        if len(path) > len(self._longest):
            self._longest, self._forged = path, False
        if path[-1] in self._anchors:
            yield path
            return
        if len(path) == LONGEST_PATH:
            return
        for issuer in self._by_subject.get(path[-1].issuer.public_bytes(), ()):
            if issuer in path:
                continue
            if self._signed(path[-1], issuer):
                yield from self._from([*path, issuer])
            elif path is self._longest:
                self._forged = True

    def _signed(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        self._signatures_left -= 1
        return self._signatures_left >= 0 and is_signed_by(certificate, issuer)


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the names chain and the signature verifies."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _readable(read: Callable[[bytes], T], ders: Iterable[bytes]) -> Iterator[T]:
    for der in ders:
        with contextlib.suppress(FileMalformed):
            yield read(der)


def _report(
    path: Path, why_not: Phrase | None, crls: Sequence[x509.CertificateRevocationList], require_revocation: bool
) -> PathReport:
    checks = [Check("path", path.anchored, why_not or "")]
    checks += [_run(name, check, path) for name, check in CHECKS.items()]
    state = _revocation(path, crls)
    checks.append(Check("revocation", state == GOOD or (state == UNKNOWN and not require_revocation), state))
    return PathReport(tuple(checks), tuple(one.public_bytes(Encoding.DER) for one in path.certificates))


def _run(name: str, check: Callable[[Path], None], path: Path) -> Check:
    try:
        check(path)
    except Fault as fault:
        return Check(name, False, fault.phrase)
    except UNREADABLE as error:
        return Check(name, False, Phrase("a certificate of the path cannot be decoded ({detail})", detail=error))
    return Check(name, True)


def _revocation(path: Path, crls: Sequence[x509.CertificateRevocationList]) -> str:
    """The worst state along the path; the anchor itself is trusted, not looked up."""
    links = list(itertools.pairwise(path.certificates))
    states = [state_of(certificate, issuer, crls, path.at) for certificate, issuer in links]
    if not path.anchored:
        states.append(UNKNOWN)
    return worst_of(states) if states else GOOD
