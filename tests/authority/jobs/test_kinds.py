"""What is done when it is due: each kind finds by itself what there is to do, and does no harm when done again."""

import time
from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy import select

from dojang.authority import tables
from dojang.authority.audit.reading import entries, newest_head
from dojang.authority.jobs.engine import Job
from dojang.authority.jobs.kinds import handlers_of, runner_of
from dojang.authority.jobs.notices import _ADDRESS
from dojang.authority.jobs.outcomes import outcomes
from dojang.authority.jobs.schedule import SCHEDULE
from dojang.errors import NoticeUndelivered


class Post:
    """Keeps what it was to send; refuses addresses named ``away``."""

    def __init__(self) -> None:
        self.sent = []

    def send(self, notice) -> None:
        if notice.addresses == ("away@example.com",):
            raise NoticeUndelivered(channel="mail", problem="no such mailbox")
        self.sent.append(notice)


@pytest.fixture
def do(authority, clock):
    """Does one kind of work at the moment that the authority's clock shows."""
    post = Post()
    handlers = handlers_of(authority, [post])

    def do(kind: str) -> None:
        handlers[kind](Job(1, kind, "", clock(), 1), clock())

    do.post, do.kinds = post, handlers.keys()
    return do


def serial_of(certificate_der: bytes) -> str:
    return f"{x509.load_der_x509_certificate(certificate_der).serial_number:x}"


def events(authority) -> list[str]:
    return [entry.event for entry in entries(authority.database)]


def test_every_kind_is_scheduled(do):
    """What can be done stands in the schedule, and nothing else does."""
    assert do.kinds == {row.kind for row in SCHEDULE}


def test_everything_can_be_done_twice(authority, do):
    """On an authority that has nothing to do, every kind of work succeeds, and again."""
    for kind in [*do.kinds, *do.kinds]:
        do(kind)
    assert set(events(authority)) <= {"authority-founded", "crl-published"}


def test_lists_are_published_before_they_are_over(authority, do, clock):
    """A list that has most of its time left stays; one that is over soon is published anew."""
    do("publish-lists")
    number = authority.info().crl_number
    do("publish-lists")
    assert authority.info().crl_number == number
    clock.turn(30)
    do("publish-lists")
    assert authority.info().crl_number > number
    listed = x509.load_der_x509_crl(authority.crl_path().read_bytes())
    assert listed.next_update_utc > clock()


def test_what_nobody_confirmed_is_revoked_and_listed(authority, desk, do, clock):
    """A certificate that was never confirmed is on the list after its time, a confirmed one is not."""
    confirmed, lost = serial_of(desk.have()), serial_of(desk.ask().certificate_der)
    do("revoke-unconfirmed")
    assert authority.find(lost).state == "issued"
    clock.turn(2)
    do("revoke-unconfirmed")
    do("revoke-unconfirmed")
    assert (authority.find(lost).state, authority.find(confirmed).state) == ("revoked", "confirmed")
    listed = x509.load_der_x509_crl(authority.crl_path().read_bytes())
    assert {f"{one.serial_number:x}" for one in listed} == {lost}


def test_a_hold_ends(authority, desk, do, clock):
    """A certificate on hold for more than six months is revoked."""
    serial = serial_of(desk.have())
    authority.suspend(serial)
    do("end-holds")
    assert authority.find(serial).state == "suspended"
    clock.turn(190)
    do("end-holds")
    assert authority.find(serial).state == "revoked"


def test_the_head_is_signed_over_what_came_since(authority, desk, do):
    """After the job the newest head covers the last row; without new rows nothing is signed."""
    desk.have()
    do("sign-head")
    head = newest_head(authority.database)
    assert head.entries == len(events(authority))
    do("sign-head")
    assert newest_head(authority.database) == head


def test_subscribers_are_told_once_for_each_number_of_days(authority, desk, do, clock):
    """At 30, 14, 7 and 1 days before expiry a notice goes to the addresses in the certificate, each once."""
    serial = serial_of(desk.have(names=("email:hong@example.com",)))
    desk.have()  # nobody to be reached
    until = authority.find(serial).not_after_at
    do("notify-renewals")
    assert do.post.sent == []
    told = []
    for days in (29.5, 29, 20, 13.5, 6.5, 6, 0.5):
        clock.at = until - timedelta(days=days)
        do("notify-renewals")
        do("notify-renewals")
        told.append(len(do.post.sent))
    assert told == [1, 1, 1, 2, 3, 3, 4]
    first = do.post.sent[0]
    assert (first.serial, first.addresses, first.days_left, first.threshold) == (serial, ("hong@example.com",), 29, 30)


def test_a_notice_that_did_not_arrive_is_tried_again(authority, desk, do, clock):
    """One that cannot be delivered keeps nobody else from his, and is given as soon as it can be."""
    for name in ("away", "hong"):
        serial = serial_of(desk.have(names=(f"email:{name}@example.com",)))
    clock.at = authority.find(serial).not_after_at - timedelta(days=10)
    for _turn in range(2):
        with pytest.raises(NoticeUndelivered):
            do("notify-renewals")
    assert [notice.addresses for notice in do.post.sent] == [("hong@example.com",)]


def test_an_address_is_one_mailbox():
    """What a mail program might take for several recipients, or for a header, is never written to."""
    odd = ("a@b,c@d", "a@b\nBcc: c@d", "<a@b>", "a b@c", "a@b@c", "a", "@b", "a@", '"a"@b', "a@b;c@d")
    assert [one for one in odd if _ADDRESS.fullmatch(one)] == []
    assert _ADDRESS.fullmatch("hong.gildong+ca@example.co.kr")


def test_a_replaced_certificate_is_not_spoken_of(authority, desk, do, clock, new_key):
    """Whoever has renewed is not told that he could."""
    old = desk.have(names=("email:hong@example.com",))
    clock.at = authority.find(serial_of(old)).not_after_at - timedelta(days=20)
    desk.have("renew", old=old, key=new_key(), names=("email:hong@example.com",))
    do("notify-renewals")
    assert do.post.sent == []


def test_a_runner_does_all_of_it(authority, desk):
    """As a server mounts it: started, it does the work of an authority and tells of each piece."""
    desk.have()
    told = []
    with runner_of(authority, tell=told.append) as runner:
        deadline = time.monotonic() + 30
        while {one.kind for one in outcomes(authority.database)} != {row.kind for row in SCHEDULE[:-1]}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert runner.drain(10)
    assert [done for done in told if done.error is not None] == []
    with authority.database.reading() as connection:
        assert connection.execute(select(tables.audit_head.c.seq)).first() is not None
