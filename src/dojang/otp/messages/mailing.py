"""One mail to a mail server: over TLS where that is wanted, within a time, and given once."""

import contextlib
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

from dojang.otp.messages.deadline import Deadline


class MailServer(NamedTuple):
    """``security`` is ``starttls``, ``tls`` or ``none``; ``trust`` has the certificates to check with, if not the
    system's own. All of it takes at most ``seconds``.
    """

    host: str
    port: int
    security: str
    seconds: float
    trust: Path | None = None


def give(server: MailServer, mail: EmailMessage, login: tuple[str, str] | None = None) -> None:
    """Returns when the server has taken the mail, whatever it says afterwards.

    From and to whom is what the mail says. Raises ``TimeoutError`` when the time is over, ``OSError``, ``ValueError``
    and ``smtplib.SMTPException`` otherwise; of a mail on which it broke off nobody knows whether it was taken.
    """
    connection = _connection(server, str(mail["From"]).rpartition("@")[2].rstrip(">"))
    with contextlib.closing(connection), Deadline(server.seconds, lambda: connection.sock) as deadline:
        try:
            _give(connection, server, mail, login)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            if deadline.has_passed:
                raise TimeoutError from error
            raise


def _connection(server: MailServer, name: str) -> smtplib.SMTP:
    """Not connected yet. ``name`` is what it calls itself: to find out the host's own may ask the network."""
    if server.security != "tls":
        return smtplib.SMTP(local_hostname=name, timeout=server.seconds)
    return smtplib.SMTP_SSL(local_hostname=name, timeout=server.seconds, context=_context(server))


def _give(connection: smtplib.SMTP, server: MailServer, mail: EmailMessage, login: tuple[str, str] | None) -> None:
    connection._host = server.host  # type: ignore[attr-defined]  # the name that TLS checks; connect() leaves it empty
    code, said = connection.connect(server.host, server.port)
    if code != 220:
        raise smtplib.SMTPConnectError(code, said)
    if server.security == "starttls":
        connection.starttls(context=_context(server))
    if login is not None:
        connection.login(*login)
    connection.send_message(mail)
    with contextlib.suppress(OSError, smtplib.SMTPException):
        connection.quit()


def _context(server: MailServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.trust)
