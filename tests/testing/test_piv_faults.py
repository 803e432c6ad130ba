"""What goes wrong with a card and its reader, done for real: what dojang's caller sees, and that the next try works.

In every test one process goes on: nothing is loaded anew. ``card.uses`` shows that nothing was signed twice, and
``card.verifications`` that no PIN was tried which nobody asked for.
"""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from dojang import errors
from dojang.pkcs11 import list_tokens, open_token
from dojang.secret import Secret
from dojang.testing.piv import (
    Card,
    Ins,
    Slot,
    damaged,
    noise,
    objects,
    plugged_in,
    removal,
    reset,
    slow,
    status,
    tries_stated,
    truncated,
    wrong_length,
)

PATIENCE = 10.0  # seconds; a reader looks for cards every 0.4 s
AUTHENTICATION, SIGNATURE, KEY_MANAGEMENT, CARD_AUTHENTICATION = b"\1", b"\2", b"\3", b"\4"
DIGEST = hashlib.sha256(b"message").digest()
IN_THE_MIDDLE = {"on": Ins.GENERAL_AUTHENTICATE, "after": 1}  # an RSA block comes in two parts: before the second
GONE = (errors.SignatureUncertain, errors.TokenRemoved, errors.DeviceFailure)


@pytest.fixture
def sign(token, plugged) -> Callable[[], bytes]:
    """One signature with the key in 9A, verified."""
    signer = token.signer(key_id=AUTHENTICATION)

    def work() -> bytes:
        signature = signer.sign_digest(DIGEST, "sha256")
        assert_valid(plugged.card, Slot.AUTHENTICATION, signature)
        return signature

    work()
    return work


def assert_valid(card: Card, slot: int, signature: bytes, digest: bytes = DIGEST) -> None:
    public = x509.load_der_x509_certificate(card.certificate(slot)).public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    else:
        public.verify(signature, digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


def recovered(work: Callable[[], object]) -> float:
    """Seconds until ``work`` succeeds again; only what a missing card or daemon may cause is borne meanwhile."""
    begun = time.monotonic()
    while True:
        try:
            work()
        except (*GONE, errors.DeviceBusy, errors.ModuleUnloadable):
            assert time.monotonic() - begun < PATIENCE
            time.sleep(0.05)
        else:
            return time.monotonic() - begun


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_dojang_signs_with_every_key_that_may_sign(pcsc_daemon, card_guard, algorithm):
    """9A and 9E sign after one login, 9C asks for the PIN each time, 9D is refused; signatures fit the certificates."""
    from dojang.pkcs11 import ModuleSearch

    asked = []
    with plugged_in(Card(keys=dict.fromkeys(Slot, algorithm))) as (setup, card, *_):
        search = ModuleSearch(module=str(setup.module), discover=False)

        def ask(request):
            asked.append(request.role)
            return Secret(setup.pin)

        with open_token(setup.uri, ask, search=search, guard=card_guard) as token:
            read = {found.key_id: found.value for found in token.certificates()}
            slots = zip((AUTHENTICATION, SIGNATURE, CARD_AUTHENTICATION), (0x9A, 0x9C, 0x9E), strict=True)
            for key_id, slot in slots:
                signer = token.signer(key_id=key_id)
                for _ in range(2):
                    assert_valid(card, slot, signer.sign_digest(DIGEST, "sha256"))
                assert read[key_id] == card.certificate(slot)
            with pytest.raises(errors.DeviceRefused):
                token.signer(key_id=KEY_MANAGEMENT).sign_digest(DIGEST, "sha256")
        assert asked == ["user", "context", "context"]
        assert card.verifications == 3
        assert [use.slot for use in card.uses] == [0x9A, 0x9A, 0x9C, 0x9C, 0x9E, 0x9E]


def test_a_slow_card_is_waited_for(plugged, sign):
    plugged.card.faults.add(slow(1.5), on=Ins.GENERAL_AUTHENTICATE)
    sign()
    assert plugged.card.signatures == 2


@pytest.mark.parametrize("fault", [status(0x6F00), status(0x6982), noise(1)], ids=["6F00", "6982", "noise"])
def test_a_card_that_fails_in_a_signature_is_asked_once(plugged, sign, fault):
    """The caller gets an error of the token's, nothing is signed, and the next signature is good."""
    plugged.card.faults.add(fault, **IN_THE_MIDDLE)
    with pytest.raises(errors.DeviceError):
        sign()
    assert plugged.card.signatures == 1
    sign()
    assert plugged.card.signatures == 2


@pytest.mark.parametrize("how", [truncated, wrong_length])
def test_an_answer_that_cannot_be_read_gives_no_false_signature(plugged, token, sign, how):
    """9A: OpenSC asks the card again by itself. 9C: the PIN was used up, so it is not, and the caller is told."""
    plugged.card.faults.add(damaged(how), **IN_THE_MIDDLE)
    sign()
    signer = token.signer(key_id=SIGNATURE)
    assert_valid(plugged.card, Slot.SIGNATURE, signer.sign_digest(DIGEST, "sha256"))
    before = plugged.card.signatures, plugged.card.verifications
    plugged.card.faults.add(damaged(how), on=Ins.GENERAL_AUTHENTICATE)
    with pytest.raises(errors.SignatureUncertain):
        signer.sign_digest(DIGEST, "sha256")
    assert (plugged.card.signatures, plugged.card.verifications) == (before[0] + 1, before[1] + 1)
    assert_valid(plugged.card, Slot.SIGNATURE, signer.sign_digest(DIGEST, "sha256"))


@pytest.mark.parametrize("after_the_work", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", [reset, removal])
def test_a_card_lost_in_the_middle_of_a_signature(plugged, sign, fault, after_the_work):
    """Reset or pulled out, before it signed or with the answer on its way: the caller hears that nobody knows, the card
    is never asked again by itself, and once it is back the same process signs on.
    """
    card = plugged.card
    card.faults.add(fault(after_the_work=after_the_work), **IN_THE_MIDDLE)
    with pytest.raises(errors.SignatureUncertain):
        sign()
    assert card.signatures == (2 if after_the_work else 1)
    if fault is removal:
        assert not card.inserted
        with pytest.raises(GONE):
            sign()
        card.insert(plugged.port)
    assert recovered(sign) < 5
    assert card.tries_left == 3
    assert card.signatures == (3 if after_the_work else 2)


def test_a_card_that_always_asks_comes_back_too(plugged, token, sign):
    """9C after removal: one login for the token and one PIN for the signature, as at first."""
    signer = token.signer(key_id=SIGNATURE)
    signer.sign_digest(DIGEST, "sha256")
    plugged.card.remove()
    with pytest.raises(GONE):
        signer.sign_digest(DIGEST, "sha256")
    plugged.card.insert(plugged.port)
    before = plugged.card.verifications
    recovered(lambda: assert_valid(plugged.card, Slot.SIGNATURE, signer.sign_digest(DIGEST, "sha256")))
    assert plugged.card.verifications == before + 2


@pytest.mark.parametrize("after", [0, 5, 14, 27])
def test_a_card_that_vanishes_after_any_command(plugged, card_search, card_guard, after):
    """However far the opening of the token had come: an error of ours, then all is well with the card back."""

    def story() -> bytes:
        with open_token(plugged.setup.uri, Secret(plugged.setup.pin), search=card_search, guard=card_guard) as token:
            return token.signer(key_id=AUTHENTICATION).sign_digest(DIGEST, "sha256")

    recovered(story)
    card = plugged.card
    card.remove()
    card.insert(plugged.port)
    card.faults.add(removal(), after=after)

    def again_and_again() -> None:
        while True:
            story()

    with pytest.raises((*GONE, errors.TokenNotFound)):
        again_and_again()
    assert not card.inserted
    card.faults.clear()
    card.insert(plugged.port)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            assert_valid(card, Slot.AUTHENTICATION, story())
            break
        except (*GONE, errors.TokenNotFound):
            assert time.monotonic() < deadline
    assert card.tries_left == 3


def test_threads_survive_a_card_pulled_between_them(plugged, token):
    """Eight threads, each with digests of its own, and the card out and in again in the middle: none waits for ever,
    none gets a wrong signature, and the card signed nothing twice.
    """
    card = plugged.card
    signers = {0x9A: token.signer(key_id=AUTHENTICATION), 0x9E: token.signer(key_id=CARD_AUTHENTICATION)}

    def work(thread: int) -> int:
        done = 0
        for number in range(8):
            slot, digest = (0x9A, 0x9E)[number % 2], hashlib.sha256(bytes([thread, number])).digest()
            try:
                signature = signers[slot].sign_digest(digest, "sha256")
            except GONE:
                time.sleep(0.1)
            else:
                assert_valid(card, slot, signature, digest)
                done += 1
        return done

    card.faults.add(removal(), on=Ins.GENERAL_AUTHENTICATE, after=20)
    with ThreadPoolExecutor(8) as threads:
        results = threads.map(work, range(8))
        while card.inserted:
            time.sleep(0.01)
        card.insert(plugged.port)
        assert 10 <= sum(results) < 64
    assert len(set(card.uses)) == len(card.uses)
    assert card.tries_left == 3
    recovered(lambda: assert_valid(card, 0x9A, signers[0x9A].sign_digest(DIGEST, "sha256")))


def test_another_card_in_the_reader_is_not_taken_for_the_first(plugged, sign):
    """The other card is neither signed with nor given the PIN; the first is recognised when it is back."""
    plugged.card.remove()
    with Card() as other:
        other.insert(plugged.port)
        for _ in range(5):
            with pytest.raises(GONE):
                sign()
        assert (other.verifications, other.signatures) == (0, 0)
    plugged.card.insert(plugged.port)
    recovered(sign)


def test_two_cards_in_two_readers_are_told_apart(plugged, card_search, card_guard, sign):
    """Both of one holder: their serials differ, and each signs with its own key."""
    with plugged_in(Card(keys=dict.fromkeys(Slot, "ec-p256"))) as (setup, other, *_):
        deadline = time.monotonic() + PATIENCE
        while len(list_tokens(card_search).tokens) < 2:
            assert time.monotonic() < deadline
        with open_token(setup.uri, Secret(setup.pin), search=card_search, guard=card_guard) as second:
            signature = second.signer(key_id=AUTHENTICATION).sign_digest(DIGEST, "sha256")
            assert_valid(other, Slot.AUTHENTICATION, signature)
            sign()
        assert (plugged.card.signatures, other.signatures) == (2, 1)


@pytest.mark.parametrize("card_in_between", [True, False], ids=["card back at once", "card back later"])
def test_the_daemon_restarts_and_the_process_signs_on(plugged, sign, card_in_between):
    """pcscd dies and comes back: an error that says so, no restart of ours, no PIN tried in vain."""
    plugged.daemon.stop()
    with pytest.raises(errors.DojangError):
        sign()
    plugged.daemon.start()
    if not card_in_between:
        with pytest.raises(errors.DojangError):
            sign()
    plugged.card.insert(plugged.port)
    assert recovered(sign) < 5
    assert (plugged.card.signatures, plugged.card.tries_left) == (2, 3)


@pytest.mark.parametrize(("stated", "left"), [(0, 3), (1, 3), (15, 2)])
def test_a_card_that_lies_about_its_tries_costs_one_at_most(plugged, card_search, card_guard, stated, left):
    """Where it says that one or none is left nothing is tried, where it says more a wrong PIN costs its one try."""
    plugged.card.faults.add(tries_stated(stated), on=Ins.VERIFY, times=None)
    with (
        open_token(plugged.setup.uri, Secret("000000"), search=card_search, guard=card_guard) as token,
        pytest.raises((errors.PinIncorrect, errors.PinLocked, errors.PinLastTry)),
    ):
        token.log_in()
    plugged.card.faults.clear()
    assert plugged.card.tries_left == left
    with open_token(plugged.setup.uri, Secret(plugged.setup.pin), search=card_search, guard=card_guard) as token:
        token.log_in()
    assert plugged.card.tries_left == 3


BAD_CERTIFICATES = {
    "truncated": lambda card: objects.certificate_object(truncated(card.certificate(Slot.SIGNATURE))),
    "no certificate": lambda _: objects.certificate_object(b"this is not a certificate"),
    "wrong length": lambda card: wrong_length(objects.certificate_object(card.certificate(Slot.SIGNATURE))),
    "empty": lambda _: objects.certificate_object(b""),
    "noise": lambda _: bytes(range(256)),
    "of another key": lambda card: objects.certificate_object(card.certificate(Slot.CARD_AUTHENTICATION)),
}


@pytest.mark.parametrize("kind", BAD_CERTIFICATES)
def test_a_bad_certificate_hides_no_other(pcsc_daemon, card_keys, tmp_path, dojang_at, kind):
    """In 9C, seen by the command line: the other three are listed, 9A signs, and nothing ends in a traceback."""
    card = Card(keys=card_keys)
    card.objects[objects.CERTIFICATE[Slot.SIGNATURE]] = BAD_CERTIFICATES[kind](card)
    with plugged_in(card) as (setup, *_):
        dojang = dojang_at(tmp_path)
        common = ("--module", setup.module, "--pin-source", setup.pin_source, "--no-input", "--json")
        listed = dojang("cert", "list", setup.uri, *common)
        assert listed.returncode == 0, listed.stdout
        for slot in (Slot.AUTHENTICATION, Slot.KEY_MANAGEMENT, Slot.CARD_AUTHENTICATION):
            serial = x509.load_der_x509_certificate(card.certificate(slot)).serial_number
            assert f"{serial:x}" in listed.stdout.lower()
        (tmp_path / "message").write_bytes(b"message")
        signed = dojang("sign", "raw", "--key", f"{setup.uri};id=%01", tmp_path / "message", *common)
        assert signed.returncode == 0, signed.stdout
        assert_valid(card, Slot.AUTHENTICATION, (tmp_path / "message.sig").read_bytes())
        examined = dojang("doctor", setup.uri, *common)
        assert "Traceback" not in examined.stdout + examined.stderr
        assert '"code": "bug"' not in examined.stdout


@pytest.mark.parametrize("seed", range(4))
def test_a_card_that_answers_rubbish_while_it_is_opened(plugged, card_search, card_guard, seed):
    """Random bytes for some of the first commands: an error of ours or a good signature, and then recovery."""
    card = plugged.card
    card.faults.add(noise(seed), after=seed, times=3)
    card.faults.add(noise(seed), after=7 * seed, times=2)

    def story() -> None:
        with open_token(plugged.setup.uri, Secret(plugged.setup.pin), search=card_search, guard=card_guard) as token:
            assert_valid(card, Slot.AUTHENTICATION, token.signer(key_id=AUTHENTICATION).sign_digest(DIGEST, "sha256"))

    for _ in range(3):
        try:
            story()
        except errors.DeviceError:
            continue
    card.faults.clear()
    card.remove()
    card.insert(plugged.port)
    recovered(story)
    assert card.tries_left == 3
