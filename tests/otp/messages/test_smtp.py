"""Mail by a real mail server on loopback, over TLS and with a login, and by servers that refuse, hang or break off."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.otp.messages.conftest import CODE, Tls, mail_server, message_to, secret_file, wire

from dojang.errors import MessageUnsent
from dojang.otp.messages.sending import Sender, sender_from

HONG = message_to("mail", "hong@example.com")


def sender(folder: Path, port: int, security: str = "none", host: str = "localhost", **more: Any) -> Sender:
    """As an authority's settings describe it."""
    table = {"kind": "smtp", "server": f"{host}:{port}", "from": "office@example.kr", "security": security, **more}
    return sender_from(table, "mail", folder, is_test=False)


def problem(found: Sender, message: Any = HONG) -> str:
    """Why it was not sent; never with the address, the code or a password."""
    with pytest.raises(MessageUnsent) as unsent:
        found.send(message)
    shown = f"{unsent.value} {unsent.value.facts}"
    for secret in ("hong@", "nobody@", CODE, "pass word", "another word", "비밀"):
        assert secret not in shown
    return str(unsent.value.facts["problem"])


def test_a_mail_arrives(tmp_path: Path) -> None:
    """To the one address, from the office, with the code in its text and not in its subject."""
    with mail_server() as box:
        sender(tmp_path, box.port).send(HONG)
    (mail,), (envelope,) = box.mails, box.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("office@example.kr", ["hong@example.com"])
    assert (mail["From"], mail["To"]) == ("office@example.kr", "hong@example.com")
    assert mail["Subject"] == "[우체국] 인증서 발급 인증번호"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.kr>")
    assert CODE in mail.get_content()
    assert "누구에게도 알리지 마십시오" in mail.get_content()


def test_a_mail_in_english(tmp_path: Path) -> None:
    """For whoever reads that."""
    with mail_server() as box:
        sender(tmp_path, box.port).send(message_to("mail", "kim@example.com", "Office", "en"))
    assert box.mails[0]["Subject"] == "[Office] Your code to get a certificate"
    assert "Never tell it to anybody" in box.mails[0].get_content()


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_over_tls_with_a_login(tmp_path: Path, tls: Tls, security: str) -> None:
    """The certificate is checked, then the password is given, and the mail goes."""
    how = {"ssl_context": tls.context} if security == "tls" else {"tls_context": tls.context, "require_starttls": True}
    more = {"ca-certificate": str(tls.trust), "user": "dojang"}
    right = {"password-source": secret_file(tmp_path, "right", "a pass word")}
    wrong = {"password-source": secret_file(tmp_path, "wrong", "another word")}
    with mail_server(login=True, **how) as box:
        sender(tmp_path, box.port, security, **more, **right).send(HONG)
        assert len(box.mails) == 1
        refused = problem(sender(tmp_path, box.port, security, **more, **wrong))
        assert refused == "the mail server does not take the user or the password (535)"
        # The name in the certificate is another than this one; and nobody here knows who made it.
        strange = problem(sender(tmp_path, box.port, security, "127.0.0.1", **more, **right))
        assert strange.startswith("its certificate is not trusted")
        before = len(box.logins)
        assert problem(sender(tmp_path, box.port, security, **right, user="dojang")).startswith("its certificate")
    assert len(box.logins) == before
    assert len(box.mails) == 1


def test_no_mail_goes_in_the_open(tmp_path: Path) -> None:
    """A server that offers no TLS, or whose offer was taken out on the way, gets neither password nor mail."""
    with mail_server() as box:
        assert problem(sender(tmp_path, box.port, "starttls")) == "the mail server offers no TLS, or no way to log in"
    assert box.mails == []


def test_an_address_that_is_refused(tmp_path: Path) -> None:
    """What the server wrote, which repeats the address, is not passed on."""
    with mail_server() as box:
        said = problem(sender(tmp_path, box.port), message_to("mail", "nobody@example.com"))
    assert said == "the mail server does not take the address (550)"


def test_a_password_that_cannot_be_sent(tmp_path: Path) -> None:
    """It says so, and shows none of it."""
    more = {"user": "dojang", "password-source": secret_file(tmp_path, "korean", "비밀word")}
    said = problem(sender(tmp_path, 1, "starttls", **more))
    assert said == "the password has characters that are not ASCII"


def test_a_password_that_is_not_there(tmp_path: Path) -> None:
    """Nobody is connected to; where the secret should be is not told to applicants."""
    with wire(lambda _socket, _over: None) as met:
        found = sender(tmp_path, met.port, user="dojang", **{"password-source": f"file:{tmp_path}/missing"})
        assert problem(found) == "a secret that its settings name cannot be read"
    assert met.met == []


def test_nobody_is_there(tmp_path: Path) -> None:
    """A port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "cannot be reached" in problem(sender(tmp_path, unused.getsockname()[1]))


def silent(_connection: socket.socket, over: threading.Event) -> None:
    over.wait(20)


def dripping(connection: socket.socket, over: threading.Event) -> None:
    """A letter at a time, each in time, and never a line."""
    connection.sendall(b"220-")
    while not over.wait(0.1):
        connection.sendall(b"x")


@pytest.mark.parametrize("talk", [silent, dripping])
def test_a_server_that_keeps_one_waiting(tmp_path: Path, talk: Any) -> None:
    """It ends in the time that the settings give it."""
    with wire(talk) as met:
        began = time.monotonic()
        assert "did not answer in time" in problem(sender(tmp_path, met.port, seconds=1))
        assert time.monotonic() - began < 5
    assert len(met.met) == 1


class Talk:
    """As much of SMTP as takes one mail, then whatever ``end`` does."""

    def __init__(self, end: Any, at: bytes) -> None:
        self.end, self.at = end, at

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        with connection.makefile("rwb", 0) as lines:
            lines.write(b"220 here\r\n")
            for line in lines:
                if line.upper().startswith(self.at):
                    return self.end(connection, over)
                if line.upper().startswith(b"DATA"):
                    lines.write(b"354 go on\r\n")
                    while lines.readline() != b".\r\n":
                        pass
                    if self.at == b".":
                        return self.end(connection, over)
                lines.write(b"250 ok\r\n")
        return None


def test_a_server_that_breaks_off_is_asked_once(tmp_path: Path) -> None:
    """After the text has gone nobody knows whether the mail was taken: it says so, and nothing is sent again."""
    with wire(Talk(lambda *_: None, b".")) as met:
        assert "whether the message arrived is unknown" in problem(sender(tmp_path, met.port))
    assert len(met.met) == 1


@pytest.mark.parametrize("end", [silent, lambda *_: None])
def test_what_was_taken_was_sent(tmp_path: Path, end: Any) -> None:
    """Whatever a server does after it has taken a mail, it is not told as a failure."""
    with wire(Talk(end, b"QUIT")) as met:
        sender(tmp_path, met.port, seconds=1).send(HONG)
    assert len(met.met) == 1


def test_a_server_that_turns_one_away(tmp_path: Path) -> None:
    """By its status alone."""

    def busy(connection: socket.socket, _over: threading.Event) -> None:
        connection.sendall(b"421 too many of you, hong@example.com\r\n")

    with wire(busy) as met:
        assert problem(sender(tmp_path, met.port)) == "the mail server refused (421)"
