"""A memory stick with credentials: absent, twice the same name, full, read-only, and pulled at every step of the work.

Runs in a mount namespace of its own; commands run in forked processes, which pull the stick when they are told to.
"""

import ctypes
import fcntl
import importlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from service import tell
from sticks import Stick, prepare

SHUT_DOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: from now on every call fails with EIO, as of a device that is gone
NO_LOG_FLUSH = 2
DETACH = 2
PASSWORD = "correct horse 1!"
LIBC = ctypes.CDLL(None, use_errno=True)
LASTING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}


def pull(stick: Stick, dead: bool) -> None:
    """In the middle of the work of this very process."""
    if dead:
        root = os.open(stick.mount, os.O_RDONLY)
        fcntl.ioctl(root, SHUT_DOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(root)
    assert LIBC.umount2(os.fsencode(stick.mount), DETACH) == 0


def pull_before(step: int, stick: Stick, dead: bool, report: int) -> None:
    """Watch what lasts on the stick, and pull it before the ``step``-th of that."""
    done = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal done
        creating = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & os.O_CREAT)
        path = str(arguments[0]) if arguments else ""
        on_stick = path.startswith("/proc/self/fd/") or not path.startswith("/")  # as rmtree names what it removes
        if on_stick and (creating or event in LASTING):
            done += 1
            if done == step:
                os.write(report, b"!")
                pull(stick, dead)

    sys.addaudithook(watch)


def dojang(*words: object, stick: Stick | None = None, step: int = 0, dead: bool = False) -> dict:
    """One run of the command line; ``pulled`` says whether it got as far as the step before which it was to be."""
    reading, report = os.pipe()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output.fileno()), (2, errors.fileno())):
                os.dup2(source, number)
            sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w")) for number in (1, 2))
            status = 99
            try:
                if stick:
                    pull_before(step, stick, dead, report)
                status = run([str(word) for word in words] + ["--json"])
                sys.stdout.flush()
            finally:
                os._exit(status)
        os.close(report)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        pulled = bool(os.read(reading, 1))
        os.close(reading)
        output.seek(0)
        errors.seek(0)
        said, complaint = output.read().decode(), errors.read().decode()
    assert "Traceback" not in complaint, complaint
    document = json.loads(said)
    error = document.get("error", {})
    matches = error.get("details", {}).get("matches", "")
    data = document.get("data", {})
    return {"status": status, "code": error.get("code", ""), "matches": matches, "data": data, "pulled": pulled}


def end(done: dict) -> str:
    return f"{done['status']} {done['code']}".strip()


def issue(to: str, name: str) -> dict:
    return dojang(
        "cert", "issue", "--to", to, "--subject", f"CN={name},C=KR", "--ca", "office", "--profile", "tls-client"
    )


def listed(where: str) -> list[str]:
    """Every credential with its state, as ``cert list`` has it."""
    found = dojang("cert", "list", where)["data"].get("credentials", [])
    return sorted(f"{one['subject']} {one['state']}" for one in found)


def signs(address: str) -> bool:
    """Whether it makes a signature that openssl verifies."""
    letter, signature = home / "letter", home / "letter.p7s"
    letter.write_text("letter")
    done = dojang("sign", "cms", "--detached", "--key", address, letter, "-o", signature)
    words = f"openssl cms -verify -binary -inform DER -in {signature} -content {letter} -noverify"
    return done["status"] == 0 and subprocess.run(words.split(), capture_output=True).returncode == 0


def pulled_at_every_step(stick: Stick, words: list[str], where: str, dead: bool) -> dict:
    """Run ``words`` with the stick pulled before the first, second, … thing that lasts; plug it in and run again."""
    ends, astray, again, good, rest = [], [], [], [], []
    step = 1
    while (done := dojang(*words, stick=stick, step=step, dead=dead))["pulled"]:
        step += 1
        ends.append(end(done))
        astray += stick.left_behind()
        stick.plug()
        again.append(end(dojang(*words)))
        good.append(proves(where))
        rest += left_over(stick)
        reset(stick, copied="copy" in words)
    return {"ends": ends, "astray": astray, "again": again, "good": good, "rest": rest, "last": end(done)}


def proves(where: str) -> bool:
    """Whether exactly one credential of the name is live, and its key signs for its certificate."""
    with open_location(where, passwords=lambda path, new: Secret(PASSWORD)) as location:
        (live,) = [one for one in location.credentials() if one.live and one.label == "Hong"]
        key = location.private_key(live.key_id)
        prove_possession(key, live.certificate_der)
        return True


def reset(stick: Stick, copied: bool) -> None:
    """What is retired goes; so does a copy, so that the next one has something to do."""
    for root in (stick.mount / "NPKI").iterdir():
        shutil.rmtree(root if copied else root / "RETIRED", ignore_errors=True)


def left_over(stick: Stick) -> list[str]:
    """Half-written files, and staged folders that nobody will finish."""
    root = stick.mount / "NPKI"
    staged = root / ".dojang"
    return sorted(str(path) for path in [*root.rglob("*.part"), *(staged.iterdir() if staged.exists() else [])])


sys.path.append(str(Path(__file__).parents[1]))
prepare()
home = Path(tempfile.mkdtemp())
os.environ |= {"DOJANG_HOME": str(home), "HOME": str(home)}
password = home / "password"
password.write_text(PASSWORD)
password.chmod(0o600)
(home / "config.toml").write_text(f'password-source = "file:{password}"\nkey-file-format = "pbes2-seed"\n')

# Once the environment is what it should be; all that the runs need, so that each costs no more than its work.
from zygote import PRELOAD  # noqa: E402

from dojang.cli.run import run  # noqa: E402
from dojang.locations.registry import open_location  # noqa: E402
from dojang.secret import Secret  # noqa: E402
from dojang.testing.softhsm import SoftHsm  # noqa: E402
from dojang.x509.challenge import prove_possession  # noqa: E402

for name in (*PRELOAD, "dojang.locations.removable"):
    importlib.import_module(name)

hsm = SoftHsm(home)
os.environ |= hsm.environment
token = hsm.token()
os.environ |= {"DOJANG_MODULE": str(token.module), "DOJANG_PIN_SOURCE": token.pin_source}
made = dojang("ca", "init", "--alias", "office", "--key", f"{token.uri};object=root", "--name", "CN=Office CA")
assert made["status"] == 0, made

tell(absent=[end(issue("removable:STICK", "Hong")), end(dojang("cert", "list", "removable:STICK"))])
stick = Stick("STICK", "0A1B-2C3D")
stick.plug()
tell(issued=end(issue("removable:STICK", "Hong")), listed=listed("removable:0a1b-2c3d"))
tell(signs=signs("removable:STICK?cn=Hong"), folder=sorted(path.name for path in stick.mount.iterdir()))

twin = Stick("STICK", "FFFF-0001", name="STICK1")
twin.plug()
both = dojang("cert", "list", "removable:STICK")
tell(twins=end(both), matches=both["matches"], by_uuid=[listed("removable:0A1B-2C3D"), listed("removable:FFFF-0001")])
twin.pull()

stick.pull()
stick.plug("ro")
tell(read_only=end(issue("removable:STICK", "Kim")), signs_read_only=signs("removable:STICK?cn=Hong"))
tell(listed_read_only=listed("removable:STICK"))
stick.pull()
stick.plug()
subprocess.run(["dd", "if=/dev/zero", f"of={stick.mount}/filling", "bs=1k"], stderr=subprocess.DEVNULL)
tell(full=end(issue("removable:STICK", "Kim")), signs_full=signs("removable:STICK?cn=Hong"), rest=left_over(stick))
(stick.mount / "filling").unlink()
tell(freed=end(issue("removable:STICK", "Kim")), both=listed("removable:STICK"))

renew = ["renew", "now", "removable:STICK?cn=Hong", "--again"]
tell(renewed=pulled_at_every_step(stick, renew, "removable:STICK", dead=True))
other = Stick("OTHER", "1234-5678")
other.plug()
copy = ["location", "copy", "removable:STICK?cn=Hong", "--to", "removable:OTHER"]
tell(copied=pulled_at_every_step(other, copy, "removable:OTHER", dead=False))
for one in (stick, other):
    one.pull()
shutil.rmtree(home)
