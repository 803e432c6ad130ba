"""Notices over real servers on loopback: a mail, a web hook that can check who sent it, a program of the desktop."""

import contextlib
import hashlib
import hmac
import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dojang.cli.renew_orders import notice_words
from dojang.errors import NoticeUndelivered
from dojang.lifecycle.channels import SIGNATURE_HEADER, Desktop, Mail, Webhook, channels_of, desktop_program
from dojang.lifecycle.notices import OUT_OF_REACH, Notice
from dojang.renewal_settings import MailSettings, NoticeSettings, WebhookSettings
from dojang.secret import Secret

NOTICE = Notice(
    fingerprint="ab" * 32,
    address="pkcs11:token=Hong;object=sign",
    subject="CN=홍길동,C=KR",
    not_after_at=datetime.now(UTC) + timedelta(days=6, hours=5),
    days_left=6,
    threshold=7,
    reason=OUT_OF_REACH,
)


class _Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as takes one mail."""

    def handle(self) -> None:
        self._say("220 here")
        for raw in self.rfile:
            word, _space, rest = raw.decode().strip().partition(" ")
            if word.upper() == "DATA":
                self._say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(b"".join(line.removeprefix(b".") for line in lines))
            elif word.upper() in ("MAIL", "RCPT"):
                self.server.envelope.append(rest)
                if "nobody@" in rest:
                    self._say("550 no such person")
                    continue
            self._say("221 bye" if word.upper() == "QUIT" else "250 ok")
            if word.upper() == "QUIT":
                return

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def post_office() -> Iterator[socketserver.TCPServer]:
    """A mail server that keeps what it gets."""
    with socketserver.ThreadingTCPServer(("", 0), _Smtp) as server:
        server.mails, server.envelope = [], []
        yield from _served(server)


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    """A web server that keeps what is posted and answers with the next of ``answers``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.posts.append((dict(self.headers), body))
            status = self.server.answers.pop(0) if self.server.answers else 204
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Nothing on standard error."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.posts, server.answers = [], []
        yield from _served(server)


def _served(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def _mail(server: socketserver.TCPServer, **changes: object) -> Mail:
    usual = {"to": ("hong@example.com",), "sender": "dojang@example.com", "host": "127.0.0.1", "security": "none"}
    settings = MailSettings(**{**usual, "port": server.server_address[1], **changes})
    return Mail(settings, lambda _source, _purpose: Secret("secret"))


def _webhook(server: HTTPServer, key: str = "shared secret") -> Webhook:
    settings = WebhookSettings(f"http://127.0.0.1:{server.server_port}/hook", "file:secret")
    return Webhook(settings, lambda _source, _purpose: Secret(key), pauses=(0.01, 0.01))


def test_a_mail_arrives(post_office) -> None:
    """Korean subject and text come through as they were written, from and to whom the settings say."""
    _mail(post_office).deliver(NOTICE, "홍길동의 인증서", "엿새 뒤 만료됩니다.\n")
    (raw,) = post_office.mails
    mail = message_from_bytes(raw, policy=policy.default)
    assert (mail["Subject"], mail["From"], mail["To"]) == ("홍길동의 인증서", "dojang@example.com", "hong@example.com")
    assert mail.get_content().splitlines() == ["엿새 뒤 만료됩니다."]


def test_a_mail_that_is_refused(post_office) -> None:
    """A server that refuses, that speaks no TLS when it should, or that is not there: to be tried again."""
    refused = _mail(post_office, to=("nobody@example.com",))
    plain = _mail(post_office, security="starttls")
    absent = _mail(post_office, port=_free_port())
    for channel in (refused, plain, absent):
        with pytest.raises(NoticeUndelivered) as raised:
            channel.deliver(NOTICE, "subject", "text")
        assert raised.value.retryable
    assert post_office.mails == []


def test_a_mail_server_that_drips_holds_nobody_up() -> None:
    """A letter at a time, each in time, and never a line: it ends in the time that a delivery has."""
    over, seen = threading.Event(), []

    class Dripping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            seen.append(self.request)
            with contextlib.suppress(OSError):
                self.request.sendall(b"220-")
                while not over.wait(0.1):
                    self.request.sendall(b"x")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        for _ in _served(server):
            began = time.monotonic()
            with pytest.raises(NoticeUndelivered, match="in time"):
                replace(_mail(server), seconds=1.0).deliver(NOTICE, "subject", "text")
            assert time.monotonic() - began < 5
            over.set()
    assert len(seen) == 1


def test_what_a_certificate_calls_itself_makes_no_line(post_office) -> None:
    """A subject with line breaks adds no header and no paragraph; a mail that cannot be written is undelivered."""
    hostile = replace(NOTICE, subject="CN=Hong\r\nBcc: eve@example.com\n\nPay here", address="npki:\nhere")
    subject, text = notice_words(hostile)
    assert text.count("\n") == notice_words(NOTICE)[1].count("\n")
    _mail(post_office).deliver(hostile, subject, text)
    mail = message_from_bytes(post_office.mails[0], policy=policy.default)
    assert "Bcc" not in mail
    assert "eve@example.com" in mail["Subject"]
    with pytest.raises(NoticeUndelivered):
        _mail(post_office).deliver(hostile, hostile.subject, text)


def test_no_password_over_an_open_network(post_office) -> None:
    """Where the connection is not encrypted and may lead off this machine, the password is not even read."""
    asked = []
    channel = _mail(post_office, host="127.0.0.2", user="user", password_source="file:secret")
    channel = replace(channel, secret=lambda source, purpose: asked.append(source) or Secret("secret"))
    with pytest.raises(NoticeUndelivered, match="starttls"):
        channel.deliver(NOTICE, "subject", "text")
    assert (asked, post_office.mails) == ([], [])


def test_a_web_hook_can_check_the_sender(receiver) -> None:
    """The body is JSON with the facts and the words; its HMAC-SHA-256 under the shared secret stands in the header."""
    _webhook(receiver).deliver(NOTICE, "제목", "본문")
    ((headers, body),) = receiver.posts
    expected = hmac.new(b"shared secret", body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE_HEADER] == f"sha256={expected}"
    said = json.loads(body)
    assert (said["title"], said["text"], said["days_left"], said["reason"]) == ("제목", "본문", 6, "out-of-reach")
    assert said["address"] == NOTICE.address


def test_a_web_hook_that_is_busy(receiver) -> None:
    """Errors of the server are tried again with the same id; a refusal is not, and a redirection is not followed."""
    receiver.answers = [503, 500]
    _webhook(receiver).deliver(NOTICE, "title", "text")
    assert len({json.loads(body)["id"] for _headers, body in receiver.posts}) == 1
    assert len(receiver.posts) == 3
    for status in (403, 302):
        receiver.posts, receiver.answers = [], [status]
        with pytest.raises(NoticeUndelivered, match=str(status)):
            _webhook(receiver).deliver(NOTICE, "title", "text")
        assert len(receiver.posts) == 1
    receiver.answers = [500, 500, 500]
    with pytest.raises(NoticeUndelivered):
        _webhook(receiver).deliver(NOTICE, "title", "text")


def test_the_desktop_is_told_by_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subject and text are words of their own to ``notify-send``; where there is no program there is no channel."""
    program = tmp_path / "notify-send"
    program.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done > "$0.said"\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    words = desktop_program()
    assert words is not None
    Desktop(words).deliver(NOTICE, "--subject", "text")
    assert (tmp_path / "notify-send.said").read_text().splitlines()[-3:] == ["--", "--subject", "text"]
    program.write_text("#!/bin/sh\necho 'no bus' >&2; exit 1\n")
    with pytest.raises(NoticeUndelivered, match="no bus"):
        Desktop(words).deliver(NOTICE, "subject", "text")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert channels_of(NoticeSettings(desktop=True), lambda _source, _purpose: Secret("x")) == []


def _free_port() -> int:
    with socketserver.TCPServer(("127.0.0.1", 0), None) as server:
        return server.server_address[1]
