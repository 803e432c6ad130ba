"""Locations that are files: replaced in one step, never over somebody else's change, never left without a pair."""

import base64
import fcntl
import os
import re
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.contract.credentials import SmallAuthority, proves
from tests.locations.dying import killed_at_every_step
from tests.locations.life import FIRST, SECOND, issue, stage

from dojang.errors import (
    CredentialBusy,
    DojangError,
    FileChanged,
    FileMalformed,
    FileUnreadable,
    FileUnwritable,
    InputRequired,
    NotFound,
    PasswordIncorrect,
    PasswordWithheld,
)
from dojang.locations import file_disk
from dojang.locations.address import parse_address
from dojang.locations.base import Access
from dojang.locations.password_tries import PasswordTries
from dojang.locations.pem import PemFiles
from dojang.locations.pkcs12 import Pkcs12File
from dojang.locations.registry import open_location
from dojang.npki.pkcs8 import Pkcs8
from dojang.secret import Secret

pytestmark = pytest.mark.usefixtures("quick_passwords")
THIRD = b"\x03" * 8
PASSWORD = Secret("correct horse 1!")
KINDS = {
    "pkcs12": "pkcs12:{0}/hong.p12",
    "pem": "pem:{0}/hong.pem",
    "pair": "pem:{0}/hong.pem?key={0}/hong.key",
}
NEW_NAMES = "hong.p12", "hong.pem", "hong.key"


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture(params=list(KINDS))
def template(request: pytest.FixtureRequest) -> str:
    return KINDS[request.param]


@pytest.fixture
def folder(template: str, tmp_path: Path, authority: SmallAuthority) -> Path:
    """A folder with one credential in use."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with opened(template, folder) as location:
        issue(location, authority, name="Hong")
    return folder


@pytest.fixture
def renewing(template: str, folder: Path, authority: SmallAuthority) -> Path:
    """The same with a successor that waits for the switch."""
    with opened(template, folder) as location:
        (old,) = location.credentials()
        stage(location, authority, old)
    return folder


def opened(template: str, folder: Path, passwords=lambda path, new: PASSWORD):
    return open_location(template.format(folder), passwords=passwords)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _pair_works(template: str, folder: Path) -> bytes:
    """The certificate in use; its key signs for it."""
    with opened(template, folder) as location:
        stored = location.find(template.format(folder))
        assert proves(location.private_key(stored.key_id), stored.certificate_der)
        return stored.certificate_der


def test_a_kill_while_a_key_is_made(template: str, folder: Path) -> None:
    """What was in use is in use; the new key is there or not, and ``discard`` takes the rest of it away."""
    before = _pair_works(template, folder)

    def generate(work: Path) -> None:
        with opened(template, work) as location:
            location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)

    def check(work: Path) -> None:
        assert _pair_works(template, work) == before
        with opened(template, work) as location:
            location.discard(SECOND)
            assert not location.has_key(SECOND)
            location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)
        assert {path.name for path in work.iterdir()} <= set(NEW_NAMES)

    assert killed_at_every_step(folder, generate, check) > 2


def test_a_kill_while_the_first_key_is_made(template: str, tmp_path: Path) -> None:
    """No certificate is listed, and after ``discard`` there is no file."""
    (tmp_path / "empty").mkdir()

    def generate(work: Path) -> None:
        with opened(template, work) as location:
            location.generate("ec-p256", key_id=FIRST, label="Hong")

    def check(work: Path) -> None:
        with opened(template, work) as location:
            assert list(location.credentials()) == []
            location.discard(FIRST)
            assert not location.has_key(FIRST)
        assert not any(path.suffix != ".part" for path in work.iterdir())

    assert killed_at_every_step(tmp_path / "empty", generate, check) > 2


def test_a_kill_while_the_certificate_is_installed(template: str, folder: Path, authority: SmallAuthority) -> None:
    """The old pair is in use; installing again completes it."""
    with opened(template, folder) as location:
        key = location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)
    before, certificate_der = _pair_works(template, folder), authority.certify(key, "Hong", days=1)

    def install(work: Path) -> None:
        with opened(template, work) as location:
            location.install(key_id=SECOND, label="Hong", certificate_der=certificate_der, replaces=FIRST)

    def check(work: Path) -> None:
        assert _pair_works(template, work) == before
        install(work)
        with opened(template, work) as location:
            assert location.find(f"{template.format(work)}{'&' if '?' in template else '?'}id={SECOND.hex()}").staged
            assert proves(location.private_key(SECOND), certificate_der)

    assert killed_at_every_step(folder, install, check) > 2


def test_a_kill_during_the_switch(template: str, renewing: Path) -> None:
    """The old pair or the new one is in use and works; switching again ends it."""

    def switch(work: Path) -> None:
        with opened(template, work) as location:
            location.switch(old_key_id=FIRST, new_key_id=SECOND)

    old = _pair_works(template, renewing)
    found: set[bool] = set()

    def check(work: Path) -> None:
        found.add(_pair_works(template, work) == old)
        switch(work)
        assert _pair_works(template, work) != old
        with opened(template, work) as location:
            assert [one.retired for one in location.credentials()] == [False, True]
            assert proves(location.private_key(FIRST), old)
        assert {path.name for path in work.iterdir()} <= set(NEW_NAMES)

    assert killed_at_every_step(renewing, switch, check) > 2
    assert found == {True, False}


@pytest.mark.parametrize("verb", ["discard", "delete"])
def test_a_kill_while_something_is_taken_away(template: str, renewing: Path, verb: str) -> None:
    """What stays works, and doing it again ends it."""
    before = _pair_works(template, renewing)

    def take_away(work: Path) -> None:
        with opened(template, work) as location:
            getattr(location, verb)(SECOND)

    def check(work: Path) -> None:
        assert _pair_works(template, work) == before
        take_away(work)
        with opened(template, work) as location:
            assert not location.has_key(SECOND)
            assert [one.key_id for one in location.credentials()] == [FIRST]

    assert killed_at_every_step(renewing, take_away, check) > 2


def test_a_kill_while_the_password_is_changed(template: str, folder: Path) -> None:
    """Every key opens with the old or the new one; the same change once more ends it."""
    new = Secret("battery staple 2!")

    def change(work: Path) -> None:
        with opened(template, work, lambda path, is_new: new if is_new else PASSWORD) as location:
            location.change_password(FIRST)

    def opens(work: Path, password: Secret) -> bool:
        with opened(template, work, lambda path, is_new: password) as location:
            try:
                return bool(location.private_key(FIRST))
            except PasswordIncorrect:
                return False

    def check(work: Path) -> None:
        assert opens(work, PASSWORD) != opens(work, new)
        change(work)
        assert opens(work, new)

    assert killed_at_every_step(folder, change, check) > 2


def test_what_others_wrote_meanwhile_is_never_overwritten(template: str, folder: Path) -> None:
    """Between reading and writing by another program: ``FileChanged``, and its file stays."""
    address = parse_address(template.format(folder))
    access = Access(passwords=lambda path, new: PASSWORD)
    file = Pkcs12File(Path(address.path), access) if address.scheme == "pkcs12:" else PemFiles(address, access)
    contents = file.read()
    path = Path(address.path)
    path.write_bytes(path.read_bytes() + b"\n")
    before = _files(folder)
    with pytest.raises(FileChanged):
        file.write(contents.__class__())
    assert _files(folder) == before


def test_two_that_are_open_at_once_see_each_others_work(template: str, folder: Path, authority: SmallAuthority) -> None:
    """Each change is made to what lies there at that moment."""
    with opened(template, folder) as one, opened(template, folder) as other:
        issue(one, authority, SECOND, "Kim")
        issue(other, authority, THIRD, "Lee")
        one.discard(b"\x09" * 8)
        assert {stored.key_id for stored in one.credentials()} == {FIRST, SECOND, THIRD}
        assert all(one.has_key(key_id) for key_id in (FIRST, SECOND, THIRD))


def test_processes_that_write_at_once_lose_nothing(template: str, folder: Path) -> None:
    """Four of them, three keys each."""
    children = []
    for process in range(4):
        child = os.fork()
        if child == 0:
            try:
                with opened(template, folder) as location:
                    for number in range(3):
                        location.generate(
                            "ec-p256", key_id=bytes([0x20 + process, number]), label=f"{process}-{number}"
                        )
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    with opened(template, folder) as location:
        wanted = [bytes([0x20 + process, number]) for process in range(4) for number in range(3)]
        assert all(location.has_key(key_id) for key_id in wanted)


def test_nobody_else_may_read_a_new_file(folder: Path) -> None:
    """0600 from its first moment, and nothing beside it."""
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {path.name for path in folder.iterdir()} <= set(NEW_NAMES)


def test_links_and_permissions_stay(template: str, folder: Path, tmp_path: Path, authority: SmallAuthority) -> None:
    """A file that a group may read, reached by a link, is such a file afterwards, its owner's."""
    owner = (1234, 4321) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in folder.iterdir():
        path.chmod(0o640)
        os.chown(path, *owner)
        (elsewhere / path.name).symlink_to(path)
    with opened(template, elsewhere) as location:
        issue(location, authority, SECOND, "Kim")
    assert all(path.is_symlink() for path in elsewhere.iterdir())
    for path in folder.iterdir():
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, *owner)
    with opened(template, folder) as location:
        assert location.has_key(SECOND)


def test_what_is_emptied_is_removed(template: str, folder: Path) -> None:
    """The last credential takes the file with it; what others left in the folder stays."""
    (folder / "letter").write_text("other")
    with opened(template, folder) as location:
        location.delete(FIRST)
        assert list(location.credentials()) == []
    assert _files(folder) == {"letter": b"other"}


@pytest.mark.parametrize("limit", [0, 60])
def test_a_full_disk_leaves_the_old_pair_and_no_rest(template: str, folder: Path, limit: int) -> None:
    """At the first byte of the new file or in the midst of it."""
    before = _files(folder)

    def refuse() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            with opened(template, folder) as location:
                location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)
        except FileUnwritable:
            os._exit(0)
        os._exit(1)

    child = os.fork()
    if child == 0:
        refuse()
    assert os.waitpid(child, 0)[1] == 0
    assert _files(folder) == before


def test_a_folder_that_may_not_be_written(template: str, tmp_path: Path) -> None:
    """The error names it; /proc refuses everybody, root too. A folder that is not there is not made."""
    for folder in (Path("/proc"), tmp_path / "missing"):
        with opened(template, folder) as location, pytest.raises(FileUnwritable) as caught:
            location.generate("ec-p256", key_id=FIRST, label="Hong")
        assert str(folder) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def _make_folder(path: Path) -> None:
    path.mkdir()


def _make_pipe(path: Path) -> None:
    os.mkfifo(path)


def _make_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 << 20)


def _make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [_make_folder, _make_pipe, _make_large, _make_device, _make_loop])
def test_what_is_no_file_is_not_waited_for(template: str, folder: Path, make: Callable[[Path], None]) -> None:
    """A folder, a pipe that nobody writes to, 100 MB, a device without end, a link to itself: ``FileUnreadable``."""
    for path in folder.iterdir():
        path.unlink()
        make(path)
    with opened(template, folder) as location:
        with pytest.raises(FileUnreadable):
            list(location.credentials())
        with pytest.raises(DojangError):
            location.generate("ec-p256", key_id=FIRST, label="Kim")


def test_a_truncated_file_is_damaged_and_stays(template: str, folder: Path) -> None:
    """At any length the key is damaged or not there, and nothing is written."""
    for path in list(folder.iterdir()):
        whole = path.read_bytes()
        for length in range(1, len(whole) - 1, len(whole) // 12):
            path.write_bytes(whole[:length])
            with opened(template, folder) as location, pytest.raises((PasswordIncorrect, FileMalformed, NotFound)):
                location.private_key(FIRST)
            assert path.read_bytes() == whole[:length]
        path.write_bytes(whole)


def test_a_wrong_password_is_asked_again_and_changes_nothing(template: str, folder: Path) -> None:
    """It is not remembered; the right one is, and asked once."""
    before, asked = _files(folder), []
    passwords = iter([Secret("wrong horse 2!"), PASSWORD])

    def provide(path: str, new: bool) -> Secret:
        asked.append((Path(path).name in NEW_NAMES, new))
        return next(passwords)

    with opened(template, folder, provide) as location:
        with pytest.raises(PasswordIncorrect):
            location.private_key(FIRST)
        assert _files(folder) == before
        location.private_key(FIRST)
        location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)
        location.export_key(SECOND)
    assert asked == [(True, False)] * 2


def test_without_anybody_to_ask_the_option_is_named(template: str, folder: Path, tmp_path: Path) -> None:
    """For opening and for making."""
    with opened(template, folder, None) as location, pytest.raises(InputRequired, match="hong"):
        location.private_key(FIRST)
    with opened(template, tmp_path, None) as location, pytest.raises(InputRequired, match="hong"):
        location.generate("ec-p256", key_id=FIRST, label="Hong")


def test_no_plain_key_lies_anywhere_after_a_kill(template: str, folder: Path) -> None:
    """Whatever a killed run leaves, its half-written files too, shows no key."""
    key = Pkcs8.from_key(ec.generate_private_key(ec.SECP256R1()), Secret(b"the random number R!"))
    number = key.key().private_numbers().private_value.to_bytes(32, "big")

    def bring(work: Path) -> None:
        with opened(template, work) as location:
            location.import_key(key, key_id=SECOND, label="Kim")

    def check(work: Path) -> None:
        for data in _files(work).values():
            lines = [base64.b64decode(line) for line in data.splitlines() if re.fullmatch(rb"[A-Za-z0-9+/=]{64}", line)]
            for plain in (data, b"".join(lines)):
                assert number not in plain
                assert b"the random number R!" not in plain
            assert not re.search(rb"BEGIN (EC |RSA )?PRIVATE KEY", data)

    assert killed_at_every_step(folder, bring, check) > 2
    with opened(template, folder.parent / "work") as location:
        assert location.export_key(SECOND) == key


def test_wrong_passwords_are_counted(template: str, folder: Path, tmp_path: Path) -> None:
    """As for every key file: after some none is tried any more, until the file is another."""
    tries = PasswordTries(tmp_path / "tries", 2)

    def attempt(password: Secret) -> None:
        address = template.format(folder)
        with open_location(address, passwords=lambda path, new: password, tries=tries) as location:
            location.private_key(FIRST)

    attempt(PASSWORD)
    for expected in (PasswordIncorrect, PasswordIncorrect, PasswordWithheld):
        with pytest.raises(expected):
            attempt(Secret("wrong horse 2!"))
    with pytest.raises(PasswordWithheld):
        attempt(PASSWORD)


def test_a_folder_that_somebody_keeps_locked(template: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever, and reading waits for nobody."""
    monkeypatch.setattr(file_disk, "PATIENCE", 0.1)
    before, descriptor = _files(folder), os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with opened(template, folder) as location:
            assert location.private_key(FIRST)
            with pytest.raises(CredentialBusy):
                location.generate("ec-p256", key_id=SECOND, label="Kim")
    finally:
        os.close(descriptor)
    assert _files(folder) == before
