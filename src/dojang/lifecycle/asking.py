"""Asking an authority for a certificate: here, or elsewhere with the keys of the operation and notes in the journal."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, TypeGuard

from dojang.errors import AuthorityUnreachable, NotFound, NotPermitted, Phrase
from dojang.ledger import Fact, Operation
from dojang.lifecycle.factors import factor_steps, submit
from dojang.lifecycle.origin import DEFAULT_WINDOW, fingerprint_of
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import Location, StoredCredential

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.x509 import Name

    from dojang.authority.base import CertificateAuthority, Issued, Kind
    from dojang.authority.elsewhere import AskedElsewhere, Elsewhere, Signer
    from dojang.x509.request import CertificateRequest

NOTED = "cmp_"
_CERTIFYING = ("issue", "renew", "reissue")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is known beforehand of the certificates that an authority issues by a profile."""

    name: str
    renewal_window_days: int = DEFAULT_WINDOW.days
    keep_key_allowed: bool = True


def terms_of(authority: "CertificateAuthority", name: str, algorithm: str) -> Terms:
    """``NotPermitted`` where the authority has no profile of that name or this one rules the algorithm out.

    One elsewhere is taken at its word later; it may choose the profile itself (an empty name).
    """
    if is_elsewhere(authority):
        return Terms(name)
    offered = {profile.name: profile for profile in authority.profiles()}
    if name not in offered:
        raise NotPermitted(
            problem=Phrase("{authority} does not issue by the profile '{name}'", authority=authority.name, name=name),
            remedy=Phrase("Choose one of: {choices}.", choices=", ".join(sorted(offered))),
        )
    found = offered[name]
    if algorithm not in found.algorithms:
        raise NotPermitted(
            problem=Phrase("the profile '{name}' does not allow {algorithm}", name=name, algorithm=algorithm),
            remedy=Phrase("Choose one of: {choices}.", choices=", ".join(found.algorithms)),
        )
    return Terms(found.name, found.renewal_window_days, found.keep_key_allowed)


def ask_steps(authority: "CertificateAuthority", name: str, profile: str, kind: "Kind") -> tuple[Step, ...]:
    """Steps of a plan; ``name`` as whoever asks calls it. An authority elsewhere may choose the profile itself."""
    facts = {"authority": name, "profile": profile}
    return (*factor_steps(authority, profile, kind), Step("ask" if profile else "ask-elsewhere", facts))


def is_elsewhere(authority: "CertificateAuthority") -> "TypeGuard[Elsewhere]":
    """Whether it is reached over a network; its records and rules are not here then."""
    return _are_elsewhere(type(authority))


@cache
def _are_elsewhere(kind: type) -> bool:
    """``isinstance`` would look at each of the methods each time, and a verb asks often."""
    from dojang.authority.elsewhere import Elsewhere

    return all(hasattr(kind, name) for name in vars(Elsewhere) if not name.startswith("_"))


class JournalAsker:
    """Asks for one operation: its notes are facts of the journal, its signer is the credential that it is about."""

    def __init__(
        self,
        place: Workplace,
        operation: Operation,
        location: Location | None,
        opened: contextlib.ExitStack,
        *,
        by_key: bool = False,
        prefix: str = NOTED,
    ) -> None:
        """``opened`` keeps whatever else has to be opened for the signer, ``prefix`` tells two conversations apart."""
        self._place, self._operation, self._location, self._opened = place, operation, location, opened
        self.by_key, self._prefix = by_key, prefix
        self._signer: Signer | None = None

    @property
    def notes(self) -> Mapping[str, Fact]:
        facts = self._operation.record.facts
        return {
            name.removeprefix(self._prefix): value for name, value in facts.items() if name.startswith(self._prefix)
        }

    def note(self, **facts: Fact) -> None:
        record = self._operation.record
        first = record.verb in _CERTIFYING and record.step in ("begun", "claimed")
        step = "asked" if first else record.step
        self._operation.advance(step, **{f"{self._prefix}{name}": value for name, value in facts.items()})

    def signer(self) -> "Signer | None":
        if self._signer is None:
            self._signer = self._found()
        return self._signer

    def _found(self) -> "Signer | None":
        from dojang.authority.elsewhere import Signer

        for location in self._places():
            stored = self._held_in(location)
            if stored is not None and location.has_key(stored.key_id):
                chain_der = location.chain_of(stored.certificate_der)
                return Signer(location.private_key(stored.key_id), stored.certificate_der, chain_der)
        return None

    def _places(self) -> Iterator[Location]:
        """Where the operation works, and where the certificate lies that it is about."""
        if self._location is not None:
            yield self._location
        address = self._operation.record.facts.get("address")
        if address and (self._location is None or address != self._location.address):
            yield self._opened.enter_context(self._place.open_location(str(address)))

    def _held_in(self, location: Location) -> StoredCredential | None:
        facts = self._operation.record.facts
        fingerprint = facts.get("old_fingerprint", facts.get("fingerprint"))
        found = (one for one in location.credentials() if fingerprint_of(one.certificate_der) == fingerprint)
        return next(found, None)


@contextlib.contextmanager
def asked_by(
    authority: "CertificateAuthority", place: Workplace, operation: Operation, location: Location | None
) -> "Iterator[CertificateAuthority]":
    """The authority as this operation speaks with it; one that is here needs to know nothing of who asks."""
    if not is_elsewhere(authority):
        yield authority
        return
    with contextlib.ExitStack() as opened:
        yield authority.asked_by(JournalAsker(place, operation, location, opened))


@contextlib.contextmanager
def _opened(place: Workplace, operation: Operation) -> "Iterator[CertificateAuthority]":
    """The authority that the journal names. One that is not there has refused nothing: ``AuthorityUnreachable``."""
    name = str(operation.record.facts["authority"])
    with contextlib.ExitStack() as opened:
        try:
            authority = opened.enter_context(place.open_authority(name))
        except NotFound as error:
            raise AuthorityUnreachable(
                authority=name,
                problem=Phrase("it is not in {where}", where=error.facts["where"]),
                next_step="Bring its folder back there, then run 'dojang renew run'; what was begun is kept.",
            ) from error
        yield authority


@contextlib.contextmanager
def authority_of(place: Workplace, operation: Operation, location: Location | None) -> "Iterator[CertificateAuthority]":
    """The authority that the journal names, opened, as the operation speaks with it."""
    with (
        _opened(place, operation) as authority,
        asked_by(authority, place, operation, location) as asked,
    ):
        yield asked


@contextlib.contextmanager
def elsewhere_of(
    place: Workplace,
    operation: Operation,
    location: Location | None = None,
    *,
    by_key: bool = False,
    prefix: str = NOTED,
) -> "Iterator[AskedElsewhere]":
    """The same for one that is known to be reached over a network; see ``JournalAsker``."""
    with contextlib.ExitStack() as opened:
        authority = opened.enter_context(_opened(place, operation))
        assert is_elsewhere(authority)
        yield authority.asked_by(JournalAsker(place, operation, location, opened, by_key=by_key, prefix=prefix))


def write_request(
    authority: "CertificateAuthority",
    key: "PrivateKey",
    subject: "Name",
    alternative_names: tuple[str, ...],
    replaces_der: bytes | None = None,
) -> bytes:
    """A request in the form that the authority takes: CRMF elsewhere, PKCS#10 here; signed by the new key itself."""
    if is_elsewhere(authority):
        from dojang.cmp.wanted import request_for

        return request_for(key, subject, alternative_names, replaces_der)
    from dojang.x509.request import build_request

    return build_request(key, subject, alternative_names)


def certify(
    place: Workplace,
    operation: Operation,
    authority: "CertificateAuthority",
    request_der: bytes,
    replaces_der: bytes | None = None,
    vid_der: bytes | None = None,
) -> "Issued":
    """Ask, and check that the answer is what was asked for; nothing but the authority's notes is written yet.

    ``vid_der`` is what an authority here is to say of the owner.
    """
    from dojang.authority.base import Submission
    from dojang.x509.check import check_issued

    facts, verb = operation.record.facts, operation.record.verb
    kind: Kind = "issue" if verb == "issue" else "renew" if verb == "renew" else "reissue"
    place.say("ask")
    profile, applicant = str(facts["profile"]), None if is_elsewhere(authority) else place.applicant
    wanted = Submission(
        kind, request_der, profile, operation.operation_id, replaces_der, vid_der=vid_der, applicant=applicant
    )
    answer = submit(place, authority, wanted)
    request = _request_in(authority, request_der)
    subject = _subject_in(answer.certificate_der) if answer.changed else None  # the authority chose it, and said so
    check_issued(answer.certificate_der, request=request, chain_der=answer.chain_der, at=place.now(), subject=subject)
    return answer


def certify_again(place: Workplace, operation: Operation, authority: "CertificateAuthority") -> "Issued":
    """The same with what the journal has of it: what was sent is sent as it was."""
    alone = replace(place, pass_factors=None)  # a request that was cut short before its factors is taken back
    return certify(alone, operation, authority, bytes.fromhex(str(operation.record.facts[f"{NOTED}request"])))


def _request_in(authority: "CertificateAuthority", request_der: bytes) -> "CertificateRequest":
    """What ``write_request`` asked for."""
    if is_elsewhere(authority):
        from dojang.cmp.proof import request_from_crmf

        return request_from_crmf(request_der)
    from dojang.x509.reading import read_request
    from dojang.x509.request import CertificateRequest

    return CertificateRequest.unproven(read_request(request_der))  # signed here


def _subject_in(certificate_der: bytes) -> "Name":
    from dojang.x509.reading import read_certificate

    return read_certificate(certificate_der).subject
