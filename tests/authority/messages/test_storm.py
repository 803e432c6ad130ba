"""One code and many who have it; a process that dies at any moment."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.authority.messages.conftest import HONG, PURPOSE, another

from dojang.errors import AlreadyExists, DojangError, MessageCodeRefused
from dojang.secret import Secret

OTHER = Path(__file__).with_name("another_process.py")
ROOT = Path(__file__).parents[3]


def other(*arguments: object) -> "subprocess.Popen[str]":
    words = [sys.executable, str(OTHER), *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def text_of(bureau) -> str:
    return bureau.database.url.render_as_string(hide_password=False)


def test_64_clients_with_one_code(bureau) -> None:
    """32 threads here and 32 in another process: one passes, and that is on record once."""
    bureau.start()
    code = bureau.sent_code()
    process = other("answer", text_of(bureau), code, 32)

    def run(_number: int) -> str:
        try:
            bureau.answer(code)
        except MessageCodeRefused as refused:
            return refused.facts["state"]
        return "passed"

    with ThreadPoolExecutor(32) as pool:
        here = list(pool.map(run, range(32)))
    there = int(process.communicate(timeout=60)[0])
    assert here.count("passed") + there == 1
    assert set(here) <= {"passed", "used", "spent"}
    assert [event for event, _ in bureau.audited()].count("message-passed") == 1


def test_many_wrong_at_once_are_all_counted(bureau) -> None:
    """40 who guess at once have five tries together, and every answer says so."""
    bureau.start()
    wrong = another(bureau.sent_code())

    def run(_number: int) -> int:
        try:
            bureau.answer(wrong)
        except MessageCodeRefused as refused:
            return refused.facts["tries_left"] if refused.facts["state"] == "live" else -1
        raise AssertionError

    with ThreadPoolExecutor(20) as pool:
        left = sorted(pool.map(run, range(40)))
    assert left[-4:] == [1, 2, 3, 4]
    assert left[:-4] == [-1] * 36
    assert bureau.why_not(bureau.sent_code()) == "spent 0"


def test_64_who_ask_at_once(bureau) -> None:
    """One message is sent; the others are told to wait."""

    def run(_number: int) -> str:
        try:
            bureau.start()
        except DojangError as error:
            return error.code
        return "sent"

    with ThreadPoolExecutor(32) as pool:
        assert sorted(pool.map(run, range(64))) == ["sent"] + ["too-many-messages"] * 63
    assert len(bureau.postman.messages) == 1
    assert bureau.answer(bureau.sent_code())


def test_an_outcome_that_comes_64_times(bureau) -> None:
    """It is taken once; and of 64 who ask then, one has passed."""
    sent = bureau.start("ars")

    def press(_number: int) -> str:
        try:
            return bureau.codes.press(sent.id, sent.shown, "01" * 16)
        except AlreadyExists:
            return "again"

    def claim(_number: int) -> bool:
        try:
            bureau.desk.answer(HONG.id, PURPOSE, None)
        except MessageCodeRefused:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert sorted(pool.map(press, range(64))) == ["again"] * 63 + ["right"]
        assert sum(pool.map(claim, range(64))) == 1


def test_killed_at_every_step(bureau) -> None:
    """No code passes twice, no try comes back, no message goes out twice; what was answered is on record."""
    every = 1 if bureau.database.is_embedded else 5
    process = other("strike", text_of(bureau), every, "sms")
    lines = [json.loads(line) for line in process.communicate(timeout=90)[0].splitlines()]
    assert process.returncode == 0
    assert lines[-1]["left"][0] + lines[-1]["left"][7:] == "mswp"
    assert len(lines) > 20 / every
    passed = sent = 0
    for line in lines:
        left, before, after = line["left"], line["before"], line["after"]
        assert left.count("m") <= 1
        assert before["made"] >= sent + left.count("m")  # what was sent was on record before
        sent += left.count("m")
        assert before["sent"] <= sent
        assert len(before["open"]) <= 1
        if "w" in left:
            assert all(tries <= 4 for tries in before["open"])
        if "p" in left:
            assert before["passed"] == passed + 1
        # Whoever got the message types it now: it works if it had not passed, once.
        gone = before["passed"] - passed
        assert gone <= 1
        assert line["later"] == [bool(left) and not gone, False]
        assert after["passed"] == before["passed"] + line["later"][0]
        passed = after["passed"]
    assert {bool(line["left"]) for line in lines} == {True, False}


def test_a_call_killed_at_every_step(small) -> None:
    """What was pressed and told is not lost, and passes once; nothing passes that was not pressed."""
    process = other("strike", text_of(small), 1, "ars")
    lines = [json.loads(line) for line in process.communicate(timeout=90)[0].splitlines()]
    assert process.returncode == 0
    assert lines[-1]["left"][33:] == "wrp"
    passed = pressed = 0
    for line in lines:
        letters, before, after = line["left"][33:], line["before"], line["after"]
        gone, was_pressed = before["passed"] - passed, before["pressed"] - pressed
        assert "!" not in letters
        assert gone == 1 or "p" not in letters
        assert was_pressed == 1 or "r" not in letters
        assert gone <= was_pressed <= 1
        assert line["later"] == [bool(was_pressed and not gone), False]
        passed, pressed = after["passed"], after["pressed"]
    assert [line["later"][0] for line in lines].count(True) > 0


def test_a_token_that_is_away(small) -> None:
    """Then no code is made and no try is spent."""
    small.start()

    def away() -> None:
        raise OSError("away")

    codes = small.codes
    codes._key = away
    for work in (
        lambda: codes.answer(HONG.id, PURPOSE, Secret("000000")),
        lambda: codes.begin(HONG.id, "renew:1", small.postman.messages[0].target, None),
    ):
        try:
            work()
        except OSError:
            continue
        raise AssertionError
    assert small.why_not(another(small.sent_code())) == "live 4"
