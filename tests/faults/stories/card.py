"""A card is pulled and put back in the middle of batches, its daemon restarts, others log it out, its PIN locks."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service import calm, tell, verified

from dojang import errors
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.piv import Ins, plugged_in, removal, reset
from dojang.testing.piv.plugged import PluggedIn

BATCH, INTO_IT = 24, 9
SIGNING = b"\x01"  # the CKA_ID of OpenSC for 9A: its PIN is asked for once
PATIENCE = 20.0


def batch(name: str, key: Any, place: PluggedIn, trouble: Callable[[], None], mend: Callable[[], None]) -> None:
    """Sign ``BATCH`` documents one by one, each as often as it takes; ``trouble`` comes after ``INTO_IT`` of them."""
    seen: Counter[str] = Counter()
    before, logins = place.card.signatures, place.card.verifications
    done, seconds, mended = 0, 0.0, 0.0
    while done < BATCH:
        if done == INTO_IT and not seen and not seconds:
            trouble()
            seconds = -1.0
        try:
            good = verified(key, b"%s %d" % (name.encode(), done))
        except errors.DojangError as error:
            if not error.retryable or (seen and time.monotonic() - mended > PATIENCE):
                raise
            if not seen:
                mend()
                mended = time.monotonic()
            seen[f"{error.exit_status} {error.code}"] += 1
            continue
        assert good
        if seen and seconds < 0:
            seconds = time.monotonic() - mended
        done += 1
    facts = {"seen": seen, "uses": sorted(Counter(card.uses[before:]).values()), "seconds": seconds}
    tell(**{name: facts | {"logins": place.card.verifications - logins, "tries_left": place.card.tries_left}})


def outcome(work: Callable[[], object]) -> str:
    try:
        return str(work())
    except errors.DojangError as error:
        return f"{error.exit_status} {error.code}"


def nothing() -> None:
    pass


def sign_files(place: PluggedIn) -> None:
    """One command signs many files, its card leaves in the middle and comes back, and the command is run again."""
    setup, folder, before = place.setup, Path(tempfile.mkdtemp()), place.card.signatures
    files = [folder / f"{number}" for number in range(BATCH)]
    for file in files:
        file.write_text(file.name)
    command = [sys.executable, "-m", "dojang", "--module", setup.module, "--pin-source", setup.pin_source]
    command += ["sign", "raw", "--skip-signed", "--key", f"{setup.uri};id=%01", *files]
    environment = {**os.environ, **setup.environment}

    def status() -> int:
        return subprocess.run(command, env=environment, capture_output=True).returncode

    place.card.faults.add(removal(), on=Ins.GENERAL_AUTHENTICATE, after=2 * INTO_IT)
    first, between = status(), len(list(folder.glob("*.sig")))
    place.card.insert(place.port)
    second, after = status(), len(list(folder.glob("*.sig")))
    uses = sorted(Counter(place.card.uses[before:]).values())
    tell(command={"ends": [first, second], "signed": [between, after], "uses": uses})
    shutil.rmtree(folder)


with plugged_in() as place:
    setup, card, daemon, port = place
    search = ModuleSearch(module=str(setup.module), discover=False)

    def insert() -> None:
        card.insert(port)

    def pull_in_a_signature() -> None:
        card.faults.add(removal(), on=Ins.GENERAL_AUTHENTICATE)

    def pull_before_the_answer() -> None:
        card.faults.add(removal(after_the_work=True), on=Ins.GENERAL_AUTHENTICATE, after=1)

    def reset_in_a_signature() -> None:
        card.faults.add(reset(), on=Ins.GENERAL_AUTHENTICATE)

    def begin_daemon() -> None:
        daemon.start()
        card.insert(port)

    def swiftly_back() -> None:
        card.remove()
        card.insert(port)

    def restart_daemon() -> None:
        daemon.restart()
        card.insert(port)

    def log_out_elsewhere() -> None:
        command = ["pkcs11-tool", "--module", str(setup.module), "--login", "--pin", setup.pin, "-O"]
        subprocess.run(command, env={**os.environ, **setup.environment}, check=True, capture_output=True)

    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        key = token.private_key(key_id=SIGNING)
        verified(key, b"first")
        batch("undisturbed", key, place, nothing, nothing)
        batch("pulled", key, place, card.remove, insert)
        batch("pulled and back", key, place, swiftly_back, nothing)
        batch("pulled in a signature", key, place, pull_in_a_signature, insert)
        batch("pulled before the answer", key, place, pull_before_the_answer, insert)
        batch("reset in a signature", key, place, reset_in_a_signature, nothing)
        calm(key)
        batch("daemon stopped", key, place, daemon.stop, begin_daemon)
        batch("daemon restarted", key, place, restart_daemon, nothing)
        batch("used by another process", key, place, log_out_elsewhere, nothing)

    sign_files(place)
    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        calm(token.private_key(key_id=SIGNING))  # the card was pulled: what follows is about PINs only
    said = []
    for wrong in ("111111", "222222", "333333", setup.pin):
        with open_token(setup.uri, Secret(wrong), search=search) as token:
            said.append(outcome(token.log_in))
    tell(locking=said, tries_left_then=card.tries_left)
    with open_token(setup.uri, Secret("333333"), search=search, last_try=True) as token:
        tell(last_try=outcome(token.log_in), tries_left_at_last=card.tries_left)
    with open_token(setup.uri, Secret(setup.pin), search=search, last_try=True) as token:
        tell(locked=outcome(token.log_in))
    unblock = ["pkcs15-tool", "--unblock-pin", "--auth-id", "01", "--puk", str(setup.so_pin), "--new-pin", setup.pin]
    subprocess.run(unblock, env={**os.environ, **setup.environment}, check=True, capture_output=True)
    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        tell(unblocked=outcome(token.log_in), tries_left_after=card.tries_left)
