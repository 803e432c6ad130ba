"""Processes that make keys, certificates and data are killed at random moments; then the token is put in order."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from service import tell, verified

import dojang.pkcs11.guard
import dojang.pkcs11.keys
import dojang.pkcs11.opened  # noqa: F401 - imported before the forks, so that a maker is killed at its work
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.modules import bring_up

KILLS, LONGEST = 50, 0.08
LONG_AGO = 3600
seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(1 << 32)
print(f"seed {seed}", file=sys.stderr)
chance = random.Random(seed)


def make(report: int, number: int) -> None:
    """Make objects without end, and say of each set when it is complete."""
    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        token.log_in()
        os.write(report, b"ready\n")
        for turn in range(10_000):
            name = f"{number}-{turn}"
            key = token.generate_key_pair("ec-p256", label=name, key_id=name.encode())
            token.add_certificate(certificate, label=name, key_id=name.encode())
            token.add_data(name.encode() * 40, label=name, application="test", key_id=name.encode())
            del key
            os.write(report, f"{name}\n".encode())


def kill_one(number: int) -> list[str]:
    """The complete sets of a maker that was killed."""
    told, report = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        make(report, number)
        os._exit(1)
    os.close(report)
    with os.fdopen(told) as lines:
        if lines.readline() == "ready\n":
            time.sleep(chance.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        complete = lines.read().splitlines()
    os.waitpid(child, 0)
    return complete


def self_signed() -> bytes:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Hong")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def fsck(*words: str) -> dict:
    command = [
        sys.executable,
        "-m",
        "dojang",
        "--json",
        "--module",
        str(setup.module),
        "--pin-source",
        setup.pin_source,
    ]
    run = subprocess.run([*command, "token", "fsck", setup.uri, *words], capture_output=True, text=True)
    return {"status": run.returncode} | json.loads(run.stdout)["data"]


def pass_time() -> None:
    """Nobody is making anything any more, and has not for a while."""
    for path in Path(setup.environment["SOFTHSM2_CONF"]).parent.rglob("*"):
        os.utime(path, (time.time() - LONG_AGO,) * 2)


with bring_up("softhsm") as setup:
    os.environ.update(setup.environment)
    search = ModuleSearch(module=str(setup.module), discover=False)
    certificate = self_signed()
    complete = [name for number in range(KILLS) for name in kill_one(number)]
    pass_time()
    found = fsck()
    pass_time()  # the module itself added to what was listed whatever it lacked
    removed = fsck("--remove", "--serial", setup.serial)
    tell(complete=len(complete), found=found, removed=removed, again=fsck())
    lost = []
    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        for name in complete:
            key_id = name.encode()
            signs = verified(token.private_key(key_id=key_id), b"m")
            stored = [one.value for one in token.certificates(key_id=key_id)] == [certificate]
            kept = token.read_data(key_id=key_id) == [key_id * 40]
            if not (signs and stored and kept):
                lost.append(f"{name}: {signs} {stored} {kept}")
        unreadable = [one.problem for one in token.private_objects() if one.problem]
    tell(lost=lost, unreadable=unreadable)
