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

import contextlib
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from dojang.errors import Phrase
from dojang.otp.messages.deadline import Deadline
from dojang.otp.messages.reading import LOOPBACK
from dojang.otp.messages.targets import mail_address
from dojang.otp.messages.undelivered import problem_of, secret_from, unsent

if TYPE_CHECKING:
    from dojang.otp.messages.reading import SenderTable
    from dojang.otp.messages.sending import Message
    from dojang.pkcs11.pin import PinSource

_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True)
class Smtp:
    """Implements ``Sender``."""

    host: str
    port: int
    security: str
    sender: str
    login: "tuple[str, PinSource] | None" = field(repr=False)
    trust: Path | None
    seconds: float
    kind = "smtp"

    @classmethod
    def from_table(cls, table: "SenderTable") -> Self:
        security = table.word("security", tuple(_PORTS), "starttls")
        host, port = _server(table, _PORTS[security])
        if security == "none" and host not in LOOPBACK:
            table.refuse("security")
        trust, seconds = table.file("ca-certificate"), table.seconds()
        return cls(host, port, security, _sender(table), table.login(), trust, seconds)

    def send(self, message: "Message") -> None:
        password, server, late = self._password(message), self._server(), False
        try:
            with contextlib.closing(server), Deadline(self.seconds, lambda: server.sock) as deadline:
                try:
                    self._deliver(server, message, password)
                finally:
                    late = deadline.has_passed
        except (OSError, ValueError, smtplib.SMTPException) as error:
            raise unsent(self.kind, message.target, problem_of(error, late=late)) from error

    def _password(self, message: "Message") -> str | None:
        """In ASCII, which is what smtplib logs in with."""
        if self.login is None:
            return None
        try:
            return secret_from(self.login[1], self.kind, message.target).reveal().decode("ascii")
        except UnicodeError:
            problem = Phrase("the password has characters that are not ASCII")
        raise unsent(self.kind, message.target, problem)

    def _server(self) -> smtplib.SMTP:
        name = self.sender.rpartition("@")[2]
        if self.security != "tls":
            return smtplib.SMTP(local_hostname=name, timeout=self.seconds)
        return smtplib.SMTP_SSL(local_hostname=name, timeout=self.seconds, context=self._context())

    def _deliver(self, server: smtplib.SMTP, message: "Message", password: str | None) -> None:
        server._host = self.host  # type: ignore[attr-defined]  # the name that TLS checks; connect() leaves it empty
        code, said = server.connect(self.host, self.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if self.security == "starttls":
            server.starttls(context=self._context())
        if self.login is not None and password is not None:
            server.login(self.login[0], password)
        server.send_message(self._mail(message), self.sender, [message.target.address])
        with contextlib.suppress(OSError, smtplib.SMTPException):
            server.quit()

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.trust)

    def _mail(self, message: "Message") -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, message.target.address, message.subject
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(message.id, self.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail


def _server(table: "SenderTable", usual: int) -> tuple[str, int]:
    host, _colon, port = table.text("server").partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        table.refuse("server")
    return host, int(port or usual)


def _sender(table: "SenderTable") -> str:
    try:
        return mail_address(table.text("from"))
    except ValueError:
        return str(table.refuse("from"))
