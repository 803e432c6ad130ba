"""Wrong PINs lock a whole TPM; what works meanwhile, what it is called, and how it is cleared."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from service import Calls, tell, verified

from dojang import errors
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.modules import bring_up

WRONG = ("wrong0", "wrong1", "wrong2")
LOG_IN = """
import sys
from dojang import errors
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
uri, pin, module = sys.argv[1:]
try:
    with open_token(uri, Secret(pin), search=ModuleSearch(module=module, discover=False)) as token:
        token.log_in()
    print("done")
except errors.DojangError as error:
    print(error.exit_status, error.code)
"""


def outcome(work: Callable[[], object]) -> str:
    try:
        return str(work())
    except errors.DojangError as error:
        return f"{error.exit_status} {error.code}"


with bring_up("tpm") as setup:
    os.environ.update(setup.environment)
    search = ModuleSearch(module=str(setup.module), discover=False)

    def elsewhere(pin: str) -> str:
        command = [sys.executable, "-c", LOG_IN, setup.uri, pin, str(setup.module)]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def ask(pin: str) -> tuple[str, int, str]:
        """What a login with ``pin`` says, how many calls of C_Login it made, and the advice."""
        with open_token(setup.uri, Secret(pin), search=search) as asked:
            calls = Calls(asked)
            said, advice = "done", ""
            try:
                asked.log_in()
            except errors.DojangError as error:
                said, advice = f"{error.exit_status} {error.code}", error.advice()
            return said, next(calls.logins), advice

    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        key = token.generate_key_pair("rsa-2048", label="k", key_id=b"k")
        tell(before=verified(key, b"before"))
        tell(wrong=[elsewhere(pin) for pin in WRONG], open_elsewhere=outcome(lambda: verified(key, b"while locked")))
    tell(locked=[ask(setup.pin) for _ in range(2)], known=ask(WRONG[0]))
    subprocess.run(setup.unlock_command, env={**os.environ, **setup.environment}, check=True)
    cleared = time.monotonic()
    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        tell(cleared=outcome(lambda: verified(token.private_key(key_id=b"k"), b"after")))
    tell(seconds=time.monotonic() - cleared)
