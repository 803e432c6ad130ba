"""The ways to reach a person: the desktop, a mail server, a web hook. Each delivers one notice or says why not."""

import hashlib
import hmac
import http.client
import json
import shutil
import smtplib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final
from urllib.parse import urlsplit

from dojang.errors import NoticeUndelivered, Phrase
from dojang.lifecycle.notices import Channel, Notice
from dojang.otp.messages.mailing import MailServer, give
from dojang.otp.messages.undelivered import problem_of
from dojang.renewal_settings import MailSettings, NoticeSettings, WebhookSettings
from dojang.secret import Secret

SecretSource = Callable[[str, str], Secret]
"""Given a source and what it is for, reads the secret."""

SIGNATURE_HEADER: Final = "X-Dojang-Signature-256"
_SECONDS: Final = 10.0
_RETRIES: Final = (0.5, 2.0)
_LOCAL: Final = frozenset(("localhost", "127.0.0.1", "::1"))


def channels_of(settings: NoticeSettings, secret: SecretSource) -> list[Channel]:
    """Those that the settings name, and the desktop where it was asked for and there is one."""
    found: list[Channel] = []
    if settings.desktop and (words := desktop_program()) is not None:
        found.append(Desktop(words))
    if settings.mail is not None:
        found.append(Mail(settings.mail, secret))
    if settings.webhook is not None:
        found.append(Webhook(settings.webhook, secret))
    return found


def desktop_program() -> tuple[str, ...] | None:
    """What shows a notice on this desktop, subject and text to be added; ``None`` where there is nothing."""
    if (path := shutil.which("notify-send")) is not None:
        return path, "--app-name=dojang", "--urgency=critical", "--"
    if (path := shutil.which("gdbus")) is not None:
        place = ("--dest=org.freedesktop.Notifications", "--object-path=/org/freedesktop/Notifications")
        call = "--method=org.freedesktop.Notifications.Notify"
        return path, "call", "--session", *place, call, "dojang", "0", ""
    return None


@dataclass(frozen=True, slots=True)
class Desktop:
    """The notices of the desktop that this process belongs to."""

    words: tuple[str, ...]
    name = "desktop"

    def deliver(self, notice: Notice, subject: str, text: str) -> None:
        del notice
        rest = () if self.words[-1] == "--" else ("[]", "{}", "-1")
        try:
            shown = subprocess.run(  # noqa: S603 - found on the PATH, and no shell
                [*self.words, subject, text, *rest],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_SECONDS,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise NoticeUndelivered(channel=self.name, problem=str(error)) from error
        if shown.returncode:
            said = shown.stderr.decode(errors="replace").strip().splitlines()
            raise NoticeUndelivered(channel=self.name, problem=said[-1] if said else str(shown.returncode))


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail by SMTP. Passwords go over TLS, or to a server on this machine."""

    settings: MailSettings
    secret: SecretSource
    seconds: float = _SECONDS
    name = "mail"

    def deliver(self, notice: Notice, subject: str, text: str) -> None:
        settings, login = self.settings, None
        try:
            if settings.user is not None and settings.password_source is not None:
                login = settings.user, self._password(settings.password_source)
            server = MailServer(settings.host, settings.port, settings.security, self.seconds)
            give(server, self._message(notice, subject, text), login)
        except TimeoutError as error:
            raise NoticeUndelivered(channel=self.name, problem=problem_of(error)) from error
        except (OSError, ValueError, smtplib.SMTPException) as error:
            raise NoticeUndelivered(channel=self.name, problem=_short(error)) from error

    def _password(self, source: str) -> str:
        if self.settings.security == "none" and self.settings.host not in _LOCAL:
            raise NoticeUndelivered(
                channel=self.name, problem=Phrase("a password would go over the network as it is; use starttls or tls")
            )
        return self.secret(source, "mail password").reveal().decode()

    def _message(self, notice: Notice, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"] = self.settings.sender, ", ".join(self.settings.to)
        message["Subject"] = subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="dojang.invalid")
        message["X-Dojang-Fingerprint"] = notice.fingerprint
        message.set_content(text)
        return message


@dataclass(frozen=True, slots=True)
class Webhook:
    """A POST of JSON, signed: the header holds ``sha256=`` and the HMAC-SHA-256 of the body in hex.

    ``id`` is the same for each repetition, so that a receiver can tell them from new ones. No redirection is followed.
    """

    settings: WebhookSettings
    secret: SecretSource
    pauses: Sequence[float] = _RETRIES
    name = "webhook"

    def deliver(self, notice: Notice, subject: str, text: str) -> None:
        known = {"schema": 1, "id": f"{notice.fingerprint[:32]}-{notice.threshold}", **notice.to_json()}
        body = json.dumps({**known, "title": subject, "text": text, "sent_at": int(time.time())}).encode()
        key = self.secret(self.settings.secret_source, "webhook secret").reveal()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "dojang",
            SIGNATURE_HEADER: "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
        }
        request = urllib.request.Request(self.settings.url, body, headers, method="POST")  # noqa: S310 - https, checked
        for pause in (*self.pauses, None):
            problem, hopeless = self._post(request)
            if problem is None:
                return
            if hopeless or pause is None:
                raise NoticeUndelivered(channel=self.name, problem=problem)
            time.sleep(pause)

    def _post(self, request: urllib.request.Request) -> tuple[str | None, bool]:
        """Why it did not arrive, and whether asking again is no use."""
        local = urlsplit(self.settings.url).hostname in _LOCAL
        opener = urllib.request.build_opener(_NoRedirect(), *([urllib.request.ProxyHandler({})] if local else []))
        try:
            with opener.open(request, timeout=_SECONDS):
                return None, False
        except urllib.error.HTTPError as error:
            return f"HTTP {error.code}", error.code < 500 and error.code not in (408, 425, 429)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return _short(error), False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is signed for one place is not carried to another."""

    def redirect_request(self, *_arguments: object, **_named: object) -> None:
        return None


def _short(error: Exception) -> str:
    """Nothing of what could not be encoded, which may be a password."""
    if isinstance(error, UnicodeError):
        return type(error).__name__
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return (str(reason or error) or type(error).__name__).splitlines()[0][:200]
