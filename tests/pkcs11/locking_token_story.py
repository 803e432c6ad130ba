"""The life of a PIN on a token that locks, told as JSON lines; run by ``test_locking_token`` beside a real one."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from dojang import errors
from dojang.pkcs11 import ModuleSearch, PinGuard, find_token, open_token
from dojang.secret import Secret
from dojang.settings import load

settings = load()
MODULE = settings.module
PIN, SO_PIN = (
    Path(source.removeprefix("file:")).read_text() for source in (settings.pin_source, settings.so_pin_source)
)
search = ModuleSearch(module=MODULE, discover=False)
guard = PinGuard(Path(os.environ["DOJANG_HOME"]) / "state" / "pin-guard")


def tell(step: str, result: str = "ok") -> None:
    flags = [
        name for name in token.refresh().flag_names() if name.startswith("user-pin-") and name != "user-pin-initialized"
    ]
    print(json.dumps({"step": step, "result": result, "flags": flags}), flush=True)


def log_in(pin: str, *, last_try: bool = False) -> str:
    try:
        with open_token(token.address, Secret(pin), search=search, guard=guard, last_try=last_try) as opened:
            opened.log_in()
    except errors.DojangError as error:
        return error.code
    return "ok"


token = find_token(os.environ["DOJANG_TOKEN"], search)
tell("ready")

results: list[str] = []
threads = [threading.Thread(target=lambda: results.append(log_in("0000"))) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
tell("eight threads", ",".join(sorted(results)))
tell("again", log_in("0000"))
tell("right", log_in(PIN))

HOME = Path(os.environ["DOJANG_HOME"])


def dojang(*words: str) -> "subprocess.Popen[str]":
    """``dojang WORDS`` with the PIN that lies in the file ``pin``."""
    command = [sys.executable, "-m", "dojang", "--module", MODULE, "--json", "--no-input", "--pin-source", "file:pin"]
    return subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True, cwd=HOME)


def answer(process: "subprocess.Popen[str]") -> str:
    document = json.loads(process.communicate()[0])
    return f"{process.returncode} {document['error']['code']}"


(HOME / "pin").write_text("0100")
(HOME / "pin").chmod(0o600)
answers = [answer(process) for process in [dojang("key", "list", token.address) for _ in range(3)]]
tell("three processes", ",".join(sorted(answers)))
tell("right after processes", log_in(PIN))

(HOME / "pin").write_text("0200")
names = [f"letter-{number}" for number in range(1000)]
for name in names:
    (HOME / name).write_text(name)
tell("batch", answer(dojang("sign", "raw", "--key", f"{token.address};object=k", *names)))
tell("batch again", answer(dojang("sign", "raw", "--key", f"{token.address};object=k", *names)))
tell("signatures of the batch", str(len(list(HOME.glob("*.sig")))))
tell("right after batch", log_in(PIN))

(HOME / "pin").write_text("0300")
tell("daemon", answer(dojang("agent", "start", "--key", f"{token.address};object=k")))
tell("daemon again", answer(dojang("agent", "start", "--key", f"{token.address};object=k")))
tell("right after daemon", log_in(PIN))

tell("wrong 1", log_in("0001"))
tell("wrong 2", log_in("0002"))
tell("last try withheld", log_in("0003"))
tell("right one withheld too", log_in(PIN))

(HOME / "pin").write_text("0003")
tell("command line", answer(dojang("key", "list", token.address)))

tell("last try on purpose", log_in("0003", last_try=True))
tell("locked", log_in(PIN, last_try=True))
tell("command line locked", answer(dojang("key", "list", token.address)))

token.unblock_pin(Secret(SO_PIN), Secret("0003"), guard)
tell("unblocked", log_in("0003"))
with open_token(token.address, Secret("0003"), search=search, guard=guard) as opened:
    key = opened.generate_key_pair("rsa-2048", label="k")
    signature = key.signer.sign_message(b"m")
    host_hashed = opened.mechanisms.has(0x40)
    try:
        opened.generate_key_pair("ec-p256", label="no curves here")
    except errors.UnsupportedMechanism as error:
        tell("no elliptic curves", error.code)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    key.public_key().verify(signature, b"m", padding.PKCS1v15(), hashes.SHA256())
    tell("signed", f"combined mechanism {host_hashed}")
