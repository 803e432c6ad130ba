"""Windows, drift, locks: whatever is done in whatever order, a code works once and a counter never goes back."""

import hmac
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.otp.devices.conftest import BEGIN, HOTP, TOTP, begun
from tests.otp.devices.memory import SEED, devices_in, say_there_is_a_kek

from dojang.errors import OtpIncorrect
from dojang.otp import hotp, totp
from dojang.otp.devices import Device, DevicePolicy, NewDevice, windows
from dojang.secret import Secret
from dojang.testing.scratch import scratch

COUNTERS = st.integers(0, 1 << 40)


def device(**changed: object) -> Device:
    facts = {"parameters": TOTP, "counter": 0, "drift": 0} | changed
    return Device(
        id="d", applicant=None, name="", exportable=False, wrong_tries=0, state="active", created_at=BEGIN,
        changed_at=BEGIN, last_used_at=None, **facts,
    )  # fmt: skip


@given(COUNTERS, st.integers(0, 100))
def test_ahead_by_counter(counter: int, ahead: int) -> None:
    """The next one, as many as the policy says, and the last one that was used, in their order."""
    found = windows.candidates(device(parameters=HOTP, counter=counter), DevicePolicy(hotp_ahead=ahead), BEGIN, "")
    assert [one.counter for one in found] == list(range(counter - 1, counter + ahead + 1))
    assert [one.message for one in found[1:]] == [hotp.message(one.counter) for one in found[1:]]


@given(COUNTERS, st.integers(-1000, 1000), st.integers(0, 10), st.integers(0, 10))
def test_around_a_moment(counter: int, drift: int, back: int, ahead: int) -> None:
    """As many steps as the policy says round where the clock of the device was; and what was used last."""
    policy = DevicePolicy(totp_back=back, totp_ahead=ahead)
    found = windows.candidates(device(counter=counter, drift=drift), policy, BEGIN, "")
    now = totp.step(BEGIN, 30)
    assert found[0].counter == counter - 1
    assert [one.step for one in found[1:]] == list(range(now + drift - back, now + drift + ahead + 1))


@given(st.lists(st.sampled_from(["1", "2", "3"]), min_size=2, max_size=9), st.integers(0, 9))
def test_two_in_a_row(codes: list[str], counter: int) -> None:
    """Found where the first of them is not used up; nowhere else."""
    expected = [(windows.Candidate(number, None, b""), code) for number, code in enumerate(codes)]
    found = windows.match_pair(expected, "1", "2", counter)
    places = [n + 1 for n, pair in enumerate(pairwise(codes)) if pair == ("1", "2") and n >= counter]
    assert (found.counter if found else None) == (places[0] if places else None)


class Holder(RuleBasedStateMachine):
    """Somebody with a device by counter or by time, and a desk with a clock that is turned."""

    @initialize(kind=st.sampled_from([HOTP, TOTP]), tries=st.integers(2, 5))
    def begin(self, kind: object, tries: int) -> None:
        self.folder = ExitStack()  # on tmpfs: each step is made durable
        self.database = begun(f"sqlite:///{self.folder.enter_context(scratch('dojang-codes-')) / 'x.sqlite'}")
        say_there_is_a_kek(self.database, BEGIN)
        self.now, self.kind = BEGIN, kind
        self.policy = DevicePolicy(tries=tries, hotp_ahead=3, totp_resync=20, hotp_resync=20)
        self.devices = devices_in(self.database, lambda: self.now, self.policy)
        self.id = self.devices.add(NewDevice(kind)).id
        self.pressed, self.off = 0, 0
        self.used: set[int] = set()
        self.wrong, self.highest = 0, 0

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            self.folder.close()

    def next_counter(self) -> int:
        """The counter of the code that the device shows."""
        if self.kind is TOTP:
            return totp.step(self.now, 30) + self.off
        self.pressed += 1
        return self.pressed - 1

    def give(self, counter: int) -> bool:
        return self.gives(lambda: self.devices.verify(self.id, self.code(counter)), counter)

    def gives(self, work: object, counter: int) -> bool:
        try:
            work()  # type: ignore[operator]
        except OtpIncorrect:
            return False
        assert counter not in self.used
        assert counter > max(self.used, default=-1)
        assert self.wrong < self.policy.tries
        self.used.add(counter)
        self.wrong = 0
        return True

    def code(self, counter: int) -> Secret:
        return Secret(hotp.code(lambda message: hmac.digest(SEED, message, "sha1"), counter))

    def within(self, counter: int, known: Device) -> bool:
        if self.kind is TOTP:
            return abs(counter - totp.step(self.now, 30) - known.drift) <= 1
        return known.counter <= counter <= known.counter + 3

    @rule()
    def show(self) -> None:
        """What the device shows is accepted where it is within the windows, not used and not locked."""
        known, counter = self.devices.device(self.id), self.next_counter()
        good = known.state == "active" and counter >= known.counter and self.within(counter, known)
        assert self.give(counter) is good
        self.count(known, counter, good)

    def count(self, known: Device, counter: int, good: bool) -> None:
        recognised = counter < known.counter and (self.within(counter, known) or counter == known.counter - 1)
        if known.state == "active" and not good and not recognised:
            self.wrong += 1

    @rule()
    def replay(self) -> None:
        """What was used is refused, and is no guess."""
        if self.used:
            known, counter = self.devices.device(self.id), max(self.used)
            assert not self.give(counter)
            self.count(known, counter, False)

    @rule()
    def guess(self) -> None:
        """A code of nobody."""
        known = self.devices.device(self.id)
        with pytest.raises(OtpIncorrect):
            self.devices.verify(self.id, Secret("none"))
        self.wrong += known.state == "active"

    @rule(presses=st.integers(1, 6))
    def press(self, presses: int) -> None:
        """Codes that nobody sends, or a clock that runs away."""
        self.pressed += presses
        self.off += presses

    @rule(seconds=st.integers(-600, 600))
    def turn(self, seconds: int) -> None:
        """Our clock is set back or forward."""
        self.now += timedelta(seconds=seconds)

    @rule()
    def resync(self) -> None:
        """Two codes in a row, a step apart."""
        known, first = self.devices.device(self.id), self.next_counter()
        second = first + 1
        self.pressed += 1
        near = abs(first - totp.step(self.now, 30)) <= 20 if self.kind is TOTP else first <= known.counter + 20
        good = known.state == "active" and first >= known.counter and near
        done = self.gives(lambda: self.devices.resync(self.id, self.code(first), self.code(second)), second)
        assert done is good
        if known.state == "active" and not good:
            self.wrong += 1

    @precondition(lambda self: self.wrong >= self.policy.tries)
    @rule()
    def unlock(self) -> None:
        """An officer does."""
        self.devices.unlock(self.id)
        self.wrong = 0

    @invariant()
    def counts(self) -> None:
        """Locked with exactly so many wrong codes in a row; the counter only grows."""
        if not hasattr(self, "devices"):
            return
        known = self.devices.device(self.id)
        assert known.state == ("locked" if self.wrong >= self.policy.tries else "active")
        assert known.wrong_tries == self.wrong
        assert known.counter >= self.highest
        assert known.counter == max(self.used, default=-1) + 1
        self.highest = known.counter


Holder.TestCase.settings = settings(max_examples=15, stateful_step_count=25)
test_a_life_of_codes = Holder.TestCase
