"""The table ``[messages]``: what may stand in it, and that everything else is refused by its name."""

import re
from pathlib import Path
from typing import Any

import pytest

from dojang.authority import settings
from dojang.errors import InvalidSetting

GATEWAY = """
[messages.sms]
kind = "https"
url = "https://api.example.com/send"
success = [202]
[messages.sms.headers]
Authorization = "Bearer {secret.token}"
[messages.sms.fields]
to = "{to-national}"
text = "{text}"
[messages.sms.secrets]
token = "env:GATEWAY_TOKEN"
"""
MAIL = """
[messages.mail]
kind = "smtp"
server = "mail.example.com"
from = "office@example.com"
"""
CALL = """
[messages.ars]
kind = "call"
url = "https://call.example.com/calls"
callback = "https://ca.example.com/ars/office"
key-source = "file:/etc/dojang/call-key"
"""


def load(folder: Path, text: str) -> Any:
    (folder / "authority.toml").write_text(text)
    return settings.load(folder).messages()


def test_everything_that_may_stand_there(tmp_path: Path) -> None:
    """Read once, with the senders that were described; no secret is read yet, nobody connected to."""
    told = "name = '우체국'\nminutes = 5\ntries = 3\nagain-seconds = 60\nper-target = 3\nper-source = 9\n"
    told += "window-minutes = 30\ncountries = ['82', '1']\n"
    policy = load(tmp_path, f"[messages]\n{told}{GATEWAY}{MAIL}{CALL}")
    assert (policy.name, policy.minutes, policy.tries, policy.per_target, policy.per_source) == ("우체국", 5, 3, 3, 9)
    assert (policy.again.seconds, policy.window.seconds, policy.countries) == (60, 1800, ("82", "1"))
    assert {channel: sender.kind for channel, sender in policy.senders.items()} == {
        "sms": "https",
        "mail": "smtp",
        "ars": "call",
    }
    assert policy.senders["mail"].server.port == 587
    assert policy.caller is policy.senders["ars"]


def test_without_a_table(tmp_path: Path) -> None:
    """Three minutes, five tries, and no sender."""
    policy = load(tmp_path, "")
    assert (policy.minutes, policy.tries, dict(policy.senders), policy.caller) == (3, 5, {}, None)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[messages]\nminute = 3", "messages.minute"),
        ("[messages]\nminutes = 0", "messages.minutes"),
        ("[messages]\ntries = 11", "messages.tries"),
        ("[messages]\nagain-seconds = 0", "messages.again-seconds"),
        ("[messages]\ncountries = []", "messages.countries"),
        ("[messages]\ncountries = ['+82']", "messages.countries"),
        ("[messages]\nsms = 'gateway'", "messages.sms"),
        ("[messages.fax]\nkind = 'https'", "messages.fax"),
        ("[messages.sms]\nkind = 'smtp'", "messages.sms.kind"),
        ("[messages.sms]\n", "messages.sms.kind"),
        ("[messages.sms]\nkind = 'console'", "console"),
        (GATEWAY.replace("https://", "http://"), "messages.sms.url"),
        (GATEWAY.replace("https://", "ftp://"), "messages.sms.url"),
        (GATEWAY.replace("https://", "https://user:word@"), "messages.sms.url"),
        (GATEWAY.replace("example.com/send", "example.com:x/send"), "messages.sms.url"),
        (GATEWAY.replace("secret.token", "secret.other"), "{secret.other}"),
        (GATEWAY.replace("Bearer {secret.token}", "{text}"), "{text}"),
        (GATEWAY.replace("{text}", "{message}"), "{message}"),
        (GATEWAY.replace("{text}", "hello"), "messages.sms.fields"),
        (GATEWAY.replace("{to-national}", "me"), "messages.sms.fields"),
        (GATEWAY.replace("Authorization", '"Bad name"'), "messages.sms.headers"),
        (GATEWAY.replace("Authorization", "Content-Length"), "messages.sms.headers"),
        (GATEWAY.replace("[202]", "[202]\nuser = 'me'\npassword-source = 'env:WORD'"), "messages.sms.user"),
        (GATEWAY.replace("Authorization", "authorization = 'x'\nAuthorization"), "messages.sms.headers"),
        (GATEWAY.replace("env:GATEWAY_TOKEN", "prompt"), "messages.sms.secrets.token"),
        (GATEWAY.replace("env:GATEWAY_TOKEN", "s3cret"), "messages.sms.secrets.token"),
        (GATEWAY.replace("[202]", "[99]"), "messages.sms.success"),
        (GATEWAY.replace("[202]", "[202]\nretries = 3"), "messages.sms.retries"),
        (GATEWAY.replace("[202]", "[202]\nseconds = 26"), "messages.sms.seconds"),
        (GATEWAY.replace("[202]", "[202]\npointer = '/ok'"), "messages.sms.pointer"),
        (GATEWAY.replace("[202]", "[202]\nuser = 'me'"), "messages.sms.password-source"),
        (GATEWAY.replace("[202]", "[202]\nca-certificate = 'missing.pem'"), "messages.sms.ca-certificate"),
        (GATEWAY.replace("[202]", "[202]\nform = 'form'").replace('"{text}"', "['{text}']"), "messages.sms.fields"),
        (GATEWAY.replace('"{text}"', "2026-01-01"), "messages.sms.fields"),
        (MAIL + "security = 'none'", "messages.mail.security"),
        (MAIL + "security = 'ssl'", "messages.mail.security"),
        (MAIL + "user = 'me'", "messages.mail.password-source"),
        (MAIL + "password-source = 'file:/x'", "messages.mail.user"),
        (MAIL.replace("mail.example.com", "mail.example.com:0"), "messages.mail.server"),
        (MAIL.replace("mail.example.com", "me@mail.example.com"), "messages.mail.server"),
        (MAIL.replace("mail.example.com", "mail.example.com/x"), "messages.mail.server"),
        (MAIL.replace("mail.example.com", "[::1"), "messages.mail.server"),
        (MAIL.replace("office@", "Office <office@"), "messages.mail.from"),
        (CALL.replace("key-source", "key"), "messages.ars.key-source"),
        (CALL.replace('callback = "https', 'callback = "http'), "messages.ars.callback"),
    ],
)
def test_what_cannot_stand_there(tmp_path: Path, text: str, named: str) -> None:
    """It is named; a secret that was put where its source belongs is not repeated."""
    with pytest.raises(InvalidSetting) as refused:
        load(tmp_path, text)
    assert named in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GATEWAY.replace("env:GATEWAY_TOKEN", "file:/nowhere/token"), "[messages.sms], 'secrets.token'"),
        (GATEWAY.replace("[202]", "[202]\nca-certificate = 'authority.toml'"), "[messages.sms], 'ca-certificate'"),
        (MAIL + "user = 'me'\npassword-source = 'cmd:false'", "[messages.mail], 'password-source'"),
        (CALL.replace("file:/etc/dojang/call-key", "cmd:echo short"), "[messages.ars], 'key-source'"),
    ],
)
def test_what_is_missing_is_noticed_before_the_first_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, named: str
) -> None:
    """A centre asks before it serves anybody; it says which key, and no secret."""
    monkeypatch.setenv("GATEWAY_TOKEN", "s3cret")
    with pytest.raises(ValueError, match=re.escape(named)) as refused:
        load(tmp_path, text).check()
    assert not any(secret in str(refused.value) for secret in ("s3cret", "short ", "nowhere"))
    load(tmp_path, GATEWAY).check()


def test_the_console_is_for_tests(tmp_path: Path) -> None:
    """It shows codes where the program runs."""
    policy = load(tmp_path, "test = true\n[messages.sms]\nkind = 'console'\n[messages.ars]\nkind = 'console'")
    assert [sender.kind for sender in policy.senders.values()] == ["console", "console"]
    assert policy.caller is None


def test_a_gateway_on_this_machine_may_do_without_tls(tmp_path: Path) -> None:
    """For tests, and for a relay that runs beside."""
    for host in ("localhost:8080", "127.0.0.1", "[::1]:1"):
        load(tmp_path, GATEWAY.replace("https://api.example.com", f"http://{host}"))
