"""The office of an authority whose records and keys are here."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from sqlalchemy import Connection

from dojang.authority.base import Entry, Submission
from dojang.authority.conversation.office import Known, Order, Spokesman
from dojang.authority.hierarchy.chains import RootUpdate, root_update
from dojang.authority.store import Record, find_record
from dojang.cmp.signatures import loaded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes as PublicKey

    from dojang.authority.database import Database
    from dojang.authority.enrolment import Enrolments
    from dojang.authority.factors.desk import FactorDesk
    from dojang.authority.local import LocalAuthority
    from dojang.authority.settings import CmpSettings
    from dojang.x509.profiles import Profile


class LocalOffice:
    """Implements ``Office``; many threads may share one."""

    def __init__(self, authority: "LocalAuthority", enrolments: "Enrolments") -> None:
        self._authority, self._enrolments = authority, enrolments

    @property
    def name(self) -> str:
        return self._authority.name

    @property
    def settings(self) -> "CmpSettings":
        return self._authority.settings.cmp

    @property
    def confirm_term(self) -> timedelta:
        return self._authority.settings.unconfirmed_term

    @property
    def database(self) -> "Database":
        return self._authority.database

    @property
    def enrolments(self) -> "Enrolments":
        return self._enrolments

    @property
    def factors(self) -> "FactorDesk":
        return self._authority.factors

    def now(self) -> datetime:
        return self._authority.now()

    def chain_der(self) -> tuple[bytes, ...]:
        return self._authority.chain_der()

    def spokesman(self) -> Spokesman:
        """A key that was certified for it, where there is one (RFC 9810 section 4.5)."""
        roster = self._authority.roster
        roll = roster.now()
        chain = roll.above_speaker_der[:-1] or roll.above_speaker_der
        return Spokesman(roster.private(roll.speaker.id), roll.speaker.certificate_der, chain)

    def known(self, certificate_der: bytes) -> Known | None:
        serial = _serial_in(certificate_der)
        found = None if serial is None else self._found(serial)
        return found if found is not None and found.certificate_der == certificate_der else None

    def named(self, issuer: x509.Name, serial: int) -> Known | None:
        found = self._found(f"{serial:x}") if serial > 0 else None
        return found if found is not None and found.certificate.issuer == issuer else None

    def certificate_der(self, serial: str) -> bytes:
        return self._authority.find(serial).certificate_der

    def several(self, profile: str) -> "Profile | None":
        return next((one for one in self._authority.profiles() if one.name == profile and one.several_allowed), None)

    def is_certified(self, public_key: "PublicKey") -> bool:
        return self._authority.is_certified(public_key)

    def issue(self, order: Order, entry: Callable[[bytes], Entry]) -> bytes:
        submission = Submission(
            kind=order.kind,
            request_der=order.request_der,
            profile=order.profile,
            transaction_id=order.transaction_id,
            replaces_der=order.replaces_der,
            years=order.years,
            enrolment=order.reference,
        )
        issued = self._authority.submit(
            submission,
            request=order.request,
            along=lambda certificate_der: self._entry(order, certificate_der, entry(certificate_der)),
            confirmed=order.confirmed,
            is_new=True,
        )
        return issued.certificate_der

    def confirm(self, transaction_id: str, entry: Entry) -> None:
        self._authority.confirm(transaction_id, entry=entry)

    def cancel(self, transaction_id: str, entry: Entry) -> None:
        self._authority.cancel(transaction_id, entry=entry)

    def revoke(self, serial: str, reason: str, entry: Entry) -> None:
        if reason == "certificateHold":
            self._authority.suspend(serial, entry=entry)
        else:
            self._authority.revoke(serial, reason, entry=entry)

    def root_update(self, old_der: bytes | None) -> RootUpdate | None:
        with self.database.reading() as connection:
            return root_update(connection, self.now(), old_der)

    def lists_der(self) -> Sequence[bytes]:
        """From the records, for any host: the file lies where it was signed."""
        shown = self._authority.status.published.revocation_list(self._authority.roster.now().issuer.id)
        return () if shown is None else (shown.content,)

    def _entry(self, order: Order, certificate_der: bytes, entry: Entry) -> Entry:
        """What else is written with the certificate: the code that it uses up."""
        reference = order.reference
        if reference is None:
            return entry
        serial = f"{loaded(certificate_der).serial_number:x}"

        def write(connection: Connection) -> None:
            entry(connection)
            self._enrolments.take(connection, reference, serial=serial)

        return write

    def _found(self, serial: str) -> Known | None:
        with self.database.reading() as connection:
            record = find_record(connection, serial)
        return None if record is None else _known(record)


def _known(record: Record) -> Known:
    return Known(
        serial=record.serial,
        certificate_der=record.certificate_der,
        state=record.state,
        profile=record.profile,
        is_replaced=record.replaced_at is not None,
        reference=record.enrolment,
    )


def _serial_in(certificate_der: bytes) -> str | None:
    try:
        return f"{x509.load_der_x509_certificate(certificate_der).serial_number:x}"
    except ValueError:
        return None
