"""What killed processes leave on a token is found and removed, and nothing else ever is."""

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import open_token
from dojang.pkcs11.fsck import CUT_FILE, EMPTY, EMPTY_FILE, UNREADABLE, UNTOUCHED, examine, remove
from dojang.pkcs11.objects import search_for
from dojang.pkcs11.stores import STORES, token_folder
from dojang.secret import Secret

DIGEST = hashlib.sha256(b"m").digest()
LONG_AGO = UNTOUCHED + 60


@pytest.fixture
def made(make_token):
    return make_token()


@pytest.fixture
def folder(made) -> Path:
    """The folder with the token's files."""
    found = token_folder(STORES[0], made.serial)
    assert found is not None
    return found


@pytest.fixture
def opened(made, search, guard):
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as token:
        yield token


def anew(search) -> None:
    """The module reads its store again, as a new process would."""
    from dojang.pkcs11 import list_tokens

    (module,) = list_tokens(search).modules
    assert module.rescan()


def aged(path: Path, seconds: float = LONG_AGO) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def all_aged(folder: Path) -> None:
    for path in folder.glob("*.object"):
        aged(path)


def fill(token, name: str) -> None:
    """A key pair, a certificate, data, and everything that lacks something and is good all the same."""
    token.generate_key_pair("ec-p256", label=name, key_id=name.encode())
    token.generate_key_pair("rsa-2048", label="", key_id=f"{name} r".encode())
    token.add_data(b"", label=name, application="", key_id=name.encode())
    token.add_data(b"value", label="", application="", key_id=b"")


def everything(token) -> list:
    return sorted(map(str, token.private_objects()))


def examined(token):
    return examine(token, apart=0.05)


def kinds(findings) -> list[str]:
    return sorted(one.kind for one in findings.rubbish)


def shell(token, object_class: int) -> None:
    """What a process that is killed between the two steps of C_CreateObject leaves: here, a refused one does."""
    attributes = [(ck.CKA_CLASS, object_class), (ck.CKA_TOKEN, True), (ck.CKA_PRIVATE, False), (ck.CKA_ID, b"x")]

    def refused(session) -> None:
        with pytest.raises(Exception, match="C_CreateObject"):
            session.cryptoki.create_object(session.handle, attributes)

    token.logged_in(refused)


def test_a_good_token_has_no_rubbish(opened) -> None:
    """Keys without label, empty data with a label, data without one: whatever names or holds anything is good."""
    fill(opened, "good")
    assert examined(opened).rubbish == []


def test_storing_data_leaves_no_rubbish(opened) -> None:
    """Data objects that may not have a CKA_ID are found out about without a token object that is refused."""
    opened.add_data(b"value", label="one", application="a", key_id=b"one")
    assert len(list(opened.private_objects())) == 1
    assert opened.read_data(key_id=b"one") == [b"value"]


def test_an_empty_object_is_removed_and_the_rest_stays(opened, folder, tmp_path) -> None:
    """An object without name and content goes; all others are what they were, and the key still signs."""
    fill(opened, "good")
    before = everything(opened)
    shell(opened, ck.CKO_DATA)
    assert len(everything(opened)) == len(before) + 1
    fresh = examined(opened)  # its maker may be held up, and go on
    assert kinds(fresh) == [EMPTY]
    assert remove(opened, fresh, kept_in=tmp_path) == []
    all_aged(folder)
    opened.generate_key_pair("ec-p256", label="young", key_id=b"young")  # what has content keeps nothing from removal
    findings = examined(opened)
    assert kinds(findings) == [EMPTY]
    assert remove(opened, findings, kept_in=tmp_path) == findings.rubbish
    opened.destroy(b"young")
    assert everything(opened) == before
    assert opened.signer(key_id=b"good").sign_digest(DIGEST, "sha256")
    assert examined(opened).rubbish == []


def test_an_object_of_a_few_bytes_is_removed(made, folder, search, guard, tmp_path) -> None:
    """Its attributes cannot be read; listing goes on beside it, and it alone is destroyed."""
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as token:
        fill(token, "good")
        before = everything(token)
    name = "11111111-2222-3333-4444-555555555555"
    (folder / f"{name}.object").write_bytes(b"\0\0\0\1")
    (folder / f"{name}.lock").touch()
    anew(search)
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as token:
        assert sum(bool(one.problem) for one in token.private_objects()) == 1
        fresh = examined(token)  # its maker may be held up by a slow disk, and go on
        assert kinds(fresh) == [UNREADABLE]
        assert remove(token, fresh, kept_in=tmp_path) == []
        aged(folder / f"{name}.object")
        findings = examined(token)
        assert kinds(findings) == [UNREADABLE]
        assert len(remove(token, findings, kept_in=tmp_path)) == 1
        assert everything(token) == before


def test_files_that_are_never_shown_are_removed(opened, folder, tmp_path) -> None:
    """Empty files go; of one that ends in the middle a copy stays with dojang, readable by the owner alone."""
    fill(opened, "good")
    before = everything(opened)
    whole = next(path for path in folder.glob("*.object") if path.name != "token.object")
    empty, cut = folder / "aaaa.object", folder / "bbbb.object"
    empty.touch()
    cut.write_bytes(whole.read_bytes()[:-3])
    for path in (empty, cut):
        aged(path)
    findings = examined(opened)
    assert kinds(findings) == [CUT_FILE, EMPTY_FILE]
    kept = tmp_path / "kept"
    assert len(remove(opened, findings, kept_in=kept)) == 2
    assert not empty.exists()
    assert not cut.exists()
    assert [(path.name, path.stat().st_mode & 0o777) for path in kept.iterdir()] == [("bbbb.object", 0o600)]
    assert (kept / "bbbb.object").read_bytes() == whole.read_bytes()[:-3]
    assert everything(opened) == before


def test_every_way_to_cut_a_file_is_seen_and_whole_ones_never(opened, folder) -> None:
    """A file is either one that the module shows or one that is reported: no length is taken for the other."""
    fill(opened, "good")
    store = STORES[0]
    for path in folder.glob("*.object"):
        data = path.read_bytes()
        assert not store.cut_short(data)
        ends = {length for length in range(8, len(data)) if not store.cut_short(data[:length])}
        assert len(ends) < len(data) / 8, "only where an attribute ends"


def test_what_may_be_written_at_this_moment_is_kept(opened, folder, tmp_path) -> None:
    """A young file is kept and said to be; a file that changed since it was seen, or is locked, is not removed."""
    young, touched, locked = (folder / f"{name}.object" for name in ("young", "touched", "locked"))
    for path in (young, touched, locked):
        path.touch()
        aged(path, 1 if path == young else LONG_AGO)
    findings = examined(opened)
    assert {Path(one.path).stem: one.removable for one in findings.rubbish} == {
        "young": False, "touched": True, "locked": True,
    }  # fmt: skip
    touched.write_bytes(b"somebody went on writing")
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, sys; f = open({str(locked)!r}, 'r+b'); fcntl.lockf(f, {fcntl.LOCK_EX});"
         "print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    holder.stdout.readline()
    assert remove(opened, findings, kept_in=tmp_path) == []
    holder.communicate(b"")
    assert young.exists()
    assert touched.read_bytes()
    assert [Path(one.path).stem for one in remove(opened, findings, kept_in=tmp_path)] == ["locked"]
    for path in (young, touched):
        path.unlink()


def test_an_object_that_gets_its_content_between_the_looks_is_no_rubbish(opened) -> None:
    """What is empty at the first look and something at the second was being made."""
    shell(opened, ck.CKO_DATA)

    def finish(_seconds: float) -> None:
        def work(session) -> None:
            (handle,) = session.cryptoki.find_objects(session.handle, search_for(ck.CKO_DATA))
            session.cryptoki.set_attributes(session.handle, handle, [(ck.CKA_LABEL, b"done")])

        opened.logged_in(work)

    assert examine(opened, sleep=finish).rubbish == []


def test_an_object_that_gets_its_content_before_the_removal_stays(opened, folder, tmp_path) -> None:
    """The last look is the one right before it is destroyed."""
    shell(opened, ck.CKO_DATA)
    all_aged(folder)
    findings = examined(opened)

    def work(session) -> None:
        (handle,) = session.cryptoki.find_objects(session.handle, search_for(ck.CKO_DATA))
        session.cryptoki.set_attributes(session.handle, handle, [(ck.CKA_LABEL, b"done")])

    opened.logged_in(work)
    assert remove(opened, findings, kept_in=tmp_path) == []
    assert [one.label for one in opened.private_objects()] == ["done"]


def test_nothing_is_removed_after_the_module_began_anew(opened, folder, search, tmp_path) -> None:
    """Handles mean other objects then."""
    shell(opened, ck.CKO_DATA)
    all_aged(folder)
    findings = examined(opened)
    opened.token.module.reinitialise(findings.generation)
    with pytest.raises(errors.DeviceBusy):
        remove(opened, findings, kept_in=tmp_path)
    assert len(examined(opened).rubbish) == 1


MAKING = """
    import sys
    from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
    from dojang.secret import Secret
    uri, pin, module, guard = sys.argv[1:]
    search = ModuleSearch(module=module, discover=False)
    with open_token(uri, Secret(pin), search=search, guard=PinGuard(guard)) as token:
        token.log_in()
        print("making", flush=True)
        while True:
            token.generate_key_pair("ec-p256", label="made")
            token.add_data(bytes(9000), label="made", application="", key_id=b"made")
"""


@pytest.fixture
def making(made, search, tmp_path):
    """Starts a process that makes objects for ever, and returns when it has begun."""
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(MAKING),
        made.uri,
        made.pin,
        search.module,
        str(tmp_path / "guard"),
    ]

    def start() -> subprocess.Popen:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline(), process.stderr.read()
        return process

    return start


def hold_up(process: subprocess.Popen, seconds: float) -> None:
    """Stop it at random moments, for longer than two looks are apart: whoever waits for a lock of its goes on then."""
    chance = random.Random(11)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(chance.uniform(0, 0.02))
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.15)
        process.send_signal(signal.SIGCONT)


def test_after_many_kills_only_good_objects_are_left(made, making, folder, search, guard, tmp_path) -> None:
    """SIGKILL at random moments of making objects, again and again: the kept keys sign, and fsck leaves no rubbish."""
    kept = []
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as token:
        for number in range(3):
            kept.append(token.generate_key_pair("ec-p256", label="kept", key_id=b"kept%d" % number).signer.attributes)
    chance = random.Random(7)
    for _ in range(25):
        process = making()
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        process.communicate()
    all_aged(folder)
    anew(search)
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as token:
        examine(token, apart=0.1)  # SoftHSM itself adds what an object lacks when it is looked at first
        all_aged(folder)
        findings = examine(token, apart=0.1)
        assert all(one.removable for one in findings.rubbish), findings.rubbish
        assert len(remove(token, findings, kept_in=tmp_path / "rubbish")) == len(findings.rubbish)
        assert examine(token, apart=0.1).rubbish == []
        assert not any(one.problem for one in token.private_objects())
        for attributes in kept:
            assert token.signer(key_id=attributes[ck.CKA_ID]).sign_digest(DIGEST, "sha256")


def test_objects_made_meanwhile_are_never_touched(made, making, search, guard, tmp_path) -> None:
    """While another process makes objects as fast as it can, held up again and again, fsck runs and costs it none."""
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as token:
        token.log_in()
        process = making()
        removed: list = []
        holding = threading.Thread(target=hold_up, args=(process, 2.5))
        holding.start()
        while holding.is_alive():
            removed += remove(token, examine(token, apart=0.05), kept_in=tmp_path)
        assert process.poll() is None, process.stderr.read()
        process.kill()
        process.communicate()
    assert removed == []
