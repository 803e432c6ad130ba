"""Whether a certificate that somebody else issued may be relied on: path, validity, revocation, purpose.

No check stops another: all of them are made and all of them are told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING

from dojang.errors import (
    CertificateRevoked,
    CertificateSuspended,
    Phrase,
    PolicyError,
    PurposeRefused,
    RegistrationRefused,
    StatusUnknown,
)
from dojang.x509.lookup import Finding, Sources, look_up, worst_finding
from dojang.x509.name import format_name
from dojang.x509.path import Check, check_path
from dojang.x509.path_checks import CHECKS, Fault, Path, valid_policies
from dojang.x509.reading import UNREADABLE, read_certificate
from dojang.x509.revocation import GOOD, REVOKED, SUSPENDED, UNKNOWN
from dojang.x509.standing import ANCHOR, OCSP, Standing

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


_BELIEVED = {"path", "basic-constraints", "algorithms"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of a certificate: whom it leads up to, where its state is known, what it may be for.

    ``allowed_policies`` are OIDs; ``None`` allows every purpose.
    """

    anchors_der: tuple[bytes, ...]
    intermediates_der: tuple[bytes, ...] = ()
    sources: Sources = field(default_factory=Sources)
    allowed_policies: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Vetted:
    """Every check; ``findings`` tell of the state of each certificate of the path, none where it is not trusted.

    ``policies`` are the OIDs that hold for the whole path.
    """

    trusts_anybody: bool
    certificate: "Certificate"
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    policies: tuple[str, ...]

    @property
    def finding(self) -> Finding:
        """What decides whether the path is revoked."""
        nothing = Finding(self.certificate, Standing(UNKNOWN, "", ""))
        return worst_finding(self.findings) if self.findings else nothing


def vet(certificate_der: bytes, chain_der: Iterable[bytes], terms: Terms, at: datetime) -> Vetted:
    """Check the certificate for signing at the moment ``at``; its own addresses are asked only if its path is trusted.

    Never raises for what is wrong with it, but ``FileMalformed`` where it is none.
    """
    report = check_path(
        certificate_der,
        intermediates_der=(*chain_der, *terms.intermediates_der),
        anchors_der=terms.anchors_der,
        at=at,
        purpose="signing",
    )
    checks = [check for check in report.checks if check.name != "revocation"]
    anchored = next(check.ok for check in checks if check.name == "path")
    path = [read_certificate(der) for der in report.path_der]
    whole = Path(tuple(path), anchored, at, None)
    findings = look_up(path, terms.sources, at) if _is_by_authorities(whole, checks) else ()
    policies = _policies(whole)
    checks += [_revocation(findings), _purpose(policies, terms.allowed_policies)]
    return Vetted(bool(terms.anchors_der), path[0], tuple(checks), findings, policies)


def _is_by_authorities(path: Path, checks: Iterable[Check]) -> bool:
    """Whether only those who may issue made the path: any subscriber can sign a certificate that names addresses."""
    if not _BELIEVED.issubset(check.name for check in checks if check.ok):
        return False
    try:
        if path.issuers:
            CHECKS["key-usage"](replace(path, certificates=path.issuers, purpose="issuing"))
    except (Fault, *UNREADABLE):
        return False
    return True


def refuse_unless_good(vetted: Vetted, checks: Sequence[Check]) -> None:
    """Raise one error with every check among its facts: by what is gravest, and what is to be done about it."""
    failed = [check for check in checks if not check.ok]
    if failed:
        names = {check.name for check in failed}
        raise _leaf(vetted.finding.standing.state, names)(
            next_step=_advice(vetted, names),
            subject=format_name(vetted.certificate.subject),
            problems=tuple(check.detail for check in failed),
            checks=[{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
            status=status_of(vetted.finding),
        )


def _advice(vetted: Vetted, failed: set[str]) -> str | None:
    """Better advice than the leaf's own, where one thing would mend it."""
    if not vetted.trusts_anybody:
        return Phrase(
            "Say whom you trust: --trust FILE with the authority's certificate, or trust-anchors in the settings."
        )
    if failed == {"possession"}:
        return Phrase("Have its own key sign: in its location, or what 'dojang cert register FILE --challenge' prints.")
    return None


def _leaf(state: str, failed: set[str]) -> type[PolicyError]:
    if state == REVOKED:
        return CertificateRevoked
    if state == SUSPENDED:
        return CertificateSuspended
    if failed == {"revocation"}:
        return StatusUnknown
    return PurposeRefused if failed == {"purpose"} else RegistrationRefused


def status_of(finding: Finding) -> dict[str, object]:
    """The state and who told it, as ``--json`` prints it."""
    asked = [
        {"source": one.source, "place": one.place, "state": one.state, "problem": one.problem} for one in finding.asked
    ]
    standing = finding.standing
    return {
        "state": standing.state,
        "source": standing.source,
        "place": standing.place,
        "subject": format_name(finding.certificate.subject),
        "this_update": standing.this_update_at,
        "next_update": standing.next_update_at,
        "since": standing.since_at,
        "asked": asked,
    }


def _revocation(findings: Sequence[Finding]) -> Check:
    if not findings:
        return Check(
            "revocation", False, Phrase("nobody was asked whether it is revoked, since its path is not trusted")
        )
    worst = worst_finding(findings)
    standing, subject = worst.standing, format_name(worst.certificate.subject)
    if standing.state == GOOD:
        return Check("revocation", True, _who_said_good(standing))
    if standing.state == UNKNOWN:
        problems = [_problem(one) for one in worst.asked or (standing,)]
        detail = Phrase("whether {subject} is revoked is not known: {problem}", subject=subject, problem=_all(problems))
        return Check("revocation", False, detail)
    told = {"subject": subject, "place": standing.place, "moment": standing.since_at}
    if standing.state == SUSPENDED:
        return Check("revocation", False, Phrase("{subject} is suspended since {moment}, says {place}", **told))
    return Check("revocation", False, Phrase("{subject} is revoked since {moment}, says {place}", **told))


def _who_said_good(standing: Standing) -> Phrase:
    told = {"place": standing.place, "moment": standing.this_update_at}
    if standing.source == ANCHOR:
        return Phrase("it is trusted itself")
    if standing.source == OCSP:
        return Phrase("good at {moment}, says the responder {place}", **told)
    return Phrase("good at {moment}, says the list {place}", **told)


def _problem(standing: Standing) -> str:
    if not standing.place:
        return standing.problem
    return Phrase("{place}: {problem}", place=standing.place, problem=standing.problem)


def _all(problems: Sequence[str]) -> str:
    return reduce(lambda one, other: Phrase("{one}; {other}", one=one, other=other), problems)


def _policies(path: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(valid_policies(path)))
    except UNREADABLE:
        return ()


def _purpose(policies: Sequence[str], allowed: frozenset[str] | None) -> Check:
    told = ", ".join(policies)
    if allowed is None or allowed.intersection(policies):
        return Check("purpose", True, told)
    if not policies:
        return Check("purpose", False, Phrase("it names no policy that its authorities pass on, so no purpose"))
    return Check("purpose", False, Phrase("its policy {policies} is not among those allowed", policies=told))
