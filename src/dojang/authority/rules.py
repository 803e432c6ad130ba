"""What an authority requires of a submission before it signs; every refusal says which rule.

The term of a certificate:

    issue      from now, for the profile's days
    renew      from now; inside the window until the profile's days after the old expiry, so that renewing in time
               costs nothing; before it (where the profile allows that) for the profile's days, so that terms do not
               pile up
    reissue    from now until the old expiry

None outlives the authority: the term is cut at the authority's own expiry, and a renewal that would gain nothing by
that is refused. A certificate begins five minutes in the past, for the clocks of others, but never before the
authority's own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from dojang.authority.base import Submission
from dojang.authority.certificate import Draft
from dojang.errors import AuthorityRefused, DojangError, Phrase
from dojang.npki.validity import renewal_opens_at
from dojang.x509.alternative_names import alternative_names_of, is_well_formed, kind_of
from dojang.x509.keys import algorithm_of, is_strong, same_key
from dojang.x509.name import attribute_names, settled_name
from dojang.x509.profiles import Profile
from dojang.x509.reading import UNREADABLE, read_request

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey

BACKDATED = timedelta(minutes=5)
_WEAK_HASHES = {"md5", "sha1"}


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The certificate to be replaced, as the authority recorded it. ``state`` as in ``Record``."""

    certificate: x509.Certificate
    profile: str
    state: str
    replaced: bool


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules of one authority at one moment."""

    authority: str
    issuer: x509.Certificate
    at: datetime

    def draft(self, submission: Submission, profile: Profile, old: Predecessor | None) -> Draft:
        """The certificate to sign. Raises ``AuthorityRefused``."""
        request = self._read(submission.request_der)
        public_key = self._public_key(request, profile)
        if old is not None:
            self.check_predecessor(submission, profile, old, public_key)
        subject = self._subject(request, profile)
        names = self._alternative_names(request, subject, profile, old)
        if old is not None and subject != old.certificate.subject:
            self._refuse("a renewal keeps the subject of the old certificate")
        not_before_at, not_after_at = self._term(submission, profile, old)
        return Draft(profile, subject, public_key, names, not_before_at, not_after_at)

    def _read(self, request_der: bytes) -> x509.CertificateSigningRequest:
        try:
            return read_request(request_der)
        except DojangError as error:
            raise AuthorityRefused(authority=self.authority, problem=Phrase("the request cannot be decoded")) from error

    def _public_key(self, request: x509.CertificateSigningRequest, profile: Profile) -> "PublicKey":
        """The key to certify, once the request's signature has proved that the asker holds it."""
        try:
            public_key, used = request.public_key(), request.signature_hash_algorithm
            proven = request.is_signature_valid and (used is None or used.name not in _WEAK_HASHES)
        except (UnsupportedAlgorithm, *UNREADABLE):
            self._refuse("the request's key or signature is of an unknown kind")
        if not proven:
            self._refuse("the request's signature does not prove possession of the key")
        algorithm = algorithm_of(public_key)
        if algorithm not in profile.algorithms or not is_strong(public_key):
            self._refuse(
                "the profile '{profile}' does not allow the key ({algorithm})",
                profile=profile.name,
                algorithm=algorithm,
            )
        return public_key

    def _subject(self, request: x509.CertificateSigningRequest, profile: Profile) -> x509.Name:
        try:
            subject = settled_name(request.subject)
        except DojangError as error:
            problem = Phrase("the subject is not acceptable: {problem}", problem=error.facts["problem"])
            raise AuthorityRefused(authority=self.authority, problem=problem) from error
        found, required, allowed = attribute_names(subject), profile.subject_required, profile.subject_allowed
        for kind in required:
            if kind not in found:
                self._refuse("the profile '{profile}' wants {type} in the subject", profile=profile.name, type=kind)
        for kind in sorted(found - set(allowed)) if allowed else ():
            self._refuse(
                "the profile '{profile}' does not allow {type} in the subject", profile=profile.name, type=kind
            )
        return subject

    def _alternative_names(
        self,
        request: x509.CertificateSigningRequest,
        subject: x509.Name,
        profile: Profile,
        old: Predecessor | None,
    ) -> tuple[x509.GeneralName, ...]:
        """The names asked for, and the addresses in the subject, which must stand here too (RFC 5280, 4.1.2.6)."""
        asked = alternative_names_of(request)
        addresses = [x509.RFC822Name(str(part.value)) for part in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
        names = tuple(dict.fromkeys([*asked, *addresses]))
        if old is not None:
            kept = alternative_names_of(old.certificate)
            if asked and set(names) != set(kept):
                self._refuse("a renewal keeps the alternative names of the old certificate")
            names = kept
        for name in names:
            if kind_of(name) not in profile.alternative_names_allowed or not is_well_formed(name):
                self._refuse("the profile '{profile}' does not allow the alternative name", profile=profile.name)
        if profile.alternative_names_required and not names:
            kinds = ", ".join(profile.alternative_names_allowed)
            self._refuse(
                "the profile '{profile}' wants an alternative name ({kinds})", profile=profile.name, kinds=kinds
            )
        return names

    def check_predecessor(self, submission: Submission, profile: Profile, old: Predecessor, key: "PublicKey") -> None:
        """What may be replaced by what, now. Raises ``AuthorityRefused``."""
        if old.profile != profile.name:
            self._refuse("the old certificate was issued by the profile '{profile}'", profile=old.profile)
        if self.at > old.certificate.not_valid_after_utc:
            self._refuse("the old certificate has expired; a new one must be issued")
        if old.replaced:
            self._refuse("the old certificate was replaced already")
        kept = same_key(key, old.certificate.public_key())
        if submission.kind == "reissue":
            if kept:
                self._refuse("a reissue needs a new key")
            return
        if old.state in ("revoked", "suspended"):
            self._refuse("the old certificate is {state}", state=old.state)
        if kept and not profile.keep_key_allowed:
            self._refuse("the profile '{profile}' wants a new key for a renewal", profile=profile.name)
        if not self._in_window(profile, old) and not profile.early_renewal_allowed:
            self._refuse("renewal is possible from {days} days before expiry", days=profile.renewal_window_days)

    def _term(self, submission: Submission, profile: Profile, old: Predecessor | None) -> tuple[datetime, datetime]:
        not_before_at = max(self.at - BACKDATED, self.issuer.not_valid_before_utc)
        last_at, length = self.issuer.not_valid_after_utc, timedelta(days=profile.validity_days)
        if old is None:
            return not_before_at, min(self.at + length, last_at)
        old_end = old.certificate.not_valid_after_utc
        if submission.kind == "reissue":
            return not_before_at, old_end
        if last_at <= old_end:
            self._refuse("the authority itself expires at {moment}, so renewing gains nothing", moment=last_at)
        start = old_end if self._in_window(profile, old) else self.at
        return not_before_at, min(start + length, last_at)

    def _in_window(self, profile: Profile, old: Predecessor) -> bool:
        opening = renewal_opens_at(old.certificate, timedelta(days=profile.renewal_window_days))
        return opening <= self.at <= old.certificate.not_valid_after_utc

    def _refuse(self, template: str, **facts: object) -> NoReturn:
        raise refusal(self.authority, template, **facts)


def refusal(authority: str, template: str, **facts: object) -> AuthorityRefused:
    """``AuthorityRefused`` with a reason that can be translated."""
    return AuthorityRefused(authority=authority, problem=Phrase(template, **facts))
