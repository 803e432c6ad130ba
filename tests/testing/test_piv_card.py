"""The emulated PIV card does what NIST SP 800-73-4 says of cards, command by command."""

import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from hypothesis import given
from hypothesis import strategies as st

from dojang.testing.piv import MANAGEMENT_KEY, Card, Ins, Slot, Status, removal, slow, status, tries_stated
from dojang.testing.piv.admin import AES_128, TRIPLE_DES, TripleDES
from dojang.testing.piv.faults import Pulled
from dojang.testing.piv.keys import EC_P256, RSA_2048
from dojang.testing.piv.objects import AID
from dojang.testing.piv.tlv import parse, tlv

EVERY_SLOT_EC = dict.fromkeys(Slot, "ec-p256")
CHALLENGE = b"\x01" + bytes(31)
ASK = tlv(0x7C, tlv(0x82, b"") + tlv(0x81, CHALLENGE))


@pytest.fixture
def card() -> Card:
    fresh = Card(keys=EVERY_SLOT_EC)
    send(fresh, Ins.SELECT, 0x04, 0x00, AID)
    return fresh


def send(card: Card, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"") -> tuple[bytes, int]:
    """One extended command with room for any answer."""
    body = b"\0" + len(data).to_bytes(2, "big") + data if data else b"\0"
    answer = card.transmit(bytes([0, ins, p1, p2]) + body + b"\0\0")
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def padded(pin: str) -> bytes:
    return pin.encode().ljust(8, b"\xff")


def verify(card: Card, pin: str | None = None) -> int:
    return send(card, Ins.VERIFY, 0, 0x80, padded(pin) if pin is not None else b"")[1]


def sign(card: Card, slot: int) -> int:
    return send(card, Ins.GENERAL_AUTHENTICATE, EC_P256, slot, ASK)[1]


def test_wrong_pins_are_counted_and_lock_the_card(card):
    """63Cx with what is left, 6983 once nothing is; asking for the counter costs nothing; a right PIN refills it."""
    assert [verify(card), verify(card, "000000"), verify(card)] == [0x63C3, 0x63C2, 0x63C2]
    assert verify(card, "123456") == Status.DONE
    assert verify(card) == Status.DONE
    assert [verify(card, "000000") for _ in range(4)] == [0x63C2, 0x63C1, Status.BLOCKED, Status.BLOCKED]
    assert verify(card, "123456") == verify(card) == Status.BLOCKED
    assert (card.tries_left, card.verifications) == (0, 5)


def test_a_pin_of_the_wrong_form_costs_no_try(card):
    assert [verify(card, pin) for pin in ("12345", "12345x", "123456789")] == [Status.WRONG_DATA] * 3
    assert (card.tries_left, card.verifications) == (3, 0)


def test_the_puk_unblocks_and_has_a_counter_of_its_own(card):
    for _ in range(3):
        verify(card, "000000")
    assert send(card, Ins.RESET_RETRY_COUNTER, 0, 0x80, b"87654321" + padded("654321"))[1] == 0x63C2
    assert send(card, Ins.RESET_RETRY_COUNTER, 0, 0x80, b"12345678" + padded("654321"))[1] == Status.DONE
    assert (card.tries_left, card.puk_tries_left) == (3, 3)
    assert verify(card, "654321") == Status.DONE
    locked = [send(card, Ins.RESET_RETRY_COUNTER, 0, 0x80, b"0" * 8 + padded("111111"))[1] for _ in range(4)]
    assert locked == [0x63C2, 0x63C1, Status.BLOCKED, Status.BLOCKED]


def test_pin_and_puk_are_changed_by_whoever_knows_them(card):
    assert send(card, Ins.CHANGE_REFERENCE_DATA, 0, 0x80, padded("000000") + padded("654321"))[1] == 0x63C2
    assert send(card, Ins.CHANGE_REFERENCE_DATA, 0, 0x80, padded("123456") + padded("654321"))[1] == Status.DONE
    assert send(card, Ins.CHANGE_REFERENCE_DATA, 0, 0x81, b"12345678" + b"puk puk!")[1] == Status.DONE
    assert verify(card, "654321") == Status.DONE


def test_each_slot_asks_for_the_pin_as_the_standard_has_it(card):
    """9A and 9D once, 9C for every signature and directly before it, 9E never."""
    refused = Status.SECURITY_NOT_SATISFIED
    assert [sign(card, slot) for slot in Slot] == [refused, refused, refused, Status.DONE]
    verify(card, "123456")
    assert [sign(card, Slot.SIGNATURE), sign(card, Slot.SIGNATURE)] == [Status.DONE, refused]
    verify(card, "123456")
    assert [sign(card, Slot.AUTHENTICATION), sign(card, Slot.SIGNATURE)] == [Status.DONE, refused]
    assert sign(card, Slot.KEY_MANAGEMENT) == Status.DONE
    assert [use.slot for use in card.uses] == [0x9E, 0x9C, 0x9A, 0x9D]
    assert {use.block for use in card.uses} == {CHALLENGE}


def test_without_power_everything_proved_is_forgotten(card):
    verify(card, "123456")
    card.power_on()
    assert verify(card) == Status.CONDITIONS_NOT_SATISFIED
    send(card, Ins.SELECT, 0x04, 0x00, AID)
    assert verify(card) == 0x63C3


def test_logging_out_forgets_the_pin_and_selecting_again_does_not(card):
    verify(card, "123456")
    send(card, Ins.SELECT, 0x04, 0x00, AID[:9])
    assert verify(card) == Status.DONE
    assert send(card, Ins.VERIFY, 0xFF, 0x80)[1] == Status.DONE
    assert verify(card) == 0x63C3


def test_short_commands_are_chained_and_long_answers_fetched():
    """What arrives in parts of 255 and leaves in parts of 256 bytes is the same as in one extended command."""
    card = Card(keys={Slot.CARD_AUTHENTICATION: "rsa-2048"})
    send(card, Ins.SELECT, 0x04, 0x00, AID)
    block = b"\0\1" + os.urandom(254)
    ask = tlv(0x7C, tlv(0x82, b"") + tlv(0x81, block))
    whole, _ = send(card, Ins.GENERAL_AUTHENTICATE, RSA_2048, 0x9E, ask)
    assert card.transmit(bytes([0x10, 0x87, 0x07, 0x9E, 255]) + ask[:255]) == b"\x90\0"
    rest = ask[255:]
    parts = [card.transmit(bytes([0x00, 0x87, 0x07, 0x9E, len(rest)]) + rest + b"\0")]
    while parts[-1][-2] == 0x61:
        parts.append(card.transmit(bytes([0x00, 0xC0, 0, 0, parts[-1][-1]])))
    assert b"".join(part[:-2] for part in parts) == whole
    assert len(parts) == 2
    public = x509.load_der_x509_certificate(card.certificate(0x9E)).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    numbers = public.public_numbers()
    raw = parse(parse(whole)[0x7C])[0x82]
    assert pow(int.from_bytes(raw, "big"), numbers.e, numbers.n) == int.from_bytes(block, "big")


def test_a_short_digest_is_signed_as_the_number_it_is(card):
    """ECDSA over 20 bytes verifies as ECDSA over SHA-1."""
    digest = os.urandom(20)
    answer, _ = send(card, Ins.GENERAL_AUTHENTICATE, EC_P256, 0x9E, tlv(0x7C, tlv(0x82, b"") + tlv(0x81, digest)))
    signature = parse(parse(answer)[0x7C])[0x82]
    public = x509.load_der_x509_certificate(card.certificate(0x9E)).public_key()
    public.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA1())))


def test_two_sides_agree_on_a_secret(card):
    """ECDH with the key management key gives what the other side computes from the card's certificate."""
    verify(card, "123456")
    other = ec.generate_private_key(ec.SECP256R1())
    numbers = other.public_key().public_numbers()
    point = b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    ask = tlv(0x7C, tlv(0x82, b"") + tlv(0x85, point))
    answer, _ = send(card, Ins.GENERAL_AUTHENTICATE, EC_P256, 0x9D, ask)
    public = x509.load_der_x509_certificate(card.certificate(0x9D)).public_key()
    assert parse(parse(answer)[0x7C])[0x82] == other.exchange(ec.ECDH(), public)


@pytest.mark.parametrize(("algorithm", "key"), [(TRIPLE_DES, MANAGEMENT_KEY), (AES_128, bytes(range(16)))])
@pytest.mark.parametrize("mutual", [False, True])
def test_only_who_has_the_management_key_changes_keys_and_objects(algorithm, key, mutual):
    """External or mutual authentication, with 3DES or AES; a wrong answer, or none, changes nothing."""
    card = Card(keys={}, management_key=key, management_algorithm=algorithm)
    send(card, Ins.SELECT, 0x04, 0x00, AID)
    cipher = Cipher(TripleDES(key) if algorithm == TRIPLE_DES else AES(key), modes.ECB())

    def ask(*parts: bytes) -> tuple[bytes, int]:
        return send(card, Ins.GENERAL_AUTHENTICATE, algorithm, 0x9B, tlv(0x7C, b"".join(parts)))

    def generate() -> tuple[bytes, int]:
        return send(card, Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0, 0x9A, tlv(0xAC, tlv(0x80, bytes([EC_P256]))))

    store = tlv(0x5C, b"\x5f\xc1\x05") + tlv(0x53, b"object")
    assert generate()[1] == send(card, Ins.PUT_DATA, 0x3F, 0xFF, store)[1] == Status.SECURITY_NOT_SATISFIED
    ask(tlv(0x81, b""))
    assert ask(tlv(0x82, os.urandom(16)))[1] == Status.SECURITY_NOT_SATISFIED
    if mutual:
        witness = cipher.decryptor().update(parse(parse(ask(tlv(0x80, b""))[0])[0x7C])[0x80])
        ours = os.urandom(len(witness))
        answer, word = ask(tlv(0x80, witness), tlv(0x81, ours), tlv(0x82, b""))
        assert parse(parse(answer)[0x7C])[0x82] == cipher.encryptor().update(ours)
    else:
        challenge = parse(parse(ask(tlv(0x81, b""))[0])[0x7C])[0x81]
        word = ask(tlv(0x82, cipher.encryptor().update(challenge)))[1]
    assert word == Status.DONE
    answer, word = generate()
    point = card.keys[0x9A].private.public_key().public_numbers()
    assert parse(parse(answer)[0x7F49])[0x86][1:33] == point.x.to_bytes(32, "big")
    assert send(card, Ins.PUT_DATA, 0x3F, 0xFF, store)[1] == Status.DONE
    assert send(card, Ins.GET_DATA, 0x3F, 0xFF, tlv(0x5C, b"\x5f\xc1\x05"))[0] == tlv(0x53, b"object")


def test_certificates_are_those_of_the_keys():
    """RSA and EC, each in every slot: the certificate's key verifies what the slot signs."""
    for algorithm in ("rsa-2048", "ec-p256"):
        card = Card(keys=dict.fromkeys(Slot, algorithm), holder="Hong Gildong")
        for slot in Slot:
            certificate = x509.load_der_x509_certificate(card.certificate(slot))
            public, private = certificate.public_key(), card.keys[slot].private
            if isinstance(public, rsa.RSAPublicKey):
                public.verify(
                    private.sign(b"m", padding.PKCS1v15(), hashes.SHA256()), b"m", padding.PKCS1v15(), hashes.SHA256()
                )
            else:
                public.verify(private.sign(b"m", ec.ECDSA(hashes.SHA256())), b"m", ec.ECDSA(hashes.SHA256()))
            assert "Hong Gildong" in certificate.subject.rfc4514_string()


def test_what_is_not_there_is_said_to_be_absent(card):
    assert send(card, Ins.GET_DATA, 0x3F, 0xFF, tlv(0x5C, b"\x5f\xc1\x0c"))[1] == Status.NOT_FOUND
    assert send(card, Ins.SELECT, 0x04, 0x00, b"\xa0\0\0\0\1another")[1] == Status.NOT_FOUND
    assert send(card, 0x77)[1] == Status.UNKNOWN_INS
    assert send(card, Ins.GENERAL_AUTHENTICATE, RSA_2048, 0x9E, ASK)[1] == Status.WRONG_P1_P2


FUZZED = Card(keys={})


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_with_a_status_word(apdu):
    """Rubbish sent to the card never brings it down."""
    assert len(FUZZED.transmit(bytes.fromhex("00a4040009a00000030800001000"))) > 2
    assert len(FUZZED.transmit(apdu)) >= 2


def test_faults_happen_when_and_as_often_as_was_said(card):
    """``on`` chooses the commands, ``after`` lets some pass, ``times`` ends it, ``clear`` ends all."""
    card.faults.add(status(0x6F00), on=Ins.VERIFY, after=1, times=2)
    assert [verify(card) for _ in range(4)] == [0x63C3, 0x6F00, 0x6F00, 0x63C3]
    card.faults.add(tries_stated(9), on=Ins.VERIFY, times=None)
    assert verify(card) == verify(card, "000000") == 0x63C9
    assert card.tries_left == 2
    card.faults.clear()
    assert verify(card) == 0x63C2
    card.faults.add(slow(0.01))
    assert verify(card) == 0x63C2
    card.faults.add(removal(after_the_work=True), on=[Ins.GENERAL_AUTHENTICATE])
    with pytest.raises(Pulled):
        sign(card, Slot.CARD_AUTHENTICATION)
    assert card.signatures == 1
