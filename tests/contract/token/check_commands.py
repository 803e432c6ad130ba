"""A certificate's life on the token by the command line: issue, sign, verify, renew, look at, delete.

The authority's key lies on a software token of its own. Where the token makes no key, issuing is refused and leaves
nothing, and what came on the token is looked at and signs.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.token.abilities import REFUSALS

from dojang.pkcs11 import constants as ck
from dojang.testing.modules.parts import library, new_pin

CONFIGURATION = "directories.tokendir = {folder}\nobjectstore.backend = file\n"
MAKES = {"ec-p256": ck.CKM_EC_KEY_PAIR_GEN, "rsa-2048": ck.CKM_RSA_PKCS_KEY_PAIR_GEN}


@pytest.fixture(scope="module")
def authority(dojang, tmp_path_factory) -> Path:
    """An authority named ``office``; its certificate as a file."""
    folder = tmp_path_factory.mktemp("authority")
    if "SOFTHSM2_CONF" not in os.environ:
        (folder / "tokens").mkdir()
        (folder / "softhsm2.conf").write_text(CONFIGURATION.format(folder=folder / "tokens"))
        os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    module = library("softhsm/libsofthsm2.so", "softhsm2")
    pin, so_pin = new_pin(folder, "ca.pin")[1], new_pin(folder, "ca.so-pin")[1]
    made = dojang(
        *("--module", module, "token", "init", "--label", "Authority"),
        *("--so-pin-source", so_pin, "--new-pin-source", pin),
    )
    assert made.exit == 0, made.error
    key = f"pkcs11:token=Authority;object=root?module-path={module}&pin-source={pin}"
    founded = dojang("ca", "init", "--alias", "office", "--key", key, "--name", "CN=Office CA,O=Example,C=KR")
    assert founded.exit == 0, founded.error
    (folder / "office.pem").write_text(founded.data["authority"]["chain"])
    return folder / "office.pem"


@pytest.fixture(scope="module")
def algorithm(token) -> str:
    """A kind of key that the token says it makes; of two, the one that takes no time."""
    return next((name for name, mechanism in MAKES.items() if token.mechanisms.has(mechanism)), "rsa-2048")


@pytest.fixture(scope="module")
def issued(dojang, uri, authority, algorithm):
    """What ``cert issue`` answered."""
    kind = ["--algorithm", algorithm, "--subject", "CN=Hong Gildong,O=Example,C=KR"]
    return dojang("cert", "issue", "--to", uri, "--label", "hong", "--ca", "office", *kind)


@pytest.fixture
def signs_and_verifies(dojang, tmp_path: Path) -> Callable[[str, Path], None]:
    """Signs a letter with the credential at an address; dojang and openssl verify it with its certificate."""

    def check(address: str, trust: Path) -> None:
        letter, signature = tmp_path / "letter.txt", tmp_path / "letter.p7s"
        letter.write_text("To whom it may concern\n" * 100)
        signed = dojang("sign", "cms", "--key", address, "--detached", "-o", signature, letter)
        assert signed.exit == 0, signed.error
        verified = dojang("verify", signature, "--content", letter, "--trust", trust)
        assert verified.exit == 0, verified.error
        words = ["-verify", "-binary", "-inform", "DER", "-in", signature, "-content", letter, "-CAfile", trust]
        done = subprocess.run(["openssl", "cms", *words, "-purpose", "any"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr

    return check


def test_a_certificate_is_issued_and_used_or_refused_without_a_trace(
    dojang, uri, token, algorithm, issued, authority, abilities, signs_and_verifies
):
    """Issued where the token makes keys; otherwise refused with a reason, and nothing of it is left anywhere."""
    if issued.exit in REFUSALS:
        assert not token.mechanisms.has(MAKES[algorithm])
        assert issued.error["message"]
        assert issued.error["next"]
        assert [one for one in dojang("cert", "list", uri).data["credentials"] if "hong" in one["address"]] == []
        assert dojang("doctor", uri).data.get("unfinished", []) == []
        return
    assert issued.exit == 0, issued.error
    abilities.note("`cert issue`")
    signs_and_verifies(issued.data["credential"]["address"], authority)
    abilities.note("`sign`, `verify`")


def test_it_is_renewed_and_the_old_one_retired(dojang, issued, authority, abilities, signs_and_verifies):
    """The same address leads to the successor, which signs; the old pair is still there, and can be deleted."""
    if issued.exit:
        return
    address = issued.data["credential"]["address"]
    renewed = dojang("renew", "now", address)
    assert renewed.exit == 0, renewed.error
    abilities.note("`renew now`")
    assert renewed.data["credential"]["address"] == address
    assert renewed.data["credential"]["serial"] != issued.data["credential"]["serial"]
    assert renewed.data["previous"]["state"] == "retired"
    signs_and_verifies(address, authority)
    kept = dojang("renew", "now", address, "--keep-key", "--again")
    assert kept.exit in (0, *REFUSALS), kept.error


def test_every_certificate_can_be_looked_at_and_its_key_used(dojang, uri, issued, abilities, tmp_path):
    """``where``, ``cert list`` and ``cert show`` agree; a file is signed under the address shown, where the key may."""
    listed = {one["address"]: one for one in dojang("cert", "list", uri).data["credentials"]}
    assert listed
    assert listed.keys() <= {one["address"] for one in dojang("where").data["credentials"]}
    may_sign = {one["id"]: one["attributes"]["sign"] for one in dojang("key", "list", uri).data["keys"]}
    content, signature, pem = (tmp_path / name for name in ("content", "content.sig", "signer.pem"))
    content.write_bytes(b"content")
    for address, one in listed.items():
        shown = dojang("cert", "show", address, "-o", pem).data["credential"]
        assert shown["serial"] == one["serial"]
        if one["state"] != "valid":
            continue
        signed = dojang("sign", "raw", "--key", address, "-o", signature, content)
        if not may_sign[one["id"]]:
            assert signed.exit in REFUSALS, signed.error
            continue
        assert signed.exit == 0, signed.error
        verified = dojang("verify", signature, "--content", content, "--certificate", pem, "--trust", pem)
        assert verified.exit == 0, verified.error
        abilities.note("`sign`, `verify`")
        signature.unlink()
        pem.unlink()


def test_what_was_issued_can_be_deleted(dojang, uri, token, issued):
    """Keys and certificates go together; the token is as it was."""
    if issued.exit:
        return
    serial = token.token.info.serial
    for one in dojang("cert", "list", uri).data["credentials"]:
        deleted = dojang("cert", "delete", one["address"], "--yes", serial)
        assert deleted.exit == 0, deleted.error
    assert dojang("cert", "list", uri).data["credentials"] == []
