"""A module with CKM_HOTP computes the codes itself, and what it answers is believed only as far as it can be.

None that can be had here has it. ``hotp_module.c`` stands over SoftHSM2 and has it, in a process of its own.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dojang.testing.otp_vectors import HOTP

OPENING = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from dojang import errors
    from dojang.otp.base import NewSeed
    from dojang.otp.held.device import seeds_on
    from dojang.otp.parameters import OtpParameters
    from dojang.pkcs11 import ModuleSearch, PinGuard, hmac_keys, open_token
    from dojang.secret import Secret
    from dojang.testing.otp_vectors import SEED_20
    folder, module, uri, pin = Path(sys.argv[1]), *sys.argv[2:]
    search, guard = ModuleSearch(module=module, discover=False), PinGuard(folder / "guard")

    def new(name, secret=None, **parameters):
        return NewSeed(name, OtpParameters(**{"kind": "hotp", **parameters}), secret)

    def kinds(token):
        return sorted(one.algorithm for one in token.private_objects() if one.type == "secret-key")

    with open_token(uri, Secret(pin), search=search, guard=guard) as token, seeds_on(token, folder / "counts") as seeds:
        try:
            work(token, seeds)
        finally:
            for one in list(seeds.seeds()):
                seeds.delete(one)
            print(*kinds(token))
"""


@pytest.fixture(scope="session")
def hotp_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("hotp") / "hotp.so"
    source = Path(__file__).with_name("hotp_module.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def tell(hotp_module, fixture, softhsm_module, tmp_path):
    """Runs the body of ``work(token, seeds)`` over the module and returns the lines it prints; the last one lists the
    secret keys that are left.
    """

    def run(body: str, lie: str = "") -> list[str]:
        work = "def work(token, seeds):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        head, opening = textwrap.dedent(OPENING).split("with open_token", 1)
        whole = f"{head}\n{work}\nwith open_token{opening}"
        environment = {**os.environ, "HOTP_OVER": softhsm_module, "HOTP_LIE": lie}
        command = [sys.executable, "-c", whole, str(tmp_path), str(hotp_module), fixture.uri, fixture.pin]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_the_module_computes_the_codes_of_rfc_4226(tell) -> None:
    """The seed is a CKK_HOTP key, which computes no HMAC; its codes are the RFC's, and a code is checked with it."""
    *said, left = tell("""
        seed = seeds.add(new("vectors", Secret(SEED_20)))
        print(*kinds(token))
        shown = [seeds.code(seed, datetime.now(UTC)) for _ in range(10)]
        print(*[one.code for one in shown])
        seeds.verify(seed, Secret(shown[4].code), datetime.now(UTC))
        for work in (
            lambda: seeds.verify(seed, Secret(shown[4].code), datetime.now(UTC)),
            lambda: hmac_keys.hmac_digest(token, b"m", key_id=seed.key_id, hash_name="sha1"),
        ):
            try:
                work()
            except errors.DojangError as error:
                print(type(error).__name__)
    """)
    assert said == ["hotp", " ".join(HOTP), "OtpReplayed", "DeviceRefused"]
    assert left == ""


def test_a_seed_made_there_and_one_that_only_hmac_can_use(tell) -> None:
    """Made by CKM_HOTP_KEY_GEN, with eight digits; codes by time and other hashes go on with HMAC."""
    *said, left = tell("""
        made = seeds.add(new("made", digits=8))
        print(len(seeds.code(made, datetime.now(UTC)).code), *kinds(token))
        seeds.add(new("by time", kind="totp"))
        seeds.add(new("sha256", hash_name="sha256"))
        print(*kinds(token))
    """)
    assert said == ["8 hotp", "generic-secret generic-secret hotp"]
    assert left == ""


def test_a_module_that_refuses_the_key_is_given_another(tell) -> None:
    """It lists the mechanism and takes no such key: the seed is kept for HMAC, with the same codes."""
    *said, left = tell(
        """
        seed = seeds.add(new("vectors", Secret(SEED_20)))
        print(*kinds(token), seeds.code(seed, datetime.now(UTC)).code)
        """,
        lie="refuses keys",
    )
    assert said == [f"generic-secret {HOTP[0]}"]
    assert left == ""


@pytest.mark.parametrize("lie", ["wrong code", "points elsewhere", "points behind", "no parameters", "many parameters"])
def test_a_module_that_answers_nonsense_keeps_nothing(tell, lie: str) -> None:
    """Wrong codes and pointers to other memory: an error of ours, nothing foreign is read, and no key is left."""
    *said, left = tell(
        """
        try:
            print(seeds.add(new("vectors", Secret(SEED_20))))
        except errors.DojangError as error:
            print(type(error).__name__)
        """,
        lie=lie,
    )
    assert len(said) == 1
    assert said[0] in ("DeviceDisobeyed", "SignatureUncertain")
    assert left == ""
