"""Logins, sessions and handles end when they should, and no PIN goes where it does not belong."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import find_token, list_tokens, open_token
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.structures import TokenInfoStruct
from dojang.pkcs11.whereabouts import TokenIdentity, find_slot
from dojang.secret import Secret

DIGEST = hashlib.sha256(b"m").digest()


def log_out(token) -> None:
    session = token._pool.take()
    session.cryptoki.logout(session.handle)
    token._pool.give(session)


def test_the_security_officer_is_logged_out_again(make_token, search, guard):
    """With the token open, unblocking leaves no SO login behind: the user PIN can be changed, and opens the token."""
    made = make_token()
    token = find_token(made.uri, search)
    with open_token(made.uri, Secret("7777"), search=search, guard=guard) as opened:
        assert list(opened.objects()) == []
        token.unblock_pin(Secret(made.so_pin), Secret("5555"), guard)
        token.change_pin(Secret("5555"), Secret("7777"), guard)
        assert not token.refresh().so_pin.count_low
        opened.log_in()


def test_whoever_has_a_token_open_logs_in_with_the_new_pin(make_token, search, guard):
    """After ``change_pin`` in the same process a lost login is renewed without spending a try on the old PIN."""
    made = make_token()
    token = find_token(made.uri, search)
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        signer = opened.generate_key_pair("ec-p256", label="k").signer
        token.change_pin(Secret(made.pin), Secret("8642"), guard)
        log_out(opened)
        assert signer.sign_digest(DIGEST, "sha256")
        assert not token.refresh().user_pin.count_low


def test_a_wrong_so_pin_for_a_blank_token_costs_one_try(search, guard):
    """Tokens that come with an SO PIN count tries of it in C_InitToken, so it is not tried twice there either."""
    slot = list_tokens(search).empty_slots[0]
    real, calls = slot.module.cryptoki.init_token, []

    def refuse(*arguments):
        calls.append(arguments)
        raise CryptokiError("C_InitToken", ck.CKR_PIN_INCORRECT)

    slot.module.cryptoki.init_token = refuse
    try:
        for error in (errors.PinIncorrect, errors.PinKnownWrong):
            with pytest.raises(error):
                slot.initialize(label="blank", so_pin=Secret("87654321"), user_pin=None, guard=guard)
    finally:
        slot.module.cryptoki.init_token = real
    assert len(calls) == 1


def test_tokens_can_be_used_while_their_objects_are_walked_through(make_token, search, guard):
    """Where a token has one session, a loop over its keys does not keep it from signing with each of them."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        for _ in range(2):
            opened.generate_key_pair("ec-p256", label="one")
        opened._pool._limit = 1
        begun = time.monotonic()
        for found in opened.keys(label="one"):
            assert opened.signer(key_id=found.key_id).sign_digest(DIGEST, "sha256")
        assert time.monotonic() - begun < 5


def test_a_login_lost_elsewhere_hides_no_key_from_a_listing(make_token, search, guard):
    """C_Logout by somebody else: listing and destroying log in again instead of seeing only what is public."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        opened.generate_key_pair("ec-p256", label="k", key_id=b"k")
        log_out(opened)
        assert [found.label for found in opened.keys(key_id=b"k")] == ["k"]
        log_out(opened)
        opened.destroy(b"k")
        assert not list(opened.keys(key_id=b"k"))


def test_sessions_given_back_after_the_last_close_are_closed(make_token, search, guard):
    """A thread still at work when the token is closed leaves no session, and so no login, behind."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        opened.log_in()
        session = opened._pool.take()
    assert opened._pool.sessions_open() == 1
    opened._pool.give(session)
    assert opened._pool.sessions_open() == 0
    with open_token(made.uri, search=search, guard=guard) as again, pytest.raises(errors.LoginRequired):
        again.log_in()


def test_a_destroyed_key_is_forgotten_by_every_session(token):
    """Some modules give the handle of a destroyed key to the next one, so no session may remember it."""
    signer = token.generate_key_pair("ec-p256", label="gone", key_id=b"gone").signer
    first, second = token._pool.take(), token._pool.take()
    for session in (first, second):
        session.resolve(signer.search)
        token._pool.give(session)
    token.destroy(b"gone")
    assert signer.search not in first.handles
    assert signer.search not in second.handles


def test_a_slot_list_that_fails_during_recovery_is_one_more_thing_to_recover_from(token):
    """CKR_DEVICE_ERROR where the slot is looked up again climbs one rung further; it never leaves as it is."""
    signer = token.generate_key_pair("ec-p256", label="slots", key_id=b"slots").signer
    cryptoki, real, failures = token.token.module.cryptoki, token.token.module.cryptoki.slot_list, [1]

    def fail_once(**arguments):
        if failures:
            raise CryptokiError("C_GetSlotList", ck.CKR_DEVICE_ERROR + 0 * failures.pop())
        return real(**arguments)

    cryptoki.function("C_CloseAllSessions")(token.token.slot_id)
    cryptoki.slot_list = fail_once
    try:
        assert signer.sign_digest(DIGEST, "sha256")
    finally:
        cryptoki.slot_list = real
    assert not failures
    token.destroy(b"slots")


def test_of_two_tokens_alike_none_is_taken_for_the_other():
    """Without serials only the slot tells them apart; when that changes, nothing is guessed (and no PIN sent)."""
    identity = TokenIdentity("twin", "", "maker", "model")
    struct = TokenInfoStruct(label=b"twin", manufacturer=b"maker", model=b"model")
    present = [3, 4]
    cryptoki = SimpleNamespace(slot_list=lambda token_present: present, token_info=lambda slot: struct)
    module = SimpleNamespace(call=lambda work: work(cryptoki))
    assert find_slot(module, identity, 4) == 4
    present[:] = [3, 5]
    assert find_slot(module, identity, 4) is None
    present[:] = [5]
    assert find_slot(module, identity, 4) == 5


SIGN_WHILE_THE_SERVER_DIES = """
    import hashlib, sys, threading, time
    from dojang import errors
    from dojang.pkcs11 import ModuleSearch, open_token
    from dojang.pkcs11.pin import PinSource
    uri, pin, module = sys.argv[1:]
    digest, stop, last = hashlib.sha256(b"m").digest(), threading.Event(), {}
    with open_token(uri, PinSource.parse(pin), search=ModuleSearch(module=module, discover=False)) as token:
        signer = token.signer(label="served")
        def sign(number):
            while not stop.is_set():
                try:
                    signer.sign_digest(digest, "sha256")
                    last[number] = time.monotonic()
                except errors.DojangError:
                    time.sleep(0.01)
        threads = [threading.Thread(target=sign, args=[number]) for number in range(4)]
        [thread.start() for thread in threads]
        print("signing", flush=True)
        sys.stdin.readline()
        again = time.monotonic()
        time.sleep(2)
        stop.set()
        [thread.join() for thread in threads]
    print(sum(when > again + 1 for when in last.values()))
"""


@contextmanager
def served(folder, module, uri):
    socket = folder / "socket"
    socket.unlink(missing_ok=True)
    command = ["p11-kit", "server", "-f", "-n", socket, "--provider", module, uri]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"unix:path={socket}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_signing_goes_on_after_a_p11_kit_server_was_killed_and_started_again(make_token, search, guard, tmp_path):
    """Four threads sign through p11-kit's client; SIGKILL to the server and a new one: each of them signs again."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        opened.generate_key_pair("ec-p256", label="served")
    client = str(next(Path("/usr/lib").glob("*/pkcs11/p11-kit-client.so")))
    command = [sys.executable, "-c", textwrap.dedent(SIGN_WHILE_THE_SERVER_DIES), made.uri, made.pin_source, client]
    with served(tmp_path, search.module, made.uri) as address:
        environment = {**os.environ, "P11_KIT_SERVER_ADDRESS": address}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        signing = subprocess.Popen(command, env=environment, **pipes)
        assert signing.stdout.readline() == "signing\n"
        time.sleep(0.3)
    time.sleep(0.3)
    with served(tmp_path, search.module, made.uri):
        out, _ = signing.communicate("\n", timeout=50)
    assert signing.returncode == 0
    assert out == "4\n"
