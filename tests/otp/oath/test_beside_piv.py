"""One device with PIV keys and seeds: used by two programs at once, and shown as the one thing it is."""

import json
import subprocess
import sys
import threading

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tests.otp.oath.conftest import AT, SEED

from dojang.otp.oath.device import open_at
from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.secret import Secret

ROUNDS = 4
AUTHENTICATION, SIGNATURE = b"\x01", b"\x02"


@pytest.mark.parametrize("key_id", [AUTHENTICATION, SIGNATURE])
def test_signatures_and_codes_from_two_threads(plugged, key, access, tmp_path, key_id):
    """Each choice of the other application forgets the PIN; still every signature verifies and every code is right.

    The PIN is never wrong, also for the key that wants it anew for each signature.
    """
    key.oath.put("a", SEED)
    search = ModuleSearch(module=str(plugged.setup.module), discover=False)
    codes: list[str] = []
    done = threading.Event()

    def read_codes() -> None:
        try:
            for _ in range(ROUNDS):
                with open_at("oath:", access()) as device:
                    codes.append(device.code(device.find("oath:/a"), AT).code)
        finally:
            done.set()

    with open_token(
        plugged.setup.uri, Secret(plugged.setup.pin), search=search, guard=PinGuard(tmp_path / "guard")
    ) as token:
        private = token.private_key(key_id=key_id)
        reader = threading.Thread(target=read_codes)
        reader.start()
        while not done.is_set():
            signature = private.sign(b"x", ec.ECDSA(hashes.SHA256()))
            private.public_key().verify(signature, b"x", ec.ECDSA(hashes.SHA256()))
        reader.join()
        private.sign(b"x", ec.ECDSA(hashes.SHA256()))
    assert codes == ["287082"] * ROUNDS
    assert key.tries_left == 3


@pytest.fixture
def dojang(plugged, run_dojang):
    """dojang on the card's module, in a process of its own; what ``--json`` said."""

    def run(*words: object, status: int = 0, **named: object) -> dict:
        done = run_dojang(*words, "--json", "--no-input", "--module", plugged.setup.module, **named)
        assert done.returncode == status, done.stdout + done.stderr
        said = json.loads(done.stdout)
        return said["data"] if status == 0 else said["error"]

    return run


def test_token_show_lists_both(plugged, key, dojang):
    """Keys that have a certificate, and seeds, without PIN or code; and each address opens what it names."""
    key.oath.put("Bank:hong", SEED)
    key.oath.put("t", SEED, touch=True)
    before = key.verifications
    shown = dojang("token", "show", plugged.setup.uri)["token"]
    assert [one["id"] for one in shown["keys"]] == ["01", "02"]
    assert shown["otp"]["address"] == "oath:12345678"
    assert [(seed["name"], seed["touch"]) for seed in shown["otp"]["seeds"]] == [("Bank:hong", False), ("t", True)]
    assert (key.verifications, key.oath.calculations) == (before, [])
    (listed,) = dojang("token", "list")["tokens"]
    assert listed["otp"] == shown["otp"]
    assert dojang("otp", "code", shown["otp"]["seeds"][0]["address"])["code"].isdigit()


def test_token_show_is_for_people_too(plugged, key, run_dojang):
    """In both languages; behind a password only that there are seeds."""
    key.oath.put("Bank:hong", SEED, touch=True)
    words = ("token", "show", plugged.setup.uri, "--module", plugged.setup.module)
    assert "Seed: Bank:hong, TOTP, after a touch (oath:12345678/Bank:hong)" in run_dojang(*words).stdout
    assert "시드: Bank:hong, TOTP, 터치 필요" in run_dojang(*words, "--lang", "ko").stdout
    key.oath.access_key = bytes(16)
    assert "behind a password" in run_dojang(*words).stdout


def test_a_card_without_seeds_is_shown_as_ever(plugged, pcsc_daemon, dojang):
    """Another token beside the device gets no seeds that are not its own."""
    from dojang.testing.piv import Card

    with pcsc_daemon.reader() as port, Card(keys={0x9A: "ec-p256"}, holder="Kim") as card:
        card.insert(port)
        shown = dojang("token", "show", "pkcs11:token=Kim")["token"]
        assert shown["otp"] is None
        assert "keys" not in shown


def test_what_shows_no_card_loads_no_library_for_cards(make_token, softhsm_module):
    """``token show`` and ``token list`` on SoftHSM: neither pyscard nor Yubico's library is imported."""
    setup = make_token()
    script = (
        "import sys\nfrom dojang.cli.run import run\n"
        "for words in (['show', sys.argv[1]], ['list']):\n"
        "    assert run(['token', *words, '--module', sys.argv[2]]) == 0\n"
        "assert not {'smartcard', 'yubikit', 'dojang.otp.oath'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", script, setup.uri, softhsm_module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
