"""Asking everything at once: what hangs is named, and the rest is there in time."""

import subprocess
import sys
import textwrap
import threading
import time

from dojang.pkcs11.roll_call import Outcome, ask_all

HANGING = "#include <unistd.h>\nunsigned long C_GetFunctionList(void **list) { for (;;) sleep(1); }\n"
CALL = """
    import sys, time
    from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec
    from dojang.pkcs11.roll_call import roll_call
    modules = tuple(ModuleSpec(path, "") for path in sys.argv[1:])
    began = time.monotonic()
    listing = roll_call(ModuleSearch(configured=modules, discover=False), patience=1.0)
    reasons = [failure.facts["reason"] for failure in listing.failures]
    print(len(listing.tokens) > 0, reasons, time.monotonic() - began < 5)
"""


def test_outcomes_come_in_order_and_in_time() -> None:
    """An answer, an error, and nothing from the one that hangs; each where it was asked."""
    never = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            raise ValueError
        if number == 2:
            never.wait()
        return number

    began = time.monotonic()
    first, second, third, fourth = ask_all(work, range(4), patience=0.2)
    assert (first, third, fourth) == (Outcome(0), Outcome(), Outcome(3))
    assert isinstance(second.error, ValueError)
    assert time.monotonic() - began < 5
    never.set()


def test_who_computes_is_not_taken_for_one_who_waits() -> None:
    """What is still reading when the time is up may go on; what waits, and what only polls, may not."""
    never = threading.Event()

    def work(kind: str) -> str:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if kind == "waits":
                never.wait(60)
            elif kind == "polls":
                never.wait(0.1)
        return kind

    began = time.monotonic()
    assert ask_all(work, ["computes", "waits"], 0.2, at_work=30) == [Outcome("computes"), Outcome()]
    assert 3 <= time.monotonic() - began < 20
    began = time.monotonic()
    assert ask_all(work, ["polls", "waits"], 0.2, at_work=30) == [Outcome(), Outcome()]
    assert time.monotonic() - began < 2.5
    never.set()


def test_a_module_that_hangs_hides_no_token(make_token, softhsm_module, tmp_path) -> None:
    """The tokens of the others are listed, the one that hangs is a failure, and the process ends in spite of it."""
    make_token()
    source, hanging = tmp_path / "hang.c", tmp_path / "hang.so"
    source.write_text(HANGING)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", hanging, source], check=True)
    command = [sys.executable, "-c", textwrap.dedent(CALL), hanging, softhsm_module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout == "True ['no-answer'] True\n", done.stderr
