"""What only shows after a while: memory, sessions and logins of a process that signs all day."""

import os
import threading
from pathlib import Path
from time import monotonic

import pytest

from dojang.pkcs11 import KEY_ALGORITHMS, ModuleSearch, open_token
from dojang.secret import Secret

SECONDS = 60
PAGE = os.sysconf("SC_PAGE_SIZE")

pytestmark = pytest.mark.soak


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("algorithm", KEY_ALGORITHMS)
def test_signing_for_a_minute_holds_its_memory(make_token, softhsm_module, algorithm):
    """Two threads sign for a minute: no error, and at most 8 MiB more memory than after the first seconds."""
    fixture = make_token()
    failures: list[BaseException] = []
    with open_token(
        fixture.uri, Secret(fixture.pin), search=ModuleSearch(module=softhsm_module, discover=False)
    ) as token:
        token.generate_key_pair(algorithm, label="soak")
        signer = token.signer(label="soak")

        def work(end: float) -> None:
            try:
                while monotonic() < end:
                    assert signer.sign_message(b"soak")
            except BaseException as error:
                failures.append(error)

        def both(seconds: float) -> None:
            threads = [threading.Thread(target=work, args=(monotonic() + seconds,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        both(5)
        before = resident_bytes()
        both(SECONDS)
    assert failures == []
    assert resident_bytes() - before < 8 * 2**20


def test_opening_a_thousand_times_leaks_nothing(make_token, softhsm_module):
    """Opening, signing and closing a thousand times leaves no file open and less than 8 MiB behind."""
    fixture = make_token()
    search = ModuleSearch(module=softhsm_module, discover=False)

    def once() -> None:
        with open_token(fixture.uri, Secret(fixture.pin), search=search) as token:
            assert token.signer(label="soak").sign_message(b"soak")

    with open_token(fixture.uri, Secret(fixture.pin), search=search) as token:
        token.generate_key_pair("ec-p256", label="soak")
    for _ in range(50):
        once()
    memory, files = resident_bytes(), open_files()
    for _ in range(1000):
        once()
    assert open_files() <= files
    assert resident_bytes() - memory < 8 * 2**20
