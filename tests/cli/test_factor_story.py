"""From an applicant with a telephone, a security card and a seed on his token to certificates that wanted them."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pexpect
import pytest
from tests.authority.conversation.serving import served
from tests.x509.web import send, web_server

from dojang.authority import LocalAuthority, open_authority
from dojang.cli.authority_tokens import AuthorityTokens
from dojang.cli.run import run as run_here
from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.secret import Secret

BANK = 'like = "personal"\n[factors]\nall = ["sms", { any = ["otp", "card"] }]\n'
PHONE = "010-1234-5678"


@dataclass
class Story:
    """A bank's authority ``office`` and the home of Hong, whose text messages come as the file ``phone``."""

    home: Path
    hong: str
    phone: Path
    office_token: Any
    secrets: list[str]
    read: Callable[[], Any]
    applicant: str = ""

    def run(self, *words: object, status: int = 0) -> Any:
        """What it answers with ``--json``, and what it tells beside that."""
        ended = run_here([*map(str, words), *self.secrets, "--json"])
        captured = self.read()
        assert ended == status, captured
        envelope = json.loads(captured.out)
        return envelope["data" if status == 0 else "error"]

    def text(self, *words: object) -> str:
        """What a person is told."""
        assert run_here([*map(str, words), *self.secrets]) == 0
        return str(self.read().out)

    @property
    def folder(self) -> Path:
        return self.home / "state" / "authorities" / "office"


@pytest.fixture
def story(
    home: Path,
    make_token,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    softhsm_module: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    monkeypatch.setenv("DOJANG_MODULE", softhsm_module)
    office, hong, phone = make_token(), make_token(pin="4321"), tmp_path / "phone"

    def arrive(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        phone.touch(0o600)
        phone.write_text(json.loads(body)["code"])
        send(handler, b"{}")

    secrets = ["--pin-source", hong.pin_source, "--ca-pin-source", office.pin_source, "--no-input"]
    with web_server() as web:
        story = Story(home, hong.uri, phone, office, secrets, capsys.readouterr)
        story.run("ca", "init", "--alias", "office", "--key", f"{office.uri};object=root", "--name", "CN=Office,C=KR")
        (story.folder / "profiles").mkdir()
        (story.folder / "profiles" / "bank.toml").write_text(BANK)
        gateway = f'[messages.sms]\nkind = "https"\nurl = "{web.put("/sms", arrive)}"\n'
        (story.folder / "authority.toml").write_text(
            f'{gateway}[messages.sms.fields]\nto = "{{to}}"\ncode = "{{code}}"\n'
        )
        story.applicant = story.run("ca", "applicant", "add", "--name", "홍길동", "--phone", PHONE)["applicant"]["id"]
        yield story


@pytest.fixture
def authority(story: Story, softhsm_module: str, tmp_path: Path) -> Iterator[LocalAuthority]:
    """As a centre opens it."""
    search, guard = ModuleSearch(softhsm_module), PinGuard(tmp_path / "guard")
    pin = Secret(Path(story.office_token.pin_source.removeprefix("file:")).read_bytes().strip())
    with (
        open_token(story.office_token.uri, pin, search=search, guard=guard) as token,
        open_authority(story.folder.parent, "office", AuthorityTokens(lambda _address: token)) as authority,
    ):
        yield authority


def test_what_is_wanted_is_shown(story: Story) -> None:
    """As the profile says; what the authority says goes before."""
    assert "Factors: text message and (one-time password or security card) (issuing, reissuing)" in story.text(
        "ca", "profiles", "bank", "--ca", "office"
    )
    wanted = {"all": ["sms", {"any": ["otp", "card"]}], "for": ["issue", "reissue"]}
    assert story.run("ca", "profiles", "bank", "--ca", "office")["profile"]["factors"] == wanted
    with (story.folder / "authority.toml").open("a") as file:
        file.write('[factors.profiles]\nbank = false\n[factors.profiles.email]\nany = ["ars"]\nfor = ["renew"]\n')
    profiles = {one["name"]: one for one in story.run("ca", "profiles", "--ca", "office")["profiles"]}
    assert profiles["bank"]["factors"] is None
    assert profiles["email"]["factors"] == {"any": ["ars"], "for": ["renew"]}


def test_local(story: Story, tmp_path: Path) -> None:
    """``--ca office``: the applicant is named, and passes a text message and his card at the desk of the authority."""
    paper = tmp_path / "card.pdf"
    card = story.run("otp", "card", "new", "--applicant", story.applicant, "--paper", "card", "-o", paper)["card"]
    asked = story.run("otp", "card", "challenge", card["number"])["card"]
    answer = tmp_path / "answer"
    answer.touch(0o600)
    answer.write_text(answer_of(paper, asked["first"], asked["second"]))
    words = ["cert", "issue", "--to", story.hong, "--subject", "CN=Hong,C=KR", "--ca", "office", "--profile", "bank"]
    assert story.run(*words, status=12)["code"] == "authority-refused"
    words += ["--applicant", story.applicant]
    assert "otp + sms | card + sms" in story.run(*words, "--plan")["plan"][1]
    assert "--factor card=SRC --factor sms=SRC" in story.run(*words, status=2)["next"]
    issued = story.run(*words, "--factor", f"sms=file:{story.phone}", "--factor", f"card=file:{answer}")
    assert issued["credential"]["state"] == "valid"
    events = [one["event"] for one in story.run("audit", "tail", "--lines", "30")["entries"]]
    assert [one for one in events if one.startswith("factor")] == ["factor-passed", "factor-passed", "factors-used"]
    # A reissue is by the same applicant, who has to pass them again; the card asks for other places by then.
    reissue = ["cert", "reissue", f"{story.hong};object=Hong"]
    assert "otp + sms | card + sms" in story.run(*reissue, "--plan")["plan"][1]
    again = story.run(*reissue, status=2)
    assert again["code"] == "input-required"


def test_a_code_that_would_be_good_for_nothing_is_not_made(story: Story) -> None:
    """Without an applicant nobody could pass anything under it; also where the authority asks only for a renewal."""
    words = ["ca", "code", "new", "--subject", "CN=Hong,C=KR", "--profile"]
    error = story.run(*words, "bank", status=9)
    assert error["code"] == "not-permitted"
    assert "--applicant" in error["next"]
    with (story.folder / "authority.toml").open("a") as file:
        file.write('[factors.profiles]\nbank = false\n[factors.profiles.email]\nany = ["ars"]\nfor = ["renew"]\n')
    assert story.run(*words, "email", status=9)["code"] == "not-permitted"
    story.run(*words, "bank")


def test_served(story: Story, authority: LocalAuthority, tmp_path: Path) -> None:
    """``--ca URL``: by a reference number; the one-time password is computed by the token that the new key goes to."""
    register(story, tmp_path)
    handed = story.run("ca", "code", "new", "--profile", "bank", "--subject", "CN=Hong,C=KR", *named(story))
    code = tmp_path / "code"
    code.touch(0o600)
    code.write_text(handed["code"])
    reference = handed["enrolment"]["reference"]
    with served(authority) as port:
        words = ["cert", "issue", "--to", story.hong, "--subject", "CN=Hong,C=KR", "--ca", f"http://127.0.0.1:{port}/"]
        words += ["--reference", reference, "--code-source", f"file:{code}"]
        otp = f"otp={story.hong};object=bank"
        issued = story.run(*words, "--factor", f"sms=file:{story.phone}", "--factor", otp)
    assert issued["credential"]["state"] == "valid"
    shown = story.run("ca", "enrolment", "show", reference)["enrolment"]
    assert {(one["factor"], one["certificate"]) for one in shown["factors"]} == {
        (factor, issued["credential"]["serial"]) for factor in ("sms", "otp")
    }
    assert shown["state"] == "used"
    assert f"for {issued['credential']['serial']}" in story.text("ca", "enrolment", "show", reference)
    secret = code.read_text()
    kept = [path for path in story.folder.rglob("*") if path.is_file()]
    assert all(story.phone.read_bytes() not in path.read_bytes() for path in kept if path.suffix != ".sqlite")
    assert all(secret.encode() not in path.read_bytes() for path in kept)


def test_the_seed_where_the_key_goes_is_offered(story: Story, tmp_path: Path, terminal: Callable[..., Any]) -> None:
    """A person is asked whose code it shall be, and has nothing to type."""
    register(story, tmp_path)
    (story.folder / "profiles" / "otp.toml").write_text('like = "personal"\n[factors]\nall = ["otp"]\n')
    words = ["cert", "issue", "--to", story.hong, "--subject", "CN=Hong,C=KR", "--ca", "office", "--profile", "otp"]
    child = terminal(*words, *named(story), *story.secrets[:4])
    child.expect("bank")
    child.expect("another device, whose code is typed")
    child.expect("Whose code")
    child.sendline("1")
    child.expect("Passed: one-time password")
    child.expect("Issued")
    child.expect_exact(pexpect.EOF)


def named(story: Story) -> list[str]:
    return ["--applicant", story.applicant]


def register(story: Story, folder: Path) -> None:
    """A device of the applicant at the authority, and its seed on his token, which reads it from a QR code."""
    picture, uri = folder / "device.png", folder / "uri"
    words = ["--name", "token", "--issuer", "Office", "--account", "Hong", "--export-qr", picture]
    story.run("otp", "add", "--ca", "office", *named(story), *words)
    read = subprocess.run(["zbarimg", "--quiet", "--raw", picture], capture_output=True, check=True)
    uri.touch(0o600)
    uri.write_bytes(read.stdout)
    story.run("otp", "add", story.hong, "--name", "bank", "--uri-source", f"file:{uri}")


def answer_of(paper: Path, first: int, second: int) -> str:
    """What the card has at two places, as poppler reads it: down the columns."""
    done = subprocess.run(["pdftotext", "-layout", paper, "-"], capture_output=True, text=True, check=True)
    rows = [re.findall(r"\b\d{4}\b", line) for line in done.stdout.splitlines()]
    codes = [row[column] for column in range(7) for row in rows if len(row) == 7]
    return codes[first - 1][:2] + codes[second - 1][2:]
