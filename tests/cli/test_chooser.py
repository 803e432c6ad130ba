"""The table a person chooses a place from: what is there now, the best first, with advice in both languages."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from dojang.cli.place_words import ADVICE, can_take_a_key, size_words
from dojang.locations.present import Here
from dojang.locations.registry import location_kinds
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.token import TokenInfo


@pytest.fixture
def token(make_token):
    return make_token()


def rows_of(screen: str) -> dict[str, str]:
    """The lines of a numbered table by their numbers."""
    return dict(re.findall(r"(?m)^(\d+) +(.*?)\s*$", screen.replace("\r", "")))


def shown(child, question: str) -> dict[str, str]:
    child.expect(re.escape(question) + r" \[1\]: ")
    return rows_of(child.before)


def chosen(child, rows: dict[str, str], words: str) -> None:
    child.sendline(next(number for number, row in rows.items() if words in row))


def test_every_kind_of_place_has_advice() -> None:
    """No row of the registry is without words for people."""
    assert {row.kind for row in location_kinds()} <= ADVICE.keys()


def test_room_is_said_in_few_digits() -> None:
    """In the units of computers."""
    assert [size_words(size) for size in (0, 1023, 1536, 25180868608)] == ["0 B", "1023 B", "1.5 KiB", "23.5 GiB"]


def test_the_best_place_comes_first(terminal, token, home) -> None:
    """Tokens with the state of their PINs, folders with their room, a file; phone and cloud with why they cannot be."""
    child = terminal("cert", "request", "--subject", "CN=Hong", "--pin-source", token.pin_source)
    rows = shown(child, "Where to keep the key")
    assert "phone (no phone is paired" in child.before
    assert "cloud (no signing service" in child.before
    kinds = [row.split()[0] for _, row in sorted(rows.items(), key=lambda pair: int(pair[0]))]
    assert [kind for kind in kinds if kind != "Removable"] == sorted(
        [kind for kind in kinds if kind != "Removable"], key=["Token", "Folder", "PKCS#12"].index
    )
    own = next(row for row in rows.values() if token.label in row)
    assert "PIN in order" in own
    assert "Strongest" in own
    folder = next(row for row in rows.values() if str(home.parent / "NPKI") in row)
    assert re.search(r"[0-9.]+ [KMGT]iB free, no certificate folder yet", folder)
    assert "Weakest" in folder
    chosen(child, rows, token.label)
    child.expect("BEGIN CERTIFICATE REQUEST")


def test_a_token_that_can_take_nothing_is_not_offered() -> None:
    """One that is write-protected, whose PIN is locked or was never set; one that needs no PIN is."""
    initialized, login, pin_set = ck.CKF_TOKEN_INITIALIZED, ck.CKF_LOGIN_REQUIRED, ck.CKF_USER_PIN_INITIALIZED

    def takes(flags: int) -> bool:
        info = TokenInfo("Hong", "Maker", "Model", "1", flags | initialized, 4, 8, None, "1.0")
        return can_take_a_key(Here("pkcs11:token=Hong", "token", "Hong", SimpleNamespace(info=info)))

    assert takes(login | pin_set)
    assert takes(0)
    assert not takes(login)
    assert not takes(login | pin_set | ck.CKF_USER_PIN_LOCKED)
    assert not takes(login | pin_set | ck.CKF_WRITE_PROTECTED)


def test_the_table_is_korean_on_a_korean_terminal(terminal, token, home) -> None:
    """Question, columns and advice."""
    child = terminal("cert", "request", "--subject", "CN=Hong", LC_ALL="ko_KR.UTF-8")
    rows = shown(child, "키를 어디에 둘지")
    assert "가장 안전합니다" in next(row for row in rows.values() if token.label in row)
    assert "휴대전화" in child.before


def test_a_file_is_asked_for_its_name(terminal, token, home, tmp_path: Path) -> None:
    """The line without an address; what is typed becomes a pkcs12: address."""
    child = terminal("cert", "request", "--subject", "CN=Hong", "--plan", "--json")
    chosen(child, shown(child, "Where to keep the key"), "PKCS#12 file")
    child.expect("Name of the file")
    child.sendline(str(tmp_path / "hong.p12"))
    child.expect(re.escape(f"pkcs12:{tmp_path}/hong.p12"))


def test_a_copy_is_not_offered_the_place_it_comes_from(terminal, run_dojang, token, home, tmp_path: Path) -> None:
    """Neither by its address nor through a link to it."""
    (home.parent / "NPKI").mkdir()
    (tmp_path / "link").symlink_to(home.parent / "NPKI")
    for origin in ("npki:?cn=Hong", f"npki:{tmp_path}/link?cn=Hong"):
        child = terminal("location", "copy", origin)
        rows = shown(child, "Where to bring it")
        assert not any(str(home.parent / "NPKI") in row for row in rows.values())
        assert any(token.label in row for row in rows.values())


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["cert", "request", "--subject", "CN=Hong"], "ADDRESS"),
        (["location", "copy", "npki:?cn=Hong"], "--to ADDRESS"),
        (["location", "move", "npki:?cn=Hong"], "--to ADDRESS"),
    ],
)
def test_without_a_person_the_option_is_named(run_dojang, home, command: list[str], option: str) -> None:
    """Nobody is asked and nothing is made."""
    done = run_dojang(*command, "--json")
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["exit"]) == ("input-required", 2)
    assert error["details"]["option"] == option
