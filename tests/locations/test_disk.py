"""The NPKI folder: what other programs see of it, and that no kill, full disk or hostile file costs a pair."""

import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.credentials import SmallAuthority
from tests.locations import dying

from dojang.errors import (
    AlreadyExists,
    Ambiguous,
    FileUnwritable,
    InputRequired,
    NotFound,
    PasswordIncorrect,
    UnsupportedMechanism,
)
from dojang.locations.address import DiskAddress
from dojang.locations.disk import DiskLocation
from dojang.npki.keyfile import SCHEMES, open_pkcs8, seal_pkcs8
from dojang.secret import Secret

FIRST, SECOND = b"\x01" * 8, b"\x02" * 8
PASSWORD = Secret("correct horse 1!")


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory, authority: SmallAuthority) -> Path:
    """A root with one credential; tests copy it."""
    root = tmp_path_factory.mktemp("issued") / "NPKI"
    location = open_at(root)
    key = location.generate("ec-p256", key_id=FIRST, label="Hong")
    location.install(
        key_id=FIRST,
        label="Hong",
        certificate_der=authority.certify(key, "Hong"),
        chain_der=authority.chain_der,
    )
    return root


@pytest.fixture(scope="module")
def renewing(tmp_path_factory: pytest.TempPathFactory, authority: SmallAuthority, issued: Path) -> Path:
    """The same with a successor staged."""
    root = copy(issued, tmp_path_factory.mktemp("renewing"))
    stage(open_at(root), authority, "Hong")
    return root


@pytest.fixture
def root(issued: Path, tmp_path: Path) -> Path:
    return copy(issued, tmp_path)


def open_at(root: Path) -> DiskLocation:
    return DiskLocation(root, lambda path, new: PASSWORD)


def copy(root: Path, to: Path) -> Path:
    shutil.rmtree(to / "NPKI", ignore_errors=True)
    shutil.copytree(root, to / "NPKI")
    return to / "NPKI"


def stage(location: DiskLocation, authority: SmallAuthority, name: str) -> None:
    key = location.generate("ec-p256", key_id=SECOND, label=name, replaces=FIRST)
    location.install(
        key_id=SECOND,
        label=name,
        certificate_der=authority.certify(key, name, days=1),
        chain_der=authority.chain_der,
        replaces=FIRST,
    )


def pairs(root: Path) -> set[tuple[bytes, bytes]]:
    """Every certificate with the key file beside it, wherever it stands."""
    return {
        (path.read_bytes(), path.with_name("signPri.key").read_bytes())
        for path in root.rglob("signCert.der")
        if path.with_name("signPri.key").exists()
    }


def killed_at_every_step(root: Path, verb: Callable[[DiskLocation], object], check: Callable[[Path], None]) -> int:
    """Run ``verb`` on a copy of ``root``, there or not, killed before its n-th write; ``check`` what is left."""
    whole = root.parent / "whole"
    whole.mkdir()
    if root.exists():
        copy(root, whole)
    return dying.killed_at_every_step(
        whole, lambda work: verb(open_at(work / "NPKI")), lambda work: check(work / "NPKI")
    )


def test_a_kill_during_generate_leaves_nothing_that_discard_does_not_remove(tmp_path: Path) -> None:
    """No certificate is listed, and after ``discard`` no file is left."""

    def check(root: Path) -> None:
        assert list(open_at(root).credentials()) == []
        open_at(root).discard(FIRST)
        assert [path for path in root.rglob("*") if path.is_file()] == []

    steps = killed_at_every_step(
        tmp_path / "NPKI", lambda location: location.generate("ec-p256", key_id=FIRST, label="Hong"), check
    )
    assert steps > 5


def test_a_kill_during_install_leaves_the_key_and_can_be_installed_again(
    tmp_path: Path, authority: SmallAuthority
) -> None:
    """The next run completes it."""
    root = tmp_path / "NPKI"
    key = open_at(root).generate("ec-p256", key_id=FIRST, label="Hong")
    certificate_der = authority.certify(key, "Hong")

    def install(location: DiskLocation) -> None:
        location.install(key_id=FIRST, label="Hong", certificate_der=certificate_der, chain_der=authority.chain_der)

    def check(root: Path) -> None:
        assert open_at(root).has_key(FIRST)
        install(open_at(root))
        assert [one.live for one in open_at(root).credentials()] == [True]
        assert len(pairs(root)) == 1

    assert killed_at_every_step(root, install, check) > 5


def test_a_kill_during_the_switch_leaves_one_complete_pair_under_the_name(renewing: Path) -> None:
    """At every instruction the name finds the old pair or the new one, no pair is lost, and switching again ends it."""
    both = pairs(renewing)
    address = next(one.address for one in open_at(renewing).credentials() if one.live)
    folder = DiskAddress.from_text(address).folder

    def check(root: Path) -> None:
        found = open_at(root).find(DiskAddress(str(root), folder=folder).to_text())
        assert found.live
        assert found.has_key
        assert pairs(root) == both
        switched = open_at(root).switch(old_key_id=FIRST, new_key_id=SECOND)
        assert DiskAddress.from_text(switched.address).folder == folder
        assert {(one.key_id, one.retired) for one in open_at(root).credentials()} == {(FIRST, True), (SECOND, False)}
        assert pairs(root) == both

    assert killed_at_every_step(renewing, switch, check) > 3


def test_a_kill_during_the_switch_to_another_name_keeps_one_name(
    issued: Path, authority: SmallAuthority, tmp_path: Path
) -> None:
    """A successor whose subject differs has a folder of its own; still one of the two is live, never both or none."""
    root = copy(issued, tmp_path)
    stage(open_at(root), authority, "Hong Gildong")
    both = pairs(root)

    def check(root: Path) -> None:
        listed = list(open_at(root).credentials())
        assert sum(one.live for one in listed) == 1
        assert [open_at(root).find(one.address) for one in listed] == listed
        open_at(root).switch(old_key_id=FIRST, new_key_id=SECOND)
        assert {(one.key_id, one.retired) for one in open_at(root).credentials()} == {(FIRST, True), (SECOND, False)}
        assert pairs(root) == both
        assert "replaces" not in json.loads(next(root.glob("*/USER/*/dojang.json")).read_text())

    assert killed_at_every_step(root, switch, check) > 4


def test_a_kill_while_deleting_is_finished_by_deleting_again(root: Path) -> None:
    """Afterwards no file is left, and a half-removed pair was never listed."""

    def check(root: Path) -> None:
        assert all(one.has_key for one in open_at(root).credentials())
        open_at(root).delete(FIRST)
        assert [path for path in root.rglob("*") if path.is_file()] == []

    assert killed_at_every_step(root, lambda location: location.delete(FIRST), check) > 4


def switch(location: DiskLocation) -> None:
    location.switch(old_key_id=FIRST, new_key_id=SECOND)


def test_a_reader_always_finds_the_name_while_others_renew(root: Path, authority: SmallAuthority) -> None:
    """Thirty renewals in a row, and a reader that looks all the time."""
    address = next(open_at(root).credentials()).address
    over = threading.Event()
    failures: list[Exception] = []
    seen = set()

    def read() -> None:
        while not over.is_set():
            try:
                seen.add(open_at(root).find(address).certificate_der)
            except Exception as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    location = open_at(root)
    key = location.private_key(FIRST)
    for day in range(1, 31):
        certificate_der = authority.certify(key, "Hong", days=day)
        location.install(key_id=FIRST, label="Hong", certificate_der=certificate_der, replaces=FIRST)
        location.switch(old_key_id=FIRST, new_key_id=FIRST)
    over.set()
    reader.join()
    assert failures == []
    assert len(seen) > 1


def test_other_programs_find_the_files_they_look_for(root: Path) -> None:
    """``NPKI/<CA>/USER/<subject>/signCert.der`` and ``signPri.key``, and openssl opens both."""
    folder = root / "Contract CA" / "USER" / "cn=Hong,c=KR"
    assert sorted(path.name for path in folder.iterdir()) == ["chain.pem", "dojang.json", "signCert.der", "signPri.key"]
    command = ["openssl", "x509", "-inform", "DER", "-in", folder / "signCert.der", "-noout", "-pubkey"]
    certified = subprocess.run(command, capture_output=True, check=True).stdout
    command = ["openssl", "pkey", "-inform", "DER", "-in", folder / "signPri.key", "-pubout", "-passin"]
    opened = subprocess.run([*command, "pass:correct horse 1!"], capture_output=True, check=True).stdout
    assert certified == opened


def test_nobody_else_may_read(root: Path) -> None:
    """Files 0600, folders 0700, whatever the umask."""
    for path in (root / "Contract CA").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_folders_of_other_programs_are_read(root: Path) -> None:
    """Any case, NFD names, no record of ours: ``key_id`` is then the hash of the public key, the same every time."""
    folder = root / "yesSign" / "user" / unicodedata.normalize("NFD", "cn=홍길동()0011041,c=kr")
    folder.mkdir(parents=True)
    source = root / "Contract CA" / "USER" / "cn=Hong,c=KR"
    shutil.copy(source / "signCert.der", folder / "SIGNCERT.DER")
    shutil.copy(source / "signPri.key", folder / "SignPri.KEY")
    shutil.rmtree(source)
    stored = open_at(root).find(f"npki:{root}#cn=홍길동()0011041,c=kr")
    assert len(stored.key_id) == 20
    assert open_at(root).find(stored.address) == stored
    assert open_at(root).find(f"npki:{root}?id={stored.key_id.hex()}") == stored
    assert open_at(root).private_key(stored.key_id)


def test_a_renewal_by_another_program_makes_our_record_void(root: Path, authority: SmallAuthority) -> None:
    """Its certificate has another key, so it no longer lies under our ``key_id``."""
    certificate = root / "Contract CA" / "USER" / "cn=Hong,c=KR" / "signCert.der"
    certificate.write_bytes(authority.certify(authority.key, "Hong"))
    assert next(open_at(root).credentials()).key_id != FIRST


def test_a_person_is_found_by_the_name_before_the_digits(root: Path, authority: SmallAuthority) -> None:
    """``?cn=홍길동`` finds ``홍길동()0004…``; two of that name are both shown."""
    location = open_at(root)
    for key_id, name in ((b"\x03", "홍길동()0004"), (b"\x04", "홍길동()0005")):
        key = location.generate("ec-p256", key_id=key_id, label=name)
        location.install(key_id=key_id, label=name, certificate_der=authority.certify(key, name))
        if key_id == b"\x03":
            assert location.find(f"npki:{root}?cn=홍길동").key_id == key_id
    with pytest.raises(Ambiguous):
        location.find(f"npki:{root}?cn=홍길동")
    assert location.find(f"npki:{root}?cn=홍길동()0004").key_id == b"\x03"


def test_damaged_folders_hide_no_other(root: Path) -> None:
    """Empty, unreadable, huge, looping or nonsensical: they are left out, and the good one is listed."""
    user = root / "Contract CA" / "USER"
    for number, spoil in enumerate(
        (
            lambda path: None,
            lambda path: (path / "signCert.der").write_bytes(b""),
            lambda path: (path / "signCert.der").write_bytes(b"\x30\x84\xff\xff\xff\xff"),
            lambda path: (path / "signCert.der").mkdir(),
            lambda path: os.mkfifo(path / "signCert.der"),
            lambda path: (path / "signCert.der").symlink_to("signCert.der"),
            lambda path: (path / "signCert.der").symlink_to("/dev/zero"),
            lambda path: os.truncate(os.open(path / "signCert.der", os.O_CREAT | os.O_WRONLY), 1 << 30),
        )
    ):
        (user / f"cn={number}").mkdir()
        spoil(user / f"cn={number}")
    (user / "file").write_text("x")
    (root / "SignKorea").mkdir()
    assert [one.key_id for one in open_at(root).credentials()] == [FIRST]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"key_id": 1}',
        b'{"key_id": "", "public_key": ""}',
        b"[" * 100_000,
        b"\xff",
        b"0" * (2 << 20),
    ],
)
def test_a_damaged_record_is_none(root: Path, record: bytes) -> None:
    """The folder counts as another program's."""
    next(root.glob("*/USER/*/dojang.json")).write_bytes(record)
    assert len(next(open_at(root).credentials()).key_id) == 20


@pytest.mark.parametrize("replaces", ["../../etc", "Contract CA/USER/cn=Hong,c=KR", "/", ""])
def test_a_hostile_record_moves_nothing_it_names(root: Path, replaces: str) -> None:
    """What a record says is compared with what is there, never followed."""
    record = next(root.glob("*/USER/*/dojang.json"))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"replaces": replaces}))
    before = pairs(root)
    stored = open_at(root).switch(old_key_id=FIRST, new_key_id=FIRST)
    assert stored.live
    assert pairs(root) == before


def test_a_certificate_with_a_hostile_subject_stays_inside(tmp_path: Path, authority: SmallAuthority) -> None:
    """A subject of dots and slashes is one folder name below USER."""
    root = tmp_path / "NPKI"
    location = open_at(root)
    key = location.generate("ec-p256", key_id=FIRST, label="x")
    certificate_der = authority.certify(key, "../../../../etc/x")
    stored = location.install(key_id=FIRST, label="x", certificate_der=certificate_der)
    assert [path.name for path in tmp_path.iterdir()] == ["NPKI"]
    assert len(list(root.glob("*/USER/*/signCert.der"))) == 1
    assert location.find(stored.address) == stored


def test_an_address_leads_nowhere_else(root: Path) -> None:
    """The folder in an address is compared with what is there."""
    for folder in ("../NPKI/Contract CA/USER/cn=Hong,c=KR", "/etc", ".", "Contract CA", "Contract CA/USER"):
        with pytest.raises(NotFound):
            open_at(root).find(DiskAddress(str(root), folder=folder).to_text())


def test_deleting_through_a_link_removes_the_link(root: Path, tmp_path: Path) -> None:
    """A credential that somebody keeps elsewhere and links here stays there."""
    folder = root / "Contract CA" / "USER" / "cn=Hong,c=KR"
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    open_at(root).delete(FIRST)
    assert list(open_at(root).credentials()) == []
    assert (elsewhere / "signPri.key").exists()


def test_a_folder_that_may_not_be_written_stays_as_it_was(tmp_path: Path) -> None:
    """The error names the folder; /proc refuses everybody, root too."""
    with pytest.raises(FileUnwritable):
        open_at(Path("/proc/NPKI")).generate("ec-p256", key_id=FIRST, label="Hong")


def test_a_full_disk_leaves_the_old_pair_and_no_rest(root: Path, authority: SmallAuthority) -> None:
    """ENOSPC at the first byte of the new key: what was there is there, and nothing else."""
    before = {path for path in root.rglob("*") if path.is_file()}

    def refuse(limit: int) -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            open_at(root).generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)
        except FileUnwritable:
            os._exit(0)
        os._exit(1)

    for limit in (0, 60):
        child = os.fork()
        if child == 0:
            refuse(limit)
        assert os.waitpid(child, 0)[1] == 0
        assert {path for path in root.rglob("*") if path.is_file()} == before


def test_a_password_is_asked_once_for_each_key(root: Path) -> None:
    """An open location keeps the keys that it opened."""
    asked = []

    def provide(path: str, new: bool) -> Secret:
        asked.append((Path(path).name, new))
        return PASSWORD

    location = DiskLocation(root, provide)
    location.private_key(FIRST)
    location.private_key(FIRST)
    assert asked == [("signPri.key", False)]
    location.generate("ec-p256", key_id=SECOND, label="Kim")
    location.private_key(SECOND)
    assert asked[1:] == [(root.name, True)]


def test_a_wrong_password_is_asked_again_next_time(root: Path) -> None:
    """It is not remembered."""
    passwords = iter([Secret("wrong"), PASSWORD])
    location = DiskLocation(root, lambda path, new: next(passwords))
    with pytest.raises(PasswordIncorrect):
        location.private_key(FIRST)
    assert location.private_key(FIRST)


def test_without_anybody_to_ask_the_option_is_named(root: Path) -> None:
    """And looking needs no password at all."""
    location = DiskLocation(root)
    assert next(location.credentials()).has_key
    with pytest.raises(InputRequired, match="signPri"):
        location.private_key(FIRST)


def test_an_unknown_algorithm_asks_for_no_password(root: Path) -> None:
    """It is refused before anything is asked or made."""
    with pytest.raises(UnsupportedMechanism):
        DiskLocation(root).generate("rsa-1024", key_id=SECOND, label="x")


def test_a_kept_key_is_copied_byte_for_byte(root: Path, authority: SmallAuthority) -> None:
    """Whatever a CA's client put into the file (R, an old cipher) is in the new folder too; so are the km files."""
    folder = root / "Contract CA" / "USER" / "cn=Hong,c=KR"
    (folder / "kmCert.der").write_bytes(b"km")
    sealed = (folder / "signPri.key").read_bytes()
    location = open_at(root)
    certificate_der = authority.certify(location.private_key(FIRST), "Hong", days=1)
    location.install(key_id=FIRST, label="Hong", certificate_der=certificate_der, replaces=FIRST)
    location.switch(old_key_id=FIRST, new_key_id=FIRST)
    assert (folder / "signPri.key").read_bytes() == sealed
    assert (folder / "kmCert.der").read_bytes() == b"km"
    assert (folder / "signCert.der").read_bytes() == certificate_der


def test_a_kept_key_gets_its_new_certificate_in_a_folder_of_lower_case_names(
    root: Path, authority: SmallAuthority
) -> None:
    """The old certificate stays behind, however its file was called: no folder holds two."""
    folder = root / "Contract CA" / "USER" / "cn=Hong,c=KR"
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.lower())
    location = open_at(root)
    certificate_der = authority.certify(location.private_key(FIRST), "Hong", days=1)
    location.install(key_id=FIRST, label="Hong", certificate_der=certificate_der, replaces=FIRST)
    location.switch(old_key_id=FIRST, new_key_id=FIRST)
    assert open_at(root).find(location.address).certificate_der == certificate_der
    assert sorted(path.name for path in folder.iterdir() if path.name.lower() == "signcert.der") == ["signCert.der"]


def test_a_name_taken_in_another_spelling_is_taken(root: Path, authority: SmallAuthority) -> None:
    """Case-insensitive and NFD file systems would make one folder of the two."""
    location = open_at(root)
    key = location.generate("ec-p256", key_id=SECOND, label="HONG")
    with pytest.raises(AlreadyExists):
        location.install(key_id=SECOND, label="HONG", certificate_der=authority.certify(key, "HONG"))


def test_a_successor_takes_the_km_pair_along(root: Path, authority: SmallAuthority) -> None:
    """With a new signing key, km pair and CaPubs are in the new folder byte for byte, and stay in the retired one."""
    folder = root / "Contract CA" / "USER" / "cn=Hong,c=KR"
    kept = {"kmCert.der": b"km certificate", "kmPri.key": b"km key", "CaPubs": b"above"}
    for name, data in kept.items():
        (folder / name.lower()).write_bytes(data)
    location = open_at(root)
    stage(location, authority, "Hong")
    location.switch(old_key_id=FIRST, new_key_id=SECOND)
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    (retired,) = (root / "Contract CA" / "RETIRED").iterdir()
    assert {name: (retired / name.lower()).read_bytes() for name in kept} == kept


def test_keys_of_other_programs_sign(root: Path) -> None:
    """Every scheme a key file can have, and one without any, for which no password is asked."""
    folder = root / "Contract CA" / "USER" / "cn=Hong,c=KR"
    plain = open_pkcs8((folder / "signPri.key").read_bytes(), PASSWORD, "signPri.key").der
    for scheme in SCHEMES:
        (folder / "signPri.key").write_bytes(seal_pkcs8(plain, PASSWORD, 1000, scheme=scheme))
        assert open_at(root).private_key(FIRST)
    (folder / "signPri.key").write_bytes(plain)
    assert DiskLocation(root).private_key(FIRST)
