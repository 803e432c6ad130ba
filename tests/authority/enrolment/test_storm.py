"""One code and many who have it; a process that dies at any moment."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dojang.errors import CodeRefused, TooManyTries

OTHER = Path(__file__).with_name("another_process.py")
ROOT = Path(__file__).parents[3]


def other(*arguments: object) -> "subprocess.Popen[str]":
    words = [sys.executable, str(OTHER), *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def text_of(url) -> str:
    return url.render_as_string(hide_password=False)


def test_64_at_once_and_one_has_it(bureau) -> None:
    """64 threads here and 64 in another process: one certificate, and one use on record."""
    handed = bureau.hand_out()
    reference, code = handed.enrolment.reference, handed.code.reveal().decode()
    address = text_of(bureau.database.url)
    process = other("take", address, reference, code, 64)

    def try_it(number: int) -> bool:
        try:
            bureau.enrolments.secret_for(reference, "198.51.100.1").check()
            bureau.take(reference, f"{number:x}")
        except CodeRefused:
            return False
        return True

    with ThreadPoolExecutor(64) as pool:
        here = sum(pool.map(try_it, range(64)))
    there = int(process.communicate(timeout=60)[0])
    assert here + there == 1
    assert [event for event, _, _ in bureau.audited()].count("enrolment-used") == 1
    assert bureau.office.enrolment(reference).state == "used"


def test_many_wrong_at_once_are_all_counted(bureau) -> None:
    """40 threads guess at one reference: every one that was answered is counted, and the right code comes too late."""
    handed = bureau.hand_out()
    reference = handed.enrolment.reference

    def guess(_number: int) -> bool:
        try:
            return bureau.guess(reference, b"0" * 16)
        except TooManyTries:
            return True

    with ThreadPoolExecutor(40) as pool:
        assert not any(pool.map(guess, range(40)))
    assert bureau.office.enrolment(reference).wrong_tries == 40
    assert [event for event, _, _ in bureau.audited()].count("enrolment-locked") == 1
    assert not bureau.guess(reference, handed.code.reveal())


def test_killed_at_every_step(bureau) -> None:
    """Whatever was answered is on record, a wrong try as well as a certificate; a certificate always with its code."""
    every = 2 if bureau.database.is_embedded else 3
    process = other("strike", text_of(bureau.database.url), every)
    lines = [json.loads(line) for line in process.communicate(timeout=90)[0].splitlines()]
    assert process.returncode == 0
    assert lines[-1]["answered"] == "wt"
    assert len(lines) > 15 / every
    for line in lines:
        assert line["wrong"] >= line["answered"].count("w")
        assert line["certificates"] >= line["answered"].count("t")
        assert line["certificates"] == line["used"] == (line["state"] == "used")
    # Kills fell on both sides of both commits.
    assert {(line["wrong"], line["used"]) for line in lines} == {(0, 0), (1, 0), (1, 1)}
