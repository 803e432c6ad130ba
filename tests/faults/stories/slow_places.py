"""``dojang where`` while a token's daemon is stopped and a disk answers nothing; in a mount namespace of its own."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from service import tell

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.modules import bring_up
from dojang.testing.softhsm import softhsm

WAIT = 3
HOME = Path(os.environ["DOJANG_HOME"])
LIBC = ctypes.CDLL(None, use_errno=True)


def certified(name: str) -> bytes:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 5, now, now + timedelta(days=90))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def put(root: Path, name: str) -> None:
    folder = root / "yessign" / "USER" / f"cn={name}"
    folder.mkdir(parents=True)
    (folder / "signCert.der").write_bytes(certified(name))


def hang(folder: Path) -> int:
    """Mount a file system there whose server never answers; it hangs until the descriptor is closed."""
    folder.mkdir(parents=True)
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    assert LIBC.mount(b"hangs", os.fsencode(folder), b"fuse", 6, options) == 0, os.strerror(ctypes.get_errno())
    return server


def dojang(*words: object) -> dict:
    """What a command said, and the seconds until its process was gone; 15 is that some could not be renewed."""
    start = time.monotonic()
    command = [sys.executable, "-m", "dojang", *words, "--json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 15), done.stderr
    return {"seconds": time.monotonic() - start, **json.loads(done.stdout)["data"]}


def where(*words: object) -> dict:
    """What ``dojang where`` said."""
    data = dojang("where", "--wait", WAIT, *words)
    return {
        "seconds": data["seconds"],
        "found": sorted(one["subject"] for one in data["credentials"]),
        "unreachable": {one["address"]: one["code"] for one in data["unreachable"]},
    }


with softhsm() as hsm, bring_up("p11-kit") as remote:
    near = hsm.token("Near", pin="1234", so_pin="12345678")
    os.environ |= {"SOFTHSM2_CONF": str(hsm.configuration), "HOME": str(HOME / "me"), **remote.environment}
    with open_token(near.uri, Secret("1234"), search=ModuleSearch(str(hsm.module), discover=False)) as token:
        token.add_certificate(certified("on the token"), label="near", key_id=b"1")
    put(HOME / "good", "on a disk")
    lines = ["discover-modules = false", "[aliases]", f'good = "npki:{HOME}/good"']
    for module in (remote.module, hsm.module):
        lines += ["[[modules]]", f'path = "{module}"']
    (HOME / "config.toml").write_text("\n".join(lines))
    tell(before=where())
    os.kill(remote.daemons["p11-kit server"].pid, signal.SIGSTOP)
    tell(module=str(remote.module), stopped=where())
    due = dojang("renew", "due", "--window", "100d", "--wait", WAIT)
    run = dojang("renew", "run", "--window", "100d", "--wait", WAIT, "--no-input")
    listed = dojang("cert", "list")
    tell(
        due=[sorted(one["subject"] for one in due["credentials"]), due["seconds"]],
        run=[sorted(one["code"] for one in run["failed"]), run["seconds"]],
        listed=[sorted(one["subject"] for one in listed["credentials"]), listed["seconds"]],
    )
    server = hang(HOME / "me" / "NPKI")
    tell(hanging=where(), only_disks=where("--kind", "disk"), folder=str(HOME / "me" / "NPKI"))
    os.close(server)
    os.kill(remote.daemons["p11-kit server"].pid, signal.SIGCONT)
    tell(wait=WAIT)
