"""The life of a PIN, by the command line: wrong, changed, locked, set anew; whatever happens to it, the rest is unhurt.

The token's own account of itself decides what is expected: its length limits, its flags, and whether it has an SO PIN.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.token.abilities import REFUSALS

from dojang.pkcs11 import find_token

MOST_TRIES = 6
WRONG, LOCKED = 7, 8


class Pins:
    """Files with PINs, as ``--pin-source`` wants them; the right one is ``now``."""

    def __init__(self, folder: Path, source: str, so_source: str | None) -> None:
        self.now, self.so = source, so_source
        self._folder = folder
        self._made = 0

    def another(self) -> str:
        """A source with a PIN that was never used, of eight digits."""
        self._made += 1
        path = self._folder / f"{self._made}.pin"
        path.write_text(f"{secrets.randbelow(90_000_000) + 10_000_000}")
        path.chmod(0o600)
        return f"file:{path}"


@pytest.fixture(scope="session")
def pins(settings, tmp_path_factory) -> Pins:
    so = settings.so_pin_source
    return Pins(tmp_path_factory.mktemp("pins"), settings.pin_source, so if so and so.startswith("file:") else None)


@pytest.fixture
def log_in(dojang, uri, pins) -> Callable[..., tuple[int, str]]:
    """Logs in with the PIN of a source; exit status and error code."""

    def try_it(source: str | None = None, *words: str) -> tuple[int, str]:
        answer = dojang("key", "list", uri, "--pin-source", source or pins.now, *words)
        return answer.exit, answer.code

    return try_it


@pytest.fixture(autouse=True)
def what_is_there_stays(dojang, uri, pins) -> Iterator[None]:
    """After every check the right PIN opens the token, and the keys and certificates are those from before."""
    before = dojang("key", "list", uri, "--pin-source", pins.now).data["keys"]
    yield
    assert dojang("key", "list", uri, "--pin-source", pins.now).data["keys"] == before


def test_a_wrong_pin_costs_one_try_however_often_it_is_given(log_in, pins):
    """The second time it does not reach the token; the right one is still taken."""
    wrong = pins.another()
    assert log_in(wrong) == (WRONG, "pin-incorrect")
    assert log_in(wrong) == (WRONG, "pin-known-wrong")
    assert log_in() == (0, "")


def test_the_pin_is_changed_or_the_change_is_refused(dojang, uri, pins, log_in, abilities):
    """The new one opens the token, the old one no longer does, and a change back is a change like any other."""
    old, new = pins.now, pins.another()
    changed = dojang("token", "pin", "change", uri, "--pin-source", old, "--new-pin-source", new)
    if changed.exit in REFUSALS:
        return
    assert changed.exit == 0, changed.error
    abilities.note("PIN changed")
    assert log_in(new) == (0, "")
    assert log_in(old) == (WRONG, "pin-incorrect")
    pins.now = new
    back = dojang("token", "pin", "change", uri, "--pin-source", new, "--new-pin-source", old)
    assert back.exit == 0, back.error
    pins.now = old


def test_a_pin_that_locks_is_said_to_be_locked_and_can_be_freed(dojang, uri, pins, log_in, unlock, abilities, search):
    """Wrong PINs end in a lock (exit 8) or never do; the last try is not spent unasked where the token tells of it."""
    tries = 0
    while tries < MOST_TRIES:
        last = find_token(uri, search).info.user_pin.final_try
        if last:
            assert log_in(pins.another()) == (LOCKED, "pin-last-try")
        status = log_in(pins.another(), "--last-try")
        if status == (LOCKED, "pin-locked"):
            break
        assert status == (WRONG, "pin-incorrect")
        tries += 1
    else:
        return
    abilities.note("PIN locks")
    assert log_in() == (LOCKED, "pin-locked")
    unlock()
    if log_in() != (0, ""):
        answer = dojang("token", "pin", "unblock", uri, "--so-pin-source", pins.so, "--new-pin-source", pins.now)
        assert answer.exit == 0, answer.error
    assert log_in() == (0, "")


def test_the_security_officer_sets_a_new_pin_or_is_refused(dojang, uri, pins, log_in, abilities):
    """The PIN set by him is the right one at once, also where it failed before."""
    if pins.so is None:
        return
    old, new = pins.now, pins.another()
    assert log_in(new) == (WRONG, "pin-incorrect")
    answer = dojang("token", "pin", "unblock", uri, "--so-pin-source", pins.so, "--new-pin-source", new)
    if answer.exit in REFUSALS:
        return
    assert answer.exit == 0, answer.error
    abilities.note("PIN set by the SO")
    pins.now = new
    assert log_in() == (0, "")
    back = dojang("token", "pin", "unblock", uri, "--so-pin-source", pins.so, "--new-pin-source", old)
    assert back.exit == 0, back.error
    pins.now = old
