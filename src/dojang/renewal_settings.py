"""The tables ``[renew]`` and ``[notices]`` of the configuration; loaded only where the file has them.

[renew]
pre-hook = ["/usr/local/bin/before", "a word"]  # run before each renewal, as it stands, by no shell
post-hook = ["systemctl", "reload", "nginx"]    # run after each renewal that was begun
hook-timeout = 60                               # seconds
jobs = 2                                        # renewals at a time; one a core unless said

[notices]
days = [30, 7, 1]                               # days before the expiry of what is not renewed by itself
desktop = true

[notices.mail]
to = ["hong@example.com"]
from = "dojang@example.com"
server = "mail.example.com:587"
security = "starttls"                           # or "tls", or "none" for a server on this machine
user = "dojang"
password-source = "file:/etc/dojang/mail-password"

[notices.webhook]
url = "https://example.com/hooks/dojang"
secret-source = "file:/etc/dojang/webhook-secret"
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dojang.errors import Phrase

SECURITIES = ("starttls", "tls", "none")
_LONGEST_DAYS = 3650
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class RenewSettings(NamedTuple):
    """How renewals are made. Hooks are words, none for no hook; ``jobs`` is ``None`` for one a core."""

    pre_hook: tuple[str, ...] = ()
    post_hook: tuple[str, ...] = ()
    hook_timeout: float = 60.0
    jobs: int | None = None


class MailSettings(NamedTuple):
    """A mail server, and between whom."""

    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    security: str = "starttls"
    user: str | None = None
    password_source: str | None = None


class WebhookSettings(NamedTuple):
    """Where notices are posted; the secret signs them."""

    url: str
    secret_source: str


class NoticeSettings(NamedTuple):
    """When notices are given, the earliest first, and by which ways."""

    days: tuple[int, ...] = (30, 7, 1)
    desktop: bool = False
    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None


def renew_settings(value: object) -> RenewSettings:
    """Raises ``TypeError`` and ``ValueError``, which ``settings`` turns into ``InvalidSetting``."""
    keys: dict[str, Callable[[object], Any]] = {
        "pre-hook": _texts,
        "post-hook": _texts,
        "hook-timeout": _seconds,
        "jobs": lambda jobs: _number(jobs, 1, 64),
    }
    return RenewSettings(**_read(value, keys))


def notice_settings(value: object) -> NoticeSettings:
    """As ``renew_settings``."""
    keys = {"days": _thresholds, "desktop": _switch, "mail": _mail, "webhook": _webhook}
    return NoticeSettings(**_read(value, keys))


def _mail(value: object) -> MailSettings:
    keys = {"to": _texts, "from": _text, "server": _text, "security": _security, "user": _text}
    found = _read(value, {**keys, "password-source": _text}, needed=("to", "from", "server"))
    security = found.get("security", SECURITIES[0])
    host, _colon, port = found.pop("server").partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(Phrase("server: HOST or HOST:PORT expected"))
    if ("user" in found) != ("password_source" in found):
        raise ValueError(Phrase("user and password-source belong together"))
    return MailSettings(sender=found.pop("from"), host=host, port=int(port or _PORTS[security]), **found)


def _webhook(value: object) -> WebhookSettings:
    from urllib.parse import urlsplit

    found = _read(value, {"url": _text, "secret-source": _text}, needed=("url", "secret-source"))
    parts = urlsplit(found["url"])
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ValueError(Phrase("url: https expected, or http to this machine"))
    return WebhookSettings(**found)


def _read(value: object, keys: Mapping[str, Callable[[object], Any]], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(Phrase("a table expected"))
    unknown = sorted(value.keys() - keys.keys())
    if unknown:
        raise ValueError(Phrase("{name} is not a setting", name=unknown[0]))
    missing = [name for name in needed if name not in value]
    if missing:
        raise ValueError(Phrase("{name} is missing", name=missing[0]))
    return {name.replace("-", "_"): _checked(name, keys[name], one) for name, one in value.items()}


def _checked(name: str, check: Callable[[object], Any], value: object) -> Any:
    try:
        return check(value)
    except (TypeError, ValueError) as error:
        raise type(error)(Phrase("{name}: {problem}", name=name, problem=error.args[0])) from error


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\n" in value or "\0" in value:
        raise TypeError(Phrase("text expected"))
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError(Phrase("a list of words expected"))
    return tuple(map(_text, value))


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(Phrase("true or false expected"))
    return value


def _number(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise TypeError(Phrase("a number from {least} to {most} expected", least=least, most=most))
    return value


def _seconds(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 86400:
        raise TypeError(Phrase("a number of seconds expected"))
    return float(value)


def _thresholds(value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise TypeError(Phrase("a list of days expected"))
    return tuple(sorted({_number(one, 0, _LONGEST_DAYS) for one in value}, reverse=True))


def _security(value: object) -> str:
    if value not in SECURITIES:
        raise TypeError(Phrase("one of {choices} expected", choices=", ".join(SECURITIES)))
    return str(value)
