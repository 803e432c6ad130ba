"""Telling subscribers that a certificate can be renewed: once at each number of days, by whatever reaches them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from dojang.errors import DojangError

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority
    from dojang.authority.store import Record

THRESHOLDS: Final = (1, 7, 14, 30)
"""Days before expiry at which a notice is given; the smallest that is not smaller than what is left counts."""
_PAGE: Final = 500
_ADDRESS: Final = re.compile(r"[^\s,;:<>()\[\]\\\"@]+@[^\s,;:<>()\[\]\\\"@]+")
"""One mailbox; anything that a mail program might take for several is left out."""


@dataclass(frozen=True, slots=True)
class RenewalNotice:
    """What there is to say, and to whom: the mail addresses that stand in the certificate."""

    authority: str
    serial: str
    subject: str
    addresses: tuple[str, ...]
    not_after_at: datetime
    days_left: int
    threshold: int


class NoticeSender(Protocol):
    """One way to reach subscribers."""

    def send(self, notice: RenewalNotice) -> None:
        """``NoticeUndelivered`` when it did not arrive, as far as can be told; it is tried again then."""
        ...


def notify(authority: "LocalAuthority", senders: Sequence[NoticeSender], at: datetime) -> None:
    """Give every notice that is due and was not given yet. What fails is raised when all others have been given."""
    failure = None
    for notice in _due(authority, at):
        try:
            for sender in senders:
                sender.send(notice)
        except DojangError as error:
            failure = error
            continue
        _note_given(authority, notice, at)
    if failure is not None:
        raise failure


def _due(authority: "LocalAuthority", at: datetime) -> Iterator[RenewalNotice]:
    after = None
    while page := authority.due(after=after, limit=_PAGE):
        given = _given(authority, page)
        for record in page:
            notice = _notice(authority.name, record, at)
            if notice is not None and (notice.serial, notice.threshold) not in given:
                yield notice
        after = page[-1].serial


def _notice(authority: str, record: "Record", at: datetime) -> RenewalNotice | None:
    """``None`` where it is too early, or nobody can be reached."""
    days = (record.not_after_at - at).days
    threshold = next((one for one in THRESHOLDS if days <= one), None)
    addresses = _addresses(record.certificate_der) if threshold is not None else ()
    if threshold is None or not addresses:
        return None
    subject, until = record.subject, record.not_after_at
    return RenewalNotice(authority, record.serial, subject, addresses, until, days, threshold)


def _addresses(certificate_der: bytes) -> tuple[str, ...]:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    certificate = x509.load_der_x509_certificate(certificate_der)
    found = [str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found += names.get_values_for_type(x509.RFC822Name)
    except x509.ExtensionNotFound:
        pass
    return tuple(one for one in dict.fromkeys(found) if _ADDRESS.fullmatch(one))


def _given(authority: "LocalAuthority", page: "Sequence[Record]") -> set[tuple[str, int]]:
    from sqlalchemy import select

    from dojang.authority.tables import renewal_notice as table

    query = select(table.c.serial, table.c.threshold).where(table.c.serial.in_([one.serial for one in page]))
    with authority.database.reading() as connection:
        return {(row.serial, row.threshold) for row in connection.execute(query)}


def _note_given(authority: "LocalAuthority", notice: RenewalNotice, at: datetime) -> None:
    from sqlalchemy import insert

    from dojang.authority.tables import renewal_notice

    row = {"serial": notice.serial, "threshold": notice.threshold, "given_at": at}
    with authority.database.writing() as connection:
        connection.execute(insert(renewal_notice), row)
