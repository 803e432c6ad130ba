"""Backup, drill and restore; export and import: what a file holds comes back whole, or is no backup."""

import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.lifecycle.test_copy import Desk, desk, self_signed

from dojang.errors import (
    AlreadyExists,
    Ambiguous,
    CertificateUnusable,
    DojangError,
    FileMalformed,
    FileUnreadable,
    FileUnwritable,
    NotFound,
    NotPermitted,
    PasswordIncorrect,
    VerificationFailed,
)
from dojang.ledger import Event
from dojang.lifecycle import backup as backup_module
from dojang.lifecycle import scratch
from dojang.lifecycle.backup import BackupOrder, backup, backups_of
from dojang.lifecycle.drill import drill_file, put_in
from dojang.lifecycle.export import ExportOrder, export_credential
from dojang.lifecycle.give_up import give_up
from dojang.lifecycle.offers import offered
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.parcel import Parcel, take_out
from dojang.lifecycle.recover import recover
from dojang.lifecycle.take_in import TakeInOrder, plan_take_in, take_in
from dojang.locations.base import Companions
from dojang.npki.pkcs8 import Pkcs8, new_random_number

pytestmark = pytest.mark.usefixtures("quick_passwords")

__all__ = ["desk"]  # a fixture


@pytest.fixture
def box(desk: Desk) -> Path:
    """Where the backup goes: a folder of its own, in which nothing else may ever be seen."""
    folder = desk.folder / "backups"
    folder.mkdir()
    return folder / "all.p12"


def whole(name: str = "Hong") -> Parcel:
    """A credential with all that a folder can hold."""
    km_key = Pkcs8.from_key(ec.generate_private_key(ec.SECP256R1()), new_random_number())
    return replace(
        self_signed(name), companions=Companions(self_signed("km").certificate_der, km_key, b"CaPubs of old")
    )


def everything(desk: Desk, address: str) -> dict[str, tuple]:
    """All that is in a place, without the ids and passwords, which are new everywhere."""
    with desk.place.open_location(address) as location:
        parcels = [take_out(location, one) for one in location.credentials() if one.live]
    return {one.certificate_der: (one.key, one.chain_der, one.companions) for one in parcels}


def test_a_whole_place_comes_back_whole(desk: Desk, box: Path) -> None:
    """Keys, R, km pairs and CaPubs of all that is in use; what is retired is counted and left out."""
    for name in ("Hong", "Kim", "홍길동()0004040902779989"):
        desk.put(whole(name))
    with desk.place.open_location(desk.here) as location:
        location.retire(location.find(f"{desk.here}?cn=Kim").key_id)
    made = backup(BackupOrder((desk.here,), box), desk.place)
    assert made.retired == 1
    assert len(made.credentials) == len(made.drilled) == 2
    assert all({"restored", "signature", "r", "km", "ca_pubs"} <= {c.name for c in one.checks} for one in made.drilled)
    assert [path.name for path in box.parent.iterdir()] == ["all.p12"]
    assert box.stat().st_mode & 0o777 == 0o600
    words = ["openssl", "pkcs12", "-nodes", "-in", box, "-passin", "pass:correct horse 1!"]
    assert subprocess.run(words, capture_output=True, check=True).stdout.count(b"BEGIN PRIVATE KEY") == 4
    done = take_in(TakeInOrder(box, desk.there, every=True, verb="restore"), desk.place)
    assert not any(one.already for one in done)
    assert everything(desk, desk.there) == everything(desk, desk.here)
    again = take_in(TakeInOrder(box, desk.there, every=True, verb="restore"), desk.place)
    assert all(one.already for one in again)


def test_what_cannot_be_read_is_told_of(desk: Desk, box: Path) -> None:
    """The rest is backed up; where nothing else is, there is no backup."""
    desk.put(whole("Hong"))
    desk.put(whole("Kim"))
    (spoilt,) = Path(desk.here.removeprefix("npki:")).glob("*/USER/cn=Kim*/signCert.der")
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    told: list[DojangError] = []
    made = backup(BackupOrder((desk.here,), box), replace(desk.place, warn=told.append))
    assert [one.stored.label for one in made.credentials] == ["Hong"]
    assert [(error.code, str(error.facts["path"]).rpartition("cn=")[2][:3]) for error in told] == [
        ("file-malformed", "Kim")
    ]
    with desk.place.open_location(desk.here) as location:
        location.delete(location.find(f"{desk.here}?cn=Hong").key_id)
    with pytest.raises(FileMalformed):
        backup(BackupOrder((desk.here,), box.with_name("none.p12")), desk.place)


def test_the_ledger_knows_of_backups(desk: Desk, box: Path) -> None:
    """File, digest and date for each certificate; one that has none is told apart by that."""
    kept, bare = desk.put(whole("Hong")), desk.put(whole("Kim"))
    made = backup(BackupOrder((kept,), box), desk.place)
    history = {}
    for address in (kept, bare):
        with desk.place.open_location(address) as location:
            der = location.find(address).certificate_der
        history[address] = backups_of(desk.place.ledger.history(fingerprint=fingerprint_of(der)))
    (event,) = history[kept]
    assert (event.facts["file"], event.facts["sha256"]) == (str(box), made.sha256)
    assert history[bare] == []
    assert drill_file(box, desk.place).sha256 == made.sha256


def test_one_credential_from_two_places_goes_in_once(desk: Desk, box: Path) -> None:
    """And two of one name both go in."""
    first = whole("Hong")
    desk.put(first)
    desk.put(first, desk.there)
    desk.put(self_signed("Hong"), f"npki:{desk.folder}/here/other/NPKI")
    order = BackupOrder((desk.here, desk.there, f"npki:{desk.folder}/here/other/NPKI"), box)
    made = backup(order, desk.place)
    assert sorted(one.name for one in made.drilled) == ["Hong", "Hong 2"]


def test_a_file_that_is_there_stays(desk: Desk, box: Path) -> None:
    """Unless it is to be replaced, and then only by one that has passed its drill."""
    address = desk.put(whole())
    box.write_text("an older backup")
    with pytest.raises(AlreadyExists):
        backup(BackupOrder((address,), box), desk.place)
    assert box.read_text() == "an older backup"
    backup(BackupOrder((address,), box, replace=True), desk.place)
    assert len(drill_file(box, desk.place).credentials) == 1


@pytest.mark.parametrize("lost", ["r", "km", "ca_pubs", "key", "one"])
def test_a_backup_that_lacks_anything_is_none(
    desk: Desk, box: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The drill compares with the original; nothing of the file stays, and an older one is what it was."""
    for name in ("Hong", "Kim"):
        desk.put(whole(name))
    box.write_text("an older backup")
    before, honest = desk.files(), backup_module.put_in

    def forgetful(parcel: Parcel, location, label: str) -> None:
        if parcel.label == "Kim":
            honest(parcel, location, label)
            return
        companions, key = parcel.companions, parcel.key
        changed = {
            "r": {"key": key.with_random_number(new_random_number())},
            "km": {"companions": replace(companions, km_key=None, km_certificate_der=b"")},
            "ca_pubs": {"companions": replace(companions, ca_pubs=b"others")},
            "key": {"key": Pkcs8.from_key(ec.generate_private_key(ec.SECP256R1()))},
        }
        if lost in changed:
            honest(replace(parcel, **changed[lost]), location, label)

    monkeypatch.setattr(backup_module, "put_in", forgetful)
    with pytest.raises((VerificationFailed, CertificateUnusable, FileMalformed)):
        backup(BackupOrder((desk.here,), box, replace=True), desk.place)
    assert [path.name for path in box.parent.iterdir()] == ["all.p12"]
    assert box.read_text() == "an older backup"
    assert desk.files() == before
    assert desk.place.ledger.incomplete() == []
    assert not any(event.event == "backed-up" for event in desk.place.ledger.history())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_backup_is_found_out(desk: Desk, box: Path, damage: str) -> None:
    """By the drill, and by a restore before it brings anything."""
    backup(BackupOrder((desk.put(whole()),), box), desk.place)
    data = box.read_bytes()
    middle = len(data) // 2
    changed = {
        "truncated": data[:middle],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "empty": b"",
        "text": b"Dear Hong,",
    }[damage]
    box.write_bytes(changed)
    with pytest.raises((PasswordIncorrect, FileMalformed)):
        drill_file(box, desk.place)
    with pytest.raises((PasswordIncorrect, FileMalformed)):
        take_in(TakeInOrder(box, desk.there, every=True), desk.place)
    assert box.read_bytes() == changed
    assert [path.name for path in box.parent.iterdir()] == ["all.p12"]
    assert not (desk.folder / "there").exists()


def test_a_drill_needs_the_right_password(desk: Desk, box: Path) -> None:
    backup(BackupOrder((desk.put(whole()),), box), desk.place)
    desk.passwords["all.p12"] = "wrong horse 1!"
    with pytest.raises(PasswordIncorrect):
        drill_file(box, desk.place)
    assert desk.place.ledger.incomplete() == []


def test_nothing_to_back_up_is_told(desk: Desk, box: Path) -> None:
    """Neither an empty place nor a folder that is not there makes a file."""
    with pytest.raises(NotFound):
        backup(BackupOrder((desk.here,), box), desk.place)
    address = desk.put(whole())
    for file in (desk.folder / "nowhere" / "all.p12", desk.folder):
        with pytest.raises(FileUnwritable):
            backup(BackupOrder((address,), file), desk.place)
    assert not box.exists()


def test_all_keys_are_opened_before_the_first_is_brought(desk: Desk, box: Path) -> None:
    """One that cannot be opened stops the others."""
    for name in ("Hong", "Kim"):
        desk.put(whole(name))
    keys = sorted((desk.folder / "here").rglob("signPri.key"))
    keys[-1].write_bytes(b"")
    with pytest.raises(PasswordIncorrect):
        take_in(TakeInOrder(desk.folder / "here" / "NPKI", desk.there, every=True), desk.place)
    assert not (desk.folder / "there").exists()


@pytest.mark.parametrize("form", ["pkcs12", "pem"])
def test_what_was_exported_is_imported(desk: Desk, form: str) -> None:
    """Whatever the file is called: what it is tells itself."""
    address, file = desk.put(self_signed()), desk.folder / "exported"
    done = export_credential(ExportOrder(address, file, form), desk.place).brought
    assert not done.already
    assert export_credential(ExportOrder(address, file, form), desk.place).brought.already
    other = desk.put(self_signed("Kim"))
    with pytest.raises(AlreadyExists):
        export_credential(ExportOrder(other, file, form), desk.place)
    (brought,) = take_in(TakeInOrder(file, desk.there, label="named anew"), desk.place)
    assert not brought.already
    (mine,) = everything(desk, desk.there).values()
    assert mine in everything(desk, desk.here).values()


def test_folders_and_zips_are_imported(desk: Desk) -> None:
    """One certificate folder, a zip of several, and an NPKI folder give the same."""
    desk.put(whole())
    desk.place = replace(desk.place, passwords=desk.password)
    (folder,) = (path.parent for path in (desk.folder / "here").rglob("signCert.der"))
    archive = desk.folder / "NPKI.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, f"yessign/USER/{folder.name}/{path.name}")
    original = everything(desk, desk.here)
    for number, source in enumerate((folder, archive, desk.folder / "here" / "NPKI")):
        to = f"npki:{desk.folder}/there/{number}/NPKI"
        (brought,) = take_in(TakeInOrder(source, to), desk.place)
        assert {"r", "km", "ca_pubs"} <= {check.name for check in brought.checks}
        assert everything(desk, to) == original


def test_of_several_one_is_chosen(desk: Desk, box: Path) -> None:
    """By name, or all; otherwise their names are told."""
    for name in ("Hong", "Kim"):
        desk.put(whole(name))
    backup(BackupOrder((desk.here,), box), desk.place)
    with pytest.raises(Ambiguous) as several:
        take_in(TakeInOrder(box, desk.there), desk.place)
    assert "Hong, Kim" in several.value.message()
    with pytest.raises(NotFound) as none:
        take_in(TakeInOrder(box, desk.there, name="Park"), desk.place)
    assert "Hong, Kim" in none.value.advice()
    assert len(plan_take_in(TakeInOrder(box, desk.there, every=True), desk.place)) == 7
    (brought,) = take_in(TakeInOrder(box, desk.there, name="Kim"), desk.place)
    assert brought.credential.facts.subject == "CN=Kim"


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"PK\x03\x04", b"-----BEGIN NOTHING-----\n", b"0\x03\x02\x01\x03"]
)
def test_a_file_of_nothing_is_refused(desk: Desk, content: bytes) -> None:
    """Each with words of its own, and nothing is made."""
    file = desk.folder / "file"
    file.write_bytes(content)
    with pytest.raises((FileMalformed, PasswordIncorrect)):
        take_in(TakeInOrder(file, desk.there), desk.place)
    with pytest.raises(FileUnreadable):
        take_in(TakeInOrder(desk.folder / "none", desk.there), desk.place)
    with pytest.raises((FileMalformed, NotFound)):
        take_in(TakeInOrder(desk.folder / "state", desk.there), desk.place)
    assert not (desk.folder / "there").exists()


def test_a_certificate_folder_without_its_key_is_refused(desk: Desk) -> None:
    """What is missing is named; a key of another certificate is found out."""
    desk.put(whole("Hong"))
    desk.put(whole("Kim"))
    desk.place = replace(desk.place, passwords=desk.password)
    first, second = sorted(path.parent for path in (desk.folder / "here").rglob("signCert.der"))
    (first / "signPri.key").replace(second / "signPri.key")
    with pytest.raises(FileUnreadable) as missing:
        take_in(TakeInOrder(first, desk.there), desk.place)
    assert "signPri.key" in missing.value.message()
    with pytest.raises(CertificateUnusable):
        take_in(TakeInOrder(second, desk.there), desk.place)


def test_an_offer_shows_no_secret(desk: Desk, box: Path) -> None:
    """Neither keys nor R are seen where a program prints what it has in hand."""
    parcel = whole()
    with desk.place.open_location(f"pkcs12:{box}") as location:
        put_in(parcel, location, "Hong")
    with offered(box, desk.place) as offers:
        shown = repr([*offers, offers[0].take()])
    assert parcel.key.random_number.reveal().hex() not in shown
    assert repr(parcel.key.der)[2:40] not in shown


def test_more_than_one_file_holds_is_refused(desk: Desk, box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written: a reader would take such a file for a hostile one."""
    from dojang.npki import pkcs12

    for name in ("Hong", "Kim"):
        desk.put(whole(name))
    monkeypatch.setattr(pkcs12, "MAX_BAGS", 7)
    with pytest.raises(NotPermitted) as refused:
        backup(BackupOrder((desk.here,), box), desk.place)
    assert "these are 8" in refused.value.message()
    assert list(box.parent.iterdir()) == []


def test_what_is_put_into_a_file_at_once_is_there_whole_or_not_at_all(desk: Desk, box: Path) -> None:
    """One change of the file; after an error it is what it was."""

    def put_both(location) -> None:
        with location.at_once():
            put_in(whole("Kim"), location, "Kim")
            assert box.read_bytes() == before
            put_in(whole("Hong"), location, "Hong")

    with desk.place.open_location(f"pkcs12:{box}") as location:
        with location.at_once():
            put_in(whole("Hong"), location, "Hong")
        before = box.read_bytes()
        with pytest.raises(AlreadyExists):
            put_both(location)
    assert box.read_bytes() == before
    with desk.place.open_location(f"pkcs12:{box}") as location:
        assert [one.label for one in location.credentials()] == ["Hong"]


def test_a_backup_that_is_given_up_leaves_nothing(desk: Desk, box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scratch folder is wiped; the next backup of that name is a fresh one."""
    address = desk.put(whole())

    def ends(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(backup_module, "restored_on_trial", ends)
        patched.setattr(scratch, "give_back", ends)
        with pytest.raises(KeyboardInterrupt):
            backup(BackupOrder((address,), box), desk.place)
    (waiting,) = desk.place.ledger.incomplete()
    (left,) = box.parent.iterdir()
    assert left.name.endswith(".drill")
    assert left.stat().st_mode & 0o777 == 0o700
    give_up(desk.place, waiting.operation_id)
    assert list(box.parent.iterdir()) == []
    backup(BackupOrder((address,), box), desk.place)


def test_a_folder_that_somebody_put_there_is_not_wiped(desk: Desk, box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a folder nor a link to one: what it leads to stays."""
    address, theirs = desk.put(whole()), desk.folder / "theirs"
    theirs.mkdir()
    (theirs / "letter").write_text("Dear Hong,")
    monkeypatch.setattr(scratch, "token_hex", lambda _count: "known")
    (box.parent / ".all.p12.known.drill").symlink_to(theirs)
    with pytest.raises(FileUnwritable):
        backup(BackupOrder((address,), box), desk.place)
    assert (theirs / "letter").read_text() == "Dear Hong,"
    scratch.wipe(box.parent / ".all.p12.known.drill")
    assert (theirs / "letter").read_text() == "Dear Hong,"
    assert list(box.parent.iterdir()) == []
    assert desk.place.ledger.incomplete() == []


def test_a_restore_takes_nothing_off_hold(desk: Desk, box: Path) -> None:
    """A certificate that is suspended is so wherever it is brought; only its authority says otherwise."""
    address = desk.put(whole())
    backup(BackupOrder((address,), box), desk.place)
    with desk.place.open_location(address) as location:
        fingerprint = fingerprint_of(location.find(address).certificate_der)
    desk.place.ledger.record(Event("suspended", address, fingerprint, {"authority": "office"}))
    (brought,) = take_in(TakeInOrder(box, desk.there, verb="restore"), desk.place)
    assert brought.credential.state == "suspended"
    assert "restored" not in {event.event for event in desk.place.ledger.history()}


@pytest.mark.parametrize("killed_at", ["wiping", "naming"])
def test_a_kill_in_the_last_moments_harms_no_good_backup(
    desk: Desk, box: Path, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the scratch folder is overwritten the file has its name already; before that, it gets it."""
    desk.put(whole())

    class Killed(BaseException):
        """Nothing of ours runs after it."""

    def wiped_halfway(folder: Path) -> None:
        (folder / scratch.MADE).write_bytes(bytes((folder / scratch.MADE).stat().st_size))
        raise Killed

    def unnamed(path: Path, data: bytes) -> None:
        raise Killed

    names = {"wiping": ("wipe", wiped_halfway), "naming": ("write_file", unnamed)}
    with monkeypatch.context() as patched:
        patched.setattr(scratch, *names[killed_at])
        patched.setattr(scratch, "give_back", lambda *_: None)  # which the dead do not do
        with pytest.raises(Killed):
            backup(BackupOrder((desk.here,), box), desk.place)
    assert [one.outcome for one in recover(desk.place)] == ["finished"]
    assert len(drill_file(box, desk.place).credentials) == 1
    assert [path.name for path in box.parent.iterdir()] == ["all.p12"]


def test_of_several_with_one_name_each_can_be_chosen(desk: Desk) -> None:
    """A file of another program may call two alike; the first goes by the name, the second by name and number."""
    roots = [desk.folder / "zipped" / name for name in ("first", "second")]
    ders = []
    for root in roots:
        ders.append(one := self_signed())
        desk.put(one, f"npki:{root}")
    with zipfile.ZipFile(desk.folder / "two.zip", "w") as archive:
        for path in sorted((desk.folder / "zipped").rglob("sign*")):
            archive.write(path, path.relative_to(desk.folder))
    place = replace(desk.place, passwords=desk.password)
    with pytest.raises(Ambiguous) as caught:
        take_in(TakeInOrder(desk.folder / "two.zip", desk.there), place)
    assert caught.value.facts["matches"] == "Hong, Hong 2"
    (done,) = take_in(TakeInOrder(desk.folder / "two.zip", desk.there, name="Hong 2"), place)
    assert done.credential.stored.certificate_der == ders[1].certificate_der


def test_a_pipe_is_no_file_to_import(desk: Desk) -> None:
    """Nobody waits for what may never be written into it."""
    os.mkfifo(desk.folder / "pipe")
    with pytest.raises(FileUnreadable):
        take_in(TakeInOrder(desk.folder / "pipe", desk.there), desk.place)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_appears_meanwhile_is_replaced_only_if_that_was_said(
    desk: Desk, box: Path, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another backup may have been faster while somebody typed a password."""
    desk.put(whole())
    honest = backup_module.restored_on_trial

    def slow(*arguments: object) -> object:
        box.write_text("somebody else's")
        return honest(*arguments)

    monkeypatch.setattr(backup_module, "restored_on_trial", slow)
    if replaced:
        backup(BackupOrder((desk.here,), box, replace=True), desk.place)
        assert len(drill_file(box, desk.place).credentials) == 1
    else:
        with pytest.raises(AlreadyExists):
            backup(BackupOrder((desk.here,), box), desk.place)
        assert box.read_text() == "somebody else's"
    assert [path.name for path in box.parent.iterdir()] == ["all.p12"]
    assert desk.place.ledger.incomplete() == []
