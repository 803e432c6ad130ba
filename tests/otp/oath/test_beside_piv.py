"""One device with PIV keys and seeds: used by two programs at once, and shown as the one thing it is."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.otp.oath.conftest import AT, SEED, put_in

from dojang.otp.oath.device import open_at
from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.secret import Secret
from dojang.testing.piv import MANAGEMENT_KEY, Ins, Slot, removal, slow

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


@dataclass
class Office:
    """A local authority on SoftHSM, and the holder of the device; ``run`` is dojang with both PINs."""

    run: Callable[..., dict]
    card: str
    module: str
    sources: tuple[str, ...]
    environment: dict[str, str]
    remarks: list[str]

    @property
    def said(self) -> str:
        """What the last run has told besides: its warnings."""
        return "".join(line for line in self.remarks[-1].splitlines() if line.startswith("Warning"))

    def order(self, *, key_id: str = "") -> tuple[str, ...]:
        """``cert issue`` for a key of the card."""
        return ("cert", "issue", "--to", f"{self.card}{key_id}{self.module}", "--subject", "CN=Hong,C=KR")


@pytest.fixture
def office(plugged, key, make_token, run_dojang) -> Iterator[Office]:
    """The card is as it was delivered, each key with a certificate that it signed for itself, before and after."""
    token = make_token()
    delivered = dict(key.objects)
    environment = {"CA_PIN": token.pin, "PIN": plugged.setup.pin}
    sources = ("--ca-pin-source", "env:CA_PIN", "--pin-source", "env:PIN")
    remarks: list[str] = []

    def run(*words: object, status: int = 0, env: dict[str, str] | None = None) -> dict:
        given = environment | (env or {})
        done = run_dojang(*words, *sources, "--json", "--no-input", env=given)
        remarks.append(done.stderr)
        assert done.returncode == status, done.stdout + done.stderr
        said = json.loads(done.stdout)
        return said["data"] if status == 0 else said["error"]

    init = ("ca", "init", "--key", f"{token.uri};object=ca", "--name", "CN=Office,C=KR", "--alias", "office")
    run(*init, env={"PIN": token.pin})
    module = quote(str(plugged.setup.module), safe="/")
    yield Office(run, f"pkcs11:serial={plugged.setup.serial}", f"?module-path={module}", sources, environment, remarks)
    key.objects.update(delivered)


def test_one_device_certifies_its_key_and_shows_its_code(office, plugged, key, tmp_path, piv_keys):
    """``cert issue --to`` its PIV key, a signature that OpenSSL verifies with the new certificate, and its code."""
    key.oath.put("Bank:hong", SEED)
    order = office.order(key_id=";id=%01")
    assert office.run(*order, "--plan")["changed"] is False
    assert office.said == ""
    assert "Use the key (ec-p256) that is in" in office.run(*order, "--plan")["plan"][0]
    issued = office.run(*order)["credential"]
    assert office.said.count("that every card is delivered with") == 1
    certificate = x509.load_der_x509_certificate(key.certificate(Slot.AUTHENTICATION))
    assert certificate.issuer.rfc4514_string() == "CN=Office,C=KR"
    assert f"{certificate.serial_number:x}" == issued["serial"].lstrip("0").lower()
    assert certificate.public_key() == piv_keys[Slot.AUTHENTICATION].public_key()
    (tmp_path / "message").write_bytes(b"x")
    office.run("sign", "raw", "--key", issued["address"], tmp_path / "message", "-o", tmp_path / "signature")
    (tmp_path / "public.pem").write_bytes(
        certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    check = ["-verify", tmp_path / "public.pem", "-signature", tmp_path / "signature", tmp_path / "message"]
    subprocess.run(["openssl", "dgst", "-sha256", *check], check=True, capture_output=True)
    shown = office.run("token", "show", office.card + office.module)["token"]
    code = office.run("otp", "code", shown["otp"]["seeds"][0]["address"])["code"]
    assert len(code) == 6
    assert office.run(*order, status=9)["code"] == "already-exists"
    for words in (["--yes", plugged.setup.serial], ["--plan"]):
        assert office.run("cert", "delete", issued["address"], *words, status=10)["code"] == "unsupported-operation"


def test_a_successor_that_wants_a_new_key_is_told_of_other_ways(office, key):
    """Before anything is asked or made, also with ``--plan``: ``--keep-key`` where the profile lets it stay."""
    kept = office.run(*office.order(key_id=";id=%01"), "--profile", "tls-client")["credential"]["address"]
    other = office.run(*office.order(key_id=";id=%02"), "--profile", "personal")["credential"]["address"]
    before = dict(key.objects)
    for plan in ((), ("--plan",)):
        refused = office.run("renew", "now", kept, *plan, status=10)
        assert f"dojang renew now '{kept}' --keep-key" in refused["next"]
        for words in (("renew", "now", other), ("cert", "reissue", other)):
            assert "dojang cert issue --to ADDRESS" in office.run(*words, *plan, status=10)["next"]
        advice = office.run(*office.order(), *plan, status=10)["next"]
        assert "Name a key that is there" in advice
        assert "only where it has a certificate" in advice
    assert key.objects == before


@pytest.mark.parametrize("late", [None, False, True])
def test_the_certificate_of_a_kept_key_is_renewed(office, plugged, key, late):
    """Where its profile lets the key stay; pulled out before or after the one write, the next run ends it."""
    order = (*office.order(key_id=";id=%01"), "--profile", "tls-client")
    issued = office.run(*order)["credential"]
    words = ("renew", "now", issued["address"], "--keep-key")
    if late is None:
        assert office.run(*words)["credential"]["address"] == issued["address"]
    else:
        key.faults.add(removal(after_the_work=late), on=Ins.PUT_DATA)
        assert office.run(*words, status=6)["code"] == "token-removed"
        put_in(key, plugged.port)
        assert office.run("renew", "run")["recovered"] == [{"verb": "renew", "outcome": "finished"}]
    certificate = x509.load_der_x509_certificate(key.certificate(Slot.AUTHENTICATION))
    listed = {one["serial"].lstrip("0").lower(): one for one in office.run("ca", "list")["certificates"]}
    assert len(listed) == 2
    assert f"{certificate.serial_number:x}" in listed.keys() - {issued["serial"].lstrip("0").lower()}


def test_a_card_with_its_own_management_key(office, plugged, key):
    """Without it nothing is changed, on the card or at the authority's cost; with it the certificate is put there."""
    key.change_management_key(bytes(range(24)))
    before = key.certificate(Slot.AUTHENTICATION)
    order = office.order(key_id=";id=%01")
    try:
        assert office.run(*order, status=7)["code"] == "management-key-incorrect"
        wrong = office.run(*order, "--so-pin-source", "env:KEY", status=7, env={"KEY": "no key"})
        assert wrong["code"] == "management-key-incorrect"
        assert key.certificate(Slot.AUTHENTICATION) == before
        office.run(*order, "--so-pin-source", "env:KEY", env={"KEY": bytes(range(24)).hex()})
        assert office.said == ""
        assert key.certificate(Slot.AUTHENTICATION) != before
    finally:
        key.change_management_key(MANAGEMENT_KEY)


@pytest.mark.parametrize("late", [False, True])
def test_pulled_out_while_the_certificate_is_put_there(office, plugged, key, late):
    """The old one is complete, or the new one; the same command again ends it."""
    order = office.order(key_id=";id=%01")
    before = key.certificate(Slot.AUTHENTICATION)
    key.faults.add(removal(after_the_work=late), on=Ins.PUT_DATA, after=1)
    assert office.run(*order, status=6)["code"] == "token-removed"
    put_in(key, plugged.port)
    assert (key.certificate(Slot.AUTHENTICATION) == before) is not late
    again = office.run(*order)["credential"]
    certificate = x509.load_der_x509_certificate(key.certificate(Slot.AUTHENTICATION))
    assert f"{certificate.serial_number:x}" == again["serial"].lstrip("0").lower()


def test_a_run_that_is_killed_while_it_puts_the_certificate_there(office, key, home):
    """kill -9 in the middle of the one write: the next run finds what was issued, and ends it."""
    order = office.order(key_id=";id=%01")
    key.faults.happened = 0
    key.faults.add(slow(0.3), on=Ins.PUT_DATA)
    words = [sys.executable, "-m", "dojang", *order, *office.sources, "--no-input"]
    environment = {**os.environ, **office.environment}
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not key.faults.happened:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    again = office.run(*order)["credential"]
    certificate = x509.load_der_x509_certificate(key.certificate(Slot.AUTHENTICATION))
    assert f"{certificate.serial_number:x}" == again["serial"].lstrip("0").lower()
    assert len(office.run("ca", "list")["certificates"]) == 1


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
        put_in(card, port)
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
