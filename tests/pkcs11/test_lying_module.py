"""A module that states impossible lengths and counts, or fails after it did the work, costs an error of ours: no crash,
no memory that is not ours, no second key pair.

``lying_module.c`` stands over SoftHSM2 and tells one lie at a time, in a process of its own.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

OPENING = """
    import hashlib, os, sys, threading
    from pathlib import Path
    from dojang import errors
    from dojang.pkcs11 import ModuleSearch, PinGuard, find_token, list_tokens, open_token
    from dojang.secret import Secret
    folder, module, uri, pin = Path(sys.argv[1]), *sys.argv[2:]
    search, guard = ModuleSearch(module=module, discover=False), PinGuard(folder / "guard")
    digest = hashlib.sha256(b"m").digest()

    def lie(name):
        Path(os.environ["LYING_FILE"]).write_text(name)

    def outcome(work):
        try:
            return work()
        except errors.DojangError as error:
            return type(error).__name__

    def opened():
        return open_token(uri, Secret(pin), search=search, guard=guard)
"""


@pytest.fixture(scope="module")
def liar(tmp_path_factory) -> Path:
    library = tmp_path_factory.mktemp("liar") / "liar.so"
    source = Path(__file__).with_name("lying_module.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def tell(liar, fixture, softhsm_module, tmp_path):
    """Runs a script over the lying module and returns the lines it prints."""

    def run(script: str) -> list[str]:
        environment = {**os.environ, "LYING_OVER": softhsm_module, "LYING_FILE": str(tmp_path / "lie")}
        whole = textwrap.dedent(OPENING) + textwrap.dedent(script)
        command = [sys.executable, "-c", whole, str(tmp_path), str(liar), fixture.uri, fixture.pin]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_impossible_signature_lengths_read_no_foreign_memory(tell):
    """C_Sign that states more bytes than there was room for, before or after signing: an error, and the next works."""
    said = tell("""
        with opened() as token:
            signer = token.generate_key_pair("ec-p256", label="liar").signer
            for name in ("signature", "room", "long signature", ""):
                lie(name)
                result = outcome(lambda: signer.sign_digest(digest, "sha256"))
                print(result if isinstance(result, str) else "signed")
            token.destroy(signer.attributes[0x102])
    """)
    assert said == ["SignatureUncertain", "DeviceFailure", "DeviceFailure", "signed"]


def test_impossible_counts_take_no_memory(tell):
    """Counts of slots and mechanisms beyond all reason are refused before memory is given to them."""
    said = tell("""
        lie("slots")
        print(len(list_tokens(search).failures), outcome(lambda: find_token(uri, search)))
        lie("mechanisms")
        print(outcome(opened))
        lie("")
        with opened() as token:
            token.log_in()
    """)
    assert said == ["1 ModuleUnloadable", "DeviceFailure"]


def test_fewer_sessions_than_stated_are_shared(tell):
    """CKR_SESSION_COUNT while threads of ours hold sessions: they take turns, and nobody fails."""
    said = tell("""
        with opened() as token:
            signer = token.generate_key_pair("rsa-2048", label="few").signer
            token._pool.close(), token._pool.open()
            lie("sessions")
            results = []
            def sign():
                for _ in range(20):
                    results.append(isinstance(outcome(lambda: signer.sign_digest(digest, "sha256")), bytes))
            threads = [threading.Thread(target=sign) for _ in range(6)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            lie("")
            print(len(results), all(results))
            token.destroy(signer.attributes[0x102])
    """)
    assert said == ["120 True"]


def test_an_edwards_pair_made_in_spite_of_an_error_is_not_made_twice(tell):
    """CKR_GENERAL_ERROR after the pair was made: the other form of the parameters is not tried."""
    said = tell("""
        with opened() as token:
            lie("pair")
            print(outcome(lambda: token.generate_key_pair("ed25519", label="once", key_id=b"once")))
            lie("")
            print(len(list(token.keys(label="once"))))
            token.destroy(b"once")
    """)
    assert said == ["DeviceFailure", "1"]


def test_numbers_are_read_with_exactly_their_room(tell):
    """NSS hides a CK_ULONG attribute where there is more room than it needs; keys made there are still recognised."""
    said = tell("""
        lie("numbers")
        with opened() as token:
            print(token.generate_key_pair("ec-p256", label="numbers", key_id=b"numbers").signer.algorithm)
            lie("")
            token.destroy(b"numbers")
    """)
    assert said == ["ec-p256"]


def test_a_token_that_wants_no_login_is_asked_for_none(tell):
    """Without CKF_LOGIN_REQUIRED (NSS without a password) no PIN is sent, and what is missing is said to be missing."""
    said = tell("""
        lie("no login")
        with open_token(uri, search=search, guard=guard) as token:
            print(outcome(lambda: token.signer(label="nobody")), list(token.keys(label="nobody")))
    """)
    assert said == ["NotFound []"]
