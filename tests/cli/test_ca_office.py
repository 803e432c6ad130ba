"""``dojang ca applicant|check|code|enrolment|officer``: who may have a certificate, from the command line."""

import contextlib
import json
import os
import re
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CODE = re.compile("[0-9A-HJKMNP-TV-Z]{16}")


@dataclass(frozen=True)
class Office:
    """A home with an authority called office; ``run`` runs dojang there as JSON, with the PIN of the authority."""

    home: Path
    token: Any
    runner: Callable[..., subprocess.CompletedProcess[str]]

    def run(self, *words: object, ok: bool = True, **named: Any) -> dict[str, Any]:
        done = self.runner(*words, "--ca-pin-source", self.token.pin_source, "--json", **named)
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) | {"status": done.returncode}

    def data(self, *words: object, **named: Any) -> dict[str, Any]:
        return self.run(*words, **named)["data"]

    def new(self, *more: object, profile: str = "personal") -> dict[str, Any]:
        return self.data("ca", "code", "new", "--profile", profile, "--subject", "CN=Hong,C=KR", *more)

    @property
    def folder(self) -> Path:
        return self.home / "state" / "authorities" / "office"

    def says(self, text: str) -> None:
        (self.folder / "authority.toml").write_text(text)


@pytest.fixture(scope="module")
def _founded(tmp_path_factory: pytest.TempPathFactory, make_token, dojang_at) -> Office:
    """Founded once for this file."""
    home = tmp_path_factory.mktemp("office") / "dojang"
    home.mkdir()
    office = Office(home, make_token(), dojang_at(home))
    key = f"{office.token.uri};object=root"
    office.run("ca", "init", "--alias", "office", "--key", key, "--name", "CN=Office CA,C=KR")
    return office


@pytest.fixture
def office(_founded: Office) -> Iterator[Office]:
    """With settings of its own for each test."""
    yield _founded
    (_founded.folder / "authority.toml").unlink(missing_ok=True)


def test_a_code_is_shown_once(office: Office) -> None:
    """Reference and code come out, the state says ready; afterwards no list, no record and no file has the code."""
    made = office.new("--alternative-name", "email:hong@example.com", "--log-level", "debug")
    reference, code = made["reference"], made["code"]
    assert re.fullmatch(r"\d{10}", reference)
    assert CODE.fullmatch(code)
    assert (made["enrolment"]["state"], made["next"]) == ("ready", [])
    assert made["enrolment"]["alternative_names"] == ["email:hong@example.com"]
    listed = office.data("ca", "code", "list", "--state", "ready")["enrolments"]
    assert reference in [one["reference"] for one in listed]
    shown = office.data("ca", "enrolment", "show", reference)
    assert shown["enrolment"]["subject"] == "CN=Hong,C=KR"
    holding = [path for path in office.home.rglob("*") if path.is_file() and code.encode() in path.read_bytes()]
    assert holding == []
    assert code not in json.dumps([listed, shown])


def test_a_letter_in_two_languages(office: Office, tmp_path: Path) -> None:
    """Readable by its owner alone, with the code that is then not shown; a file that is there is never replaced."""
    letter = tmp_path / "letter.txt"
    made = office.new("--output", letter)
    text = letter.read_text()
    assert made["code"] is None
    assert stat.S_IMODE(letter.stat().st_mode) == 0o600
    assert len(set(CODE.findall(text))) == 1
    assert "인가코드" in text
    assert "Authorization code" in text
    assert made["reference"] in text
    again = office.run("ca", "code", "new", "--profile", "personal", "--subject", "CN=Hong", "-o", letter, ok=False)
    assert (again["status"], again["error"]["code"]) == (9, "already-exists")
    assert letter.read_text() == text


def test_a_letter_says_where_the_code_is_used(office: Office, tmp_path: Path) -> None:
    """At the centre that others know, by the authority's name there; nowhere where there is none."""
    assert office.new()["url"] is None
    office.says('address = "http://ca.example.kr:8080/lists"\n')
    letter, url = tmp_path / "letter.txt", "http://ca.example.kr:8080/.well-known/cmp/p/office"
    assert office.new("--output", letter)["url"] == url
    assert letter.read_text().count(f"office\n{url}\n\n") == 2


def test_a_list_says_how_it_goes_on(office: Office) -> None:
    """With as many entries as were asked for there may be more; the page after the last has none."""
    for name in ("Kim", "Lee"):
        office.data("ca", "applicant", "add", "--name", name)
        office.new()
    for noun, kind, key in (("code", "enrolments", "reference"), ("applicant", "applicants", "id")):
        every = [one[key] for one in office.data("ca", noun, "list")[kind]]
        page = office.data("ca", noun, "list", "--limit", len(every) - 1)
        assert page["next"] == every[-2]
        last = office.data("ca", noun, "list", "--after", page["next"])
        assert ([one[key] for one in last[kind]], last["next"]) == (every[-1:], None)
    said = office.runner("ca", "code", "list", "--limit", "1").stdout
    assert said.splitlines()[-1].startswith("There may be more: --after ")


def test_a_letter_that_cannot_be_written(office: Office, tmp_path: Path) -> None:
    """The code that nobody has seen is cancelled."""
    words = ["ca", "code", "new", "--profile", "personal", "--subject", "CN=Lost", "-o", tmp_path / "none" / "letter"]
    failed = office.run(*words, ok=False)
    assert (failed["status"], failed["error"]["code"]) == (9, "file-unwritable")
    listed = office.data("ca", "enrolment", "list", "--state", "cancelled")["enrolments"]
    assert "CN=Lost" in [one["subject"] for one in listed]
    assert "CN=Lost" not in [
        one["subject"] for one in office.data("ca", "code", "list", "--state", "ready")["enrolments"]
    ]


def test_from_applicant_to_code(office: Office, tmp_path: Path) -> None:
    """A profile that requires checks: the code waits until both are on record, with the hash of their evidence."""
    number = tmp_path / "number"
    number.write_text("9001011234567")
    number.chmod(0o600)
    words = [
        "ca",
        "applicant",
        "add",
        "--name",
        "홍길동",
        "--email",
        "hong@example.com",
        "--number-source",
        f"file:{number}",
    ]
    applicant = office.data(*words)["applicant"]
    assert applicant["number_known"]
    again = office.run(*words, ok=False)
    assert (again["status"], again["error"]["code"]) == (9, "already-exists")
    assert applicant["id"] in again["error"]["next"]
    without = office.run("ca", "code", "new", "--profile", "personal-general", "--subject", "CN=홍길동,C=KR", ok=False)
    assert (without["status"], without["error"]["code"]) == (9, "not-permitted")
    made = office.new("--applicant", applicant["id"], profile="personal-general")
    assert [step.split("--kind ")[1] for step in made["next"]] == [
        "in-person --evidence FILE",
        "id-document --evidence FILE",
    ]
    assert made["enrolment"]["missing"] == {"checks": ["in-person", "id-document"], "approvals": 0}
    (tmp_path / "passport.jpg").write_bytes(b"a passport")
    office.data("ca", "check", "add", applicant["id"], "--kind", "in-person", "--evidence", tmp_path / "passport.jpg")
    office.data("ca", "check", "add", applicant["id"], "--kind", "id-document", "--evidence-text", "seen by Kim")
    shown = office.data("ca", "applicant", "show", applicant["id"])
    assert [one["state"] for one in shown["enrolments"]] == ["ready"]
    known = subprocess.run(["sha256sum", tmp_path / "passport.jpg"], capture_output=True, text=True).stdout.split()[0]
    assert known in [one["evidence"] for one in shown["checks"]]
    assert applicant["id"] in [one["id"] for one in office.data("ca", "applicant", "list")["applicants"]]
    vouched = office.new("--pre-authorised", profile="personal-general")
    assert (vouched["enrolment"]["state"], vouched["enrolment"]["pre_authorised"]) == ("ready", True)


def test_two_officers(office: Office, make_token, tmp_path: Path) -> None:
    """Where officers are wanted, a signed order of each of two is, and openssl reads what was kept of them."""
    office.says('[enrolment]\nfour-eyes = "officers"\n')
    addresses = {}
    for name in ("Kim", "Lee"):
        token = make_token()
        words = ["cert", "issue", "--to", token.uri, "--subject", f"CN={name},C=KR", "--pin-source", token.pin_source]
        addresses[name] = (office.data(*words)["credential"]["address"], token.pin_source)
        query = "SELECT certificate_der FROM certificate WHERE subject = ?"
        (tmp_path / f"{name}.cer").write_bytes(_asked(office, query, f"CN={name},C=KR")[0])
        added = office.data("ca", "officer", "add", "--certificate", tmp_path / f"{name}.cer", "--role", "approver")
        assert added["officer"]["roles"] == ["approver"]
    made = office.new()
    reference = made["reference"]
    assert made["next"] == [f"dojang ca enrolment approve {reference} --ca office"] * 2
    alone = office.run("ca", "enrolment", "approve", reference, ok=False)
    assert (alone["status"], alone["error"]["code"]) == (9, "not-permitted")
    assert "--officer" in alone["error"]["next"]
    for name, state in (("Kim", "waiting"), ("Lee", "ready")):
        address, pins = addresses[name]
        words = ["ca", "enrolment", "approve", reference, "--officer", address, "--pin-source", pins]
        assert office.data(*words)["enrolment"]["state"] == state
    _check_evidence(office, reference, tmp_path)
    officers = {one["name"]: one["id"] for one in office.data("ca", "officer", "list")["officers"]}
    office.run("ca", "officer", "remove", officers["CN=Kim,C=KR"])
    words = ["ca", "enrolment", "refuse", office.new()["reference"], "--reason", "no", "--officer", addresses["Kim"][0]]
    removed = office.run(*words, "--pin-source", addresses["Kim"][1], ok=False)
    assert (removed["status"], removed["error"]["code"]) == (9, "not-permitted")
    roles = office.run(
        "ca", "code", "cancel", reference, "--officer", addresses["Lee"][0], "--pin-source", pins, ok=False
    )
    assert (roles["status"], "registrar" in roles["error"]["message"]) == (9, True)


def _check_evidence(office: Office, reference: str, tmp_path: Path) -> None:
    kept = _asked(office, "SELECT evidence FROM approval WHERE subject = ?", reference)
    assert len(kept) == 2
    for evidence in kept:
        (tmp_path / "order.p7s").write_bytes(evidence)
        words = ["openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "order.p7s", "-noverify"]
        read = subprocess.run(words, capture_output=True, text=True)
        assert read.returncode == 0, read.stderr
        order = json.loads(read.stdout)
        assert (order["method"], order["arguments"]) == ("enrolment.approve", {"reference": reference})


def _asked(office: Office, query: str, value: str) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(office.folder / "store.sqlite")) as database:
        return [row[0] for row in database.execute(query, (value,))]


def test_decisions(office: Office) -> None:
    """Approving what needs no approval, unlocking what is not locked, cancelling twice: refused with the reason."""
    reference = office.new()["reference"]
    assert office.run("ca", "enrolment", "approve", reference, ok=False)["status"] == 9
    assert office.run("ca", "code", "unlock", reference, ok=False)["status"] == 9
    assert office.data("ca", "code", "cancel", reference, "--reason", "lost")["enrolment"]["reason"] == "lost"
    twice = office.run("ca", "code", "cancel", reference, ok=False)
    assert (twice["status"], "cancelled" in twice["error"]["message"]) == (9, True)
    assert office.run("ca", "enrolment", "show", "0000000000", ok=False)["status"] == 3


def test_a_code_for_tests(office: Office) -> None:
    """More than one use only where the authority says that it is for tests; a setting that cannot be is named."""
    refused = office.run("ca", "code", "new", "--profile", "personal", "--subject", "CN=T", "--uses", "3", ok=False)
    assert (refused["status"], "test = true" in refused["error"]["next"]) == (9, True)
    office.says("test = true\n")
    assert office.new("--uses", "3")["enrolment"]["uses_left"] == 3
    office.says("[enrolment]\nuses = 3\n")
    wrong = office.run("ca", "code", "list", ok=False)
    assert (wrong["status"], wrong["error"]["code"]) == (2, "invalid-setting")


def test_an_applicant_is_reached_otherwise(office: Office) -> None:
    """What cannot be reached is refused when it is registered and when it is changed, and is not repeated."""
    one = office.data("ca", "applicant", "add", "--name", "Hong", "--phone", "010-1234-5678")["applicant"]["id"]
    for words in (["add", "--name", "Kim"], ["change", one]):
        wrong = office.run("ca", "applicant", *words, "--phone", "010-12", ok=False)
        assert (wrong["status"], wrong["error"]["code"]) == (2, "usage")
        assert "010-12" not in str(wrong["error"])
    changed = office.data("ca", "applicant", "change", one, "--email", "hong@example.com", "--without", "phone")
    assert changed["applicant"]["contact"] == {"email": "hong@example.com"}
    for words in ([], ["--phone", "010-1234-5678", "--without", "phone"]):
        assert office.run("ca", "applicant", "change", one, *words, ok=False)["status"] == 2
    assert office.run("ca", "applicant", "change", "nobody", "--phone", "010-1234-5678", ok=False)["status"] == 3
    assert office.run("audit", "verify", "--ca", "office", ok=False)["status"] == 0
    korean = office.run("ca", "applicant", "change", one, "--phone", "02-345", "--lang", "ko", ok=False)
    assert "전화번호가 아닙니다" in korean["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ["applicant", "add", "--name", "Hong"],
        ["applicant", "change", "5f0c3a9b21", "--phone", "010-1234-5678"],
        ["check", "add", "5f0c3a9b21", "--kind", "email", "--evidence-text", "x"],
        ["code", "new", "--profile", "personal", "--subject", "CN=Planned"],
        ["code", "cancel", "0000000000"],
        ["code", "unlock", "0000000000"],
        ["enrolment", "approve", "0000000000"],
        ["enrolment", "refuse", "0000000000", "--reason", "x"],
        ["officer", "remove", "x"],
    ],
)
def test_plans_change_nothing(office: Office, words: list[str]) -> None:
    """Every command that changes something says what it would do."""
    before = (office.folder / "store.sqlite").stat().st_mtime_ns
    planned = office.data("ca", *words, "--plan")
    assert (len(planned["plan"]), planned["changed"]) == (1, False)
    assert (office.folder / "store.sqlite").stat().st_mtime_ns == before


def test_in_korean(office: Office) -> None:
    """Tables and sentences, with the states in words."""
    office.new()
    done = office.runner("--lang", "ko", "ca", "code", "list", "--limit", "1", env={"PATH": os.environ["PATH"]})
    assert "참조번호" in done.stdout
    assert "Reference" not in done.stdout
