"""Sources of PINs: each reads what it should, and none lets the PIN out any other way."""

import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from dojang.errors import DojangError, InputRequired, InvalidSource, PinUnusable, SecretUnavailable
from dojang.pkcs11 import pin as pin_module
from dojang.pkcs11.pin import PinFileExposed, PinRequest, PinSource, check_pin_length
from dojang.secret import Secret

SECRET = "hunter2-9f4e"


def request_for(role: str = "user", *, limits: tuple[int, int] = (4, 255)) -> PinRequest:
    return PinRequest("Hong", "01", role, count_low=False, final_try=False, min_length=limits[0], max_length=limits[1])


def pin_file(tmp_path: Path, content: bytes, mode: int = 0o600) -> str:
    path = tmp_path / "pin"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def everything_shown(error: DojangError) -> str:
    """Message, facts and the whole chain of causes, as a traceback would print them."""
    shown = f"{error!r} {error.facts} {error.advice()}" + "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        shown += f"{link!r} {vars(link)}"
        link = link.__cause__ or link.__context__
    return shown


def test_the_environment_gives_the_pin_once_and_no_child_inherits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is gone after reading, for us and for children; whoever asks again still gets the PIN."""
    monkeypatch.setenv("DOJANG_TEST_PIN", SECRET)
    source = PinSource.parse("env:DOJANG_TEST_PIN")
    assert source(request_for()) == Secret(SECRET)
    assert "DOJANG_TEST_PIN" not in os.environ
    child = "import os, sys; sys.exit('DOJANG_TEST_PIN' in os.environ)"
    subprocess.run([sys.executable, "-c", child], check=True)
    assert source(request_for()) == Secret(SECRET)
    assert PinSource.parse("env:DOJANG_TEST_PIN")(request_for("so")) == Secret(SECRET)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"1234", b"1234"), (b"1234\n", b"1234"), (b"1234\r\n", b"1234"), (b"1234\n\n", b"1234"),
        (b"12 34 \nnext", b"12 34 "), ("비밀".encode(), "비밀".encode()), (b"\xff\xfe\n", b"\xff\xfe"),
    ],
)  # fmt: skip
def test_a_file_gives_its_first_line(tmp_path: Path, content: bytes, expected: bytes) -> None:
    """One newline is stripped and nothing else; bytes stay as they are."""
    secret = PinSource.parse(f"file:{pin_file(tmp_path, content)}")(request_for())
    assert secret is not None
    assert secret.reveal() == expected


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o444, 0o660])
def test_a_file_that_others_may_read_is_used_with_a_warning(tmp_path: Path, mode: int) -> None:
    """Containers mount secrets world-readable; a person is told, the PIN is not."""
    path = pin_file(tmp_path, SECRET.encode(), mode)
    with pytest.warns(PinFileExposed) as caught:
        assert PinSource.parse(f"file:{path}")(request_for()) == Secret(SECRET)
    warning = caught[0].message
    assert isinstance(warning, PinFileExposed)
    assert (warning.path, warning.mode) == (path, mode)
    assert SECRET not in str(warning)


def test_a_private_file_gives_no_warning(tmp_path: Path) -> None:
    """0600 and 0400 are as they should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode in (0o600, 0o400):
            assert PinSource.parse(f"file:{pin_file(tmp_path, b'1', mode)}")(request_for())
            (tmp_path / "pin").unlink()


def test_a_file_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    """Whoever can plant wrong PINs there could lock the token."""
    with pytest.raises(SecretUnavailable):
        PinSource.parse(f"file:{pin_file(tmp_path, SECRET.encode(), 0o602)}")(request_for())


def test_a_named_pipe_is_read_to_the_end_of_its_line(tmp_path: Path) -> None:
    """Process substitution hands over a pipe whose writer may be slow."""
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(b"12")
            time.sleep(0.05)
            pipe.write(b"34\n")

    thread = threading.Thread(target=write)
    thread.start()
    assert PinSource.parse(f"file:{path}")(request_for()) == Secret("1234")
    thread.join()


def test_a_descriptor_gives_a_line_at_a_time() -> None:
    """The first source takes the first line and keeps it, the second takes the second."""
    read, write = os.pipe()
    os.write(write, b"1234\r\n87654321\nrest")
    os.close(write)
    user, so = PinSource.parse(f"fd:{read}"), PinSource.parse(f"fd:{read}")
    assert user(request_for()) == Secret("1234")
    assert so(request_for("so")) == Secret("87654321")
    assert user(request_for()) == Secret("1234")
    assert os.read(read, 9) == b"rest"
    os.close(read)


def test_a_command_gives_the_first_line_it_prints(tmp_path: Path) -> None:
    """Words are split with quotes as in a shell, its standard input is empty, its other lines are ignored."""
    script = tmp_path / "say pin"
    script.write_text('#!/bin/sh\ncat\necho "$1"\necho more\n')
    script.chmod(0o755)
    assert PinSource.parse(f"cmd:'{script}' '12 34'")(request_for()) == Secret("12 34")


@pytest.mark.parametrize("argument", ["; touch {}", "$(touch {})", "`touch {}`", "> {}", "| tee {}", "&& touch {}"])
def test_a_command_never_meets_a_shell(tmp_path: Path, argument: str) -> None:
    """What a shell would act on is an argument like any other."""
    planted = tmp_path / "planted"
    secret = PinSource.parse(f"cmd:echo {argument.format(planted)}")(request_for())
    assert not planted.exists()
    assert secret is not None
    assert str(planted) in secret.reveal().decode()


@pytest.mark.timeout(30)
def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the timeout it is killed, and what it printed so far shows nowhere."""
    monkeypatch.setattr(pin_module, "COMMAND_TIMEOUT", 0.3)
    with pytest.raises(SecretUnavailable) as caught:
        PinSource.parse(f"cmd:sh -c 'echo {SECRET}; sleep 60'")(request_for())
    assert SECRET not in everything_shown(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        f"cmd:sh -c 'echo {SECRET}; exit 3'", f"cmd:/nonexistent {SECRET}", f"cmd:echo '{SECRET}", f"cmd:'' {SECRET}",
        "cmd:true", "cmd:sh -c 'head -c 100000 /dev/zero'", "file:/nonexistent", "file:/", "file:/dev/null",
        "file:/dev/zero", "fd:999999", "env:NO_SUCH_VARIABLE_HERE", "env:A=B",
    ],
)  # fmt: skip
def test_a_source_that_fails_says_so_without_secrets(source: str) -> None:
    """Missing, empty, failing and endless sources are SecretUnavailable; the command's words and output stay hidden."""
    with pytest.raises(SecretUnavailable) as caught:
        PinSource.parse(source)(request_for())
    assert SECRET not in everything_shown(caught.value)
    assert caught.value.exit_status == 2


def test_an_empty_variable_is_not_a_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset CI secret must not cost a try."""
    monkeypatch.setenv("DOJANG_TEST_EMPTY", "")
    with pytest.raises(SecretUnavailable):
        PinSource.parse("env:DOJANG_TEST_EMPTY")(request_for())


def test_the_keypad_gives_no_pin() -> None:
    """pinpad answers None: the token asks by itself."""
    assert PinSource.parse("pinpad")(request_for()) is None


def test_a_prompt_asks_whoever_was_given() -> None:
    """The request reaches the prompt; without one, InputRequired says what is missing."""
    asked: list[PinRequest] = []

    def ask(request: PinRequest) -> Secret:
        asked.append(request)
        return Secret("1234")

    assert PinSource.parse("prompt", ask=ask)(request_for("so")) == Secret("1234")
    assert [request.role for request in asked] == ["so"]
    with pytest.raises(InputRequired):
        PinSource.parse("prompt")(request_for())


def test_the_keyring_is_asked_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are looked up under dojang; an absent entry and a failing backend are SecretUnavailable."""
    entries = {("dojang", "mine"): "1234", ("dojang", "absent"): None}
    backend = SimpleNamespace(get_password=lambda service, name: entries[service, name])
    monkeypatch.setitem(sys.modules, "keyring", backend)
    assert PinSource.parse("keyring:mine")(request_for()) == Secret("1234")
    for name in ("absent", "failing"):
        with pytest.raises(SecretUnavailable):
            PinSource.parse(f"keyring:{name}")(request_for())


def test_a_keyring_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra to install is in the message."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SecretUnavailable, match="extra"):
        PinSource.parse("keyring:mine")(request_for())


@pytest.mark.parametrize(
    "text",
    [
        SECRET, f"pin:{SECRET}", f"pass:{SECRET}", f"ENV:{SECRET}", "", ":", "env", "env:", "file: ", "fd:x", "fd:-1",
        "fd:٣", f"fd:{SECRET}", "fd:" + "9" * 100, f"prompt:{SECRET}", f"pinpad:{SECRET}", "file:a\0b", "env:\0",
        "x" * 1_000_000,
    ],
)  # fmt: skip
def test_what_is_no_source_is_refused_without_repeating_it(text: str) -> None:
    """People type the PIN itself where a source is wanted; it must not come back in the error."""
    with pytest.raises(InvalidSource) as caught:
        PinSource.parse(text)
    assert SECRET not in everything_shown(caught.value)
    assert len(caught.value.message()) < 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/run/pin", ("file", "/run/pin")), ("file:/run/pin", ("file", "/run/pin")),
        ("file:///run/pin", ("file", "/run/pin")), ("file://localhost/run/pin", ("file", "/run/pin")),
        ("env:PIN", ("env", "PIN")), ("pinpad", ("pinpad", "")),
    ],
)  # fmt: skip
def test_the_pin_source_of_an_address(text: str, expected: tuple[str, str]) -> None:
    """A path and a file: URI, as RFC 7512 has them, and our own words."""
    source = PinSource.from_uri(text)
    assert (source.kind, source.argument) == expected


@pytest.mark.parametrize("text", ["|/usr/lib/pinomatic", "cmd:touch /tmp/x", "|", "http://example.org/pin", ""])
def test_an_address_cannot_run_a_command(text: str) -> None:
    """A pasted address is not a program."""
    with pytest.raises(InvalidSource):
        PinSource.from_uri(text)


def test_a_source_shows_no_secret() -> None:
    """repr gives the kind alone."""
    assert SECRET not in repr(PinSource.parse(f"cmd:echo {SECRET}"))
    assert repr(PinSource.parse("fd:3")) == "PinSource(fd)"


@pytest.mark.parametrize(("pin", "ok"), [("123", False), ("1234", True), ("12345678", True), ("123456789", False)])
def test_a_pin_of_impossible_length_is_not_tried(pin: str, ok: bool) -> None:
    """Outside the token's limits a PIN cannot be right."""
    request = request_for(limits=(4, 8))
    if ok:
        return check_pin_length(Secret(pin), request)
    with pytest.raises(PinUnusable) as caught:
        check_pin_length(Secret(pin), request)
    assert pin not in everything_shown(caught.value)
    return None


@pytest.mark.parametrize("limits", [(0, 0), (0, 8), (8, 4), (2**64 - 1, 2**64 - 1), (4, 2**31), (1, 2)])
def test_senseless_limits_are_not_believed(limits: tuple[int, int]) -> None:
    """Zero, reversed, unavailable and endless limits say nothing about a PIN."""
    check_pin_length(Secret("123"), request_for(limits=limits))


def test_limits_count_bytes_and_leave_the_so_pin_alone() -> None:
    """도장 is six bytes; cards take a management key for an SO PIN; a keypad has no PIN to measure."""
    check_pin_length(Secret("도장"), request_for(limits=(6, 8)))
    check_pin_length(Secret("0" * 48), request_for("so", limits=(4, 8)))
    check_pin_length(None, request_for(limits=(4, 8)))
    with pytest.raises(PinUnusable):
        check_pin_length(Secret("0" * 48), request_for("context", limits=(4, 8)))


def test_threads_share_one_line_of_a_descriptor() -> None:
    """Many threads asking one source at once all get the same PIN."""
    read, write = os.pipe()
    os.write(write, b"1234\nother\n")
    source = PinSource.parse(f"fd:{read}")
    got: list[Secret | None] = []
    threads = [threading.Thread(target=lambda: got.append(source(request_for()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(read)
    os.close(write)
    assert got == [Secret("1234")] * 8
