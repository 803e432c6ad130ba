"""``dojang otp message test``: one message by an authority's own settings, and what is wrong when none arrives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from tests.otp.messages.conftest import gateway_server, mail_server

from dojang.authority import create_authority, tables
from dojang.authority.local import open_authority
from dojang.settings import load
from dojang.x509.name import parse_name

SMS = """
[messages.sms]
kind = "https"
url = "{url}/send"
fields = {{ to = "{{to-national}}", text = "{{text}}" }}
"""
MAIL = """
[messages.mail]
kind = "smtp"
server = "localhost:{port}"
from = "office@example.kr"
security = "none"
"""


@pytest.fixture
def settings(home: Path) -> Callable[[str], None]:
    """Writes the settings of an authority that is there."""
    subject = parse_name("CN=Office,O=Example,C=KR")
    key = ec.generate_private_key(ec.SECP256R1())
    folder = load().authorities_dir
    create_authority(folder, name="office", subject=subject, key=key, key_address="pkcs11:object=root").close()

    def write(text: str) -> None:
        (folder / "office" / "authority.toml").write_text(text)

    return write


def answered(run: Any) -> dict[str, Any]:
    assert run.stderr == ""
    return json.loads(run.stdout)


def test_a_text_message_and_a_mail(settings: Any, run_dojang: Any) -> None:
    """By what the target is; nothing is asked and nothing recorded; the output is masked and without the code."""
    with gateway_server() as gateway, mail_server() as box:
        settings(SMS.format(url=gateway.url) + MAIL.format(port=box.port))
        told = answered(run_dojang("otp", "message", "test", "--ca", "office", "--to", "010-1234-5678", "--json"))
        assert told["data"] == {
            "authority": "office",
            "channel": "sms",
            "sender": "https",
            "target": "010-****-5678",
        }
        (posted,) = gateway.posted
        assert posted.json["to"] == "01012345678"
        assert "시험 인증번호" in posted.json["text"]
        mail = run_dojang("otp", "message", "test", "--to", "hong@example.com", "--language", "en")
        assert (mail.returncode, mail.stdout) == (0, "A test message was sent to h***@example.com.\n")
        assert box.mails[0]["Subject"] == "[office] Your code to test"
    directory = load().authorities_dir
    with open_authority(directory, "office", lambda _address: None) as one, one.database.reading() as connection:
        events = connection.execute(select(tables.audit.c.event)).scalars().all()
    assert events == ["authority-founded", "crl-published"]


def test_a_plan_sends_nothing(settings: Any, run_dojang: Any) -> None:
    """It says what would be sent where, and by whom."""
    with gateway_server() as gateway:
        settings(SMS.format(url=gateway.url))
        run = run_dojang("otp", "message", "test", "--to", "01012345678", "--plan")
        assert "Send a test message to 010-****-5678 (sms, https)" in run.stdout
        korean = run_dojang("otp", "message", "test", "--to", "01012345678", "--plan", "--lang", "ko")
        assert "시험 메시지를 보냅니다" in korean.stdout
        assert gateway.posted == []


@pytest.mark.parametrize(
    ("to", "more", "status", "code"),
    [
        ("010-1234-5678", (), 11, "message-unsent"),
        ("010-1234-5678", ("--channel", "ars"), 9, "not-permitted"),
        ("hong@example.com", (), 9, "not-permitted"),
        ("112", (), 2, "usage"),
        ("hong@", (), 2, "usage"),
        ("+1 212 555 0100", (), 2, "usage"),
    ],
)
def test_what_is_wrong(settings: Any, run_dojang: Any, to: str, more: tuple[str, ...], status: int, code: str) -> None:
    """A gateway that refuses, a channel that is not set up, a target that is none."""
    with gateway_server() as gateway:
        gateway.status = 401
        settings(SMS.format(url=gateway.url))
        run = run_dojang("otp", "message", "test", "--to", to, *more, "--json")
    told = json.loads(run.stdout)
    assert (run.returncode, told["error"]["code"]) == (status, code)
    assert to not in run.stdout + run.stderr


def test_settings_that_cannot_be(settings: Any, run_dojang: Any) -> None:
    """The file and the key are named."""
    settings("[messages.sms]\nkind = 'pigeon'\n")
    run = run_dojang("otp", "message", "test", "--to", "010-1234-5678")
    assert run.returncode == 2
    assert "authority.toml" in run.stderr
    assert "messages.sms.kind" in run.stderr


def test_the_console_shows_the_message(settings: Any, run_dojang: Any) -> None:
    """Of an authority for tests, on standard error."""
    settings("test = true\n[messages.sms]\nkind = 'console'\n")
    run = run_dojang("otp", "message", "test", "--to", "010-1234-5678", "--quiet")
    assert run.stdout == "010-****-5678\n"
    assert run.stderr.startswith("[sms 010-****-5678] [office] 시험 인증번호")
