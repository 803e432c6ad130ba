"""Copy: what is refused, what is said, and that a failure leaves both places as they were."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.errors import (
    AlreadyExists,
    CredentialBusy,
    DojangError,
    FileMalformed,
    FileUnwritable,
    KeyMismatch,
    NotFound,
    OperationUnfinished,
    PasswordIncorrect,
)
from dojang.ledger import Ledger
from dojang.lifecycle.copy import CopyOrder, copy, plan_copy
from dojang.lifecycle.drill import put_in
from dojang.lifecycle.held import held_at
from dojang.lifecycle.parcel import Parcel
from dojang.lifecycle.recover import recover
from dojang.lifecycle.workplace import Workplace
from dojang.locations.disk import DiskLocation
from dojang.locations.registry import open_location
from dojang.npki.pkcs8 import Pkcs8, new_random_number
from dojang.secret import Secret

pytestmark = pytest.mark.usefixtures("quick_passwords")


def self_signed(name: str = "Hong", *, begins: int = -1, days: int = 30, key=None) -> Parcel:
    """A credential on its own, valid from ``begins`` days from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.now(UTC) + timedelta(days=begins)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(Encoding.DER)
    return Parcel(name, der, Pkcs8.from_key(key, new_random_number()))


@dataclass(slots=True)
class Desk:
    """Two folders and a ledger; every password is the same unless a test says otherwise."""

    folder: Path
    place: Workplace
    passwords: dict[str, str]

    @property
    def here(self) -> str:
        return f"npki:{self.folder}/here/NPKI"

    @property
    def there(self) -> str:
        return f"npki:{self.folder}/there/NPKI"

    def put(self, parcel: Parcel, address: str | None = None) -> str:
        with self.place.open_location(address or self.here) as location:
            put_in(parcel, location, parcel.label)
            return next(one.address for one in location.credentials() if one.certificate_der == parcel.certificate_der)

    def files(self) -> dict[str, bytes]:
        """Everything in both folders, byte for byte."""
        roots = [self.folder / "here", self.folder / "there"]
        return {str(path): path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}

    def password(self, path: str, new: bool) -> Secret:
        return Secret(next((word for part, word in self.passwords.items() if part in path), "correct horse 1!"))


@pytest.fixture
def desk(tmp_path: Path):
    passwords: dict[str, str] = {}
    with Ledger.open(tmp_path / "state" / "ledger.sqlite") as ledger:
        desk = Desk(tmp_path, None, passwords)
        desk.place = Workplace(
            ledger, lambda address: open_location(address, passwords=desk.password), lambda name: None
        )
        yield desk


def refused(desk: Desk, leaf: type[DojangError], address: str, *, to: str | None = None) -> DojangError:
    """The error of a copy that must fail and change nothing."""
    before = desk.files()
    with pytest.raises(leaf) as caught:
        copy(CopyOrder(address, to or desk.there), desk.place)
    assert desk.files() == before
    assert desk.place.ledger.incomplete() == []
    return caught.value


def test_the_ledger_tells_where_a_copy_came_from(desk: Desk) -> None:
    """One event, with the place it came from, and nothing left in the journal."""
    address = desk.put(self_signed())
    done = copy(CopyOrder(address, desk.there), desk.place)
    (event,) = [one for one in desk.place.ledger.history() if one.event == "copied"]
    assert event.address == done.brought.credential.stored.address
    assert event.facts["origin"] == address
    assert desk.place.ledger.incomplete() == []


def test_a_copy_that_is_there_is_proven_and_left(desk: Desk) -> None:
    """Nothing is written; without its key, or with another's, that is found out."""
    address = desk.put(self_signed())
    copy(CopyOrder(address, desk.there), desk.place)
    before = desk.files()
    again = copy(CopyOrder(address, desk.there), desk.place).brought
    assert again.already
    assert {"opened-again", "signature", "r"} <= {check.name for check in again.checks}
    assert desk.files() == before
    (key,) = (desk.folder / "there").rglob("signPri.key")
    key.unlink()
    with pytest.raises(NotFound):
        copy(CopyOrder(address, desk.there), desk.place)


def test_another_credential_of_the_name_stays(desk: Desk) -> None:
    """Two credentials with one DN do not fit into one folder; the one that is there is not touched."""
    address = desk.put(self_signed())
    desk.put(self_signed(), desk.there)
    desk.passwords["/here/"] = "wrong horse 1!"  # which is told later: nobody types a password in vain
    refused(desk, AlreadyExists, address)
    with pytest.raises(AlreadyExists):
        plan_copy(CopyOrder(address, desk.there), desk.place)


def test_a_key_of_another_certificate_is_refused(desk: Desk) -> None:
    """Swapped files are found out before anything is made."""
    first, second = desk.put(self_signed("Hong")), desk.put(self_signed("Kim"))
    keys = sorted((desk.folder / "here").rglob("signPri.key"))
    texts = [key.read_bytes() for key in keys]
    for key, text in zip(keys, reversed(texts), strict=True):
        key.write_bytes(text)
    for address in (first, second):
        refused(desk, KeyMismatch, address)


@pytest.mark.parametrize("length", [0, 1, 20, 100, -1])
def test_a_truncated_key_is_refused(desk: Desk, length: int) -> None:
    """As a wrong password is: they are not told apart."""
    address = desk.put(self_signed())
    (key,) = (desk.folder / "here").rglob("signPri.key")
    key.write_bytes(key.read_bytes()[:length])
    refused(desk, PasswordIncorrect, address)


def test_a_truncated_certificate_is_no_credential(desk: Desk) -> None:
    """That is said, and nothing is made of it."""
    address = desk.put(self_signed())
    (certificate,) = (desk.folder / "here").rglob("signCert.der")
    certificate.write_bytes(certificate.read_bytes()[:-1])
    refused(desk, FileMalformed, address)


def test_a_wrong_password_changes_nothing(desk: Desk) -> None:
    address = desk.put(self_signed())
    desk.passwords["/here/"] = "wrong horse 1!"
    refused(desk, PasswordIncorrect, address)


@pytest.mark.parametrize(("begins", "days", "state"), [(-60, 30, "expired"), (5, 30, "not-yet-valid")])
def test_what_is_not_valid_now_may_be_copied(desk: Desk, begins: int, days: int, state: str) -> None:
    """Expired or not yet valid, a person may want to keep it; what it is, is told."""
    address = desk.put(self_signed(begins=begins, days=days))
    done = copy(CopyOrder(address, desk.there), desk.place)
    assert done.original.state == state
    assert held_at(desk.place, done.brought.credential.stored.address)[0].facts.subject == "CN=Hong"


def test_a_retired_one_may_be_copied(desk: Desk) -> None:
    """It is in use again where it goes, and stays retired where it was."""
    address = desk.put(self_signed())
    with desk.place.open_location(desk.here) as location:
        retired = location.retire(location.find(address).key_id)
    done = copy(CopyOrder(retired.address, desk.there), desk.place)
    assert done.original.state == "retired"
    assert done.brought.credential.stored.live


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "..", "a/../b", "x\x00y", ".", "홍/길동"])
def test_a_name_with_path_characters_leads_nowhere(desk: Desk, name: str) -> None:
    """Whatever the subject says, everything stays below the folder; it is copied or refused, nothing in between."""
    try:
        address = desk.put(self_signed(name))
        copy(CopyOrder(address, desk.there), desk.place)
    except DojangError:
        assert not (desk.folder / "there").exists()
    assert {path.name for path in desk.folder.iterdir()} <= {"here", "there", "state"}
    assert {path.name for path in (desk.folder / "there").glob("*")} <= {"NPKI"}


@pytest.mark.parametrize("at", ["import_key", "import_companions", "install"])
def test_a_failure_on_the_way_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """A disk that fills up or is pulled out in the middle: the target is as it was, and the journal is empty."""
    address, honest = desk.put(self_signed()), getattr(DiskLocation, at)

    def fails(self, *arguments, **named):
        honest(self, *arguments, **named)
        raise FileUnwritable(path="there", problem="No space left on device")

    if at == "import_companions":
        (folder,) = (path.parent for path in (desk.folder / "here").rglob("signCert.der"))
        (folder / "CaPubs").write_bytes(b"issuers")
    monkeypatch.setattr(DiskLocation, at, fails)
    before = [path for path in desk.files() if "/here/" in path]
    with pytest.raises(FileUnwritable):
        copy(CopyOrder(address, desk.there), desk.place)
    assert list(desk.files()) == before
    assert desk.place.ledger.incomplete() == []


def test_a_folder_that_may_not_be_written_is_told_of(desk: Desk) -> None:
    """A file where the folder should be stands for every place that cannot be written, also for root."""
    address = desk.put(self_signed())
    (desk.folder / "there").write_text("a file")
    error = refused(desk, FileUnwritable, address)
    assert "there" in error.message()


def test_two_copies_to_one_name_at_once(desk: Desk) -> None:
    """While one is under way, another is told that it is busy."""
    address = desk.put(self_signed())
    busy: list[DojangError] = []

    def say(step: str) -> None:
        if step == "bring" and not busy:
            with pytest.raises((CredentialBusy, OperationUnfinished)) as caught:
                copy(CopyOrder(address, desk.there), replace(desk.place, say=lambda _: None))
            busy.append(caught.value)

    copy(CopyOrder(address, desk.there), replace(desk.place, say=say))
    assert isinstance(busy[0], CredentialBusy)
    assert recover(desk.place) == []


def test_a_file_that_is_none_is_refused(desk: Desk) -> None:
    """As a source and as a target, and it stays what it is."""
    letter = desk.folder / "here" / "letter.p12"
    address = desk.put(self_signed())
    letter.write_text("Dear Hong,")
    for order in ((f"pkcs12:{letter}", desk.there), (address, f"pkcs12:{letter}")):
        with pytest.raises((PasswordIncorrect, FileMalformed)):
            copy(CopyOrder(*order), desk.place)
    assert letter.read_text() == "Dear Hong,"
    assert desk.place.ledger.incomplete() == []
