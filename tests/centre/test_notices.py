"""Subscribers are told by mail that they can renew, in Korean and English."""

import socketserver
import threading
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest
from tests.lifecycle.test_channels import _Smtp

from dojang.authority.jobs.notices import RenewalNotice
from dojang.centre.notices import MailToSubscribers
from dojang.errors import NoticeUndelivered
from dojang.renewal_settings import MailSettings
from dojang.secret import Secret

UNTIL = datetime(2026, 3, 1, 14, 59, tzinfo=UTC)


@pytest.fixture
def post_office():
    """A mail server that keeps what it gets."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Smtp) as server:
        server.mails, server.envelope = [], []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(server, *addresses: str, subject: str = "CN=홍길동,C=KR") -> None:
    port = server.server_address[1]
    settings = MailSettings(("operator@example.com",), "ca@example.com", "127.0.0.1", port, security="none")
    sender = MailToSubscribers(settings, lambda _source, _what: Secret(b""))
    sender.send(RenewalNotice("office", "3f2a", subject, addresses, UNTIL, 13, 14))


def test_the_subscriber_is_written_to(post_office):
    """The mail goes to the addresses in the certificate, not to the operator, and says what expires when."""
    send(post_office, "hong@example.com", "gildong@example.com")
    mail = message_from_bytes(post_office.mails[0], policy=policy.default)
    assert mail["To"] == "hong@example.com, gildong@example.com"
    assert not any("operator" in line for line in post_office.envelope)
    text = mail.get_content()
    for said in ("office", "CN=홍길동,C=KR", "3f2a", "2026-03-01 14:59 UTC", "13일", "in 13 days"):
        assert said in text
    assert "갱신" in mail["Subject"]
    assert "13" in mail["Subject"]


def test_a_name_makes_no_line_of_its_own(post_office):
    """Whatever a certificate calls its holder stays on one line."""
    send(post_office, "hong@example.com", subject="CN=Hong\r\nPlease pay\r\n.\r\n")
    text = message_from_bytes(post_office.mails[0], policy=policy.default).get_content()
    assert "CN=Hong Please pay ." in text.splitlines()[1]


def test_what_the_server_refuses_is_undelivered(post_office):
    """A mailbox that is not there is told as such, so that the job tries again."""
    with pytest.raises(NoticeUndelivered):
        send(post_office, "nobody@example.com")
