"""Which codes are good at a moment: how far a device may be off, what was used, and how its clock is learned.

Everything here is arithmetic. As many codes are looked at for one device as for any other of its kind, whatever was
used of them, so that the time that it takes tells nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from dojang.otp import hotp, totp
from dojang.otp.devices.device import LARGEST, Device
from dojang.otp.devices.policy import DevicePolicy
from dojang.otp.ocra import Suite
from dojang.otp.parameters import OtpParameters
from dojang.otp.truncation import same, truncated


class Candidate(NamedTuple):
    """A code that may come: what it is computed from, the counter it uses up, and its time step where there is one."""

    counter: int
    step: int | None
    message: bytes


def candidates(device: Device, policy: DevicePolicy, at: datetime, challenge: str) -> list[Candidate]:
    """The codes of the device that are looked at; the last one that was used is among them, so that it is known again.

    ``challenge`` is what an OCRA device answers. Before the first counter stands one that no device gets to.
    """
    parameters = device.parameters
    steps = _steps(device, policy, totp.step(at, parameters.period))
    counters = range(device.counter - 1, device.counter + policy.hotp_ahead + 1)
    if parameters.kind == "totp":
        return [Candidate(step, step, hotp.message(step % LARGEST)) for step in (device.counter - 1, *steps)]
    if parameters.kind == "hotp":
        return [Candidate(counter, None, hotp.message(counter % LARGEST)) for counter in counters]
    return list(_answers(parameters.ocra, challenge, counters, steps, device.counter))


def resync_candidates(device: Device, policy: DevicePolicy, at: datetime) -> list[Candidate]:
    """The codes among which two that follow each other are looked for, in their order; none for OCRA."""
    if device.parameters.kind == "totp":
        now = totp.step(at, device.parameters.period)
        steps = range(max(now - policy.totp_resync, 0), now + policy.totp_resync + 2)
        return [Candidate(step, step, hotp.message(step)) for step in steps]
    if device.parameters.kind == "hotp":
        counters = range(device.counter, min(device.counter + policy.hotp_resync + 2, LARGEST))
        return [Candidate(counter, None, hotp.message(counter)) for counter in counters]
    return []


def code_of(parameters: OtpParameters, mac: bytes) -> str:
    """The code that an HMAC makes."""
    return truncated(mac, parameters.digits) if parameters.digits else mac.hex()


def match(expected: Sequence[tuple[Candidate, str]], code: str, counter: int) -> Candidate | None:
    """The candidate whose code it is, one that is not used up before one that is; all are compared, in equal time."""
    fresh = used = None
    for candidate, right in expected:
        if same(right, code):
            if candidate.counter >= counter:
                fresh = fresh or candidate
            else:
                used = candidate
    return fresh or used


def match_pair(expected: Sequence[tuple[Candidate, str]], first: str, second: str, counter: int) -> Candidate | None:
    """The second of two candidates in a row whose codes these are, the first not used up; all are compared."""
    found = None
    for (one, right_one), (other, right_other) in pairwise(expected):
        both = same(right_one, first) & same(right_other, second)
        if both and one.counter >= counter:
            found = found or other
    return found


def learned_drift(device: Device, candidate: Candidate, at: datetime) -> int:
    """How many steps the clock of the device is ahead, as its code has shown."""
    if candidate.step is None:
        return device.drift
    return candidate.step - totp.step(at, device.parameters.period)


def _steps(device: Device, policy: DevicePolicy, now: int) -> range:
    middle = now + device.drift
    return range(max(middle - policy.totp_back, 0), max(middle + policy.totp_ahead + 1, 0))


def _answers(suite: Suite, challenge: str, counters: range, steps: range, following: int) -> Iterator[Candidate]:
    """Of a suite without counter: by time step, or the one answer, which counts as one event."""
    moments = [(step, totp.begins_at(step, suite.period)) for step in steps] if suite.period else [(None, None)]
    for step, at in moments:
        if suite.counter:
            for counter in counters:
                yield Candidate(counter, step, suite.message(challenge, counter=counter % LARGEST, at=at))
        else:
            used_up = following if step is None else step
            yield Candidate(used_up, step, suite.message(challenge, at=at))
