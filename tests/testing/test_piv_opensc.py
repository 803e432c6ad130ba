"""OpenSC's own programs and Yubico's PKCS#11 module drive the emulated card; openssl checks what it signs."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dojang.testing.pcsc import Pcscd
from dojang.testing.piv import MANAGEMENT_KEY, Card, Slot, plugged_in

PIN, PUK = "123456", "12345678"
KEY_IDS = {"01": Slot.AUTHENTICATION, "02": Slot.SIGNATURE, "03": Slot.KEY_MANAGEMENT, "04": Slot.CARD_AUTHENTICATION}


def run(*command: object, status: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode == 0) == (status == 0), done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def management(tmp_path: Path) -> str:
    """The file in which piv-tool looks for the management key."""
    path = tmp_path / "management-key"
    path.write_text(MANAGEMENT_KEY.hex(":").upper())
    return str(path)


def test_opensc_takes_it_for_a_piv_card(plugged):
    """It is recognised by its application, its serial is the GUID, its label the holder's name."""
    assert "Personal Identity Verification Card" in run("opensc-tool", "--name")
    assert plugged.card.guid.hex().upper() in run("opensc-tool", "--serial").replace(" ", "")
    listed = run("pkcs11-tool", "--module", plugged.setup.module, "--list-token-slots")
    assert f"token label        : {plugged.setup.label}" in listed
    assert f"serial num         : {plugged.setup.serial}" in listed


def test_certificates_are_read_as_they_are_on_the_card(plugged, tmp_path):
    for key_id, slot in KEY_IDS.items():
        run("pkcs15-tool", "--read-certificate", key_id, "--output", tmp_path / "certificate.pem")
        read = x509.load_pem_x509_certificate((tmp_path / "certificate.pem").read_bytes())
        assert read.public_bytes(Encoding.DER) == plugged.card.certificate(slot)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_signatures_verify_against_the_cards_certificates(pcsc_daemon, tmp_path, algorithm):
    """RSA and EC, in the three slots whose keys sign; 9D has a key for encryption, and OpenSC does not sign with it."""
    message, signature, public = (tmp_path / name for name in ("message", "signature", "public.pem"))
    message.write_bytes(os.urandom(1000))
    mechanism = {"rsa-2048": ["SHA256-RSA-PKCS"], "ec-p256": ["ECDSA-SHA256", "--signature-format", "openssl"]}[
        algorithm
    ]
    with plugged_in(Card(keys=dict.fromkeys(Slot, algorithm))) as (setup, card, *_):
        tool = ["pkcs11-tool", "--module", setup.module, "--login", "--pin", PIN, "--sign", "--mechanism", *mechanism]
        for key_id in ("01", "02", "04"):
            run(*tool, "--id", key_id, "--input-file", message, "--output-file", signature)
            (tmp_path / "certificate.der").write_bytes(card.certificate(KEY_IDS[key_id]))
            run("openssl", "x509", "-in", tmp_path / "certificate.der", "-pubkey", "-noout", "-out", public)
            assert "Verified OK" in run(
                "openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, message
            )
        run(*tool, "--id", "03", "--input-file", message, "--output-file", signature, status=1)
        assert [use.slot for use in card.uses] == [0x9A, 0x9C, 0x9E]
        assert card.verifications == 4 + 1  # one login a program, and one more for 9C


def test_what_was_encrypted_for_9d_is_decrypted_on_the_card(plugged, tmp_path):
    (tmp_path / "plain").write_bytes(b"for the holder only")
    (tmp_path / "certificate.der").write_bytes(plugged.card.certificate(Slot.KEY_MANAGEMENT))
    certificate, encrypted = ["-certin", "-inkey", tmp_path / "certificate.der"], tmp_path / "encrypted"
    run("openssl", "pkeyutl", "-encrypt", *certificate, "-in", tmp_path / "plain", "-out", encrypted)
    tool = ["pkcs11-tool", "--module", plugged.setup.module, "--login", "--pin", PIN, "--decrypt", "--id", "03"]
    said = run(*tool, "--mechanism", "RSA-PKCS", "--input-file", encrypted, "--output-file", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"for the holder only", said


def test_two_parties_derive_one_secret(pcsc_daemon, tmp_path):
    """ECDH with the key in 9D, through C_DeriveKey."""
    other = ec.generate_private_key(ec.SECP256R1())
    point = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other").write_bytes(point)
    with plugged_in(Card(keys=dict.fromkeys(Slot, "ec-p256"))) as (setup, card, *_):
        tool = ["pkcs11-tool", "--module", setup.module, "--login", "--pin", PIN, "--derive", "--id", "03"]
        run(*tool, "-m", "ECDH1-DERIVE", "--input-file", tmp_path / "other", "--output-file", tmp_path / "secret")
        public = x509.load_der_x509_certificate(card.certificate(Slot.KEY_MANAGEMENT)).public_key()
        assert (tmp_path / "secret").read_bytes() == other.exchange(ec.ECDH(), public)


@pytest.mark.parametrize(("reference", "algorithm"), [("9A", "07"), ("9E", "11")])
def test_piv_tool_makes_a_key_and_loads_its_certificate(plugged, management, tmp_path, reference, algorithm):
    """The new pair signs, and its signature verifies with the certificate that was loaded.

    piv-tool 0.23 makes the key and then cannot write the public half down (OpenSSL 3), so that is taken from the card;
    after loading a certificate it ends with the number of bytes it sent. What counts is what is on the card.
    """
    card, slot = plugged.card, int(reference, 16)
    before = card.keys[slot]
    admin, environment = ["piv-tool", "--admin", "M:9B:03"], os.environ | {"PIV_EXT_AUTH_KEY": management}
    subprocess.run([*admin, "--genkey", f"{reference}:{algorithm}"], env=environment, check=False)
    assert card.keys[slot] is not before
    certificate = _certificate(card.keys[slot].private)
    (tmp_path / "new.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    subprocess.run([*admin, "--cert", reference, "--in", tmp_path / "new.pem"], env=environment, check=False)
    assert card.certificate(slot) == certificate.public_bytes(Encoding.DER)
    key_id = next(key_id for key_id, known in KEY_IDS.items() if known == slot)
    run("pkcs15-tool", "--read-certificate", key_id, "--output", tmp_path / "read.pem")
    run("openssl", "x509", "-in", tmp_path / "read.pem", "-pubkey", "-noout", "-out", tmp_path / "public.pem")
    (tmp_path / "message").write_bytes(b"signed by a new key")
    mechanism = ["SHA256-RSA-PKCS"] if algorithm == "07" else ["ECDSA-SHA256", "--signature-format", "openssl"]
    tool = ["pkcs11-tool", "--module", plugged.setup.module, "--login", "--pin", PIN, "--sign", "--id", key_id]
    files = ["--input-file", tmp_path / "message", "--output-file", tmp_path / "signature"]
    run(*tool, "--mechanism", *mechanism, *files)
    check = ["-verify", tmp_path / "public.pem", "-signature", tmp_path / "signature", tmp_path / "message"]
    assert "Verified OK" in run("openssl", "dgst", "-sha256", *check)


def test_a_wrong_management_key_changes_nothing(plugged, tmp_path):
    (tmp_path / "wrong").write_text(bytes(24).hex(":"))
    before = plugged.card.keys[0x9A]
    run("piv-tool", "--admin", "M:9B:03", "--genkey", "9A:07", status=1, PIV_EXT_AUTH_KEY=str(tmp_path / "wrong"))
    assert plugged.card.keys[0x9A] is before


def test_a_locked_pin_is_unblocked_with_the_puk(plugged):
    """Three wrong PINs lock it, the right one no longer helps, the PUK sets a new one; the counters tell each step."""
    card = plugged.card
    for left in (2, 1, 0):
        run("pkcs15-tool", "--verify-pin", "--pin", "111111", status=1)
        assert card.tries_left == left
    run("pkcs15-tool", "--verify-pin", "--pin", PIN, status=1)
    unblock = ["pkcs15-tool", "--unblock-pin", "--auth-id", "01", "--new-pin", "777777"]
    run(*unblock, "--puk", "00000000", status=1)
    assert (card.tries_left, card.puk_tries_left) == (0, 2)
    run(*unblock, "--puk", PUK)
    assert (card.tries_left, card.puk_tries_left) == (3, 3)
    run("pkcs15-tool", "--verify-pin", "--pin", "777777")
    run("pkcs15-tool", "--change-pin", "--pin", "777777", "--new-pin", PIN)
    run("pkcs15-tool", "--verify-pin", "--pin", PIN)


def test_yubicos_module_takes_it_for_a_card_of_theirs(tmp_path, dojang_at):
    """ykcs11 looks at readers named after a YubiKey only, and asks the card for its version; then every slot signs, and
    dojang signs through it, with one login for 9A and one more PIN for 9C.
    """
    message = tmp_path / "message"
    message.write_bytes(b"message")
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o600)
    common = ("--module", _module("libykcs11.so"), "--pin-source", f"file:{tmp_path / 'pin'}", "--no-input", "--json")
    with TemporaryDirectory() as folder, Pcscd(Path(folder), reader_name="Yubico YubiKey") as daemon, Card() as card:
        card.insert(daemon.ports[0])
        dojang = dojang_at(tmp_path)
        for key_id, slot in KEY_IDS.items():
            address = f"pkcs11:token=YubiKey%20PIV%20%230;id=%{key_id}"
            signature = tmp_path / f"signature-{key_id}"
            command = ("sign", "raw", "--key", address, message, "-o", signature, *common)
            signed = dojang(*command, env=dict(daemon.environment))
            assert signed.returncode == 0, signed.stdout
            (tmp_path / "certificate.der").write_bytes(card.certificate(slot))
            public = ["-pubkey", "-noout", "-out", tmp_path / "public.pem"]
            run("openssl", "x509", "-in", tmp_path / "certificate.der", *public)
            check = ["-verify", tmp_path / "public.pem", "-signature", signature, message]
            assert "Verified OK" in run("openssl", "dgst", "-sha256", *check)
        assert [use.slot for use in card.uses] == list(Slot)
        assert (card.verifications, card.tries_left) == (4 + 1, 3)


def test_the_card_is_a_program_too(pcsc_daemon):
    """``python -m dojang.testing.piv --port N`` puts a card into a reader and obeys what is typed."""
    with pcsc_daemon.reader() as port:
        command = [sys.executable, "-m", "dojang.testing.piv", "--port", str(port), "--key", "9e=ec-p256"]
        pipe = subprocess.PIPE
        with subprocess.Popen([*command, "--pin", "246800"], stdin=pipe, stdout=pipe, text=True) as program:
            assert f"port {port}" in program.stdout.readline()
            run("pkcs15-tool", "--verify-pin", "--pin", "000000", status=1)
            said = []
            for line in ("show", "remove", "insert", "nonsense"):
                print(line, file=program.stdin, flush=True)
                said.append(program.stdout.readline())
            program.stdin.close()
        assert said[0] == "in, tries 2, PUK tries 3, uses of keys 0\n"
        assert [line.partition(",")[0] for line in said[1:3]] == ["out", "in"]
        assert said[3].startswith("One of")
        assert program.returncode == 0


def _module(name: str) -> str:
    return next(str(path) for path in Path("/usr/lib").glob(f"*/{name}"))


def _certificate(key) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "New")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())
