"""Runs dojang again and again in forked processes and kills them where it is told to; started by the tests as a script.

Everything is imported once and no PKCS#11 module is loaded before the fork, so a run costs what dojang costs. One JSON
object a line on standard input is one run, one on standard output its result:

    {"argv": […], "env": {…}, "at": 7, "signal": 9}   →   {"status": -9, "effects": ["ledger", "C_CreateObject", …], …}

An *effect* is anything that lasts: a transition of the ledger, a write of the authority's records, a count of one-time
passwords (and that it was written), a message to one elsewhere, a PKCS#11 call that changes the token, a file operation
at home, the state folder apart. The signal is sent just before effect number ``at`` (from 0).
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import tempfile

LASTING_CALLS = {
    *("C_GenerateKeyPair", "C_GenerateKey", "C_UnwrapKey", "C_CreateObject", "C_CopyObject"),
    *("C_SetAttributeValue", "C_DestroyObject"),
}
FILE_EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"}
PRELOAD = (
    "asn1crypto.keys",
    "cryptography.hazmat.backends.openssl.backend",
    "cryptography.hazmat.primitives.kdf.pbkdf2",
    "cryptography.x509",
    "cryptography.hazmat.primitives.serialization.pkcs12",
    "dojang.agent.opening",
    "dojang.authority.database",
    "dojang.authority.hierarchy.rollover",
    "dojang.authority.hierarchy.roster",
    "dojang.authority.local",
    "dojang.authority.remote",
    "dojang.authority.founding",
    "dojang.cli.ca",
    "dojang.cli.ca_init",
    "dojang.cli.cert",
    "dojang.cli.doctor",
    "dojang.cli.elsewhere",
    "dojang.cli.issue_form",
    "dojang.cli.custody",
    "dojang.cli.key",
    "dojang.cli.key_wrap",
    "dojang.cli.location",
    "dojang.cli.location_backup",
    "dojang.cli.location_files",
    "dojang.cli.otp",
    "dojang.cli.otp_held",
    "dojang.cli.otp_new_seed",
    "dojang.cli.otp_card",
    "dojang.cli.otp_pskc",
    "dojang.cli.password_check",
    "dojang.cli.reissue",
    "dojang.cli.renew",
    "dojang.cli.revoke",
    "dojang.cli.run",
    "dojang.cli.sign",
    "dojang.cli.where",
    "dojang.lifecycle.backup",
    "dojang.lifecycle.copy",
    "dojang.lifecycle.custody",
    "dojang.lifecycle.delete",
    "dojang.lifecycle.founding",
    "dojang.lifecycle.import_key",
    "dojang.lifecycle.wrap",
    "dojang.lifecycle.install",
    "dojang.lifecycle.export",
    "dojang.lifecycle.issue",
    "dojang.lifecycle.move",
    "dojang.lifecycle.password",
    "dojang.lifecycle.reissue",
    "dojang.lifecycle.claims",
    "dojang.lifecycle.hooks",
    "dojang.lifecycle.renew",
    "dojang.lifecycle.renewals",
    "dojang.lifecycle.request",
    "dojang.lifecycle.revoke",
    "dojang.lifecycle.seeds",
    "dojang.lifecycle.take_in",
    "dojang.locations.disk",
    "dojang.locations.pem",
    "dojang.locations.pkcs12",
    "dojang.locations.registry",
    "dojang.locations.token",
    "dojang.npki.keyfile",
    "dojang.npki.password_rules",
    "dojang.locations.token_r",
    "dojang.otp.held.device",
    "dojang.otp.otpauth",
    "dojang.otp.cards.paper",
    "dojang.otp.pskc.transfer",
    "dojang.pkcs11.data_objects",
    "dojang.pkcs11.discovery",
    "dojang.pkcs11.keys",
    "dojang.pkcs11.opened",
    "dojang.pkcs11.p11_kit",
    "dojang.pkcs11.wrapping",
    "dojang.signing.raw",
    "dojang.x509.challenge",
    "dojang.x509.check",
    "dojang.x509.profiles",
    "dojang.x509.status",
    "dojang.renewal_settings",
    "gettext",
    "tomllib",
    "urllib.parse",
)


class Effects:
    """Counts what lasts, tells the parent, and sends the signal in time."""

    def __init__(self, report: int, at: int | None, number: int) -> None:
        self.report, self.at, self.number, self.count = report, at, number, 0

    def happen(self, name: str) -> None:
        if self.count == self.at:
            os.write(self.report, f"!{name}\n".encode())
            self.count += 1
            os.kill(os.getpid(), self.number)
        else:
            os.write(self.report, f"{name}\n".encode())
            self.count += 1


def watch(effects: Effects) -> None:
    """Wrap, in this process only, whatever lasts."""
    from dojang.authority.database import Database
    from dojang.cmp.transport import HttpTransport
    from dojang.ledger import Ledger
    from dojang.otp.held.counters import Counters
    from dojang.pkcs11.cryptoki import Cryptoki

    ledger_write, store_writing, call = Ledger._write, Database.writing, Cryptoki._call
    counters_writing = Counters._writing
    post = HttpTransport.post

    def write(self, *statements):
        effects.happen("ledger")
        ledger_write(self, *statements)

    def writing(self):
        effects.happen("authority")
        return store_writing(self)

    def lasting_call(self, name, *arguments):
        if name in LASTING_CALLS:
            effects.happen(name)
        return call(self, name, *arguments)

    def posting(self, message):
        effects.happen("post")
        return post(self, message)

    @contextlib.contextmanager
    def counting(self):
        effects.happen("count")
        with counters_writing(self):
            yield
        effects.happen("counted")

    Ledger._write, Database.writing, Cryptoki._call = write, writing, lasting_call
    Counters._writing = counting
    HttpTransport.post = posting
    home, state = os.environ["HOME"] + "/", os.environ["DOJANG_HOME"] + "/"

    def audit(event: str, arguments: tuple) -> None:
        if event in FILE_EVENTS:
            path = os.fsdecode(arguments[0])
            at_home = path.startswith(home) and not path.startswith(state)
            if at_home and (event == "os.mkdir" or os.path.lexists(path)):
                effects.happen(f"{event} {path[len(home) :]}")

    sys.addaudithook(audit)


def run_child(job: dict, report: int, output: int, errors: int) -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.environ.clear()
    os.environ.update(job["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    watch(Effects(report, job.get("at"), job.get("signal", signal.SIGKILL)))
    from dojang.cli.run import run

    status = run(job["argv"])
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def serve(job: dict) -> dict:
    reading, report = os.pipe()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            status = 99
            try:
                status = run_child(job, report, output.fileno(), errors.fileno())
            finally:
                os._exit(status)
        os.close(report)
        with os.fdopen(reading) as reports:
            effects = reports.read().split("\n")[:-1]
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        errors.seek(0)
        return {"status": status, "effects": effects, "out": output.read().decode(), "err": errors.read().decode()}


def main() -> None:
    for name in PRELOAD:
        importlib.import_module(name)
    # Making passwords slow to guess is most of what a run costs, and not what is tested here.
    sys.modules["dojang.npki.keyfile"].SEAL_ITERATIONS = 2048
    writing = sys.modules["dojang.npki.pkcs12_writing"]
    writing._COUNTS = {**writing._COUNTS, "aes256": writing._COUNTS["aes256"]._replace(encryption=2048, mac=2048)}
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
