"""A person at a terminal: hidden prompts, confirmation, questions, bars."""

from uuid import uuid4

import pytest


def ended(child) -> tuple[int, str]:
    """Exit status and everything that was on the screen since the last question."""
    import pexpect

    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before


@pytest.fixture
def token(make_token):
    return make_token(f"tty-{uuid4().hex[:8]}")


def test_pin_is_asked_hidden(terminal, token) -> None:
    """On a terminal the PIN is asked for, names its token and is not echoed."""
    child = terminal("key", "list", token.uri)
    child.expect_exact(f"PIN of token {token.label}: ")
    child.sendline(token.pin)
    status, screen = ended(child)
    assert status == 0
    assert token.pin not in screen.replace(token.label, "").replace(token.serial, "")


def test_new_pin_is_asked_twice(terminal, run_dojang, token) -> None:
    """A new PIN is typed twice; two that differ are asked for again."""
    child = terminal("token", "pin", "change", token.uri)
    child.expect_exact(f"PIN of token {token.label}: ")
    child.sendline(token.pin)
    child.expect_exact("New PIN for token")
    child.sendline("246810")
    child.expect_exact("The same again")
    child.sendline("246811")
    child.expect_exact("differ")
    child.expect_exact("New PIN for token")
    child.sendline("135790")
    child.expect_exact("The same again")
    child.sendline("135790")
    assert ended(child)[0] == 0
    done = run_dojang("key", "list", token.uri, "--pin-source", "env:NEW", env={"NEW": "135790"})
    assert done.returncode == 0


def test_no_input_never_asks(terminal, token) -> None:
    """--no-input fails at once, even on a terminal, and names the flag that would have answered."""
    status, screen = ended(terminal("key", "list", token.uri, "--no-input"))
    assert status == 2
    assert "--pin-source" in screen


def test_the_serial_is_typed_to_wipe(terminal, token) -> None:
    """Wiping asks for the serial, then for the SO PIN; anything else typed changes nothing."""
    child = terminal("token", "wipe", token.uri)
    child.expect_exact("serial")
    child.sendline("yes")
    status, screen = ended(child)
    assert status == 9
    assert "nothing was changed" in screen
    child = terminal("token", "wipe", token.uri)
    child.expect_exact("serial")
    child.sendline(token.serial)
    child.expect_exact("SO PIN of token")
    child.sendline(token.so_pin)
    assert ended(child)[0] == 0


def test_questions_in_korean(terminal, token) -> None:
    """A Korean terminal is asked in Korean."""
    child = terminal("key", "list", token.uri, LC_ALL="ko_KR.UTF-8")
    child.expect_exact(f"토큰 {token.label}의 PIN: ")
    child.sendline(token.pin)
    status, screen = ended(child)
    assert status == 0
    assert "키가 없습니다" in screen


def test_a_table_is_drawn_on_a_terminal(terminal, token) -> None:
    """The token list is readable on a terminal, and its address is whole."""
    status, screen = ended(terminal("token", "list", COLUMNS="200"))
    assert status == 0
    assert token.uri in screen


def test_the_prompt_is_not_in_the_answer(terminal, token, tmp_path) -> None:
    """Questions go to the terminal, the JSON document to standard output alone."""
    import json
    import os
    import sys

    import pexpect

    path = tmp_path / "out.json"
    command = f"{sys.executable} -m dojang key list '{token.uri}' --json > {path}"
    child = pexpect.spawn("sh", ["-c", command], env=os.environ, encoding="utf-8", timeout=20)
    child.expect_exact("PIN of token")
    child.sendline(token.pin)
    assert ended(child)[0] == 0
    assert json.loads(path.read_text())["ok"] is True
