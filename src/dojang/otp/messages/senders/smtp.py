"""Mail through a mail server.

[messages.mail]
kind = "smtp"
server = "mail.example.com:587"                 # 587 for starttls, 465 for tls, 25 for none unless said
from = "office@example.com"
security = "starttls"                           # or "tls"; "none" only for a server on this machine
user = "dojang"
password-source = "file:/etc/dojang/mail-password"
ca-certificate = "mail-ca.pem"                  # what its certificate is checked with, if not the system's own
seconds = 10

A mail that the server has taken was sent, whatever it says afterwards; one of which nobody knows is not sent again.
"""

import smtplib
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from dojang.errors import Phrase
from dojang.otp.messages.mailing import MailServer, give
from dojang.otp.messages.reading import LOOPBACK
from dojang.otp.messages.targets import mail_address
from dojang.otp.messages.undelivered import check_secret, check_trust, problem_of, secret_from, unsent

if TYPE_CHECKING:
    from dojang.otp.messages.reading import SenderTable
    from dojang.otp.messages.sending import Message
    from dojang.pkcs11.pin import PinSource

_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True)
class Smtp:
    """Implements ``Sender``."""

    server: MailServer
    sender: str
    login: "tuple[str, PinSource] | None" = field(repr=False)
    kind = "smtp"

    @classmethod
    def from_table(cls, table: "SenderTable") -> Self:
        security = table.word("security", tuple(_PORTS), "starttls")
        host, port = _server(table, _PORTS[security])
        if security == "none" and host not in LOOPBACK:
            table.refuse("security")
        server = MailServer(host, port, security, table.seconds(), table.file("ca-certificate"))
        return cls(server, _sender(table), table.login())

    def send(self, message: "Message") -> None:
        login = None if self.login is None else (self.login[0], self._password(self.login[1], message))
        try:
            give(self.server, self._mail(message), login)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            raise unsent(self.kind, message.target, problem_of(error)) from error

    def check(self) -> None:
        if self.login is not None:
            check_secret(self.login[1], "password-source")
        check_trust(self.server.trust)

    def _password(self, source: "PinSource", message: "Message") -> str:
        """In ASCII, which is what smtplib logs in with."""
        try:
            return secret_from(source, self.kind, message.target).reveal().decode("ascii")
        except UnicodeError:
            problem = Phrase("the password has characters that are not ASCII")
        raise unsent(self.kind, message.target, problem)

    def _mail(self, message: "Message") -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, message.target.address, message.subject
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(message.id, self.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail


def _server(table: "SenderTable", usual: int) -> tuple[str, int]:
    text = table.text("server")
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        table.refuse("server")
    if not host or port == 0 or parts.netloc != text or "@" in text:
        table.refuse("server")
    return str(host), port or usual


def _sender(table: "SenderTable") -> str:
    try:
        return mail_address(table.text("from"))
    except ValueError:
        return str(table.refuse("from"))
