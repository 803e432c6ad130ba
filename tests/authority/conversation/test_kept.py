"""The key of a conversation's next message: kept in memory for a while, used once, and never instead of a look at the
code's state."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.authority.conversation.conftest import SOURCE, Counter, MemoryKey, Subscriber, failure_in

from dojang.authority.conversation import Conversation
from dojang.authority.conversation.kept import SECONDS, KeptKeys
from dojang.authority.conversation.local import LocalOffice
from dojang.authority.enrolment import Enrolments
from dojang.cmp import bodies
from dojang.cmp.bodies import Kind
from dojang.cmp.faults import FailInfo
from dojang.cmp.macs import Mac, new_pbm
from dojang.cmp.messages import Message, read_message
from dojang.secret import Secret


@dataclass(frozen=True)
class Counted(MemoryKey):
    """How often the token was asked."""

    asked: list[bytes] = field(default_factory=list)

    def digest(self, message: bytes) -> bytes:
        self.asked.append(message)
        return super().digest(message)


@dataclass
class Talk:
    """One process that answers, and somebody who protects all that he sends with the same key."""

    bearer: Subscriber
    key: Counted
    conversation: Conversation
    mac: Mac

    def ask(self, body: Any, mac: Mac | None = None) -> Message:
        sent = self.bearer.message(body, protector=mac or self.mac)
        answer = read_message(self.conversation.answer(sent, SOURCE))
        self.bearer.last = answer
        return answer


@pytest.fixture
def talk(counter: Counter, bearer: Subscriber) -> Talk:
    key = Counted()
    authority = counter.authority
    enrolments = Enrolments(authority.database, authority.name, counter.policy, lambda: key, counter.clock)
    assert bearer.code is not None
    return Talk(bearer, key, Conversation(LocalOffice(authority, enrolments)), Mac(bearer.code, new_pbm(100)))


def test_the_token_computes_a_code_once_in_a_conversation(talk: Talk) -> None:
    """ir and certConf are protected with one key: for the second the token is not asked. Then the key is gone."""
    granted = talk.bearer.granted(talk.ask(talk.bearer.request()))
    assert len(talk.key.asked) == 1
    assert isinstance(talk.ask(talk.bearer.confirmation(granted)).body, bodies.Confirmed)
    assert len(talk.key.asked) == 1
    talk.ask(talk.bearer.confirmation(granted))
    assert len(talk.key.asked) == 2


def test_other_parameters_are_another_key(talk: Talk) -> None:
    """A message with another salt is held against what the token computes."""
    granted = talk.bearer.granted(talk.ask(talk.bearer.request()))
    assert talk.bearer.code is not None
    answer = talk.ask(talk.bearer.confirmation(granted), Mac(talk.bearer.code, new_pbm(100)))
    assert isinstance(answer.body, bodies.Confirmed)
    assert len(talk.key.asked) == 2


class Forged(Mac):
    """Somebody else's key under the parameters of this conversation."""

    def protect(self, data: bytes) -> bytes:
        return bytes(32)


def test_a_wrong_message_counts_and_a_locked_code_is_locked(talk: Talk) -> None:
    """A wrong MAC is a wrong try under a key that is kept, too; five lock the code, and nothing fits any more."""
    forged = Forged(Secret("0" * 16), talk.mac.algorithm)
    granted = talk.bearer.granted(talk.ask(talk.bearer.request()))
    last = talk.bearer.last
    for _ in range(5):
        assert failure_in(talk.ask(talk.bearer.confirmation(granted), forged)) is FailInfo.BAD_MESSAGE_CHECK
        talk.bearer.last = last
    assert failure_in(talk.ask(talk.bearer.confirmation(granted))) is FailInfo.BAD_MESSAGE_CHECK
    assert talk.bearer.state(granted) == "issued"


def test_locked_meanwhile_a_kept_key_opens_nothing(talk: Talk) -> None:
    """The state of the code is asked for at every message."""
    granted = talk.bearer.granted(talk.ask(talk.bearer.request()))
    for _ in range(5):
        other = talk.bearer.again(code=Secret("0" * 16))
        assert failure_in(other.ask(other.request(Kind.IR))) is FailInfo.BAD_MESSAGE_CHECK
    assert failure_in(talk.ask(talk.bearer.confirmation(granted))) is FailInfo.BAD_MESSAGE_CHECK


def a_mac() -> Mac:
    return Mac(Secret("code"), new_pbm(100))


def is_wiped(mac: Mac) -> bool:
    return mac.protect(b"x") == Forgotten.protect(b"x")


class _Forgotten(Mac):
    def __init__(self) -> None:
        self._key, self._hash = bytearray(32), "sha256"


Forgotten = _Forgotten()


def test_a_key_is_taken_once() -> None:
    """Whoever takes it has it alone, unharmed; a second one under its name wipes the first."""
    kept, first, second = KeptKeys(), a_mac(), a_mac()
    kept.keep((b"a", b"b"), first)
    assert kept.take((b"a", b"c")) is None
    assert kept.take((b"a", b"b")) is first
    assert kept.take((b"a", b"b")) is None
    assert not is_wiped(first)
    kept.keep((b"a", b"b"), first)
    kept.keep((b"a", b"b"), second)
    assert is_wiped(first)
    assert kept.take((b"a", b"b")) is second


def test_keys_are_few_and_kept_for_a_minute() -> None:
    """The oldest is wiped when there are too many; each, when its minute is over, whoever is asked for."""
    at = [0.0]
    kept, macs = KeptKeys(most=3, clock=lambda: at[0]), [a_mac() for _ in range(5)]
    for number, mac in enumerate(macs):
        kept.keep((b"%d" % number, b""), mac)
    assert [is_wiped(mac) for mac in macs] == [True, True, False, False, False]
    at[0] = SECONDS - 1
    assert kept.take((b"2", b"")) is macs[2]
    at[0] = SECONDS
    assert kept.take((b"9", b"")) is None
    assert [is_wiped(mac) for mac in macs[3:]] == [True, True]
    assert not is_wiped(macs[2])


def test_an_idle_server_keeps_no_key() -> None:
    """When its time is over each is wiped though nobody asks for anything any more, and no alarm is left."""
    kept, macs = KeptKeys(seconds=0.1), [a_mac() for _ in range(2)]
    for number, mac in enumerate(macs):
        kept.keep((b"%d" % number, b""), mac)
        time.sleep(0.06)
    assert kept.take((b"1", b"")) is macs[1]
    kept.keep((b"1", b""), macs[1])
    deadline = time.monotonic() + 5
    while not all(map(is_wiped, macs)) or kept._alarm is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
