"""A certificate authority of one's own: a key on a token, a folder with its records, and nothing to run.

The folder of an authority holds ``store.sqlite`` and ``crl.der`` (with a separate root also ``root-crl.der``), and may
hold ``profiles/*.toml`` that add to the profiles shipped with dojang or replace them.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cryptography import x509

from dojang.authority import revocation
from dojang.authority.answers import Answers
from dojang.authority.base import Issued, Submission
from dojang.authority.certificate import sign_certificate
from dojang.authority.rules import Rulebook, refusal
from dojang.authority.store import Record, Signer, Store
from dojang.errors import AuthorityExpired, CertificateUnusable, NotFound, Phrase
from dojang.x509.keys import same_key
from dojang.x509.name import format_name
from dojang.x509.profiles import Profile, profile, profiles
from dojang.x509.status import CertificateFacts, credential_facts

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

KeyOpener = Callable[[str], "PrivateKey"]
Clock = Callable[[], datetime]
STORE_NAME = "store.sqlite"
CRL_NAME, ROOT_CRL_NAME = "crl.der", "root-crl.der"
_LONGEST_TRANSACTION = 256


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

    ``key`` is called with the stored address of a key when something must be signed with it, at most once for each.
    """

    def __init__(self, folder: Path, store: Store, key: KeyOpener, clock: Clock) -> None:
        self.name = folder.name
        self._folder, self._store, self._open_key, self._clock = folder, store, key, clock
        self._keys: dict[str, PrivateKey] = {}
        signers = store.signers()
        self._root, self._signer = signers["root"], signers.get("issuing") or signers["root"]
        self._answers = Answers(self.name, store, self._signer.role)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._keys.clear()
        self._store.close()

    def info(self) -> AuthorityInfo:
        """Names, terms and addresses as they are now."""
        signers, at = self._store.signers(), self._now()
        return AuthorityInfo(
            name=self.name,
            key_address=self._signer.key_address,
            root_key_address=self._root.key_address,
            certificate=credential_facts(self._signer.certificate_der, at),
            root=credential_facts(self._root.certificate_der, at),
            crl_path=self.crl_path(),
            crl_number=signers[self._signer.role].crl_number,
        )

    def certificate_der(self) -> bytes:
        """The certificate whose key signs what is issued."""
        return self._signer.certificate_der

    def chain_der(self) -> tuple[bytes, ...]:
        """That certificate first, the root last."""
        return tuple(dict.fromkeys((self._signer.certificate_der, self._root.certificate_der)))

    def crl_path(self, *, root: bool = False) -> Path:
        """Where the revocation list lies; with ``root`` that of the root above, where there is one."""
        return self._folder / (ROOT_CRL_NAME if root and self._is_two_tier else CRL_NAME)

    def profiles(self) -> list[Profile]:
        """What it issues to subscribers. Raises ``InvalidSetting`` for a bad file among its own."""
        return [known for known in profiles(self._folder / "profiles") if known.is_for_subscribers]

    def profile_of(self, certificate_der: bytes) -> str | None:
        """The profile by which this certificate was issued; ``None`` when it was not issued here."""
        found = self._answers.recorded(certificate_der)
        return found.profile if found else None

    def issued(self) -> Iterator[Record]:
        """Every certificate issued to a subscriber, oldest first."""
        return self._store.records("signer = ?", self._signer.role)

    def find(self, serial: str) -> Record:
        """One certificate by its serial in hex. Raises ``NotFound``."""
        return self._store.find(revocation.serial_of(serial))

    def submit(self, submission: Submission) -> Issued:
        """A certificate, recorded before it leaves. Raises ``AuthorityRefused`` and ``AuthorityExpired``."""
        self._check_form(submission)
        certificate_der = self._answers.given(submission) or self._issue(submission)
        return Issued(certificate_der, self.chain_der())

    def confirm(self, transaction_id: str) -> None:
        """The certificate works; after a reissue the old one is revoked and the list published."""
        if self._answers.confirm(transaction_id, self._now()):
            self.publish_crl()

    def cancel(self, transaction_id: str) -> None:
        """Revoke what was never confirmed; the key is not needed, the next revocation list will say it."""
        self._answers.cancel(transaction_id, self._now())

    def revoke(self, serial: str, reason: str) -> None:
        """Revoke for good and publish it; revoked already, publish again. Raises ``NotFound`` and ``Usage``."""
        reason, serial = revocation.reason_of(reason), self._ready_for(serial)
        self._publish_for(revocation.mark_revoked(self._store, serial, reason, self._now()))

    def suspend(self, serial: str) -> None:
        """Put on hold and publish it. ``AuthorityRefused`` for a revoked certificate."""
        serial = self._ready_for(serial)
        self._publish_for(revocation.mark_suspended(self._store, serial, self._now(), self.name))

    def restore(self, serial: str) -> None:
        """Take off hold and publish it. ``AuthorityRefused`` for a revoked or expired certificate."""
        serial = self._ready_for(serial)
        self._publish_for(revocation.mark_restored(self._store, serial, self._now(), self.name))

    def publish_crl(self, *, root: bool = False) -> Path:
        """Sign the complete revocation list anew and return where it lies."""
        signer, path = self._root if root else self._signer, self.crl_path(root=root)
        revocation.publish(self._store, signer, self._key(signer), path, self._now())
        return path

    @property
    def _is_two_tier(self) -> bool:
        return self._signer.role != self._root.role

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(microsecond=0)

    def _key(self, signer: Signer) -> "PrivateKey":
        if signer.role not in self._keys:
            key = self._open_key(signer.key_address)
            _check_belongs(key, signer)
            self._keys[signer.role] = key
        return self._keys[signer.role]

    def _ready_for(self, serial: str) -> str:
        """The serial as it is recorded; the key that will publish it is opened, so that a wrong PIN changes nothing."""
        record = self.find(serial)
        self._key(self._root if self._is_roots(record) else self._signer)
        return record.serial

    def _publish_for(self, record: Record) -> None:
        self.publish_crl(root=self._is_roots(record))

    def _is_roots(self, record: Record) -> bool:
        """Whether the revocation list of the root above is the one that tells of it."""
        return record.signer == "root" and self._is_two_tier

    def _issue(self, submission: Submission) -> bytes:
        at = self._now()
        self._check_term(at)
        self._check_standing()
        issuer = x509.load_der_x509_certificate(self._signer.certificate_der)
        rules = Rulebook(self.name, issuer, at)
        draft = rules.draft(submission, self._wanted(submission.profile), self._answers.predecessor(submission))
        serial = x509.random_serial_number()  # 159 random bits
        certificate_der = sign_certificate(draft, issuer, self._key(self._signer), serial)
        return self._answers.record(submission, rules, draft, serial, certificate_der)

    def _wanted(self, name: str) -> Profile:
        with contextlib.suppress(NotFound):
            wanted = profile(name, self._folder / "profiles")
            if wanted.is_for_subscribers:
                return wanted
        raise refusal(self.name, "it does not issue by the profile '{profile}'", profile=name[:64])

    def _check_form(self, submission: Submission) -> None:
        if not 0 < len(submission.transaction_id) <= _LONGEST_TRANSACTION:
            raise refusal(
                self.name, "an identifier of a transaction has 1 to {limit} characters", limit=_LONGEST_TRANSACTION
            )
        if (submission.kind == "issue") != (submission.replaces_der is None):
            raise refusal(self.name, "a renewal or reissue names the certificate it replaces, a first issue does not")

    def _check_term(self, at: datetime) -> None:
        """Neither the authority's certificate nor its root's may be outside its term."""
        for der in self.chain_der():
            own = x509.load_der_x509_certificate(der)
            start_at, end_at = own.not_valid_before_utc, own.not_valid_after_utc
            if not start_at <= at <= end_at:
                raise AuthorityExpired(authority=self.name, not_before=start_at, not_after=end_at)

    def _check_standing(self) -> None:
        """An issuing authority that its root has revoked or put on hold issues nothing."""
        if self._is_two_tier:
            own = x509.load_der_x509_certificate(self._signer.certificate_der)
            state = self._store.find(f"{own.serial_number:x}").state
            if state != "confirmed":
                raise refusal(self.name, "its own certificate is {state}", state=state)


def _check_belongs(key: "PrivateKey", signer: Signer) -> None:
    """Another key may have come to lie at the address; nothing is ever signed with it."""
    certificate = x509.load_der_x509_certificate(signer.certificate_der)
    if not same_key(key.public_key(), certificate.public_key()):
        problem = Phrase("the private key does not belong to it")
        raise CertificateUnusable(subject=format_name(certificate.subject), problem=problem)


def open_authority(directory: Path, name: str, key: KeyOpener, *, clock: Clock = utc_now) -> LocalAuthority:
    """The authority ``name`` among those in ``directory``. Raises ``NotFound`` and ``StateUnreadable``.

    ``key`` opens the private key at the address it is given, once something must be signed.
    """
    if name.startswith(".") or Path(name).name != name or not (directory / name / STORE_NAME).exists():
        what = Phrase("authority {name}", name=name[:64])
        raise NotFound(what=what, where=directory, command="dojang ca show")
    folder = directory / name
    return LocalAuthority(folder, Store.open(folder / STORE_NAME), key, clock)


def authority_names(directory: Path) -> list[str]:
    """The names of the authorities in ``directory``, in order; a missing folder has none."""
    return sorted(path.parent.name for path in directory.glob(f"[!.]*/{STORE_NAME}"))


def list_authorities(directory: Path, *, clock: Clock = utc_now) -> list[AuthorityInfo]:
    """Every authority in ``directory``, without any key. Raises ``StateUnreadable``."""
    found = []
    for name in authority_names(directory):
        with open_authority(directory, name, _no_key, clock=clock) as authority:
            found.append(authority.info())
    return found


def _no_key(address: str) -> "PrivateKey":
    raise AssertionError(f"nothing is signed for a list, yet {address} was asked for")
