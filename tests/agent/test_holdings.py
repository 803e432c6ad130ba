"""What the agent does when its login is lost, in this process, where every C_Login can be counted."""

import hashlib
import threading

import pytest

from dojang import errors
from dojang.agent.held import Locked, PinWanted, Unserved
from dojang.agent.holdings import Holdings, Wanted
from dojang.agent.permission import Permission
from dojang.pkcs11 import ModuleSearch
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.secret import Secret

DIGEST = hashlib.sha256(b"a letter").digest()


@pytest.fixture
def sealed(make_token, dojang_at, tmp_path):
    """A token of its own with one key."""
    token = make_token()
    made = dojang_at(tmp_path)("key", "generate", token.uri, "--label", "stamp", "--pin-source", token.pin_source)
    assert made.returncode == 0, made.stderr
    return token


@pytest.fixture
def held(sealed, softhsm_module, tmp_path):
    """``Holdings`` with that key, ways to count the logins and to end the login as a neighbour would."""
    search = ModuleSearch(module=softhsm_module, discover=False)
    holdings = Holdings(lambda _token, _search: None, dict)
    wanted = Wanted(f"{sealed.uri};object=stamp", search, Permission(), str(tmp_path / "pin-guard"))
    with pytest.raises(PinWanted):
        holdings.add(wanted, None, has_pin=False)
    key, new = holdings.add(wanted, Secret(sealed.pin), has_pin=True)
    assert new
    yield holdings, key, wanted
    holdings.lock("over")


def sign(signer) -> bytes:
    return signer.sign_digest(DIGEST, "sha256")


def log_out(key) -> None:
    """C_Logout is for all sessions of a process (2.40, 5.6.7): whoever shares the module may call it."""
    key.token.usable().logged_in(lambda session: session.cryptoki.logout(session.handle))


class Logins(list[bytes]):
    """The PINs given to C_Login; those ``changed`` are refused, as by a token whose PIN another process changed.

    (A SoftHSM2 that has begun goes on taking the old PIN.)
    """

    changed: bytes | None = None


@pytest.fixture
def logins(held, monkeypatch) -> Logins:
    cryptoki = held[1].token.token.module.cryptoki
    login, seen = cryptoki.login, Logins()

    def counted(session: int, user: int, pin: bytes) -> None:
        seen.append(pin)
        if pin == seen.changed:
            raise CryptokiError("C_Login", ck.CKR_PIN_INCORRECT)
        login(session, user, pin)

    monkeypatch.setattr(cryptoki, "login", counted)
    return seen


def test_a_lost_login_is_made_again(held, logins, sealed):
    """By the PIN that was right, with one try for any number of threads."""
    holdings, key, _wanted = held
    for _ in range(3):
        log_out(key)
        threads = [threading.Thread(target=holdings.using, args=(key, sign)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert logins == [sealed.pin.encode()] * 3
    assert key.signatures == 24


def test_a_pin_that_was_changed_costs_one_try(held, logins, sealed):
    """The refused PIN is forgotten and the token locked; nothing is tried until a person gives another."""
    holdings, key, wanted = held
    log_out(key)
    logins.changed = sealed.pin.encode()
    locked: list[bool] = []

    def work() -> None:
        for _ in range(5):
            try:
                holdings.using(key, sign)
            except Locked:
                locked.append(True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(locked) == 40
    assert logins == [sealed.pin.encode()]
    assert key.token.locked == "refused"
    with pytest.raises(Locked):
        holdings.find(wanted.address, "")
    with pytest.raises(errors.PinKnownWrong):
        holdings.add(wanted, Secret(sealed.pin), has_pin=True)
    assert len(logins) == 1


def test_a_lock_while_signing(held):
    """Whoever is signing gets a signature or hears that it is locked; nothing else."""
    holdings, key, _wanted = held
    answers: list[str] = []

    def work() -> None:
        for _ in range(200):
            try:
                holdings.using(key, sign)
                answers.append("signed")
            except Locked:
                answers.append("locked")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    holdings.lock("lock")
    for thread in threads:
        thread.join()
    assert len(answers) == 800
    assert answers[-1] == "locked"
    assert holdings.locked


def test_nothing_is_found_without_a_token_named(held):
    """An address that could be any token's names none of ours."""
    holdings, _key, wanted = held
    assert holdings.find(wanted.address, "")
    with pytest.raises(Unserved):
        holdings.find("pkcs11:object=stamp", "")
