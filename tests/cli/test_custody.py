"""``dojang key custody`` at a terminal: a share is seen once, by one person, and is nowhere afterwards."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest


@pytest.fixture(scope="module")
def tokens(make_token):
    return [make_token(f"custody-{uuid4().hex[:8]}") for _ in range(2)]


def test_shares_are_shown_one_at_a_time_and_typed_back_hidden(terminal, tokens, home: Path) -> None:
    """Between two custodians the screen is cleared; what was shown makes the key on another token; no file has it.

    Whoever mistypes his share types it again, and nobody else; nobody types more than are needed.
    """
    first, second = tokens
    child = terminal(
        *("key", "custody", "split", first.uri, "--shares", 3, "--threshold", 2, "--pin-source", first.pin_source)
    )
    shares = []
    for number in (1, 2, 3):
        child.expect(f"Share {number} of 3")
        child.expect("Press Enter to see it: ")
        assert "words:" not in child.before
        child.send("\n")
        child.expect(r"words:\r\n((?:[a-z]+[ \r\n]+)+)")
        shares.append(" ".join(child.match.group(1).split()))
        child.expect("not shown again: ")
        child.send("\n")
        child.expect(re.escape("\033[2J\033[3J\033[H"))
    child.expect(r"check value ([0-9a-f]{8}) in")
    check = child.match.group(1)
    child.wait()

    child = terminal("key", "custody", "join", second.uri, "--check", check, "--pin-source", second.pin_source)
    swapped = " ".join(reversed(shares[0].split()))
    for number, share, told in (
        (1, shares[2], ""),
        (2, swapped, "mistyped"),
        (2, shares[2], "same as"),
        (2, shares[0], ""),
    ):
        child.expect(f"Words of share {number}")
        child.waitnoecho()
        child.sendline(share)
        child.expect(told)
    child.expect(f"check value {check} is in")
    assert not any(share in child.before for share in shares)
    child.wait()
    for path in home.rglob("*"):
        if path.is_file():
            assert not any(" ".join(share.split()[4:7]).encode() in path.read_bytes() for share in shares), path


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_a_custodian_who_goes_away_leaves_nothing(terminal, run_dojang, tokens, key: str) -> None:
    """Ctrl-C or the end of input while a share is shown: it leaves the screen, and the key leaves the HSM at once."""
    first = tokens[0]
    where = (first.uri, "--pin-source", first.pin_source)
    child = terminal("key", "custody", "split", *where, "--label", "gone", "--shares", 3, "--threshold", 2)
    child.expect("Press Enter to see it: ")
    child.send("\n")
    child.expect("not shown again: ")
    child.send(key)
    child.expect(re.escape("\033[2J\033[3J\033[H\033[?1049l"))
    child.wait()
    listed = run_dojang("key", "list", *where, "--json")
    assert "gone" not in [one["label"] for one in json.loads(listed.stdout)["data"]["keys"]]


def test_without_a_terminal_shares_need_a_folder(run_dojang, tokens, tmp_path: Path) -> None:
    """They are never printed: neither as text nor in JSON; files are for their owner alone."""
    first = tokens[0]
    words = ("key", "custody", "split", first.uri, "--label", "files", "--shares", 3, "--threshold", 2, "--json")
    done = run_dojang(*words, "--pin-source", first.pin_source)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "input-required")
    (tmp_path / "file").touch()
    done = run_dojang(*words, "--into", tmp_path / "file" / "shares", "--pin-source", first.pin_source)
    assert done.returncode == 9
    done = run_dojang(*words, "--into", tmp_path / "shares", "--pin-source", first.pin_source)
    data = json.loads(done.stdout)["data"]
    assert done.returncode == 0
    assert (tmp_path / "shares").stat().st_mode & 0o777 == 0o700
    for name in data["files"]:
        path = Path(name)
        text = path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        assert f"check value: {data['check']}" in text
        middle = " ".join(text.partition("words:")[2].split()[4:7])
        assert middle not in done.stdout + done.stderr
    refused = run_dojang("key", "custody", "join", first.uri, "--label", "x", "--pin-source", first.pin_source)
    assert refused.returncode == 2


def test_what_is_to_be_done_with_shares_can_be_pasted(run_dojang, tokens, tmp_path: Path) -> None:
    """The command that joins them names the label, in quotes where it needs them, and the check value."""
    first = tokens[0]
    words = ("key", "custody", "split", first.uri, "--shares", 2, "--threshold", 2, "--into", tmp_path / "shares")
    done = run_dojang(*words, "--label", "two words", "--pin-source", first.pin_source)
    assert re.search(r"join ADDRESS --label 'two words' --check [0-9a-f]{8}$", done.stdout, re.MULTILINE)


def test_a_plan_and_impossible_numbers_make_nothing(run_dojang, tokens, tmp_path: Path) -> None:
    """Refused before any key is made."""
    first = tokens[0]
    words = ("key", "custody", "split", first.uri, "--label", "imagined", "--into", tmp_path, "--json")
    done = run_dojang(*words, "--shares", 3, "--threshold", 2, "--plan", "--pin-source", first.pin_source)
    assert len(json.loads(done.stdout)["data"]["plan"]) == 2
    done = run_dojang(*words, "--shares", 3, "--threshold", 1, "--pin-source", first.pin_source)
    assert done.returncode == 9
    assert list(tmp_path.glob("*.share")) == []
    shown = run_dojang("key", "show", f"{first.uri};object=imagined", "--pin-source", first.pin_source)
    assert shown.returncode == 3
