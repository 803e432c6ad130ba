"""Why a message was not delivered, in words that hold neither its text nor where it was to go."""

import http.client
import smtplib
import ssl
from typing import TYPE_CHECKING

from dojang.errors import DojangError, MessageUnsent, Phrase

if TYPE_CHECKING:
    from pathlib import Path

    from dojang.otp.messages.targets import Target
    from dojang.pkcs11.pin import PinSource
    from dojang.secret import Secret


def unsent(sender: str, target: "Target", problem: Phrase) -> MessageUnsent:
    return MessageUnsent(sender=sender, target=target.masked, problem=problem)


def problem_of(error: Exception, *, late: bool = False) -> Phrase:
    """What a network, TLS or mail error comes to. What a server wrote is left out: it repeats addresses."""
    if late or isinstance(error, TimeoutError):
        return Phrase("it did not answer in time; whether the message arrived is unknown")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Phrase("its certificate is not trusted ({detail})", detail=error.verify_message)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Phrase("the mail server offers no TLS, or no way to log in")
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Phrase("the mail server does not take the user or the password ({status})", status=error.smtp_code)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = ", ".join(sorted({str(code) for code, _text in error.recipients.values()}))
        return Phrase("the mail server does not take the address ({status})", status=codes)
    if isinstance(error, smtplib.SMTPResponseException):
        return Phrase("the mail server refused ({status})", status=error.smtp_code)
    if isinstance(error, ConnectionRefusedError):
        return Phrase("it cannot be reached ({detail})", detail=error.strerror)
    if isinstance(error, (smtplib.SMTPServerDisconnected, http.client.HTTPException, ConnectionError, EOFError)):
        return Phrase("it broke off; whether the message arrived is unknown")
    if isinstance(error, OSError):
        return Phrase("it cannot be reached ({detail})", detail=error.strerror or type(error).__name__)
    return Phrase("it failed ({detail})", detail=type(error).__name__)


def check_secret(source: "PinSource", key: str, shortest: int = 1) -> None:
    """``ValueError`` with a phrase when ``secret_from`` would fail, or find too short a one."""
    try:
        found = source.read("secret")
    except DojangError:  # where it should be is not to be told
        found = None
    if found is None or len(found) < shortest:
        raise ValueError(Phrase("'{key}': what it names cannot be read, or is too short", key=key))


def check_trust(path: "Path | None") -> None:
    """``ValueError`` with a phrase when nothing could be checked with the certificates there."""
    try:
        if path is not None:
            ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ValueError(Phrase("'{key}': what it names cannot be read", key="ca-certificate")) from error


def secret_from(source: "PinSource", sender: str, target: "Target") -> "Secret":
    """A secret that the settings name, read anew each time. ``MessageUnsent`` when it cannot be."""
    try:
        found = source.read("secret")
    except DojangError as error:
        raise unsent(sender, target, Phrase("a secret that its settings name cannot be read")) from error
    assert found is not None, "a source without a keypad gives something or says why not"
    return found
