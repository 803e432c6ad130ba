"""Seeds on a security key: listed, added, used and deleted; what goes wrong is told in our words."""

import hmac
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

import pytest
from tests.otp.oath.conftest import AT, READER, SEED, put_in

from dojang.errors import (
    AlreadyExists,
    Ambiguous,
    AmbiguousToken,
    DeviceBusy,
    DeviceDisobeyed,
    DevicePasswordIncorrect,
    DojangError,
    ExtraMissing,
    InvalidAddress,
    InvalidOtp,
    NotFound,
    NothingToDo,
    ObjectVanished,
    TokenFull,
    TokenNotFound,
    TokenRemoved,
    TouchTimedOut,
    UnsupportedOperation,
)
from dojang.otp import hotp, totp
from dojang.otp.base import NewSeed, OtpDevice
from dojang.otp.oath import touch
from dojang.otp.oath.address import OathAddress
from dojang.otp.oath.device import open_at
from dojang.otp.oath.plugged import Plugged, beside, plugged
from dojang.otp.parameters import OtpParameters
from dojang.otp.registry import open_device
from dojang.pkcs11 import PinGuard
from dojang.secret import Secret
from dojang.testing.oath import OathIns, SecurityKey
from dojang.testing.pcsc import SOCKET_VARIABLE
from dojang.testing.piv import removal

HOTP = OtpParameters(kind="hotp")
OTHER_READER = "dojang reader 00 01"
HOTP_CODES = ["755224", "287082", "359152"]


def new(name: str, parameters: OtpParameters = OtpParameters(), **more: object) -> NewSeed:  # noqa: B008 - frozen
    return NewSeed(name, parameters, Secret(SEED), **more)


def with_password(key: SecurityKey, password: str) -> None:
    """As its owner did some day."""
    from hashlib import pbkdf2_hmac

    key.oath.access_key = pbkdf2_hmac("sha1", password.encode(), key.oath.salt, 1000, 16)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("digits", [6, 7, 8])
def test_codes_are_those_of_the_seed(device, hash_name, digits):
    """By time: what our own TOTP computes, and the moment until which the code is good."""
    seed = device.add(new("a", OtpParameters(hash_name=hash_name, digits=digits, period=60)))
    code = device.code(seed, AT)
    assert code.code == totp.code(lambda message: hmac.digest(SEED, message, hash_name), AT, digits=digits, period=60)
    assert code.valid_until == datetime.fromtimestamp(60, UTC)
    assert code.code not in repr(code)


def test_codes_by_counter_follow_each_other(device, key):
    """The device counts by itself: nothing is computed ahead, and each code comes once."""
    seed = device.add(new("h", HOTP))
    assert [device.code(seed, AT).code for _ in HOTP_CODES] == HOTP_CODES
    assert key.oath.calculations == [b"h"] * 3
    assert [hotp.code(lambda message: hmac.digest(SEED, message, "sha1"), n) for n in range(3)] == HOTP_CODES


def test_looking_advances_no_counter(device, key):
    """Listing, finding, and what is told of a plugged-in device compute no code that anybody could use."""
    device.add(new("h", HOTP))
    device.add(new("t", touch=True))
    device.find("oath:/h")
    list(device.seeds())
    plugged()
    assert device.code(device.find("oath:/h"), AT).code == HOTP_CODES[0]


def test_a_device_is_found_by_serial_number_reader_or_alone(key, access):
    """What is printed can be pasted back, and the registry opens it."""
    for address in ("oath:", "oath:12345678", "oath:dojang%20reader%2000%2000", "oath:/x", "oath:12345678/x"):
        with open_device(address, access()) as device:
            opened: OtpDevice = device
            assert (opened.address, opened.name, opened.serial) == ("oath:12345678", "12345678", "12345678")
    with pytest.raises(TokenNotFound, match="oath:87654321"), open_at("oath:87654321", access()):
        pass


def test_two_devices_are_told_apart(key, pcsc_daemon, access):
    """Without a name both addresses are printed, and each opens its own."""
    with pcsc_daemon.reader() as port, SecurityKey(keys={}, serial=87654321) as other:
        put_in(other, port)
        other.oath.put("b", SEED)
        with pytest.raises(AmbiguousToken) as raised, open_at("oath:", access()):
            pass
        assert raised.value.facts["matches"] == "oath:12345678, oath:87654321"
        with open_at("oath:87654321", access()) as device:
            assert [seed.address for seed in device.seeds()] == ["oath:87654321/b"]
        assert [one.address for one in plugged()] == ["oath:12345678", "oath:87654321"]


def test_a_card_without_seeds_is_no_device(key, pcsc_daemon, access):
    """A PIV card in the next reader is passed over."""
    from dojang.testing.piv import Card

    with pcsc_daemon.reader() as port, Card(keys={}) as other:
        put_in(other, port)
        with open_at("oath:", access()) as device:
            assert device.name == "12345678"


def test_accounts_are_found_by_either_name(device, key):
    """The device's own name wins; the one people read is good where only one has it."""
    key.oath.put("60/a", SEED)
    key.oath.put("b", SEED)
    key.oath.put("60/b", SEED)
    assert device.find("oath:12345678/a").key_id == b"60/a"
    assert device.find("oath:12345678/b").key_id == b"b"
    assert device.find("oath:/60%2Fb").parameters.period == 60
    key.oath.put("30/b", SEED)
    del key.oath.accounts[b"b"]
    with pytest.raises(Ambiguous, match=r"oath:12345678/60%2Fb, oath:12345678/30%2Fb"):
        device.find("oath:/b")
    with pytest.raises(NotFound, match="oath:/c"):
        device.find("oath:/c")
    with pytest.raises(Ambiguous):
        device.find("oath:")


def test_an_issuer_stands_before_the_name(device):
    """As other programs write it; and either name finds it."""
    seed = device.add(new("hong", OtpParameters(issuer="Bank", account="hong@example")))
    assert (seed.address, seed.name) == ("oath:12345678/Bank:hong", "Bank:hong")
    assert (seed.parameters.issuer, seed.parameters.account) == ("Bank", "hong")
    assert device.find("oath:/hong") == device.find("oath:/Bank:hong") == seed
    assert device.add(new("Bank:kim", OtpParameters(issuer="Bank"))).name == "Bank:kim"


@pytest.mark.parametrize(
    ("text", "device", "account"),
    [
        ("oath:", None, None),
        ("oath:1/Bank:hong@x", "1", b"Bank:hong@x"),
        ("oath:a%20b/%EC%9D%80%2F%25", "a b", "은/%".encode()),
        ("oath:1/%FF", "1", b"\xff"),
        ("oath:/x", None, b"x"),
    ],
)
def test_addresses_can_be_pasted(text, device, account):
    """Written as they are read, any bytes in the name of an account."""
    assert OathAddress.from_text(text) == OathAddress(device, account)
    assert str(OathAddress.from_text(text)) == text
    assert OathAddress.from_text("oath:1/\udcff").account == b"\xff"  # as a shell gives it


@pytest.mark.parametrize("text", ["pkcs11:token=a", "oath:1/a/b", "oath:%FF/a", "oath:\udcff/a"])
def test_what_is_no_address(text):
    with pytest.raises(InvalidAddress):
        OathAddress.from_text(text)


# Adding


def test_nothing_is_written_over(device, key):
    """The device would; so it is looked at first. The same seed again is nothing to do, another one an error."""
    device.add(new("a"))
    device.add(new("h", HOTP, counter=5))
    device.add(new("t", touch=True))
    puts = dict(key.oath.accounts)
    with pytest.raises(NothingToDo, match="oath:12345678/a"):
        device.add(new("a"))
    for taken in (NewSeed("a", OtpParameters(), Secret(b"x" * 20)), new("a", OtpParameters(digits=8)), new("a", HOTP)):
        with pytest.raises(AlreadyExists, match="oath:12345678/a"):
            device.add(taken)
    for taken in (new("h", HOTP, counter=5), new("t", touch=True)):  # comparing would count on, or want a touch
        with pytest.raises(AlreadyExists):
            device.add(taken)
    assert key.oath.accounts == puts
    assert key.oath.accounts[b"h"].counter == 5


def test_seeds_of_any_length_are_the_seed(device):
    """Shorter than the device wants, and longer than the hash takes whole."""
    for length in (1, 13, 65, 130):
        secret = b"s" * length
        seed = device.add(NewSeed(str(length), OtpParameters(), Secret(secret)))
        mac = partial(hmac.digest, secret, digest="sha1")
        assert device.code(seed, AT).code == totp.code(mac, AT)


@pytest.mark.parametrize(
    ("seed", "error"),
    [
        (NewSeed("a", OtpParameters()), UnsupportedOperation),
        (NewSeed("a", OtpParameters(kind="ocra", suite="OCRA-1:HOTP-SHA1-6:QN08"), Secret(SEED)), UnsupportedOperation),
        (NewSeed("a", OtpParameters(), Secret(b"")), InvalidOtp),
        (NewSeed("", OtpParameters(), Secret(SEED)), InvalidOtp),
        (NewSeed("60/a", OtpParameters(), Secret(SEED)), InvalidOtp),
        (NewSeed("a", OtpParameters(issuer="24/7 Bank"), Secret(SEED)), InvalidOtp),
        (NewSeed("a\udcff", OtpParameters(), Secret(SEED)), InvalidOtp),
        (NewSeed("은" * 22, OtpParameters(), Secret(SEED)), InvalidOtp),
    ],
)
def test_what_no_device_holds_is_refused_before(device, key, seed, error):
    """Seeds made in the device, OCRA, and names that a device would take for something else."""
    before = key.commands
    with pytest.raises(error):
        device.add(seed)
    assert key.commands == before


def test_an_old_device_is_asked_for_nothing_new(pcsc_daemon, key, access):
    """SHA-512 and touch came later; the device would store what it then cannot do."""
    with pcsc_daemon.reader() as port, SecurityKey(keys={}, serial=3, version=(4, 2, 0)) as old:
        put_in(old, port)
        with open_at("oath:3", access()) as device:
            for seed in (new("a", OtpParameters(hash_name="sha512")), new("a", touch=True)):
                with pytest.raises(UnsupportedOperation):
                    device.add(seed)
            assert device.code(device.add(new("a")), AT).code == "287082"


def test_a_device_that_tells_no_serial_number_goes_by_its_reader(pcsc_daemon, key, access):
    """Before 4.1 none is told, and the management application of other makers may know nothing of one."""
    with pcsc_daemon.reader() as port, SecurityKey(keys={}, version=(4, 0, 5)) as old:
        put_in(old, port)
        with open_at(f"oath:{quote(OTHER_READER)}", access()) as device:
            assert device.code(device.add(new("a")), AT).code == "287082"


def test_a_full_device_says_so(device, key):
    for number in range(32):
        key.oath.put(str(number), SEED)
    with pytest.raises(TokenFull):
        device.add(new("more"))


def test_a_device_that_computes_something_else_keeps_nothing(device, key):
    """The new account is proved by the device's HMAC, and taken away where that is not the seed's."""
    key.faults.add(lambda _command, proceed: proceed()[:-4] + b"\0\0\x90\x00", on={OathIns.CALCULATE})
    with pytest.raises(DeviceDisobeyed):
        device.add(new("a"))
    assert not key.oath.accounts


def test_deleting_twice_is_deleting(device, key):
    seed = device.add(new("a"))
    device.delete(seed)
    device.delete(seed)
    assert not key.oath.accounts
    with pytest.raises(ObjectVanished):
        device.code(seed, AT)


# Touch


def test_a_person_is_told_to_touch(key, access):
    """At once where the device said before that it will want it; the code comes when it was touched."""
    key.oath.put("t", SEED, touch=True)
    told = []

    def tell():
        told.append(time.monotonic())
        key.finger.touch()

    with open_at("oath:", access(wants_touch=tell)) as device:
        seed = device.find("oath:/t")
        began = time.monotonic()
        assert device.code(seed, AT).code == "287082"
        assert len(told) == 1
        assert told[0] - began < 0.4


def test_a_counting_seed_that_waits_is_noticed(key, access):
    """No device says that a seed by counter wants a touch: half a second of silence does."""
    key.oath.put("h", SEED, kind=0x11, touch=True)
    told = []

    def tell():
        told.append(key.finger.waiting.is_set())
        key.finger.touch()

    with open_at("oath:", access(wants_touch=tell)) as device:
        assert device.code(device.find("oath:/h"), AT).code == HOTP_CODES[0]
    assert told == [True]


def test_nobody_touches_it(device, key):
    """The device gives up: a clear error, and no code was used up."""
    key.oath.put("h", SEED, kind=0x11, touch=True)
    key.finger.patience = 0.01
    seed = device.find("oath:/h")
    with pytest.raises(TouchTimedOut):
        device.code(seed, AT)
    assert key.oath.accounts[b"h"].counter == 0


def test_a_device_that_waits_too_long_is_left_alone(device, key, monkeypatch):
    """We give up first; the device is busy until it does too, and then works again."""
    key.oath.put("t", SEED, touch=True)
    monkeypatch.setattr(touch, "TOUCH_PATIENCE", 0.05)
    key.finger.patience = 0.3
    seed = device.find("oath:/t")
    with pytest.raises(TouchTimedOut):
        device.code(seed, AT)
    assert device.find("oath:/t") == seed
    assert not key.oath.calculations


# Passwords


def test_a_password_is_asked_for_once_and_opens_everything(key, access):
    asked = []
    with_password(key, "비밀번호")

    def ask(purpose: str) -> Secret:
        asked.append(purpose)
        return Secret("비밀번호")

    with open_at("oath:", access(passwords=ask)) as device:
        assert asked == []
        seed = device.add(new("a"))
        assert device.code(seed, AT).code == "287082"
        assert [one.name for one in device.seeds()] == ["a"]
    assert asked == ["oath:12345678"]


def test_a_wrong_password_is_tried_once(key, access):
    """And never again by the same run, whatever else it wants of the device."""
    with_password(key, "right")
    with open_at("oath:", access("wrong")) as device:
        for _ in range(3):
            with pytest.raises(DevicePasswordIncorrect) as raised:
                list(device.seeds())
            assert "wrong" not in repr(raised.value.facts)
    assert key.oath.wrong_passwords == 1


def test_a_wrong_password_is_not_tried_by_another_run(key, access, tmp_path):
    """However many try it, at once or later; the right one is taken, and its memory is of this device alone."""
    with_password(key, "right")
    guard = PinGuard(tmp_path / "guard")

    def use(password: str) -> str:
        try:
            with open_at("oath:", access(password, guard=guard)) as device:
                return str(len(list(device.seeds())))
        except DojangError as error:
            return error.code

    with ThreadPoolExecutor(3) as threads:
        said = sorted(threads.map(use, ["wrong"] * 3))
    assert said == ["device-password-incorrect", *["device-password-known-wrong"] * 2]
    assert (use("wrong"), use("right")) == ("device-password-known-wrong", "0")
    assert key.oath.wrong_passwords == 1
    assert b"wrong" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_device_that_does_not_know_the_password_is_not_believed(key, access):
    """The proof goes both ways: one that takes any password is told no seed."""
    with_password(key, "right")
    proof = b"\x75\x14" + bytes(20) + b"\x90\x00"
    key.faults.add(lambda _command, _proceed: proof, on={OathIns.VALIDATE})
    with open_at("oath:", access("right")) as device, pytest.raises(Exception, match="12345678 failed"):
        device.add(new("a"))
    assert not key.oath.accounts


# Pulled out, busy, not there


def test_pulled_out_at_any_command(plugged, key, access, pcsc_daemon):
    """Finding the device, adding a seed and using it; at each command the card goes, before or after it did the work.

    Every time the device is said to be gone (exit 6); put back it holds the seed whole or not at all.
    """

    def use() -> None:
        with open_at("oath:", access()) as device:
            device.code(device.add(new("a")), AT)

    before = key.commands
    use()
    for after in range(key.commands - before):
        key.oath.accounts.clear()
        key.faults.add(removal(after_the_work=after % 2 == 1), after=after)
        with pytest.raises((TokenRemoved, TokenNotFound)) as raised:
            use()
        assert raised.value.exit_status == 6
        put_in(key, pcsc_daemon.ports[1 - after % 2])  # the reader that it left stays empty for a moment
        with open_at("oath:", access()) as device:
            assert [device.code(seed, AT).code for seed in device.seeds()] in ([], ["287082"])
    key.remove()


def test_another_device_in_the_same_reader_is_not_taken_for_it(plugged, key, device):
    """Exchanged between two commands: the first is gone."""
    seed = device.add(new("a"))
    key.remove()
    with SecurityKey(keys={}) as other:
        other.oath.put("a", b"x" * 20)
        put_in(other, plugged.port)
        with pytest.raises(TokenRemoved):
            device.code(seed, AT)
        assert not other.oath.calculations


def test_a_card_that_somebody_keeps_is_busy(key, pcsc_daemon, access, monkeypatch):
    """Another program has it to itself: waited for a while, then told; what is merely offered is left out at once."""
    from smartcard import scard

    from dojang.otp.oath import exchange

    with pcsc_daemon.reader() as port, SecurityKey(keys={}, serial=4) as kept:
        put_in(kept, port)
        with open_at("oath:4", access()) as device:
            _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
            mode, protocol = scard.SCARD_SHARE_EXCLUSIVE, scard.SCARD_PROTOCOL_T1
            result, card, _ = scard.SCardConnect(context, OTHER_READER, mode, protocol)
            assert result == scard.SCARD_S_SUCCESS
            monkeypatch.setattr(exchange, "PATIENCE", 0.2)
            with pytest.raises(DeviceBusy):
                list(device.seeds())
            assert [one.name for one in plugged()] == ["12345678"]
            threading.Timer(0.1, lambda: scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)).start()
            monkeypatch.setattr(exchange, "PATIENCE", 10.0)
            assert list(device.seeds()) == []
            scard.SCardReleaseContext(context)


def test_without_a_daemon_nothing_is_there(run_dojang, tmp_path):
    """Nothing is plugged in, and whoever wants a code is told what to start."""
    import subprocess

    script = (
        "from pathlib import Path\nfrom dojang.errors import TokenNotFound\nfrom dojang.otp.base import Access\n"
        "from dojang.otp.oath.plugged import plugged\nfrom dojang.otp.registry import open_device\n"
        "assert plugged() == []\n"
        "try:\n    open_device('oath:', Access(Path('x'))).__enter__()\n"
        "except TokenNotFound as error:\n    print(error.advice())\n"
    )
    nowhere = {"PATH": "", SOCKET_VARIABLE: str(tmp_path / "none")}
    done = subprocess.run([sys.executable, "-c", script], env=nowhere, capture_output=True, text=True, timeout=60)
    assert "pcscd" in done.stdout, done.stderr


def test_without_the_extra_one_error_names_it(key, access, monkeypatch):
    """What is offered is empty; what is asked for says what to install."""
    for module in ("otp.oath.discovery", "otp.oath.exchange", "pcsc.told", "pcsc.wire"):
        monkeypatch.delitem(sys.modules, f"dojang.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "smartcard", None)
    assert plugged() == []
    with pytest.raises(ExtraMissing) as raised, open_at("oath:", access()):
        pass
    assert raised.value.advice() == "Install it: pip install 'dojang[smartcard]'."


# What is plugged in


def test_what_is_plugged_in_is_told_without_asking_anybody(key):
    """Device, accounts, and whether each wants a touch; behind a password only that there is one."""
    key.oath.put("Bank:hong", SEED)
    key.oath.put("t", SEED, touch=True)
    (found,) = plugged()
    assert (found.address, found.reader, found.locked) == ("oath:12345678", READER, False)
    assert [(seed.name, seed.touch) for seed in found.seeds] == [("Bank:hong", False), ("t", True)]
    with_password(key, "secret")
    (found,) = plugged()
    assert (found.locked, found.seeds) == (True, ())
    assert key.oath.wrong_passwords == 0
    assert plugged(reader="another") == []


def test_a_token_and_a_device_are_one_where_that_is_certain():
    """By the reader's name; where it was cut off and fits two, by the serial number; otherwise nothing is guessed."""
    long = "A reader with a name of more than sixty-four bytes, as some have it 0"

    def at(reader: str, name: str) -> Plugged:
        return Plugged(f"oath:{name}", name, reader, False, ())

    first, second, other = at(long + "0", "1"), at(long + "1", "2"), at("Reader 1", "3")
    cut = long[:64]
    assert beside([first, second, other], "Reader 1", "") is other
    assert beside([first, other], cut, "") is first
    assert beside([first, second], cut, "2") is second
    assert beside([first, second], cut, "4711") is None
    assert beside([other], "Reader", "3") is None
    assert beside([], "SoftHSM slot ID 0x1", "3") is None
