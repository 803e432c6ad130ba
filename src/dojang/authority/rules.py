"""What an authority requires of a submission before it signs; every refusal says which rule.

The term of a certificate (``terms`` counts it):

    issue      from now, for the profile's term
    renew      from now; inside the window until one term after the old expiry, so that renewing in time costs nothing;
               before it (where the profile allows that) for one term, so that terms do not pile up
    reissue    from now until the old expiry

None outlives the authority: the term is cut at the authority's own expiry, and a renewal that would gain nothing by
that is refused. A certificate begins five minutes in the past, for the clocks of others, but never before the
authority's own.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from cryptography import x509
from cryptography.x509.oid import NameOID

from dojang.authority.addresses import addresses_for
from dojang.authority.base import Submission
from dojang.authority.certificate import Draft
from dojang.authority.naming import problem_of_alternative_names, problem_of_subject
from dojang.authority.terms import beginning_of, chosen_years, end_of, later, window_opens_at
from dojang.authority.withdrawn import refuse_withdrawn
from dojang.der import MalformedDer
from dojang.errors import AuthorityRefused, DojangError, Phrase
from dojang.npki.vid import IDENTIFY_DATA, IdentifyData, is_vid
from dojang.x509.alternative_names import alternative_names_of
from dojang.x509.keys import algorithm_of, is_strong, same_key
from dojang.x509.name import attribute_values, settled_name
from dojang.x509.plain import PlainRequest
from dojang.x509.profiles import Profile
from dojang.x509.reading import read_request
from dojang.x509.request import CertificateRequest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey

_VID = x509.ObjectIdentifier(IDENTIFY_DATA)
_ISSUE = Phrase("Issue a new one with 'dojang cert issue'.")
_FIND = Phrase("Name its successor; 'dojang where' shows it.")


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The certificate to be replaced, as the authority recorded it. ``state`` as in ``Record``."""

    certificate: x509.Certificate
    profile: str
    state: str
    replaced: bool


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules of one authority at one moment. ``signer`` is the key that signs, ``base`` the authority's address."""

    authority: str
    issuer: x509.Certificate
    at: datetime
    signer: str = "issuing"
    base: str | None = None

    def draft(
        self,
        submission: Submission,
        profile: Profile,
        old: Predecessor | None,
        request: CertificateRequest | None = None,
    ) -> Draft:
        """The certificate to sign. Raises ``AuthorityRefused``.

        ``request`` is what somebody has read and proved already, and may have settled otherwise than it was asked.
        """
        request = request or self._read(submission)
        public_key = request.public_key
        self._check_key(algorithm_of(public_key), profile)
        self._check_strength(public_key)
        if old is not None:
            self.check_predecessor(submission, profile, old, public_key)
        subject = self._subject(request, profile)
        names = self._alternative_names(request, subject, submission, profile, old)
        if old is not None and subject != old.certificate.subject and not _may_change(submission, profile, "subject"):
            self._refuse("a renewal keeps the subject of the old certificate")
        not_before_at, not_after_at = self.term(submission, profile, old)
        addresses = addresses_for(profile, self.base, self.signer)
        return Draft(profile, subject, public_key, names, not_before_at, not_after_at, addresses)

    def _read(self, submission: Submission) -> CertificateRequest:
        """The request, once it has proved that the asker holds the key."""
        if submission.request_form == "crmf":
            return self._read_crmf(submission.request_der)
        try:
            request = read_request(submission.request_der)
        except DojangError as error:
            raise AuthorityRefused(authority=self.authority, problem=Phrase("the request cannot be decoded")) from error
        try:
            return CertificateRequest.proven(request)
        except DojangError as error:
            raise self._unacceptable(error.facts["problem"]) from error

    def _read_crmf(self, request_der: bytes) -> CertificateRequest:
        from dojang.cmp.faults import CmpFault
        from dojang.cmp.proof import request_from_crmf

        try:
            return request_from_crmf(request_der)
        except CmpFault as error:
            raise self._unacceptable(error.phrase) from error
        except DojangError as error:
            raise AuthorityRefused(authority=self.authority, problem=Phrase("the request cannot be decoded")) from error

    def _unacceptable(self, problem: object) -> AuthorityRefused:
        return refusal(self.authority, "the request is not acceptable: {problem}", problem=problem)

    def check_plain(self, request: PlainRequest, profile: Profile) -> None:
        """What is left to check of such a request, where nothing stands besides the subject. ``AuthorityRefused``."""
        self._check_key(request.algorithm, profile)
        self._refuse_for(problem_of_subject(request.attributes, profile))

    def _check_key(self, algorithm: str, profile: Profile) -> None:
        if algorithm not in profile.algorithms:
            self._refuse(
                "the profile '{profile}' does not allow the key ({algorithm})",
                profile=profile.name,
                algorithm=algorithm,
            )

    def _check_strength(self, public_key: "PublicKey") -> None:
        if not is_strong(public_key):
            from dojang.x509.weak_keys import weakness

            self._refuse("nobody can rely on the key: {problem}", problem=weakness(public_key))

    def _subject(self, request: CertificateRequest, profile: Profile) -> x509.Name:
        try:
            subject = settled_name(request.subject)
        except DojangError as error:
            problem = Phrase("the subject is not acceptable: {problem}", problem=error.facts["problem"])
            raise AuthorityRefused(authority=self.authority, problem=problem) from error
        self._refuse_for(problem_of_subject(attribute_values(subject), profile))
        return subject

    def _alternative_names(
        self,
        request: CertificateRequest,
        subject: x509.Name,
        submission: Submission,
        profile: Profile,
        old: Predecessor | None,
    ) -> tuple[x509.GeneralName, ...]:
        """The names asked for, and the addresses in the subject, which must stand here too (RFC 5280, 4.1.2.6)."""
        had = alternative_names_of(old.certificate) if old else ()
        kept, held = tuple(name for name in had if not is_vid(name)), tuple(filter(is_vid, had))
        asked = tuple(name for name in request.alternative_names if name not in held)
        addresses = [x509.RFC822Name(str(part.value)) for part in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
        names = tuple(dict.fromkeys([*asked, *addresses]))
        if old is not None:
            if asked and set(names) != set(kept) and not _may_change(submission, profile, "alternative-names"):
                self._refuse("a renewal keeps the alternative names of the old certificate")
            names = names if asked else kept
        self._refuse_for(problem_of_alternative_names(names, profile))
        return names + self._vid(submission, profile, held)

    def _vid(
        self, submission: Submission, profile: Profile, held: tuple[x509.GeneralName, ...]
    ) -> tuple[x509.GeneralName, ...]:
        """The VID that was computed for this certificate; a renewal that brings none keeps the old one with its R."""
        if submission.vid_der is None:
            held = held if submission.kind == "renew" else ()
            if profile.vid == "required" and not held:
                self._refuse(
                    "the profile '{profile}' wants a VID, which is made of the owner's number where the authority is, "
                    "with --number-source",
                    profile=profile.name,
                )
            return held
        if profile.vid == "none":
            self._refuse("the profile '{profile}' has no VID in its certificates", profile=profile.name)
        if not _is_readable(submission.vid_der):
            self._refuse("the VID cannot be decoded")
        return (x509.OtherName(_VID, submission.vid_der),)

    def check_predecessor(self, submission: Submission, profile: Profile, old: Predecessor, key: "PublicKey") -> None:
        """What may be replaced by what, now. Raises ``AuthorityRefused``."""
        if old.profile != profile.name:
            self._refuse("the old certificate was issued by the profile '{profile}'", profile=old.profile)
        if self.at > old.certificate.not_valid_after_utc:
            raise refusal(self.authority, "the old certificate has expired; a new one must be issued", next_step=_ISSUE)
        if old.replaced:
            raise refusal(self.authority, "the old certificate was replaced already", next_step=_FIND)
        kept = same_key(key, old.certificate.public_key())
        if submission.kind == "reissue":
            if kept:
                self._refuse("a reissue needs a new key")
            return
        refuse_withdrawn(self.authority, old.state)
        if kept and not profile.keep_key_allowed:
            self._refuse("the profile '{profile}' wants a new key for a renewal", profile=profile.name)
        if not kept and "key" not in profile.renewal_changes:
            self._refuse("the profile '{profile}' keeps the key on renewal", profile=profile.name)
        if algorithm_of(key) != algorithm_of(old.certificate.public_key()) and (
            "algorithm" not in profile.renewal_changes
        ):
            self._refuse("the profile '{profile}' keeps the kind of key on renewal", profile=profile.name)
        if not self._in_window(profile, old) and not profile.early_renewal_allowed:
            self._refuse("renewal is possible from {days} days before expiry", days=profile.renewal_window_days)

    def term(
        self, submission: Submission, profile: Profile, old: Predecessor | None = None
    ) -> tuple[datetime, datetime]:
        """The first and the last moment of the certificate. ``AuthorityRefused``."""
        not_before_at = max(beginning_of(profile, self.at), self.issuer.not_valid_before_utc)
        last_at, years = self.issuer.not_valid_after_utc, self._years(submission, profile, old)
        if old is None:
            return not_before_at, min(end_of(profile, self.at, years), last_at)
        old_end = old.certificate.not_valid_after_utc
        if submission.kind == "reissue":
            return not_before_at, old_end
        if last_at <= old_end:
            self._refuse("the authority itself expires at {moment}, so renewing gains nothing", moment=last_at)
        start = old_end if self._in_window(profile, old) else self.at
        return not_before_at, min(later(profile, start, years), last_at)

    def _years(self, submission: Submission, profile: Profile, old: Predecessor | None) -> int | None:
        try:
            return chosen_years(profile, submission.years, old.certificate if old else None)
        except ValueError as error:
            self._refuse(
                "the profile '{profile}' has no term of {years} years ({choices})",
                profile=profile.name,
                years=submission.years,
                choices=str(error) or f"{profile.validity_days} d",
            )

    def _in_window(self, profile: Profile, old: Predecessor) -> bool:
        return window_opens_at(profile, old.certificate) <= self.at <= old.certificate.not_valid_after_utc

    def _refuse_for(self, problem: Phrase | None) -> None:
        if problem is not None:
            raise AuthorityRefused(authority=self.authority, problem=problem)

    def _refuse(self, template: str, **facts: object) -> NoReturn:
        raise AuthorityRefused(authority=self.authority, problem=Phrase(template, **facts))


def _may_change(submission: Submission, profile: Profile, what: str) -> bool:
    """Whether a renewal may bring it; a reissue is the same certificate with another key."""
    return submission.kind == "renew" and what in profile.renewal_changes


def _is_readable(vid_der: bytes) -> bool:
    try:
        return IdentifyData.from_der(vid_der) is not None
    except MalformedDer:
        return False


def refusal(authority: str, template: str, *, next_step: Phrase | None = None, **facts: object) -> AuthorityRefused:
    """``AuthorityRefused`` with a reason that can be translated, and better advice where there is any."""
    return AuthorityRefused(authority=authority, problem=Phrase(template, **facts), next_step=next_step)
