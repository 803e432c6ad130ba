"""A certificate authority of one's own: a key on a token, a folder with its records, and nothing to run.

The folder of an authority holds ``store.sqlite`` and ``crl.der`` (with a separate root also ``root-crl.der``; deltas
lie beside them), and may hold ``profiles/*.toml`` that add to the profiles shipped with dojang or replace them, and
``authority.toml``, which may say that the records are in another database.

Any number of threads may use one, and any number of processes the same database. What several want recorded at the same
moment becomes durable together.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from sqlalchemy import Connection

from dojang.authority import revocation
from dojang.authority import settings as settings_file
from dojang.authority.answers import Answers, key_fingerprint_of
from dojang.authority.audit.heads import Head
from dojang.authority.audit.sealing import seal
from dojang.authority.base import Along, Entry, Issued, Kind, Submission
from dojang.authority.database import Database
from dojang.authority.folder import authority_names, is_authority
from dojang.authority.hierarchy.roster import Roster
from dojang.authority.hierarchy.scene import Scene, private_of
from dojang.authority.issuing import Issuing
from dojang.authority.life import Move
from dojang.authority.settings import AuthoritySettings
from dojang.authority.status.office import StatusOffice
from dojang.authority.store import DueWindow, Record, Store, mark_founded
from dojang.authority.terms import due_until
from dojang.authority.watch import Watch
from dojang.errors import NotFound, Phrase
from dojang.npki.validity import KST
from dojang.x509.profiles import Profile, profile, profiles
from dojang.x509.request import CertificateRequest
from dojang.x509.status import CertificateFacts, credential_facts

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes as PublicKey

    from dojang.authority.enrolment import Counter, Enrolments
    from dojang.authority.factors.desk import FactorDesk, Sitting
    from dojang.authority.factors.gate import Gate
    from dojang.authority.factors.messages import AuthorityMessages
    from dojang.otp.cards import Cards
    from dojang.otp.devices import Devices
    from dojang.otp.keks import Keks
    from dojang.otp.messages.desk import Count
    from dojang.x509.profiles.factors import Factors

T = TypeVar("T")
KeyOpener = Callable[[str], "PrivateKey"]
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AuthorityInfo:
    """An authority for tables; all of it known without its key.

    ``certificate`` tells of the certificate that issues, ``root`` of the one above it, which may be the same.
    """

    name: str
    key_address: str
    root_key_address: str
    certificate: CertificateFacts
    root: CertificateFacts
    crl_path: Path
    crl_number: int


class LocalAuthority:
    """Implements ``CertificateAuthority``. A context manager; leaving it closes the records, never the key.

    ``key`` is called with the stored address of a key when something must be signed with it, at most once for each. For
    authorization codes it must be a ``KeyRing``, too.
    """

    count_message: "Count" = staticmethod(lambda channel, outcome: None)
    """Told of each message that was sent or not."""

    watches_clock = True
    """Whether a clock that was set back stops it. Off where certificates of the past are wanted, as in tests."""

    def __init__(
        self, folder: Path, database: Database, settings: AuthoritySettings, key: KeyOpener, clock: Clock
    ) -> None:
        self.name, self.folder, self.database, self.settings = folder.name, folder, database, settings
        self._store, self._open_key, self._clock = Store(database, folder.name), key, clock
        self._watch = Watch(self._store)
        self.roster = Roster(folder, database, key, self.now)
        clocks = self.now, self._check_clock
        self.issuing = Issuing(self._store, self.roster, settings, lambda: self.gate, self._own_profiles, *clocks)
        self.status = StatusOffice(database, self.roster.private, self.roster.list_path, self.now, settings.status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.issuing.close()
        self.roster.close()
        self._store.close()

    def info(self) -> AuthorityInfo:
        """Names, terms and addresses as they are now."""
        roll, at = self.roster.look(), self.now()
        return AuthorityInfo(
            name=self.name,
            key_address=roll.issuer.key_address,
            root_key_address=roll.root.key_address,
            certificate=credential_facts(roll.issuer.certificate_der, at),
            root=credential_facts(roll.above.certificate_der, at),
            crl_path=self.crl_path(),
            crl_number=self._store.signers()[roll.issuer.role].crl_number,
        )

    @cached_property
    def _own_profiles(self) -> Path:
        return self.folder / "profiles"

    @cached_property
    def enrolments(self) -> "Enrolments":
        """Reference numbers and codes, as conversations with applicants need them."""
        from dojang.authority.enrolment.opening import enrolments_of

        return enrolments_of(self, self._open_key)

    @cached_property
    def counter(self) -> "Counter":
        """Where officers give their orders."""
        from dojang.authority.enrolment.opening import counter_of

        return counter_of(self, self._open_key)

    @cached_property
    def gate(self) -> "Gate":
        """What issuing asks for, and sees to."""
        from dojang.authority.factors.gate import Gate

        return Gate(self.database, self.name, self.settings.factors(), self.now)

    @cached_property
    def messages(self) -> "AuthorityMessages":
        """Codes that applicants get by message."""
        from dojang.authority.factors.messages import AuthorityMessages

        return AuthorityMessages(self, self._open_key, lambda channel, outcome: self.count_message(channel, outcome))

    @cached_property
    def factors(self) -> "FactorDesk":
        """Where applicants pass what is asked for."""
        from dojang.authority.factors.opening import desk_of

        return desk_of(self)

    def factors_for(self, submission: Submission) -> "Sitting":
        """The same for who asks here. ``AuthorityRefused``."""
        from dojang.authority.factors.opening import sitting_here

        return sitting_here(self.factors, submission)

    def factors_wanted(self, profile: str, occasion: Kind) -> "Factors | None":
        """What has to be passed before it issues by this profile; ``None`` for nothing. ``AuthorityRefused``."""
        return self.settings.factors().wanted(self.issuing.profile(profile), occasion)

    @cached_property
    def keks(self) -> "Keks":
        """The keys on its token under which it seals what must come out again: seeds and security cards."""
        from dojang.authority.factors.vaults import keks_of

        return keks_of(self, self._open_key)

    @cached_property
    def devices(self) -> "Devices":
        """The registered devices for one-time passwords of its applicants."""
        from dojang.authority.factors.vaults import devices_of

        return devices_of(self, self.keks)

    @cached_property
    def cards(self) -> "Cards":
        """The security cards of its applicants."""
        from dojang.authority.factors.vaults import cards_of

        return cards_of(self, self.keks)

    def certificate_der(self) -> bytes:
        """The certificate whose key signs what is issued."""
        return self.roster.now().issuer.certificate_der

    def chain_der(self) -> tuple[bytes, ...]:
        """That certificate first, its root last; between them those that lead from other roots, old or new, to that."""
        return self.roster.now().chain_der

    def crl_path(self, *, root: bool = False) -> Path:
        """Where the revocation list lies; with ``root`` that of the root above, where there is one."""
        roll = self.roster.now()
        return self.roster.list_path(roll.root.id if root else roll.issuer.id)

    def profiles(self) -> list[Profile]:
        """What it issues to subscribers. Raises ``InvalidSetting`` for a bad file among its own."""
        return [known for known in profiles(self.folder / "profiles") if known.is_for_subscribers]

    def profile_of(self, certificate_der: bytes) -> str | None:
        """The profile by which this certificate was issued; ``None`` when it was not issued here."""
        found = self._answers.recorded(certificate_der)
        return found.profile if found else None

    def state_of(self, certificate_der: bytes) -> str | None:
        """The state in its record; ``None`` when it was not issued here."""
        found = self._answers.recorded(certificate_der)
        return found.state if found else None

    def is_certified(self, public_key: "PublicKey") -> bool:
        """Whether there is or was a certificate for this key."""
        return bool(self._store.with_key(key_fingerprint_of(public_key)))

    def issued(self) -> Iterator[Record]:
        """Every certificate issued to a subscriber, oldest first."""
        return self._store.every(for_subscribers=True)

    def records(self, *, state: str | None = None, after: str | None = None, limit: int) -> list[Record]:
        """A page of the certificates issued to subscribers, oldest first, from the one after the serial ``after``."""
        after = None if after is None else revocation.serial_of(after)
        return self._store.records(for_subscribers=True, state=state, after=after, limit=limit)

    def due(self, *, after: str | None = None, limit: int) -> list[Record]:
        """A page of the certificates to be renewed now; its cost is that of the page, however many there are."""
        at = self.now()
        windows = [DueWindow(one.name, due_until(one, at)) for one in self.profiles()]
        after = None if after is None else revocation.serial_of(after)
        return self._store.due(windows, at, after=after, limit=limit)

    def find(self, serial: str) -> Record:
        """One certificate by its serial in hex. Raises ``NotFound``."""
        return self._store.find(revocation.serial_of(serial))

    def submit(
        self,
        submission: Submission,
        *,
        request: CertificateRequest | None = None,
        along: Along | None = None,
        confirmed: bool = False,
        is_new: bool = False,
    ) -> Issued:
        """A certificate, recorded before it leaves. Raises ``AuthorityRefused`` and ``AuthorityExpired``.

        ``request`` is what is asked for, where that was read and proved already. ``confirmed`` when nobody will do that
        later. ``is_new`` where it is known that nothing was answered yet; should somebody answer meanwhile, that holds.
        """
        given = None if is_new else self.issuing.given(submission)
        if given is None:
            given = self.issuing.recorded(submission, request=request, along=along, confirmed=confirmed)
        if confirmed and submission.kind == "reissue" and submission.replaces_der is not None:
            old = self._answers.recorded(submission.replaces_der)
            self._publish(old.signer if old else given.signer)
        return self.issuing.issued(given)

    def submit_many(self, submissions: Sequence[Submission]) -> list[Issued | Exception]:
        """The answer to each, or the error that ``submit`` would raise; what is new is recorded together."""
        return self.issuing.submit_many(submissions)

    def confirm(self, transaction_id: str, *, entry: Entry | None = None) -> None:
        """The certificate works; after a reissue the old one is revoked and the list published."""
        at = self.now()
        work = partial(self._answers.confirm, transaction_id=transaction_id, at=at)
        signer = self.database.together(_with(work, entry))
        if signer is not None:
            self._publish(signer)

    def cancel(self, transaction_id: str, *, entry: Entry | None = None) -> None:
        """Revoke what was never confirmed; the key is not needed, the next revocation list will say it."""
        work = partial(self._answers.cancel, transaction_id=transaction_id, at=self.now())
        self.database.together(_with(work, entry))

    def revoke(self, serial: str, reason: str, *, entry: Entry | None = None) -> None:
        """Revoke for good and publish it; revoked already, publish again. Raises ``NotFound`` and ``Usage``."""
        self._change(serial, "revoke", revocation.reason_of(reason), entry)

    def suspend(self, serial: str, *, entry: Entry | None = None) -> None:
        """Put on hold and publish it. ``AuthorityRefused`` for a revoked or expired certificate."""
        self._change(serial, "suspend", entry=entry)

    def restore(self, serial: str) -> None:
        """Take off hold and publish it. ``AuthorityRefused`` for what is revoked, expired or held for too long."""
        self._change(serial, "restore")

    def revoke_unconfirmed(self, at: datetime | None = None) -> list[Record]:
        """Revoke what nobody confirmed in time, and return it; no key is needed, the next list will say it."""
        at = at or self.now()
        return revocation.revoke_unconfirmed(self._store, at - self.settings.unconfirmed_term, at)

    def revoke_overdue_holds(self, at: datetime | None = None) -> list[Record]:
        """Revoke what was on hold for too long, and return it; no key is needed, the next list will say it."""
        return revocation.revoke_overdue_holds(self._store, at or self.now(), self._zone_of)

    def publish_crl(self, *, root: bool = False) -> Path:
        """Sign the complete revocation list anew and return where it lies."""
        roll = self.roster.now()
        name = roll.root.id if root else roll.issuer.id
        self.status.lists.publish(name, self.now())
        return self.roster.list_path(name)

    def seal(self) -> Head:
        """Sign the head of the audit record, unless its last row is covered already; the newest head."""
        return seal(self.database, self.roster.private, self.now())

    def scene(self, known: "Mapping[str, PrivateKey] | None" = None) -> Scene:
        """What the steps of ``hierarchy`` work with; ``known`` are keys that are open already, by their addresses."""
        keys = known or {}

        def open_key(address: str) -> "PrivateKey":
            return keys.get(address) or self._open_key(address)

        def publish(name: str) -> None:
            self.roster.look()
            key = private_of(self.roster.named(name), open_key)
            replace(self.status, key=lambda _name: key).lists.publish(name, self.now())

        own = self.folder / "profiles"
        return Scene(self.name, self.database, open_key, publish, self.now(), self.settings.address, own)

    def now(self) -> datetime:
        """UTC, in whole seconds."""
        return self._clock().astimezone(UTC).replace(microsecond=0)

    def _check_clock(self, at: datetime) -> None:
        """``ClockSetBack``."""
        if self.watches_clock:
            self._watch.check(at)

    def _change(self, serial: str, move: Move, reason: str | None = None, entry: Entry | None = None) -> None:
        """The key that will publish it is opened first, so that a wrong PIN changes nothing."""
        record = self.find(serial)
        self.roster.private(record.signer)
        zone = self._zone_of(record)
        record = revocation.change(self._store, record.serial, move, self.now(), reason=reason, zone=zone, entry=entry)
        self._publish_for(record)

    def _zone_of(self, record: Record) -> tzinfo:
        """Where the months of a hold are counted."""
        with contextlib.suppress(NotFound):
            return KST if profile(record.profile, self.folder / "profiles").korean_days else UTC
        return UTC

    def _publish_for(self, record: Record) -> None:
        """The list that tells of it is that of the key that signed it."""
        self._publish(record.signer)

    def _publish(self, name: str) -> None:
        """The state of something that this key signed has changed."""
        self.status.lists.tell(name, self.now())

    @property
    def _answers(self) -> Answers:
        return Answers(self.name, self._store)


def _with(work: Callable[[Connection], T], entry: Entry | None) -> Callable[[Connection], T]:
    """Both in one transaction."""

    def both(connection: Connection) -> T:
        if entry is not None:
            entry(connection)
        return work(connection)

    return both


def open_authority(directory: Path, name: str, key: KeyOpener, *, clock: Clock = utc_now) -> LocalAuthority:
    """The authority ``name`` among those in ``directory``.

    Raises ``NotFound``, ``InvalidSetting``, ``StateUnreadable`` and ``DatabaseUnavailable``. ``key`` opens the private
    key at the address it is given, once something must be signed.
    """
    if name.startswith(".") or Path(name).name != name or not is_authority(directory / name):
        what = Phrase("authority {name}", name=name[:64])
        raise NotFound(what=what, where=directory, command="dojang ca show")
    folder = directory / name
    settings = settings_file.load(folder)
    database = Database.open(settings.database)
    try:
        mark_founded(database)
        return LocalAuthority(folder, database, settings, key, clock)
    except BaseException:
        database.close()
        raise


def list_authorities(directory: Path, *, clock: Clock = utc_now) -> list[AuthorityInfo]:
    """Every authority in ``directory``, without any key. Raises ``StateUnreadable``."""
    found = []
    for name in authority_names(directory):
        with open_authority(directory, name, _no_key, clock=clock) as authority:
            found.append(authority.info())
    return found


def _no_key(address: str) -> "PrivateKey":
    raise AssertionError(f"nothing is signed for a list, yet {address} was asked for")
