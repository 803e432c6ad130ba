"""Wrong passwords are counted for each file before they are tried, and the count stands in nobody else's way."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from dojang.errors import PasswordIncorrect, PasswordWithheld, StateUnreadable, UnsupportedFormat
from dojang.locations.key_files import KeyFiles
from dojang.locations.password_tries import PasswordTries
from dojang.npki.keyfile import KeyFileForm, generate_key
from dojang.npki.pkcs8 import Pkcs8
from dojang.secret import Secret

RIGHT, WRONG = Secret("correct horse 1!"), Secret("wrong")
FORM = KeyFileForm("pbes2-seed")
PKCS8 = Pkcs8.from_key(generate_key("ec-p256", where="here"))
CONTENT = FORM.seal(PKCS8, RIGHT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "signPri.key"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def tries(tmp_path: Path) -> PasswordTries:
    return PasswordTries(tmp_path / "state" / "tries", 3)


def give(path: Path, tries: PasswordTries, password: Secret) -> Pkcs8:
    return KeyFiles(lambda name, new: password, FORM, tries).open(path).pkcs8


def fail(path: Path, tries: PasswordTries, times: int) -> None:
    for _ in range(times):
        with pytest.raises(PasswordIncorrect):
            give(path, tries, WRONG)


def counts(tmp_path: Path) -> list[int]:
    """How many wrong tries each file has."""
    return [one.stat().st_size for one in (tmp_path / "state" / "tries").iterdir() if one.name != "key"]


def test_after_the_limit_nobody_is_asked_and_nothing_is_tried(path: Path, tries: PasswordTries) -> None:
    """Not even the right password; the error says how it is given all the same."""
    fail(path, tries, 3)
    asked = []
    with pytest.raises(PasswordWithheld, match="3 times") as caught:
        KeyFiles(lambda name, new: asked.append(name) or RIGHT, FORM, tries).open(path)
    assert asked == []
    assert "--last-try" in caught.value.advice()


def test_the_right_password_clears_the_count(path: Path, tries: PasswordTries, tmp_path: Path) -> None:
    """Two wrong ones, the right one, and two wrong ones again."""
    for _ in range(2):
        fail(path, tries, 2)
        assert give(path, tries, RIGHT) == PKCS8
        assert counts(tmp_path) == []


def test_one_more_is_tried_on_purpose(path: Path, tmp_path: Path) -> None:
    """A wrong one counts as well; the right one clears."""
    folder = tmp_path / "state" / "tries"
    fail(path, PasswordTries(folder, 3), 3)
    fail(path, PasswordTries(folder, 3, beyond=True), 1)
    assert counts(tmp_path) == [4]
    assert give(path, PasswordTries(folder, 3, beyond=True), RIGHT) == PKCS8
    assert give(path, PasswordTries(folder, 3), RIGHT) == PKCS8


def test_a_file_that_another_program_changed_starts_afresh(path: Path, tries: PasswordTries) -> None:
    """It may have another password by now; another file is another file, and the old one comes back as it was."""
    fail(path, tries, 3)
    path.write_bytes(FORM.seal(PKCS8, RIGHT))
    assert give(path, tries, RIGHT) == PKCS8
    path.write_bytes(CONTENT)
    with pytest.raises(PasswordWithheld):
        give(path, tries, RIGHT)
    copy = path.with_name("copy.key")
    copy.write_bytes(CONTENT)
    assert give(copy, tries, RIGHT) == PKCS8


def test_a_try_is_written_down_before_it_is_made(path: Path, tries: PasswordTries, tmp_path: Path) -> None:
    """A process killed in the middle of it has used it."""
    child = os.fork()
    if child == 0:
        with tries.counted(str(path), CONTENT):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert counts(tmp_path) == [1]


def test_what_is_no_guess_does_not_count(path: Path, tries: PasswordTries, tmp_path: Path) -> None:
    """A form that nobody reads is not the password's fault."""
    with pytest.raises(UnsupportedFormat), tries.counted(str(path), CONTENT):
        raise UnsupportedFormat(what=path, problem="its key is encrypted with aria128-cbc")
    assert sum(counts(tmp_path)) == 0


def test_those_who_open_at_once_do_not_stop_each_other(path: Path, tries: PasswordTries, tmp_path: Path) -> None:
    """Far more at a time than the limit, in threads, all with the right password."""
    opened = []
    start = threading.Barrier(12)

    def open_it() -> None:
        start.wait()
        opened.append(give(path, tries, RIGHT))

    threads = [threading.Thread(target=open_it) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [PKCS8] * 12
    assert counts(tmp_path) == []


def test_those_who_guess_at_once_get_no_more_tries(path: Path, tries: PasswordTries, tmp_path: Path) -> None:
    """Twelve processes with a wrong password: three tries are made, the others are refused."""
    context = multiprocessing.get_context("fork")
    with context.Pool(12) as pool:
        ends = pool.starmap(end_of, [(path, tries)] * 12, chunksize=1)
    assert sorted(set(ends)) == ["password-incorrect", "password-withheld"]
    assert ends.count("password-incorrect") == counts(tmp_path)[0] == 3


def end_of(path: Path, tries: PasswordTries) -> str:
    try:
        give(path, tries, WRONG)
    except (PasswordIncorrect, PasswordWithheld) as error:
        return error.code
    return "opened"


def test_a_change_of_password_counts_as_one_try(path: Path, tries: PasswordTries, tmp_path: Path) -> None:
    """Though both are tried, and a success clears."""
    with pytest.raises(PasswordIncorrect):
        KeyFiles(lambda name, new: WRONG, FORM, tries).change_password(path, [], [])
    assert counts(tmp_path) == [1]
    KeyFiles(lambda name, new: WRONG if new else RIGHT, FORM, tries).change_password(path, [], [])
    assert counts(tmp_path) == []
    assert give(path, tries, WRONG) == PKCS8


def test_neither_path_nor_password_can_be_learnt_from_it(path: Path, tries: PasswordTries, tmp_path: Path) -> None:
    """Names are keyed hashes, files hold dots, and nobody else may read them."""
    fail(path, tries, 2)
    folder = tmp_path / "state" / "tries"
    names = sorted(one.name for one in folder.iterdir())
    assert len(names) == 2
    assert all(len(name) == 64 for name in names if name != "key")
    assert {one.read_bytes() for one in folder.iterdir() if one.name != "key"} == {b".."}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}


def test_no_try_is_made_that_cannot_be_counted(path: Path) -> None:
    """/proc refuses everybody, root too."""
    with pytest.raises(StateUnreadable):
        give(path, PasswordTries(Path("/proc/tries"), 3), RIGHT)


def test_a_limit_of_nothing_counts_nothing(path: Path, tmp_path: Path) -> None:
    """And writes nothing."""
    fail(path, PasswordTries(tmp_path / "state", 0), 9)
    assert not (tmp_path / "state").exists()
