"""What a message says (PKIBody, RFC 9810 section 5.1.2): one value object a kind; ``body_forms`` puts them in DER."""

from dataclasses import dataclass
from enum import IntEnum

from dojang.cmp.crmf import CertificateId, CertificateTemplate, RequestMessage
from dojang.cmp.faults import FailInfo, PkiStatus


class Kind(IntEnum):
    """The tag of the body."""

    IR = 0
    IP = 1
    CR = 2
    CP = 3
    P10CR = 4
    KUR = 7
    KUP = 8
    RR = 11
    RP = 12
    PKICONF = 19
    NESTED = 20
    GENM = 21
    GENP = 22
    ERROR = 23
    CERTCONF = 24
    POLLREQ = 25
    POLLREP = 26


@dataclass(frozen=True, slots=True)
class Status:
    """PKIStatusInfo."""

    status: int = PkiStatus.ACCEPTED
    text: tuple[str, ...] = ()
    failures: frozenset[FailInfo] = frozenset()

    @property
    def is_granted(self) -> bool:
        return self.status in (PkiStatus.ACCEPTED, PkiStatus.GRANTED_WITH_MODS)


@dataclass(frozen=True, slots=True)
class Certification:
    """ir, cr, kur."""

    kind: Kind
    requests: tuple[RequestMessage, ...]


@dataclass(frozen=True, slots=True)
class Pkcs10:
    """p10cr."""

    request_der: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """CertResponse. ``certificate_der`` is there when it was granted."""

    request_id: int
    status: Status
    certificate_der: bytes | None = None


@dataclass(frozen=True, slots=True)
class Certified:
    """ip, cp, kup."""

    kind: Kind
    answers: tuple[Answer, ...]
    ca_certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Revocation:
    """RevDetails: which certificate, and the extensions that a CRL entry shall have, each an Extension in DER."""

    template: CertificateTemplate
    extensions_der: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """rr."""

    details: tuple[Revocation, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """rp."""

    statuses: tuple[Status, ...]
    certificates: tuple[CertificateId, ...] = ()


@dataclass(frozen=True, slots=True)
class Information:
    """InfoTypeAndValue."""

    kind: str
    value_der: bytes | None = None


@dataclass(frozen=True, slots=True)
class General:
    """genm and genp."""

    kind: Kind
    items: tuple[Information, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """error."""

    status: Status
    code: int | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """CertStatus; without ``status`` it is an acceptance. ``hash_algorithm`` is an OID, of pvno 3."""

    certificate_hash: bytes
    request_id: int = 0
    status: Status | None = None
    hash_algorithm: str | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status is None or self.status.is_granted


@dataclass(frozen=True, slots=True)
class Confirmations:
    """certConf; none at all rejects every certificate (RFC 9810 section 5.3.18)."""

    items: tuple[Confirmation, ...]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """pkiconf."""


@dataclass(frozen=True, slots=True)
class Poll:
    """pollReq."""

    request_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """One part of pollRep."""

    request_id: int
    seconds: int
    reason: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """pollRep."""

    items: tuple[Wait, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A kind that is not taken apart: nested messages (their DER), and what nobody here speaks."""

    tag: int
    content_der: bytes


Body = (
    Certification
    | Pkcs10
    | Certified
    | RevocationRequest
    | Revoked
    | General
    | Failure
    | Confirmations
    | Confirmed
    | Poll
    | Waiting
    | Other
)
