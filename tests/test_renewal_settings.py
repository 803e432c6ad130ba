"""The tables ``[renew]`` and ``[notices]`` of the configuration."""

from pathlib import Path

import pytest

from dojang.errors import InvalidSetting
from dojang.renewal_settings import MailSettings, NoticeSettings, RenewSettings, WebhookSettings
from dojang.settings import load

WHOLE = """
[renew]
pre-hook = ["/bin/before", "a word"]
post-hook = ["/bin/after"]
hook-timeout = 5
jobs = 3

[notices]
days = [7, 30, 7]
desktop = true

[notices.mail]
to = ["hong@example.com"]
from = "dojang@example.com"
server = "mail.example.com"
user = "dojang"
password-source = "file:/run/mail"

[notices.webhook]
url = "https://example.com/hook"
secret-source = "env:SECRET"
"""


def _load(folder: Path, text: str):
    (folder / "config.toml").write_text(text)
    return load(environment={"DOJANG_HOME": str(folder)})


def test_every_setting_is_read(tmp_path: Path) -> None:
    """Each key arrives in its field; days are sorted, ports follow from the security."""
    settings = _load(tmp_path, WHOLE)
    assert settings.renew == RenewSettings(("/bin/before", "a word"), ("/bin/after",), 5.0, 3)
    mail = MailSettings(
        ("hong@example.com",), "dojang@example.com", "mail.example.com", 587, "starttls", "dojang", "file:/run/mail"
    )
    webhook = WebhookSettings("https://example.com/hook", "env:SECRET")
    assert settings.notices == NoticeSettings((30, 7), True, mail, webhook)


def test_nothing_need_be_there(tmp_path: Path) -> None:
    """Without the tables there are no hooks and no notices; an empty one has the usual days."""
    assert (_load(tmp_path, "").renew, _load(tmp_path, "").notices) == (None, None)
    assert _load(tmp_path, "[notices]\n").notices.days == (30, 7, 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[renew]\npre-hook = "a shell line"\n', "pre-hook"),
        ("[renew]\npost-hook = []\n", "post-hook"),
        ("[renew]\njobs = 0\n", "jobs"),
        ("[renew]\nnonsense = 1\n", "nonsense"),
        ("renew = 1\n", "renew"),
        ("[notices]\ndays = [-1]\n", "days"),
        ('[notices.mail]\nto = ["a@b"]\nserver = "x"\n', "from"),
        ('[notices.mail]\nto = ["a@b"]\nfrom = "c@d"\nserver = "x:99999"\n', "server"),
        ('[notices.mail]\nto = ["a@b"]\nfrom = "c@d"\nserver = "x"\nuser = "y"\n', "password-source"),
        ('[notices.mail]\nto = ["a@b\\nBcc: e@f"]\nfrom = "c@d"\nserver = "x"\n', "to"),
        ('[notices.webhook]\nurl = "http://example.com/"\nsecret-source = "env:X"\n', "https"),
        ('[notices.webhook]\nurl = "file:///etc/passwd"\nsecret-source = "env:X"\n', "https"),
        ('[notices.webhook]\nurl = "https://example.com/"\n', "secret-source"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, named: str) -> None:
    """A mistake is told when the file is read, and the complaint names it."""
    with pytest.raises(InvalidSetting, match=named):
        _load(tmp_path, text)
