"""The emulated security key keeps to the protocol and computes what the RFCs say; no reader is needed for that."""

import pytest

from dojang.testing.oath import OathIns, SecurityKey
from dojang.testing.oath.applet import AID
from dojang.testing.piv.tlv import parse, tlv

SEED = b"12345678901234567890"
OATH_AID, MANAGEMENT_AID, PIV_AID = AID, bytes.fromhex("A000000527471117"), bytes.fromhex("A000000308")
NAME, CHALLENGE = 0x71, 0x74
SHA1, SHA256, SHA512 = 0x21, 0x22, 0x23
HOTP = 0x11
DONE = b"\x90\x00"


@pytest.fixture
def key() -> SecurityKey:
    """In nobody's reader: commands are given to it by hand."""
    made = SecurityKey(keys={})
    assert select(made, OATH_AID).endswith(DONE)
    return made


def select(key: SecurityKey, aid: bytes) -> bytes:
    return key.transmit(b"\x00\xa4\x04\x00" + bytes([len(aid)]) + aid)


def send(key: SecurityKey, ins: int, data: bytes = b"", *, p1: int = 0, p2: int = 0) -> bytes:
    return key.transmit(bytes([0, ins, p1, p2]) + (bytes([len(data)]) + data if data else b""))


def code(key: SecurityKey, name: bytes, challenge: bytes) -> str:
    answer = send(key, OathIns.CALCULATE, tlv(NAME, name) + tlv(CHALLENGE, challenge), p2=1)
    said = parse(answer[:-2])[0x76]
    return str(int.from_bytes(said[1:], "big") % 10 ** said[0]).rjust(said[0], "0")


# RFC 6238, appendix B; the seeds are those of the erratum, as long as the hash.
@pytest.mark.parametrize(
    ("kind", "length", "at", "expected"),
    [
        (SHA1, 20, 59, "94287082"),
        (SHA1, 20, 20000000000, "65353130"),
        (SHA256, 32, 1111111109, "68084774"),
        (SHA256, 32, 2000000000, "90698825"),
        (SHA512, 64, 1234567890, "93441116"),
        (SHA512, 64, 20000000000, "47863826"),
    ],
)
def test_codes_by_time(key, kind, length, at, expected):
    """The vectors of RFC 6238."""
    key.oath.put("a", (SEED * 4)[:length], kind=kind, digits=8)
    assert code(key, b"a", (at // 30).to_bytes(8, "big")) == expected


def test_codes_by_counter(key):
    """The vectors of RFC 4226, appendix D; whatever challenge comes, and also when power was lost in between."""
    expected = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    key.oath.put("h", SEED, kind=HOTP)
    found = [code(key, b"h", b"") for _ in expected[:5]]
    key.power_on()
    select(key, OATH_AID)
    assert found + [code(key, b"h", bytes(8)) for _ in expected[5:]] == expected


def test_all_at_once_computes_none_that_counts_or_wants_a_touch(key):
    """CALCULATE ALL names them and leaves counter and finger alone; what does not fit in one answer is sent after."""
    key.oath.put("counts", SEED, kind=HOTP)
    key.oath.put("touched", SEED, touch=True)
    for number in range(20):
        key.oath.put(f"{number:020}", SEED)
    answer, rest = b"", send(key, OathIns.CALCULATE_ALL, tlv(CHALLENGE, bytes(8)), p2=1)
    while rest[-2] == 0x61:
        answer, rest = answer + rest[:-2], send(key, OathIns.SEND_REMAINING)
    answer += rest[:-2]
    assert (answer.count(b"\x77\x01\x06"), answer.count(b"\x7c\x01\x06"), answer.count(b"\x76\x05\x06")) == (1, 1, 20)
    assert key.oath.accounts[b"counts"].counter == 0
    assert not key.finger.waiting.is_set()


def test_nobody_touches(key):
    """The device's patience ends with 6982, and nothing was computed."""
    key.oath.put("t", SEED, touch=True)
    key.finger.patience = 0.01
    data = tlv(NAME, b"t") + tlv(CHALLENGE, bytes(8))
    assert send(key, OathIns.CALCULATE, data, p2=1) == b"\x69\x82"
    key.finger.touch()
    assert send(key, OathIns.CALCULATE, data, p2=1).endswith(DONE)
    assert key.oath.calculations == [b"t"]


def test_each_application_answers_when_it_is_selected(key):
    """SELECT chooses; choosing another forgets what was proved to the one before, and the serial number is told."""
    pin = b"\x00\x20\x00\x80\x08123456\xff\xff"
    assert select(key, PIV_AID).endswith(DONE)
    assert key.transmit(pin) == DONE
    assert select(key, PIV_AID).endswith(DONE)
    assert key.transmit(b"\x00\x20\x00\x80") == DONE
    assert select(key, MANAGEMENT_AID) == b"Virtual mgr - FW version 5.4.3" + DONE
    assert key.serial.to_bytes(4, "big") in send(key, 0x1D)
    assert send(key, OathIns.LIST) == b"\x6d\x00"
    assert select(key, PIV_AID).endswith(DONE)
    assert key.transmit(b"\x00\x20\x00\x80") == b"\x63\xc3"
    assert select(key, b"\xa0\x00\x00\x06\x47") == b"\x6a\x82"


def test_a_full_device_takes_no_more(key):
    """Thirty-two accounts; the next is refused, and one that is there can still be written over."""
    for number in range(32):
        key.oath.put(str(number), SEED)
    seed = tlv(0x73, bytes([SHA1, 6]) + SEED)
    assert send(key, OathIns.PUT, tlv(NAME, b"more") + seed) == b"\x6a\x84"
    assert send(key, OathIns.PUT, tlv(NAME, b"0") + seed) == DONE
    assert send(key, OathIns.PUT, tlv(NAME, b"0") + tlv(0x73, bytes([SHA1, 9]) + SEED)) == b"\x6a\x80"
