"""A card that is pulled takes its PIN along; counters on the card show that no try is ever wasted."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from dojang import errors
from dojang.agent.signer import find_signer
from dojang.testing.piv import Slot, plugged_in

DIGEST = hashlib.sha256(b"a letter").digest()


@pytest.fixture(scope="module")
def plugged():
    """A card with keys in 9A and 9C (always authenticated), in a reader of this process's own daemon."""
    with plugged_in() as found:
        yield found


@pytest.fixture
def card(plugged, home, monkeypatch):
    """The card, in its reader; this process is one of the agent's user's."""
    monkeypatch.setenv("DOJANG_HOME", str(home.folder))
    monkeypatch.setenv("DOJANG_MODULE", str(plugged.setup.module))
    if not plugged.card.inserted:
        plugged.card.insert(plugged.port)
    return plugged.card


@pytest.fixture
def key(plugged) -> str:
    """The address of the authentication key (RSA-2048, CKA_ID 01 in OpenSC)."""
    return f"{plugged.setup.uri};id=%01"


def start(home, plugged, key: str, *words: object, **named) -> dict:
    environment = {"DOJANG_MODULE": str(plugged.setup.module), **named.pop("env", {})}
    return home.start("--key", key, "--pin-source", plugged.setup.pin_source, *words, env=environment)


def locked(home, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if home.status()["locked"]:
            return True
        time.sleep(0.05)
    return False


def test_pulled(home, plugged, card, key):
    """Within seconds of the card's being pulled the agent is locked, and it stays so when the card is back."""
    start(home, plugged, key)
    signer = find_signer(key)
    public = x509.load_der_x509_certificate(card.certificate(Slot.AUTHENTICATION)).public_key()
    public.verify(signer.sign_digest(DIGEST, "sha256"), b"a letter", padding.PKCS1v15(), hashes.SHA256())
    tried = card.verifications
    card.remove()
    assert locked(home, within=20)
    assert home.status()["keys"][0]["locked"] == "removed"
    card.insert(plugged.port)
    time.sleep(1.5)
    assert find_signer(key) is None
    with pytest.raises(errors.AgentUnavailable):
        signer.sign_digest(DIGEST, "sha256")
    assert card.verifications == tried
    start(home, plugged, key)
    assert len(signer.sign_digest(DIGEST, "sha256")) == 256
    assert card.tries_left == 3


def test_a_wrong_pin_costs_one_try(home, plugged, card, key, tmp_path):
    """However often and from however many starts a wrong PIN comes, the card is asked once."""
    wrong = tmp_path / "wrong"
    wrong.write_text("999999")
    wrong.chmod(0o600)
    words = ("agent", "start", "--key", key, "--pin-source", f"file:{wrong}")
    tried = card.verifications
    environment = {"DOJANG_MODULE": str(plugged.setup.module)}
    with ThreadPoolExecutor(4) as pool:
        codes = [done.returncode for done in pool.map(lambda _: home.dojang(*words, env=environment), range(4))]
    assert codes == [7] * 4
    assert (card.verifications - tried, card.tries_left) == (1, 2)
    start(home, plugged, key)
    assert card.tries_left == 3


def test_an_always_authenticated_key(home, plugged, card, program, tmp_path):
    """The signature key in 9C wants the PIN each time: the person says yes each time, and no try is wasted."""
    key = f"{plugged.setup.uri};id=%02"
    said = tmp_path / "said"
    ask = program("ask", f"echo x >>{said}")
    start(home, plugged, key, env={"SSH_ASKPASS": str(ask)})
    signer = find_signer(key)
    public = x509.load_der_x509_certificate(card.certificate(Slot.SIGNATURE)).public_key()
    for _ in range(2):
        signature = signer.sign_digest(DIGEST, "sha256")
        if signer.family == "rsa":
            public.verify(signature, b"a letter", padding.PKCS1v15(), hashes.SHA256())
    assert said.read_text() == "x\n" * 2
    assert card.tries_left == 3
