"""Passwords of key files on the command line: how they are chosen, shown while typed, counted and written."""

import json
import sys
from pathlib import Path

import pexpect
import pytest
from tests.contract.credentials import SmallAuthority

from dojang.der import SEQUENCE, children, parse_shallowly
from dojang.locations.disk import DiskLocation
from dojang.npki.keyfile import SCHEMES, KeyFileForm, open_pkcs8
from dojang.npki.password_rules import password_rules
from dojang.npki.passwords import ENCODINGS
from dojang.npki.schemes import read_scheme
from dojang.secret import Secret
from dojang.settings import KEY_FILE_FORMATS, PASSWORD_ENCODINGS

GOOD, KOREAN = "correct horse 1!", "올바른 비밀번호 1!"
REQUEST = ("cert", "request", "npki:", "--subject", "CN=Hong,C=KR")


@pytest.fixture
def password_file(tmp_path: Path):
    def make(password: str, name: str = "password") -> str:
        path = tmp_path / name
        path.write_text(password)
        path.chmod(0o600)
        return f"file:{path}"

    return make


@pytest.fixture
def folder(home: Path) -> Path:
    """The usual NPKI folder with one credential under ``GOOD``; its ``signPri.key``."""
    root, authority = home.parent / "NPKI", SmallAuthority()
    location = DiskLocation(root, lambda path, new: Secret(GOOD), KeyFileForm("pbes2-seed"))
    key = location.generate("ec-p256", key_id=b"\1", label="Hong")
    location.install(key_id=b"\1", label="Hong", certificate_der=authority.certify(key, "Hong"))
    return next(root.glob("*/USER/*/signPri.key"))


def requested(home: Path) -> bytes:
    """The key file that a request has made."""
    (path,) = (home.parent / "NPKI").rglob("signPri.key")
    return path.read_bytes()


def algorithm_of(sealed: bytes) -> bytes:
    return read_scheme(children(parse_shallowly(sealed, SEQUENCE))[0]).algorithm()


def test_settings_offer_what_key_files_can_be() -> None:
    """The names in the settings are those of the formats and encodings."""
    assert KEY_FILE_FORMATS == SCHEMES
    assert PASSWORD_ENCODINGS == ENCODINGS


@pytest.mark.parametrize("given", ["flag", "setting"])
def test_a_key_file_is_written_in_the_form_that_is_chosen(home, run_dojang, password_file, given: str) -> None:
    """Scheme A and CP949, by flag and by setting; without them AES and UTF-8."""
    source = password_file(KOREAN)
    words = []
    if given == "flag":
        words = ["--key-file-format", "seed-cbc-sha1", "--password-encoding", "cp949"]
    else:
        (home / "config.toml").write_text('key-file-format = "seed-cbc-sha1"\npassword-encoding = "cp949"\n')
    assert run_dojang(*REQUEST, *words, "--password-source", source).returncode == 0
    sealed = requested(home)
    assert bytes.fromhex("06082a831a8c9a44010f") in algorithm_of(sealed)  # 1.2.410.200004.1.15
    assert open_pkcs8(sealed, Secret(KOREAN), "x", ("cp949",)).random_number


def test_what_is_not_set_is_as_usual(home, run_dojang, password_file) -> None:
    """AES-256, and the bytes of UTF-8."""
    assert run_dojang(*REQUEST, "--password-source", password_file(KOREAN)).returncode == 0
    assert b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a" in algorithm_of(requested(home))  # 2.16.840.1.101.3.4.1.42
    assert open_pkcs8(requested(home), Secret(KOREAN), "x", ("utf-8",))


@pytest.mark.parametrize("line", ['key-file-format = "des"', 'password-encoding = "ebcdic"', "password-tries = -1"])
def test_a_setting_that_is_none_is_said(home, run_dojang, line: str) -> None:
    """With what would do."""
    (home / "config.toml").write_text(line + "\n")
    done = run_dojang("cert", "list", "npki:", "--json")
    assert json.loads(done.stdout)["error"]["code"] == "invalid-setting"


def test_a_password_typed_is_held_against_the_rule(terminal, home) -> None:
    """Everything that is wrong is said at once, and it is asked again until it will do; it is never shown."""
    child = terminal(*REQUEST)
    child.expect("New password for")
    child.sendline("abc")
    child.expect("This password will not do: it has to have 10 to 64 characters; a digit is missing; a special")
    child.expect("New password for")
    child.sendline(GOOD)
    child.expect("The same again")
    child.sendline(GOOD)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert open_pkcs8(requested(home), Secret(GOOD), "x")


def test_strength_is_shown_while_typing_and_the_password_never(terminal, home) -> None:
    """Weak after a word, strong in the end; backspace and Ctrl-U take back, and arrows are no characters."""
    child = terminal(*REQUEST)
    seen = []
    child.logfile_read = Log(seen)
    child.expect("New password for")
    child.send("zqx")
    child.expect(r"\[\.\.\.\.\] very weak")
    child.send("\x15")
    child.send("Tr0ub4dor&3x\x1b[D-zebra9Q\x7f")
    child.expect(r"\[####\] strong")
    child.send("\r")
    child.expect("The same again")
    child.sendline("Tr0ub4dor&3x-zebra9")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    screen = "".join(seen)
    assert not any(part in screen for part in ("zqx", "Tr0", "zebra", "•", "*"))
    assert open_pkcs8(requested(home), Secret("Tr0ub4dor&3x-zebra9"), "x")


class Log:
    """What a terminal showed."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def write(self, text: str) -> None:
        self.seen.append(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def test_korean_is_typed_and_spoken(terminal, home) -> None:
    """A password in Hangul, the meter in Korean."""
    child = terminal(*REQUEST, "--lang", "ko")
    child.expect("새 비밀번호")
    child.send(KOREAN)
    child.expect(r"\[###\.\] 좋음")
    child.send("\r")
    child.expect("한 번 더")
    child.sendline(KOREAN)
    child.expect(pexpect.EOF)
    assert open_pkcs8(requested(home), Secret(KOREAN), "x")


def test_a_terminal_that_cannot_draw_asks_plainly(terminal) -> None:
    """No bar, and the rule all the same."""
    child = terminal(*REQUEST, TERM="dumb")
    child.expect("New password for .*: ")
    child.sendline("abc")
    child.expect("will not do")
    assert "[" not in child.before


@pytest.mark.parametrize("term", ["dumb", "xterm"])
@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_the_question_is_left_as_ever(terminal, term: str, key: str) -> None:
    """By Ctrl-C and Ctrl-D, on every kind of terminal."""
    child = terminal(*REQUEST, TERM=term)
    child.expect("New password for .*: ")
    child.send(key)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_the_terminal_is_left_as_it_was(terminal, home) -> None:
    """After the meter, what is typed is echoed again; lines typed ahead are kept for the next question."""
    code = (
        "from dojang.cli.meter import type_hidden\n"
        "print(len(type_hidden('Q', lambda text: 'V')), input('next '), sep='|')"
    )
    child = pexpect.spawn(sys.executable, ["-c", code], encoding="utf-8", timeout=20)
    child.expect("Q: ")
    child.send("secret\nplain\n")
    child.expect(r"6\|plain")
    assert "secret" not in child.before


def test_a_long_question_has_a_line_of_its_own(terminal, home) -> None:
    """What is drawn again and again stays on one line, whatever its width."""
    code = "from dojang.cli.meter import type_hidden\ntype_hidden('긴 질문 ' * 40, lambda text: 'V' * 200)"
    child = pexpect.spawn(sys.executable, ["-c", code], encoding="utf-8", timeout=20, dimensions=(24, 60))
    child.expect("긴 질문 : \r\n")
    child.send("x")
    child.expect("\r(V+)\x1b")
    assert len(child.match.group(1)) == 59
    child.send("\r")
    child.expect(pexpect.EOF)


def test_a_password_in_use_is_only_warned_of(home, run_dojang, password_file) -> None:
    """A source for passwords in use goes on with a warning; every rule but the one set is nobody's business."""
    done = run_dojang(*REQUEST, "--password-source", password_file("abc"))
    assert done.returncode == 0
    assert "it has to have 10 to 64 characters; a digit is missing" in done.stderr
    (home / "config.toml").write_text('password-policy = "none"\n')
    assert "it has to" not in run_dojang(*REQUEST, "--password-source", password_file("abc")).stderr


def test_a_new_password_from_a_source_is_refused_with_everything_at_once(run_dojang, password_file, folder) -> None:
    """``--new-password-source`` names one that is being chosen; nothing is written."""
    words = ["location", "copy", "npki:?cn=Hong", "--to", f"npki:{folder.parents[4]}/other", "--json"]
    sources = ["--password-source", password_file(GOOD), "--new-password-source", password_file("'a'", "new")]
    done = run_dojang(*words, *sources)
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["exit"]) == ("password-unfit", 9)
    assert len(error["details"]["problems"]) == 3
    assert "'a'" not in done.stdout + done.stderr
    assert not (folder.parents[4] / "other").exists()


def test_a_policy_that_is_none_is_said(home, run_dojang, password_file) -> None:
    """With the names there are."""
    (home / "config.toml").write_text('password-policy = "strict"\n')
    done = run_dojang(*REQUEST, "--password-source", password_file(GOOD), "--json")
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "invalid-setting"
    assert all(name in error["message"] for name in password_rules())


def test_after_five_wrong_passwords_none_is_tried(run_dojang, password_file, folder, tmp_path) -> None:
    """Not even the right one, until it is said with ``--last-try``; then the count is clear again."""
    letter = tmp_path / "letter"
    letter.write_text("letter")
    words = ["sign", "cms", "--detached", "--key", "npki:?cn=Hong", letter, "-o", tmp_path / "out", "--json"]
    wrong, right = password_file("wrong", "wrong"), password_file(GOOD)
    ends = [run_dojang(*words, "--password-source", wrong).returncode for _ in range(6)]
    assert ends == [7, 7, 7, 7, 7, 8]
    withheld = run_dojang(*words, "--password-source", right)
    assert json.loads(withheld.stdout)["error"]["code"] == "password-withheld"
    assert run_dojang(*words, "--password-source", right, "--last-try").returncode == 0
    assert run_dojang(*words, "--password-source", right).returncode == 0
