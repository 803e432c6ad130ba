"""Logins, sessions and handles end when they should, and no PIN goes where it does not belong."""

import hashlib
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import find_token, list_tokens, open_token
from dojang.pkcs11 import module as module_room
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.daemons import silent_daemon
from dojang.pkcs11.softhsm import token_folder
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


@pytest.mark.parametrize(("missed", "ends"), [(1, "signed"), (2, "refused")])
def test_a_pin_that_is_being_written_is_looked_for_once_more(make_token, search, guard, monkeypatch, missed, ends):
    """SoftHSM may read a token while another process writes it, and then says that it has no PIN: no try was made, and
    started anew it reads the whole. Said again, it is believed.
    """
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        opened.generate_key_pair("ec-p256", label="k")
    cryptoki, calls = opened.token.module.cryptoki, []
    real = cryptoki.login

    def login(*words):
        calls.append(1)
        if len(calls) <= missed:
            raise CryptokiError("C_Login", ck.CKR_USER_PIN_NOT_INITIALIZED)
        return real(*words)

    monkeypatch.setattr(cryptoki, "login", login)
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        if ends == "signed":
            assert opened.signer(label="k").sign_digest(DIGEST, "sha256")
        else:
            with pytest.raises(errors.PinNotSet):
                opened.log_in()
        assert len(calls) == 2
        assert not opened.token.refresh().user_pin.count_low


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


def _folder_of(made) -> Path:
    (folder,) = Path(token_folder()).glob(f"*-{made.serial[:4]}-{made.serial[4:]}")
    return folder


@pytest.mark.parametrize("neighbour", [False, True], ids=["alone", "beside another token that is open"])
def test_a_token_whose_files_were_away_is_used_again_when_they_are_back(make_token, search, guard, tmp_path, neighbour):
    """Whatever SoftHSM thinks of them, and each time; meanwhile it is the device that fails, not whoever asks."""
    made, other = make_token(), make_token()
    with (
        open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened,
        open_token(other.uri, Secret(other.pin), search=search, guard=guard) as beside,
    ):
        signer = opened.generate_key_pair("ec-p256", label="k").signer
        near = beside.generate_key_pair("ec-p256", label="n").signer if neighbour else None
        folder = _folder_of(made)
        for _ in range(2):
            assert signer.sign_digest(DIGEST, "sha256")
            shutil.move(folder, tmp_path / "away")
            for _ in range(2):
                with pytest.raises(errors.DeviceError):
                    signer.sign_digest(DIGEST, "sha256")
            assert near is None or near.sign_digest(DIGEST, "sha256")
            shutil.move(tmp_path / "away", folder)
            assert signer.sign_digest(DIGEST, "sha256")
            assert near is None or near.sign_digest(DIGEST, "sha256")


def test_a_token_that_stays_away_costs_its_neighbours_little(make_token, search, guard, tmp_path):
    """Beside a broken token that is never shown, the module is not begun anew for whoever asks for a removed one."""
    made, other = make_token(), make_token()
    with (
        open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened,
        open_token(other.uri, Secret(other.pin), search=search, guard=guard) as beside,
    ):
        signer = opened.generate_key_pair("ec-p256", label="k").signer
        near = beside.generate_key_pair("ec-p256", label="n").signer
        folder = _folder_of(made)
        broken = folder.with_name("broken")
        broken.mkdir()
        (broken / "token.object").write_bytes(b"")
        shutil.move(folder, tmp_path / "away")
        try:
            generations = set()
            for _ in range(6):
                with pytest.raises(errors.DeviceError):
                    signer.sign_digest(DIGEST, "sha256")
                generations.add(opened.token.module.generation)
                assert near.sign_digest(DIGEST, "sha256")
        finally:
            shutil.rmtree(broken)
            shutil.move(tmp_path / "away", folder)
        assert len(generations) <= 3
        assert signer.sign_digest(DIGEST, "sha256")


def test_a_key_that_another_process_destroyed_is_looked_for_anew_once(make_token, search, guard):
    """Then it is not there, and nobody else's sessions are closed over it any more."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        signer = opened.generate_key_pair("ec-p256", label="k").signer
        for file in _folder_of(made).glob("*.object"):
            if file.name != "token.object":
                file.unlink()
        opened._pool._handles.clear()
        generations = set()
        for _ in range(3):
            with pytest.raises(errors.NotFound):
                signer.sign_digest(DIGEST, "sha256")
            generations.add(opened.token.module.generation)
        assert len(generations) == 1


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


def test_of_two_keys_alike_the_one_that_was_opened_is_found_again(token):
    """A second key under the same label, made since, is neither taken for the first nor in its way."""
    first = token.generate_key_pair("ec-p256", label="alike")
    signer = token.signer(label="alike")
    token.generate_key_pair("ec-p256", label="alike")
    token.token.module.cryptoki.function("C_CloseAllSessions")(token.token.slot_id)
    signature = signer.sign_digest(DIGEST, "sha256")
    first.public_key().verify(signature, DIGEST, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ed25519"])
def test_a_key_in_the_place_of_another_is_not_used(token, algorithm):
    """Made by somebody else under the same label and CKA_ID: once the handle is lost, the old key is gone for good."""
    old = token.generate_key_pair(algorithm, label="old", key_id=b"place").signer
    token.destroy(b"place")
    new = token.generate_key_pair(algorithm, label="old", key_id=b"place").signer
    with pytest.raises(errors.KeyReplaced):
        old.sign_message(b"m")
    assert new.sign_message(b"m")
    token.destroy(b"place")


def test_a_module_that_does_not_start_again_fails_for_a_while(token):
    """C_Initialize refused in the middle of a recovery is a retryable failure, and the next attempt begins anew."""
    signer = token.generate_key_pair("ec-p256", label="restart", key_id=b"restart").signer
    module = token.token.module
    real, module.cryptoki.initialize = module.cryptoki.initialize, refuse_to_initialize
    module.cryptoki.finalize()
    try:
        for _ in range(2):
            with pytest.raises(errors.DeviceFailure) as caught:
                signer.sign_digest(DIGEST, "sha256")
            assert caught.value.retryable
    finally:
        module.cryptoki.initialize = real
    assert signer.sign_digest(DIGEST, "sha256")
    token.destroy(b"restart")


def refuse_to_initialize(_init_string, **_options):
    raise CryptokiError("C_Initialize", ck.CKR_FUNCTION_FAILED)


def test_a_login_that_the_token_fails_is_tried_again_by_the_next_operation_alone(make_token, search, guard):
    """CKR_DEVICE_REMOVED from C_Login: one call, an error, and the next operation looks the token up and logs in."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        cryptoki = opened.token.module.cryptoki
        real, calls = cryptoki.login, []

        def fail_once(*arguments):
            calls.append(1)
            if len(calls) == 1:
                raise CryptokiError("C_Login", ck.CKR_DEVICE_REMOVED)
            return real(*arguments)

        cryptoki.login = fail_once
        try:
            with pytest.raises(errors.TokenRemoved):
                opened.log_in()
            assert len(calls) == 1
            opened.log_in()
        finally:
            cryptoki.login = real
        assert len(calls) == 2


def test_a_module_that_shows_a_token_and_calls_it_gone_is_begun_anew(make_token, search, guard):
    """Two operations end with ``token-removed``, one for the sessions and one for the slot; the third one works."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        module = opened.token.module
        real, begun = module.cryptoki.login, module.generation

        def call_it_gone(*arguments):
            if module.generation == begun:
                raise CryptokiError("C_Login", ck.CKR_DEVICE_REMOVED)
            return real(*arguments)

        module.cryptoki.login = call_it_gone
        try:
            for _ in range(2):
                with pytest.raises(errors.TokenRemoved):
                    opened.log_in()
            assert module.generation == begun
            opened.log_in()
        finally:
            module.cryptoki.login = real
        assert module.generation == begun + 1


def test_who_gives_the_pin_may_fork(make_token, search, guard, monkeypatch):
    """A fork waits for sessions in use, but not for ever for one that waits for the fork itself."""
    monkeypatch.setattr("dojang.pkcs11.module._FORK_PATIENCE", 0.2)
    made = make_token()

    def provide(_request):
        if (child := os.fork()) == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return Secret(made.pin)

    with open_token(made.uri, provide, search=search, guard=guard) as opened:
        opened.log_in()


@pytest.mark.parametrize(
    ("module", "variables", "said"),
    [
        ("/lib/p11-kit-client.so", {"P11_KIT_SERVER_ADDRESS": "unix:path={folder}/no%20body"}, "p11-kit"),
        ("/lib/p11-kit-client.so", {"P11_KIT_SERVER_ADDRESS": "unix:path={folder}/somebody"}, None),
        ("/lib/p11-kit-client.so", {"P11_KIT_SERVER_ADDRESS": "vsock:cid=1;port=2"}, None),
        ("/lib/p11-kit-client.so", {"P11_KIT_SERVER_ADDRESS": "", "XDG_RUNTIME_DIR": "{folder}"}, "p11-kit"),
        ("/lib/p11-kit-client.so", {"P11_KIT_SERVER_ADDRESS": "", "XDG_RUNTIME_DIR": ""}, None),
        ("/lib/opensc-pkcs11.so", {"PCSCLITE_CSOCK_NAME": "{folder}/nobody"}, "pcscd"),
        ("/lib/libsofthsm2.so", {}, None),
    ],
)
def test_a_daemon_is_called_silent_only_where_its_socket_says_so(module, variables, said, tmp_path, monkeypatch):
    """Nobody listens, or no socket: silent. An address that has no path, or a module without a daemon: who knows."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "somebody"))
        listener.listen()
        silent = silent_daemon(module)
    assert (silent is None) == (said is None)
    assert silent is None or said in str(silent)


def test_a_pin_that_was_forgotten_during_a_login_is_not_remembered_after_it(make_token, search, guard):
    """Whoever closes the token while another thread logs in has the PIN forgotten all the same."""
    made = make_token()
    opened = open_token(made.uri, Secret(made.pin), search=search, guard=guard)
    cryptoki = opened.token.module.cryptoki
    real = cryptoki.login

    def login(session, user, pin):
        real(session, user, pin)
        opened.close()

    cryptoki.login = login
    try:
        opened.log_in()
    finally:
        cryptoki.login = real
    assert opened.token.key not in opened.token.module.remembered
    assert opened._pool.sessions_open() == 0


def test_closing_a_token_waits_for_its_turn(make_token, search, guard, monkeypatch):
    """A module that bears no two calls at once gets no C_CloseSession while another thread is inside."""
    made, turns = make_token(), []
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        opened.log_in()
        module = opened.token.module
        monkeypatch.setattr(module, "parallel", False)
        real = module.cryptoki.close_session
        monkeypatch.setattr(
            module.cryptoki, "close_session", lambda session: (turns.append(module.turn._is_owned()), real(session))
        )
    assert turns == [True]


def test_a_fork_lets_nobody_into_a_module_that_is_begun_anew(token, monkeypatch):
    """A re-initialisation that takes longer than a fork waits goes on keeping everybody else out after it."""
    monkeypatch.setattr("dojang.pkcs11.module._FORK_PATIENCE", 0.1)
    module, session = token.token.module, token._pool.take()
    begun_anew = threading.Thread(target=module.reinitialise, args=(module.generation,))
    begun_anew.start()
    while not module.draining:
        time.sleep(0.001)
    try:
        if (child := os.fork()) == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert module.draining
        assert begun_anew.is_alive()
    finally:
        token._pool.give(session)
        begun_anew.join()
    assert not module.draining


def test_a_module_that_is_loaded_during_a_fork_keeps_nobody_out(token, monkeypatch):
    """What did not stand still for the fork does not go on after it either."""
    late = module_room.Module("/late.so", "late", None, token.token.module.cryptoki)
    module_room._before_fork()
    monkeypatch.setitem(module_room.Module._loaded, ("/late.so", None), late)
    module_room._after_fork()
    assert not late.draining
    assert not token.token.module.draining


def test_forks_at_the_same_time_leave_no_lock_behind(token, monkeypatch):
    """One that gave up waiting for the other takes nothing from it."""
    monkeypatch.setattr("dojang.pkcs11.module._FORK_PATIENCE", 0.1)
    module = token.token.module
    first, second, got = threading.Event(), threading.Event(), []

    def fork() -> None:
        module.stand_still()
        first.set()
        second.wait()
        module.go_on()

    other = threading.Thread(target=fork)
    other.start()
    first.wait()
    module.stand_still()
    second.set()
    other.join()
    assert module.draining
    module.go_on()
    assert not module.draining
    anybody = threading.Thread(target=lambda: (got.append(module.lock.acquire(timeout=5)), module.lock.release()))
    anybody.start()
    anybody.join()
    assert got == [True]
