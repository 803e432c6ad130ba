"""``dojang where`` and ``dojang location list | show``: what people and scripts read of their certificates."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pexpect
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.npki.validity import KST, end_of_day, start_of_day
from dojang.x509.name import parse_name

KEY = ec.generate_private_key(ec.SECP256R1())
BANKING = "1.2.410.200005.1.1.4"
Put = Callable[..., Path]


@pytest.fixture
def put(home: Path) -> Put:
    """Puts a Korean certificate into the person's own NPKI folder, or another, with so many days left."""

    def write(name: str, days: int = 100, root: Path | None = None, policy: str = BANKING) -> Path:
        now = datetime.now(UTC)
        subject, issuer = parse_name(f"CN={name},OU=KMB,C=kr"), parse_name("CN=yessignCA Class 2,O=yessign,C=kr")
        named = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(policy), None)])
        end = end_of_day(now + timedelta(days=days))
        builder = x509.CertificateBuilder(issuer, subject, KEY.public_key(), 5, min(now, end) - timedelta(days=9), end)
        folder = (root or home.parent / "NPKI") / "yessign" / "USER" / f"cn={name},ou=KMB,c=kr"
        folder.mkdir(parents=True)
        certificate = builder.add_extension(named, critical=True).sign(KEY, SHA256())
        (folder / "signCert.der").write_bytes(certificate.public_bytes(Encoding.DER))
        (folder / "signPri.key").write_bytes(b"a key")
        return folder

    return write


@pytest.fixture
def where(run_dojang):
    """Runs ``dojang where … --json`` and gives what it says; of disks alone unless told: tokens are other tests'."""

    def run(*words: object) -> dict:
        done = run_dojang("where", "--json", *(words if "--kind" in words else ("--kind", "disk", *words)))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["data"]

    return run


def names(found: dict) -> list[str]:
    return [one["label"] for one in found["credentials"]]


def test_scripts_get_every_fact(where, put, home) -> None:
    """The names of the contract, and beside them purpose, policies, holder and duplicates."""
    put("홍길동()0001")
    (one,) = where()["credentials"]
    assert one["address"] == f"npki:{home.parent}/NPKI#yessign/USER/cn=홍길동%28%290001,ou=KMB,c=kr"
    assert {name: one[name] for name in ("location", "days_left", "state", "key_leaves", "copyable")} == {
        "location": "disk",
        "days_left": 100,
        "state": "valid",
        "key_leaves": True,
        "copyable": True,
    }
    assert (one["subject"], one["issuer"]) == ("CN=홍길동()0001,OU=KMB,C=kr", "CN=yessignCA Class 2,O=yessign,C=kr")
    assert one["purpose"] == "banking, insurance, credit cards and civil services"
    assert one["purpose_ko"] == "은행·보험·신용카드·민원"
    assert (one["policy_oids"], one["holder"], one["duplicate_of"]) == ([BANKING], "person", [])


def test_days_and_dates_are_those_of_korea(where, put, run_dojang) -> None:
    """Whole days until the last, whose date is that in Seoul; the first moment of renewal is that of a day."""
    put("Hong", days=40)
    (one,) = where()["credentials"]
    due_at = datetime.fromisoformat(one["due_at"])
    assert one["days_left"] == 40
    assert due_at == start_of_day(datetime.fromisoformat(one["not_after"]) - timedelta(days=30))
    last_day = datetime.fromisoformat(one["not_after"]).astimezone(KST).date()
    assert f" {last_day} " in run_dojang("where", "--kind", "disk").stdout


def test_a_korean_certificate_is_shown_as_koreans_count(put, run_dojang) -> None:
    """From the first minute of a day to the last, for a purpose; the day of its renewal only while there can be one."""
    put("Hong", days=40)
    shown = run_dojang("cert", "show", "npki:?cn=Hong").stdout
    assert re.search(r"Valid: .* to \S+ 23:59 KST\n", shown)
    assert re.search(r"State: valid; due for renewal from \S+ 00:00 KST\n", shown)
    assert "Purpose: banking, insurance, credit cards and civil services (person)\n" in shown
    put("Ended", days=-3)
    assert re.search(r"State: expired\n", run_dojang("cert", "show", "npki:?cn=Ended").stdout)


def test_what_sources_disagree_on_is_marked(where, put, run_dojang) -> None:
    """In the table, of one certificate, and for scripts."""
    put("Hong", policy="1.2.410.200004.5.4.1.103")
    assert [one["purpose_doubt"] for one in where()["credentials"]] == ["conflict"]
    assert "(sources disagree)" in run_dojang("where", "--kind", "disk").stdout
    assert "(출처마다 다름)" in run_dojang("--lang", "ko", "cert", "show", "npki:?cn=Hong").stdout


def test_a_copy_elsewhere_is_told(where, put, home, tmp_path, run_dojang) -> None:
    """In JSON by its address, in the table by the number of others."""
    shutil.copytree(put("Hong").parents[1], tmp_path / "other" / "yessign")
    (home / "config.toml").write_text(f'[aliases]\nother = "npki:{tmp_path}/other"\n')
    one, other = where()["credentials"]
    assert (one["duplicate_of"], other["duplicate_of"]) == ([other["address"]], [one["address"]])
    assert re.search(r"yes +1 +npki:", run_dojang("where", "--kind", "disk").stdout)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["Soon", "Kim", "홍길동"]),
        (["--expiring", "30d"], ["Soon"]),
        (["홍길"], ["홍길동"]),
        (["kim"], ["Kim"]),
        (["전자세금"], ["Kim"]),
        (["insurance"], ["Soon", "홍길동"]),
        (["yessignca"], ["Soon", "Kim", "홍길동"]),
        (["--kind", "disk", "--expiring", "150d"], ["Soon", "Kim"]),
        (["--kind", "pem"], []),
    ],
)
def test_filters(where, put, words: list[str], found: list[str]) -> None:
    """By days, by kind of place, by what people read of a certificate; soonest expiry first."""
    put("홍길동", days=200)
    put("Soon", days=7)
    put("Kim", days=150, policy="1.2.410.200005.1.1.6.8")
    assert names(where(*words)) == found


def test_the_table_is_for_people(run_dojang, put) -> None:
    """Names and purpose in the person's language, a row a certificate."""
    put("홍길동")
    put("누구", policy="1.2.410.200005.1.1.777")
    korean = run_dojang("--lang", "ko", "where", "--kind", "disk").stdout.splitlines()
    assert len(korean) == 3
    assert re.search(
        r"홍길동 +은행·보험·신용카드·민원 \(개인\) +yessignCA Class 2 .* 유효 +하드디스크 +예", "\n".join(korean)
    )
    assert re.search(r"누구 +알 수 없는 용도 ", "\n".join(korean))
    assert re.search(r"누구 +unknown purpose ", run_dojang("where", "--kind", "disk").stdout)


def screen_of(child: pexpect.spawn) -> str:
    child.expect(pexpect.EOF)
    return child.before


def test_days_are_in_colour_on_a_terminal(terminal, put) -> None:
    """Red for the last week and what has ended, yellow for the last month, green for the rest; NO_COLOR is heard."""
    for name, days in (("Ended", -5), ("Week", 3), ("Month", 25), ("Rest", 90)):
        put(name, days)
    screen = screen_of(terminal("where", "--kind", "disk", TERM="xterm-256color", COLUMNS="300"))
    colours = dict.fromkeys(("Ended", "Week"), "31") | {"Month": "33", "Rest": "32"}
    for name, colour in colours.items():
        row = next(line for line in screen.splitlines() if line.startswith(name))
        assert re.search(rf"\x1b\[{colour}m-?\d+ *\x1b\[0m", row), row
    assert "\x1b[3" not in screen_of(
        terminal("where", "--kind", "disk", TERM="xterm-256color", COLUMNS="300", NO_COLOR="1")
    )


def test_long_tables_are_in_colour_as_well(terminal, put) -> None:
    """Where drawing would take longer than finding."""
    for number in range(201):
        put(f"Hong {number:03}", days=90)
    screen = screen_of(terminal("where", "--kind", "disk", TERM="xterm-256color"))
    assert screen.count("\x1b[32m90") == 201
    assert "\x1b[3" not in screen_of(terminal("where", "--kind", "disk", TERM="xterm-256color", NO_COLOR="1"))


def test_a_name_that_would_move_the_cursor_is_shown_as_it_is(run_dojang, put) -> None:
    """Whoever names a folder does not write on other people's terminals."""
    put("Hong").rename(put("Kim").parent / "cn=\x1b[2J")
    done = run_dojang("where", "--kind", "disk")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


def test_a_file_that_hides_its_certificates_is_told(where, home, tmp_path, run_dojang) -> None:
    """Nobody is asked for its password; the way to give it is said."""
    (tmp_path / "safe.p12").write_bytes(b"")
    (home / "config.toml").write_text(f'[aliases]\nsafe = "pkcs12:{tmp_path}/safe.p12"\n')
    assert where("--kind", "pkcs12")["needs_password"] == [f"pkcs12:{tmp_path}/safe.p12"]
    assert "--password-source" in run_dojang("where", "--kind", "pkcs12").stderr


def test_a_token_that_is_missed_is_told(where, home) -> None:
    """A saved address whose token is not there is among the unreachable."""
    (home / "config.toml").write_text('[aliases]\nhong = "pkcs11:token=Not-Here"\n')
    unreachable = {one["address"]: one["code"] for one in where("--kind", "token")["unreachable"]}
    assert unreachable["pkcs11:token=Not-Here"] == "token-not-found"


@pytest.mark.parametrize("wait", ["0", "-1", "nan", "3601", "soon"])
def test_a_wait_that_is_none_is_usage(run_dojang, wait: str) -> None:
    """Exit status 2."""
    assert run_dojang("where", "--wait", wait).returncode == 2


def test_every_kind_and_every_place_is_listed(run_dojang, make_token, put, home) -> None:
    """Kinds with their traits and advice; a token with the state of its PIN, a folder with its room."""
    token = make_token()
    put("Hong")
    data = json.loads(run_dojang("location", "list", "--json").stdout)["data"]
    kinds = {one["location"]: one for one in data["kinds"]}
    assert {"token", "disk", "removable", "pkcs12", "phone", "cloud"} <= kinds.keys()
    assert (kinds["token"]["key_leaves"], kinds["disk"]["key_leaves"]) == (False, True)
    assert [kind for kind, one in kinds.items() if not one["available"]] == ["phone", "cloud"]
    places = {one["address"]: one for one in data["locations"]}
    assert (places[token.uri]["user_pin"], places[token.uri]["opened_by"]) == ([], "pin")
    folder = places[f"npki:{home.parent}/NPKI"]
    assert folder["exists"]
    assert folder["free_bytes"] > 0
    text = run_dojang("--lang", "ko", "location", "list").stdout
    assert "가장 안전합니다" in text
    assert token.uri in text


def test_one_place_is_shown(run_dojang, make_token, put) -> None:
    """What it can do, its state, and how many certificates of each state are in it; an absent token is status 6."""
    token = make_token()
    put("Hong")
    put("Kim", days=3)
    shown = json.loads(run_dojang("location", "show", "npki:", "--json").stdout)["data"]["location"]
    assert shown["credentials"] == {"due": 1, "valid": 1}
    assert (shown["location"], shown["copyable"], shown["needs_password"]) == ("disk", True, False)
    shown = json.loads(run_dojang("location", "show", token.uri, "--json").stdout)["data"]["location"]
    assert (shown["name"], shown["user_pin"], shown["credentials"]) == (token.label, [], {})
    assert "Certificates: valid 1, due 1" in run_dojang("location", "show", "npki:").stdout
    assert run_dojang("location", "show", "pkcs11:token=Not-Here").returncode == 6
