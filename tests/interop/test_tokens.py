"""Keys and certificates that dojang put on a token, read and used by four programs we did not write."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

HERE = Path(__file__).parent
ALGORITHMS = ("rsa-2048", "rsa-3072", "ec-p256", "ec-p384", "ec-p521", "ed25519")


def certificate_of(office, algorithm) -> x509.Certificate:
    return x509.load_pem_x509_certificate(office.certificate(algorithm).read_bytes())


def verify(certificate: x509.Certificate, signature: bytes, message: bytes) -> None:
    """Raises unless this raw PKCS#11 signature fits the certificate's key."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        pair = utils.encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
        key.verify(pair, message, ec.ECDSA(hashes.SHA256()))
    else:
        key.verify(signature, message)


def read_apart(read, office, reader: str) -> dict:
    """What a binding sees in a process of its own: {"certificates": [...], "keys": [...]}, each by its id."""
    printed = read(sys.executable, HERE / reader, office.module, office.label, stdin=f"{office.pin}\n")
    return {kind: {one["id"]: one for one in found} for kind, found in json.loads(printed).items()}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pykcs11_reads_keys_and_certificates(office, read, algorithm):
    """PyKCS11 finds the key and its certificate under one id; the key is sensitive, private and not extractable."""
    seen = read_apart(read, office, "read_with_pykcs11.py")
    key_id = office.credentials[algorithm]["id"]
    assert seen["certificates"][key_id]["label"] == algorithm
    assert (
        bytes.fromhex(seen["certificates"][key_id]["der"])
        == office.certificate(algorithm).with_suffix(".der").read_bytes()
    )
    key = seen["keys"][key_id]
    assert key["label"] == algorithm
    assert (key["sensitive"], key["extractable"], key["private"], key["local"]) == (True, False, True, True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_python_pkcs11_signs_with_our_keys(office, read, algorithm):
    """python-pkcs11 signs with the key that dojang made, and the certificate that dojang installed verifies it."""
    seen = read_apart(read, office, "read_with_python_pkcs11.py")
    key_id = office.credentials[algorithm]["id"]
    assert seen["certificates"][key_id]["label"] == algorithm
    verify(certificate_of(office, algorithm), bytes.fromhex(seen["keys"][key_id]["signature"]), b"interop")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pkcs11_tool_lists_one_id(office, read, algorithm):
    """pkcs11-tool shows certificate, public and private key of a credential under one id and one label."""
    key_id = office.credentials[algorithm]["id"]
    where = ["--module", office.module, "--token-label", office.label, "--login", "--pin", "env:USER_PIN"]
    shown = read("pkcs11-tool", *where, "--list-objects", env={**os.environ, "USER_PIN": office.pin})
    objects = [part for part in re.split(r"(?m)^(?=\S)", shown) if re.search(rf"\bID: +{key_id}\b", part)]
    assert sorted(part.split()[0] for part in objects) == ["Certificate", "Private", "Public"]
    assert all(re.search(rf"label: +{algorithm}$", part, re.MULTILINE) for part in objects)
    (private,) = [part for part in objects if part.startswith("Private")]
    assert "sensitive, always sensitive, never extractable, local" in private


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_pkcs11_tool_signs_with_our_keys(office, read, algorithm, tmp_path):
    """pkcs11-tool signs with the key that dojang made, and openssl verifies it with the certificate."""
    mechanism = ["SHA256-RSA-PKCS"] if algorithm.startswith("rsa") else ["ECDSA", "--signature-format", "openssl"]
    message, signature, public = tmp_path / "message", tmp_path / "signature", tmp_path / "public.pem"
    message.write_bytes(os.urandom(32))
    where = ["--module", office.module, "--token-label", office.label, "--login", "--pin", "env:USER_PIN"]
    read(
        *["pkcs11-tool", *where, "--id", office.credentials[algorithm]["id"], "--sign", "--mechanism", *mechanism],
        *["-i", message, "-o", signature],
        env={**os.environ, "USER_PIN": office.pin},
    )
    public.write_text(read("openssl", "x509", "-in", office.certificate(algorithm), "-noout", "-pubkey"))
    given = ["-sigfile", signature, "-in", message, "-pubin", "-inkey", public]
    hashed = ["-rawin", "-digest", "sha256"] if algorithm.startswith("rsa") else []
    assert "Verified Successfully" in read("openssl", "pkeyutl", "-verify", *given, *hashed)


@pytest.fixture(scope="module")
def alone(office, softhsm_dir, tmp_path_factory) -> dict[str, str]:
    """An environment in which SoftHSM has the office's token and no other: GnuTLS looks at 48 slots and no further."""
    folder = tmp_path_factory.mktemp("alone")
    (found,) = [
        path.parent for path in softhsm_dir.glob("tokens/*/token.object") if office.label.encode() in path.read_bytes()
    ]
    shutil.copytree(found, folder / "tokens" / found.name)
    configuration = (softhsm_dir / "softhsm2.conf").read_text().replace(str(softhsm_dir), str(folder))
    (folder / "softhsm2.conf").write_text(configuration)
    return {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm2.conf")}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_p11tool_takes_our_addresses(office, read, alone, algorithm):
    """An address that dojang printed, given to p11tool as it stands, names exactly our certificate."""
    address = office.credentials[algorithm]["address"]
    exported = read("p11tool", "--provider", office.module, "--export", f"{address};type=cert", env=alone)
    assert x509.load_pem_x509_certificate(exported.encode()) == certificate_of(office, algorithm)
    environment = {**alone, "GNUTLS_PIN": office.pin}
    listed = read("p11tool", "--provider", office.module, "--batch", "--login", "--list-all", address, env=environment)
    identifier = "".join(f":{byte:02x}" for byte in bytes.fromhex(office.credentials[algorithm]["id"]))[1:]
    assert identifier in listed
    assert listed.count("Label: ") == listed.count(f"Label: {algorithm}") == 3
