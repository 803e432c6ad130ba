"""The pool survives what happens to tokens in real life; a signature is never silently made twice."""

import hashlib
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import open_token
from dojang.pkcs11.retry import NEVER, ONCE_MADE_NEVER_AGAIN, REINITIALISE, RUNGS, SEARCH, SESSION, Climb
from dojang.secret import Secret

DIGEST = hashlib.sha256(b"m").digest()


@pytest.fixture
def key(token):
    found = [key for key in token.keys(label="fault") if not key.problem]
    return token.private_key(label="fault") if found else token.generate_key_pair("ec-p256", label="fault")


def works(key) -> None:
    key.public_key().verify(key.sign(b"m", ec.ECDSA(hashes.SHA256())), b"m", ec.ECDSA(hashes.SHA256()))


def test_one_login_serves_every_session(make_token, search, guard):
    """Thirty signatures from six threads ask for the PIN once."""
    made, asked = make_token(), []

    def provide(request):
        asked.append(request)
        return Secret(made.pin)

    with open_token(made.uri, provide, search=search, guard=guard) as opened:
        key = opened.generate_key_pair("ec-p256", label="k")
        threads = [threading.Thread(target=lambda: [works(key) for _ in range(5)]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1
    assert asked[0].token == made.label


def test_logout_elsewhere_is_healed(token, key):
    """C_Logout by somebody else in the process: the next signature logs in again."""
    works(key)
    cryptoki, session = token.token.module.cryptoki, token._pool.take()
    cryptoki.logout(session.handle)
    token._pool.give(session)
    works(key)


def test_logout_elsewhere_does_not_hide_keys(token, key):
    """A search for a private key after a foreign C_Logout finds it, rather than saying there is none."""
    session = token._pool.take()
    token.token.module.cryptoki.logout(session.handle)
    token._pool.give(session)
    works(token.private_key(label="fault"))


def test_closed_sessions_are_replaced(token, key):
    """C_CloseAllSessions by somebody else: the next signature opens a session and logs in again."""
    works(key)
    token.token.module.cryptoki.function("C_CloseAllSessions")(token.token.slot_id)
    works(key)


def test_finalised_modules_are_initialised_again(token, key):
    """C_Finalize by somebody else: the next signature initialises, opens, logs in, and finds the key again."""
    works(key)
    before = token.token.module.generation
    token.token.module.cryptoki.finalize()
    works(key)
    assert token.token.module.generation == before + 1


def test_a_vanished_key_is_said_to_be_gone(token):
    """A key destroyed behind our back is reported as not found, not as a device failure."""
    doomed = token.generate_key_pair("ec-p256", label="doomed")
    works(doomed)
    session = token._pool.take()
    for handle in session.cryptoki.find_objects(session.handle, ((ck.CKA_LABEL, b"doomed"),)):
        session.cryptoki.destroy_object(session.handle, handle)
    token._pool.give(session)
    with pytest.raises(errors.NotFound):
        works(doomed)


def test_a_destroyed_and_recreated_key_is_found_by_its_id(token):
    """A cached handle dies with its object; the same CKA_ID made again is looked up again."""
    first = token.generate_key_pair("ec-p256", label="again", key_id=b"\x77" * 20)
    works(first)
    token.destroy(b"\x77" * 20)
    second = token.generate_key_pair("ec-p256", label="again", key_id=b"\x77" * 20)
    works(second)
    token.destroy(b"\x77" * 20)


def test_the_login_of_others_is_left_alone(fixture, search, guard):
    """Closing one opener of a token does not log out another in the same process."""
    with open_token(fixture.uri, Secret(fixture.pin), search=search, guard=guard) as first:
        key = first.generate_key_pair("ec-p256", label="stays")
        with open_token(fixture.uri, Secret(fixture.pin), search=search, guard=guard) as second:
            works(second.private_key(label="stays"))
        works(key)
        first.destroy(key.signer.attributes[ck.CKA_ID])


def test_a_wrong_pin_in_eight_threads_costs_one_try(make_token, search, guard):
    """Eight threads with one wrong PIN: the token sees one C_Login."""
    made = make_token()
    with open_token(made.uri, Secret("0000"), search=search, guard=guard) as opened:
        cryptoki = opened.token.module.cryptoki
        real, calls = cryptoki.login, []

        def counted(*arguments):
            calls.append(1)
            return real(*arguments)

        cryptoki.login = counted
        seen = []

        def attempt():
            try:
                opened.log_in()
            except (errors.PinIncorrect, errors.PinKnownWrong) as error:
                seen.append(type(error))

        threads = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cryptoki.login = real
    assert len(calls) == 1
    assert sorted(kind.__name__ for kind in seen) == ["PinIncorrect"] + ["PinKnownWrong"] * 7


def test_sessions_run_out_politely(token, key):
    """More threads than sessions wait for their turn; nobody fails."""
    pool = token._pool
    limit, pool._limit = pool._limit, 2
    try:
        failures = []

        def sign():
            try:
                works(key)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=sign) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
    finally:
        pool._limit = limit


@pytest.mark.parametrize(
    "rv",
    [ck.CKR_DEVICE_ERROR, ck.CKR_GENERAL_ERROR, ck.CKR_DEVICE_REMOVED, ck.CKR_SESSION_CLOSED, ck.CKR_FUNCTION_FAILED],
)
def test_an_uncertain_signature_is_never_asked_for_twice(token, key, rv):
    """When C_Sign ends in doubt it is called once, the error says so, and the token works afterwards."""
    works(key)
    cryptoki = token.token.module.cryptoki
    real, calls = cryptoki.sign_into, []

    def doubtful(*arguments):
        calls.append(1)
        real(*arguments)
        return rv

    cryptoki.sign_into = doubtful
    try:
        with pytest.raises(errors.SignatureUncertain):
            key.sign(b"m", ec.ECDSA(hashes.SHA256()))
    finally:
        cryptoki.sign_into = real
    assert len(calls) == 1
    works(key)


def test_a_surely_refused_signature_is_made_once(token, key):
    """When C_Sign answers that the session is gone, nothing was signed: it is made, once, on a new session."""
    works(key)
    cryptoki = token.token.module.cryptoki
    real, answers = cryptoki.sign_into, [ck.CKR_SESSION_HANDLE_INVALID]
    signed = []

    def first_refuses(*arguments):
        if answers:
            return answers.pop()
        signed.append(1)
        return real(*arguments)

    cryptoki.sign_into = first_refuses
    try:
        works(key)
    finally:
        cryptoki.sign_into = real
    assert len(signed) == 1


def test_the_retry_table_promises_what_the_standard_allows():
    """Wrong PINs, refusals and missing mechanisms climb nowhere; effects are repeated only after a sure refusal."""
    for rv in (ck.CKR_PIN_INCORRECT, ck.CKR_PIN_LOCKED, ck.CKR_MECHANISM_INVALID, ck.CKR_ATTRIBUTE_SENSITIVE):
        assert Climb().next_rung("C_FindObjects", rv) == NEVER
    for function in ONCE_MADE_NEVER_AGAIN:
        for rv, rung in RUNGS.items():
            assert (Climb().next_rung(function, rv) == NEVER) == (not rung.surely_refused), (function, rv)
    climb = Climb()
    assert climb.next_rung("C_SignInit", ck.CKR_KEY_HANDLE_INVALID) == SEARCH
    assert [climb.next_rung("C_SignInit", ck.CKR_KEY_HANDLE_INVALID) for _ in range(4)] == [SESSION] * 3 + [NEVER]
    assert climb.next_rung("C_SignInit", ck.CKR_DEVICE_ERROR) == REINITIALISE
    assert climb.next_rung("C_SignInit", ck.CKR_DEVICE_ERROR) == NEVER


def test_reinitialising_waits_for_threads_inside_the_module(token, key):
    """A C_Finalize of ours while other threads sign crashes nothing and fails nobody."""
    works(key)
    stop, failures, signed = threading.Event(), [], []

    def sign():
        while not stop.is_set():
            try:
                works(key)
                signed.append(1)
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        time.sleep(0.05)
        token.token.module.reinitialise(token.token.module.generation)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(signed) > 20


def test_a_forked_child_signs_and_so_does_its_parent(token, key):
    """os.fork: the child initialises for itself and signs; the parent's login and sessions go on."""
    works(key)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            works(key)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0
    works(key)


def run_script(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


SIGN_FOR_A_WHILE = """
    import hashlib, sys, threading, time
    from dojang.pkcs11 import ModuleSearch, open_token
    from dojang.pkcs11.pin import PinSource
    uri, pin, module, label, seconds, threads = sys.argv[1:]
    digest, counts, end = hashlib.sha256(b"m").digest(), [], time.monotonic() + float(seconds)
    with open_token(uri, PinSource.parse(pin), search=ModuleSearch(module=module, discover=False)) as token:
        signer = token.signer(label=label)
        def run():
            count = 0
            while time.monotonic() < end:
                signer.sign_message(b"m") if signer.family == "ed25519" else signer.sign_digest(digest, "sha256")
                count += 1
            counts.append(count)
        workers = [threading.Thread(target=run) for _ in range(int(threads))]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
    assert len(counts) == int(threads) and all(counts), counts
    print(sum(counts))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("algorithm", ["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "ed25519"])
def test_two_threads_sign_for_five_seconds_without_error(fixture, token, search, algorithm):
    """Two threads x 5 s on one token, for every kind of key: no error, no crash, both make progress."""
    label = f"threads {algorithm}"
    token.generate_key_pair(algorithm, label=label)
    process = run_script(SIGN_FOR_A_WHILE, fixture.uri, fixture.pin_source, search.module, label, "5", "2")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert int(out) > 0


@pytest.mark.timeout(300)
def test_four_processes_sign_for_five_seconds_without_error(fixture, token, search):
    """Four processes start at the same moment and sign on one token for 5 s: no error, no crash."""
    label = "processes"
    token.generate_key_pair("ec-p256", label=label)
    started = [
        run_script(SIGN_FOR_A_WHILE, fixture.uri, fixture.pin_source, search.module, label, "5", "1") for _ in range(4)
    ]
    for process in started:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert int(out) > 0
