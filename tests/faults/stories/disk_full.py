"""The disk with the token and with dojang's own records is full, and later it is not. Runs in a mount namespace."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from service import tell, verified

from dojang import errors
from dojang.locations.base import WrappedKey
from dojang.locations.token import TokenLocation
from dojang.npki.pkcs8 import Pkcs8
from dojang.pkcs11 import ModuleSearch, Pkcs11Uri, open_token, wrapping
from dojang.secret import Secret
from dojang.testing.softhsm import SoftHsm

SIZE = "2M"


def fill() -> None:
    subprocess.run(["dd", "if=/dev/zero", f"of={disk}/filling", "bs=1k"], stderr=subprocess.DEVNULL)


def free() -> None:
    (disk / "filling").unlink()


def run(*words: object) -> dict:
    command = [sys.executable, "-m", "dojang", "--json", "--module", setup.module, "--pin-source", setup.pin_source]
    done = subprocess.run([str(word) for word in [*command, *words]], capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    said = json.loads(done.stdout)
    return {"status": done.returncode, "code": said.get("error", {}).get("code", ""), "data": said.get("data", {})}


def ends(run: dict) -> str:
    return f"{run['status']} {run['code']}".strip()


def issue(name: str) -> dict:
    return run("cert", "issue", "--to", setup.uri, "--subject", f"CN={name}", "--label", name, "--ca", "office")


def outcome(work) -> str:
    try:
        return str(work())
    except errors.DojangError as error:
        return f"{error.exit_status} {error.code}"


outside = Path(tempfile.mkdtemp())
disk = outside / "disk"
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", disk], check=True)
os.environ["DOJANG_HOME"] = str(disk / "home")
hsm = SoftHsm(disk)
os.environ.update(hsm.environment)
setup = hsm.token()
(outside / "letter").write_text("letter")
key = ["--key", f"{setup.uri};object=first", outside / "letter", "-o"]
made = run("ca", "init", "--alias", "office", "--key", f"{setup.uri};object=root", "--name", "CN=Office CA")
tell(before=[ends(made), ends(issue("first"))])

fill()
tell(issue_full=ends(issue("second")), sign_full=ends(run("sign", "raw", *key, outside / "signed")))
free()
begun = time.monotonic()
tell(issue_freed=ends(issue("second")), sign_freed=ends(run("sign", "raw", *key, outside / "again")))
tell(seconds=time.monotonic() - begun)
listed = run("cert", "list", setup.uri)["data"]["credentials"]
tell(credentials=sorted(f"{one['subject']} {one['state']}" for one in listed))
tell(keys=sorted(one["label"] for one in run("key", "list", setup.uri)["data"]["keys"]))
tell(findings=sorted(one["code"] for one in run("doctor")["data"]["findings"]))

search = ModuleSearch(module=str(setup.module), discover=False)
with open_token(setup.uri, Secret(setup.pin), search=search) as token:
    first = token.private_key(label="first")
    location = TokenLocation(token, Pkcs11Uri.from_text(setup.uri))
    software = ec.generate_private_key(ec.SECP256R1())
    pkcs8 = Pkcs8.from_key(software, Secret(b"r" * 20))
    kek = wrapping.import_wrapping_key(token, bytes(range(32)), label="kek", key_id=b"kek")
    point = software.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wrapped = WrappedKey("ec-p256", point, aes_key_wrap_with_padding(bytes(range(32)), pkcs8.der))
    certificate_der = next(location.credentials()).certificate_der
    there = len(list(token.private_objects()))
    fill()
    full = [outcome(lambda: token.generate_key_pair("ec-p256", label="x", key_id=b"x")) for _ in range(3)]
    full.append(outcome(lambda: token.add_data(b"x" * 9000, label="x", application="x", key_id=b"x")))
    full.append(outcome(lambda: location.import_key(pkcs8, key_id=b"x", label="x")))
    full.append(outcome(lambda: location.keep_wrapping_key(bytes(32), key_id=b"x", label="x")))
    full.append(outcome(lambda: token.add_certificate(certificate_der, label="x", key_id=b"x")))
    full.append(outcome(lambda: location.unwrap(wrapped, kek, key_id=b"x", label="x")))
    objects = list(token.private_objects())
    tell(made_full=full, signs_full=verified(first, b"m"))
    tell(half_made=len(objects) - there, unreadable=[one.problem for one in objects if one.problem])
    free()
    tell(made_freed=verified(token.generate_key_pair("ec-p256", label="x", key_id=b"x"), b"m"))
    tell(unwrapped_freed=verified(location.unwrap(wrapped, kek, key_id=b"y", label="y"), b"m"))
subprocess.run(["umount", "--lazy", disk], check=True)
shutil.rmtree(outside)
