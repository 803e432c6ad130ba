"""Keys: made, looked at, used, imported and destroyed; what the token cannot do is refused and leaves nothing."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.contract.token.abilities import attempt

from dojang.pkcs11 import KEY_ALGORITHMS
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.mechanisms import DIGEST_BYTES

MESSAGE = b"To whom it may concern"
GENERATED_BY = {
    "rsa": ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
    "ec": ck.CKM_EC_KEY_PAIR_GEN,
    "ed25519": ck.CKM_EC_EDWARDS_KEY_PAIR_GEN,
}
HASHES = {name: getattr(hashes, name.upper())() for name in DIGEST_BYTES}
SCHEMES = {"rsa": ("pkcs1v15", "pss"), "ec": ("ecdsa",), "ed25519": ("eddsa",)}
TITLES = {
    "pkcs1v15": "RSA PKCS #1 v1.5 with SHA-",
    "pss": "RSA-PSS with SHA-",
    "ecdsa": "ECDSA with SHA-",
    "eddsa": "Ed25519",
}


def family(algorithm: str) -> str:
    return algorithm.partition("-")[0]


@pytest.fixture(scope="session")
def came_with(token) -> dict[str, list[Any]]:
    """Keys that sign and were there before the first check, by algorithm: some tokens come with them."""
    keys: dict[str, list[Any]] = {}
    for found in list(token.keys()):
        if found.attributes.get("sign"):
            keys.setdefault(found.algorithm, []).append(token.private_key(key_id=found.key_id))
    return keys


@pytest.fixture(scope="session", params=KEY_ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def made(token, algorithm: str, came_with) -> Iterator[Any]:
    """A key made on the token, gone afterwards; ``None`` where the token refuses to make one."""
    key = attempt(lambda: token.generate_key_pair(algorithm, label=f"made {algorithm}"))
    yield key
    if key is not None:
        token.destroy(key.signer.attributes[ck.CKA_ID])


def test_a_key_is_made_as_told_or_refused(token, algorithm, made, abilities):
    """What is made is found again under its label, alone, and never leaves; a refusal leaves nothing half-made."""
    found = [one for one in token.private_objects(label=f"made {algorithm}") if one.type in ("private", "public")]
    if made is None:
        assert found == []
        return
    assert token.mechanisms.has(GENERATED_BY[family(algorithm)])
    abilities.note("keys made", algorithm)
    (private,) = [one for one in found if one.type == "private"]
    assert private.algorithm == algorithm
    assert private.attributes["sensitive"]
    assert not private.attributes["extractable"]
    assert made.public_key().key_size if family(algorithm) != "ed25519" else made.public_key()


def test_every_signature_the_key_can_make_is_good(token, algorithm, made, came_with, abilities, tmp_path):
    """Each padding and hash, over a digest and over a message: cryptography and openssl accept it, or it is refused."""
    for key in [made] if made is not None else came_with.get(algorithm, []):
        for scheme in SCHEMES[family(algorithm)]:
            for hash_name in HASHES if scheme != "eddsa" else [""]:
                if signs(token, key, scheme, hash_name, tmp_path):
                    abilities.note(TITLES[scheme], hash_name.removeprefix("sha") or "yes")


def signs(token, key, scheme: str, hash_name: str, folder) -> bool:
    listed = any(token.mechanisms.has(plan.mechanism.number) for plan in plans(token, scheme, hash_name))
    signature = attempt(lambda: key.signer.sign_message(MESSAGE, hash_name, scheme))
    if signature is None:
        return False
    assert listed, "it signs with what it does not list"
    verify(key.public_key(), signature, scheme, hash_name)
    verify_with_openssl(key.public_key(), signature, scheme, hash_name, folder)
    if scheme != "eddsa":
        digest = hashes.Hash(HASHES[hash_name])
        digest.update(MESSAGE)
        again = attempt(lambda: key.signer.sign_digest(digest.finalize(), hash_name, scheme))
        if again is not None:
            verify(key.public_key(), again, scheme, hash_name)
    return True


def plans(token, scheme: str, hash_name: str):
    return token.mechanisms.plans(scheme, hash_name, None, have_message=True)


def verify(public, signature: bytes, scheme: str, hash_name: str) -> None:
    if scheme == "eddsa":
        public.verify(signature, MESSAGE)
        return
    chosen = HASHES[hash_name]
    if scheme == "ecdsa":
        public.verify(signature, MESSAGE, ec.ECDSA(chosen))
        return
    pss = padding.PSS(padding.MGF1(chosen), DIGEST_BYTES[hash_name])
    public.verify(signature, MESSAGE, pss if scheme == "pss" else padding.PKCS1v15(), chosen)


def verify_with_openssl(public, signature: bytes, scheme: str, hash_name: str, folder) -> None:
    files = {"key.pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)}
    files |= {"message": MESSAGE, "signature": signature}
    for name, value in files.items():
        (folder / name).write_bytes(value)
    words = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "message", "-sigfile", "signature"]
    if scheme != "eddsa":
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if scheme == "pss" else []
        words = ["dgst", f"-{hash_name}", "-verify", "key.pem", *pss, "-signature", "signature", "message"]
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256", "ed25519"])
def test_a_key_made_elsewhere_is_taken_in_or_refused(token, kind, abilities, tmp_path):
    """An imported key signs like its original and no longer leaves; a refusal leaves neither half of it."""
    software = make_software_key(kind)
    key = attempt(lambda: token.import_private_key(software, label=f"imported {kind}"))
    if key is None:
        assert [one.type for one in token.private_objects(label=f"imported {kind}")] == []
        return
    abilities.note("keys imported", kind)
    scheme = SCHEMES[family(kind)][0]
    signature = key.signer.sign_message(MESSAGE, "sha256", scheme)
    verify(software.public_key(), signature, scheme, "sha256")
    assert token.destroy(key.signer.attributes[ck.CKA_ID]) >= 1


def make_software_key(kind: str):
    if kind == "rsa-2048":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec-p256" else ed25519.Ed25519PrivateKey.generate()


def test_a_destroyed_key_is_gone(token):
    """Both halves of a pair are destroyed by its CKA_ID, and what else is there stays."""
    makes = [name for name in ("ec-p256", "rsa-2048") if token.mechanisms.has(GENERATED_BY[family(name)])]
    before = sorted(one.key_id for one in list(token.keys()))
    for algorithm in makes[:1]:
        token.generate_key_pair(algorithm, label="short-lived", key_id=b"\x0a\x0b")
        assert token.destroy(b"\x0a\x0b") >= 1
        assert list(token.private_objects(label="short-lived")) == []
    assert sorted(one.key_id for one in list(token.keys())) == before
