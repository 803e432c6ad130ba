"""What a profile is once it has been read: values, and the words that a file may use for them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from dojang.x509.profiles.factors import FactorRule

KEY_USAGES = (
    "digital-signature",
    "non-repudiation",
    "key-encipherment",
    "data-encipherment",
    "key-agreement",
    "key-cert-sign",
    "crl-sign",
)
EXTENDED_KEY_USAGES = {
    "server-auth": "1.3.6.1.5.5.7.3.1",
    "client-auth": "1.3.6.1.5.5.7.3.2",
    "code-signing": "1.3.6.1.5.5.7.3.3",
    "email-protection": "1.3.6.1.5.5.7.3.4",
    "time-stamping": "1.3.6.1.5.5.7.3.8",
    "ocsp-signing": "1.3.6.1.5.5.7.3.9",
    "cmc-ca": "1.3.6.1.5.5.7.3.27",
    "cmc-ra": "1.3.6.1.5.5.7.3.28",
    "document-signing": "1.3.6.1.5.5.7.3.36",
}
KEY_ALGORITHMS = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "ed25519")
ALTERNATIVE_NAME_KINDS = ("dns", "ip", "email", "uri")
SIGNER_ROLES = ("ocsp", "tsa", "cmp", "audit")
RENEWAL_CHANGES = ("key", "algorithm", "subject", "alternative-names")
VID_RULES = ("none", "optional", "required")
IDENTITY_CHECKS = (
    "in-person",  # 대면 확인
    "id-document",  # 신분증
    "business-registration",  # 사업자등록증
    "phone-ars",
    "phone-sms",
    "email",
    "bank-account",
    "security-card-or-otp",  # 보안카드 · OTP
    "certificate",  # a signature with a certificate that is valid
)
ADDRESS_KINDS = ("crl", "ocsp", "issuer")
# Relative to the authority's own address; {signer} is the role and generation of the key that signs, as in issuing-2.
USUAL_ADDRESSES = {"crl": "crl/{signer}.crl", "ocsp": "ocsp", "issuer": "ca/{signer}.cer"}
DAYS_A_YEAR = 365


@dataclass(frozen=True, slots=True)
class Fee:
    """What one year costs (the whole term where it is counted in days). Nobody collects it here."""

    currency: str
    amount: int


@dataclass(frozen=True, slots=True)
class ValueRule:
    """Which values an attribute of the subject, or a kind of alternative name, may have."""

    kind: str
    values: tuple[str, ...]
    pattern: str | None
    shortest: int
    longest: int

    def allows(self, value: str) -> bool:
        fits = self.shortest <= len(value) <= self.longest and (not self.values or value in self.values)
        return fits and (self.pattern is None or _compiled(self.pattern).fullmatch(value) is not None)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate. Extended key usages and policies are dotted OIDs; ``titles`` has ``en`` and ``ko``.

    ``validity_days`` is the length of the shortest term; where ``validity_years`` is not empty, a term is chosen among
    them and counted by the calendar. ``signer_role`` is set where the certificate is for a key of the authority itself.
    """

    name: str
    titles: Mapping[str, str]
    validity_days: int
    validity_years: tuple[int, ...]
    korean_days: bool
    renewal_window_days: int
    early_renewal_allowed: bool
    renewal_changes: tuple[str, ...]
    keep_key_allowed: bool
    key_reuse_allowed: bool
    several_allowed: bool
    algorithms: tuple[str, ...]
    key_usage: tuple[str, ...]
    extended_key_usage: tuple[str, ...]
    policies: tuple[str, ...]
    policies_critical: bool
    notice: str | None
    cps: str | None
    is_ca: bool
    path_length: int | None
    crl_days: int
    signer_role: str | None
    ocsp_no_check: bool
    vid: str
    addresses: Mapping[str, str]
    fee: Fee | None
    identity_checks: tuple[str, ...]
    subject_required: tuple[str, ...]
    subject_allowed: tuple[str, ...]
    alternative_names_allowed: tuple[str, ...]
    alternative_names_required: bool
    subject_rules: tuple[ValueRule, ...] = ()
    alternative_name_rules: tuple[ValueRule, ...] = ()
    factors: FactorRule | None = None

    @property
    def is_for_subscribers(self) -> bool:
        """Whether anybody may ask for one; those of the authority's own keys it makes itself."""
        return not self.is_ca and self.signer_role is None
