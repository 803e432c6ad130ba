"""Renewals without anybody watching: when each has its turn, what stops none of the others, what a person is told."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event as Flag

import pytest

from dojang.errors import (
    AuthorityRefused,
    AuthorityUnreachable,
    CredentialBusy,
    DeviceFailure,
    NoticeUndelivered,
    PinKnownWrong,
)
from dojang.ledger import Event, Ledger
from dojang.lifecycle import notices
from dojang.lifecycle import renew as renewing
from dojang.lifecycle.delete import delete
from dojang.lifecycle.held import due_in, held_in
from dojang.lifecycle.issue import issue
from dojang.lifecycle.notices import FAILING, OUT_OF_REACH, UNKNOWN_ORIGIN, Notice
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.lifecycle.renewals import renew_all
from dojang.lifecycle.rounds import LONGEST_SLEEP, Orders, go_round
from dojang.lifecycle.schedule import FAILED, FIRST_PAUSE, LONGEST_PAUSE, Failures, failures_in, schedule_of, try_at
from dojang.locations.claims import FolderBoard, TokenBoard

NEVER = datetime.min.replace(tzinfo=UTC)
ORDERS = Orders("this machine", thresholds=(30, 7, 1))


def _due(office, days: int = 345) -> None:
    """So much later, when the certificates of a year are well inside their window."""
    office.later = timedelta(days=days)


def _round(office, orders: Orders = ORDERS, changed_at: datetime = NEVER):
    return go_round(office.place, [office.address], orders, changed_at)


def test_turns_are_spread_and_stay_the_same(office) -> None:
    """Each of many machines has one turn of its own in the first third of the window, never past the last safe day."""
    held = issue(office.order(), office.place)
    turns = [schedule_of(held, f"machine {number}").turn_at for number in range(200)]
    assert turns == [schedule_of(held, f"machine {number}").turn_at for number in range(200)]
    window = held.facts.not_after_at - held.due_at
    assert window == timedelta(days=30)
    assert all(held.due_at <= turn <= held.due_at + window / 3 for turn in turns)
    assert all(turn < schedule_of(held, "any").last_safe_at for turn in turns)
    for third in range(3):
        begin = held.due_at + window / 9 * third
        assert 30 < sum(begin <= turn < begin + window / 9 for turn in turns) < 110


def test_pauses_grow_and_end(office) -> None:
    """After a failure that may pass: five minutes, ten, twenty … six hours; late in the window an hour at most."""
    schedule = schedule_of(issue(office.order(), office.place), "machine")
    early, late = schedule.turn_at, schedule.last_safe_at + timedelta(hours=1)

    def pause(count: int, last_at: datetime) -> timedelta:
        return try_at(schedule, Failures(count, last_at, "device-busy", True), NEVER, "machine") - last_at

    pauses = [pause(count, early) for count in range(1, 40)]
    assert FIRST_PAUSE <= pauses[0] <= FIRST_PAUSE * 1.25
    assert FIRST_PAUSE * 2 <= pauses[1] <= FIRST_PAUSE * 2.5
    assert all(LONGEST_PAUSE <= one <= LONGEST_PAUSE * 1.25 for one in pauses[10:])
    assert pause(30, late) <= timedelta(hours=1.25)


def test_what_needs_a_person_waits_for_a_change(office) -> None:
    """A PIN that was refused is not tried again until something has changed since."""
    schedule, now = schedule_of(issue(office.order(), office.place), "machine"), office.now()
    refused = Failures(1, now, "pin-known-wrong", False)
    assert try_at(schedule, refused, now - timedelta(seconds=1), "machine") is None
    assert try_at(schedule, refused, now + timedelta(seconds=1), "machine") == schedule.turn_at


def test_failures_end_with_a_success() -> None:
    """What failed before the last success does not count."""
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 6)]
    names = [FAILED, FAILED, "renewed", FAILED, FAILED]
    events = [
        Event(name, "a", "f", {"code": "device-busy", "retryable": True}, at)
        for name, at in zip(names, moments, strict=True)
    ]
    assert failures_in(events).count == 2
    assert failures_in(events).last_at == moments[-1]
    assert failures_in(events[:3]) is None


def test_a_round_renews_what_has_its_turn(office) -> None:
    """Before its turn nothing happens and the round says when it is; at its turn it is renewed, once."""
    held = issue(office.order(), office.place)
    turn_at = schedule_of(held, ORDERS.machine).turn_at
    office.later = turn_at - timedelta(minutes=10) - datetime.now(UTC)
    before = _round(office)
    assert (before.outcomes, before.next_at) == ([], turn_at)
    office.later += timedelta(minutes=11)
    (outcome,) = _round(office).outcomes
    assert outcome.renewal.credential.stored.address == held.stored.address
    after = _round(office)
    assert after.outcomes == []
    assert timedelta() < after.next_at - office.now() <= LONGEST_SLEEP


def test_one_failing_never_stops_the_others(office) -> None:
    """Of several at a time the others are renewed; the failure is in the ledger, and its pause is kept."""
    for name in ("Hong", "Kim", "Lee"):
        issue(office.order(name), office.place)
    _due(office)
    _refuse(office, "Kim", AuthorityUnreachable(authority="office", problem="it rains"))
    stop = Flag()
    outcomes = list(renew_all(office.place, list(due_in(office.place, [office.address])), jobs=3, stop=stop))
    assert sorted(outcome.failed for outcome in outcomes) == [False, False, True]
    assert not stop.is_set()
    (kim,) = [outcome.held for outcome in outcomes if outcome.failed]
    failures = failures_in(office.place.ledger.history(fingerprint=fingerprint_of(kim.stored.certificate_der)))
    assert (failures.count, failures.code, failures.retryable) == (1, "authority-unreachable", True)
    office.place = replace(office.place, now=lambda: failures.last_at + timedelta(days=345))
    assert [one.state for one in held_in(office.place, kim.stored.address)] == ["due"]


def _refuse(office, name: str, error: Exception) -> None:
    """From now on the authority fails for that subject."""
    honest = office.place.open_authority

    @contextmanager
    def open_authority(authority: str):
        with honest(authority) as opened:
            submit = opened.submit

            def refusing(submission):
                if name.encode() in submission.request_der:
                    raise error
                return submit(submission)

            opened.submit = refusing
            yield opened

    office.place = replace(office.place, open_authority=open_authority)


def test_a_pin_is_never_tried_again_by_itself(office) -> None:
    """Two rounds try a refused PIN once; after a change it is tried again, and then it works."""
    issue(office.order(), office.place)
    _due(office)
    honest, tries = office.place.open_location, []

    @contextmanager
    def opens(address: str):
        with honest(address) as location:
            location.has_key = location.private_key = lambda key_id: tries.append(key_id) or refused()
            yield location

    def refused() -> bool:
        raise PinKnownWrong(token="Hong", memory="pin-guard")

    good, office.place = office.place, replace(office.place, open_location=opens)
    begun = datetime.now(UTC)
    assert [outcome.error.code for outcome in _round(office, changed_at=begun).outcomes] == ["pin-known-wrong"]
    again = _round(office, changed_at=begun)
    assert (again.outcomes, len(tries)) == ([], 1)
    office.place = good
    (outcome,) = _round(office, changed_at=datetime.now(UTC)).outcomes
    assert outcome.renewal is not None


def test_without_claims_the_authority_replaces_once(office, tmp_path, monkeypatch) -> None:
    """Where a place can hold no claim, of two machines at one credential the authority serves one; nothing is left."""
    monkeypatch.setattr(renewing, "claim", lambda place, operation, location, old: operation.advance("claimed"))
    held = issue(office.order(), office.place)
    with Ledger.open(tmp_path / "other" / "ledger.sqlite") as ledger:
        quick = replace(office.place, ledger=ledger)
        slow = replace(office.place, say=lambda step: renew(order, quick) if step == "confirm" else None)
        quick = replace(quick, say=lambda step: None)
        order = RenewOrder(held.stored.address)
        with pytest.raises(AuthorityRefused, match="replaced already"):
            renew(order, slow)
    assert office.place.ledger.incomplete() == []
    assert sorted(one.state for one in held_in(office.place, office.address)) == ["retired", "valid"]
    assert sorted(record.state for record in office.issued()) == ["confirmed", "confirmed", "revoked"]


def test_a_token_that_keeps_no_claims(office, monkeypatch) -> None:
    """Where the place refuses to hold a claim, it is renewed without, and nothing of the refusal is left."""
    held = issue(office.order(), office.place)

    def refuse(_self, *_claim: object) -> None:
        raise DeviceFailure(token="Hong", function="C_CreateObject", result="CKR_GENERAL_ERROR")

    for board in (FolderBoard, TokenBoard):
        monkeypatch.setattr(board, "take", refuse)
        monkeypatch.setattr(board, "drop", refuse)
    assert renew(RenewOrder(held.stored.address), office.place).previous.state == "retired"
    assert office.place.ledger.incomplete() == []


def test_another_machine_is_at_it(office, tmp_path) -> None:
    """While one machine renews, another is told that it is busy, and has made nothing."""
    held = issue(office.order(), office.place)
    with Ledger.open(tmp_path / "other" / "ledger.sqlite") as ledger:
        other, said = replace(office.place, ledger=ledger, say=lambda step: None), []

        def interfere(step: str) -> None:
            if step == "generate":
                with pytest.raises(CredentialBusy) as raised:
                    renew(RenewOrder(held.stored.address), other)
                said.append(str(raised.value))

        renew(RenewOrder(held.stored.address), replace(office.place, say=interfere))
        assert len(said) == 1
        assert ledger.incomplete() == []
    assert [record.state for record in office.issued()] == ["confirmed", "confirmed"]


@dataclass
class Postbox:
    """A channel that keeps what it gets, or fails."""

    name: str = "postbox"
    got: list[tuple[Notice, str, str]] = field(default_factory=list)
    closed: bool = False

    def deliver(self, notice: Notice, subject: str, text: str) -> None:
        if self.closed:
            raise NoticeUndelivered(channel=self.name, problem="closed")
        self.got.append((notice, subject, text))


@pytest.fixture
def posted(office) -> Callable:
    """Goes a round so many days after the issue and returns what came into two postboxes."""
    boxes = Postbox(), Postbox("other")
    orders = replace(ORDERS, channels=boxes, words=lambda notice: (notice.subject, notice.address))

    def post(days: float) -> tuple[list[tuple[str, int]], ...]:
        office.later = timedelta(days=days)
        for box in boxes:
            box.got.clear()
        _round(office, orders)
        return tuple([(notice.reason, notice.threshold) for notice, _subject, _text in box.got] for box in boxes)

    post.boxes = boxes
    return post


def test_notices_once_for_each_threshold_and_channel(office, posted) -> None:
    """What no authority here knows is told of at 30, 7 and 1 days, once by each channel; a failed one is repeated."""
    issue(office.order(), office.place)
    office.place = replace(office.place, authorities=tuple, ledger=_another_ledger(office))
    assert posted(330) == ([], [])
    posted.boxes[1].closed = True
    assert posted(336) == ([(UNKNOWN_ORIGIN, 30)], [])
    posted.boxes[1].closed = False
    assert posted(337) == ([], [(UNKNOWN_ORIGIN, 30)])
    assert posted(340) == ([], [])
    assert posted(358) == ([(UNKNOWN_ORIGIN, 7)], [(UNKNOWN_ORIGIN, 7)])
    assert posted(364.5) == ([(UNKNOWN_ORIGIN, 1)], [(UNKNOWN_ORIGIN, 1)])
    assert posted(366) == ([], [])


def _another_ledger(office) -> Ledger:
    return Ledger.open(office.authorities.parent / "another" / "ledger.sqlite")


def test_a_token_in_a_drawer(office, posted) -> None:
    """What was seen before and is out of reach is told of; what was deleted or renewed meanwhile is not."""
    issue(office.order(), office.place)
    gone = issue(office.order("Kim"), office.place)
    delete(gone.stored.address, office.place)
    office.address = f"npki:{office.authorities.parent}/nowhere"
    assert posted(358) == ([(OUT_OF_REACH, 7)], [(OUT_OF_REACH, 7)])


def test_certificates_of_other_institutions(office, posted) -> None:
    """One that was registered, and lies in no place here, is told of; so is one that was moved, by its new address."""
    ends = (datetime.now(UTC) + timedelta(days=365)).isoformat()
    facts = {"subject": "CN=Lee", "not_after": ends}
    moved = issue(office.order(), office.place)
    fingerprint = fingerprint_of(moved.stored.certificate_der)
    office.place.ledger.record(
        Event("registered", "/srv/lee.pem", "aa" * 32, facts),
        Event("moved-away", moved.stored.address, fingerprint, {"location": office.address}),
        Event("moved", "npki:/media/disk/NPKI?id=01", fingerprint, {"location": "npki:/media/disk/NPKI"}),
    )
    office.address = f"npki:{office.authorities.parent}/nowhere"
    assert sorted(posted(360)[0]) == [(OUT_OF_REACH, 7), (UNKNOWN_ORIGIN, 7)]
    told = {notice.reason: notice.address for notice, _subject, _text in posted.boxes[0].got}
    assert told == {OUT_OF_REACH: "npki:/media/disk/NPKI?id=01", UNKNOWN_ORIGIN: "/srv/lee.pem"}


def test_what_waits_for_a_person_is_told(office, posted) -> None:
    """A renewal that failed for good is no secret until it expires."""
    held = issue(office.order(), office.place)
    facts = {"code": "pin-known-wrong", "retryable": False}
    fingerprint = fingerprint_of(held.stored.certificate_der)
    office.place.ledger.record(Event(FAILED, held.stored.address, fingerprint, facts))
    assert posted(340) == ([(FAILING, 30)], [(FAILING, 30)])


def test_what_renews_itself_is_not_told_of(office, posted) -> None:
    """A certificate whose turn is still to come, or that was just renewed, needs nobody."""
    issue(office.order(), office.place)
    assert posted(336) == ([], [])
    assert posted(350) == ([], [])
    assert [one.state for one in held_in(office.place, office.address) if one.stored.live] == ["valid"]


def test_a_channel_that_does_not_answer_holds_up_no_round(office, monkeypatch) -> None:
    """Once it has cost its share of a round it is left for the next; the others get everything at once."""
    monkeypatch.setattr(notices, "PATIENCE", 0.0)
    dead, alive = Postbox("dead", closed=True), Postbox("alive")
    said = [Notice(f"{number:064x}", "npki:", f"CN={number}", office.now(), 5, 7, FAILING) for number in range(5)]
    words = lambda notice: (notice.subject, notice.address)  # noqa: E731
    given = list(notices.give(office.place, said, [dead, alive], words))
    assert [one.channel for one in given if one.error is not None] == ["dead"]
    assert len(alive.got) == 5
    dead.closed = False
    assert len(list(notices.give(office.place, said, [dead, alive], words))) == len(dead.got) == 5
