"""Processes that load a module for the first time, find their token, log in and sign, all at the same moment."""

import os
import sys

from service import tell

import dojang.pkcs11.discovery
import dojang.pkcs11.guard
import dojang.pkcs11.opened
import dojang.pkcs11.softhsm  # noqa: F401 - imported before the start, so that the starts meet
from dojang import errors
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.pkcs11.pin import PinSource

uri, source, module, starters, rounds = sys.argv[1:]


def start() -> str:
    try:
        with open_token(uri, PinSource.parse(source), search=ModuleSearch(module=module, discover=False)) as token:
            token.signer(label="raced").sign_digest(bytes(32), "sha256")
    except errors.DojangError as error:
        return f"{error.code}: {error} {error.__cause__!r}"
    return ""


failures = []
for _ in range(int(rounds)):
    gate, opened = os.pipe()
    told, telling = os.pipe()
    children = []
    for _ in range(int(starters)):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(opened)
            os.read(gate, 1)
            os.write(telling, start().encode() + b"\n")
            os._exit(0)
    os.close(gate)
    os.close(opened)
    os.close(telling)
    with os.fdopen(told) as lines:
        said = lines.read().splitlines()
    failures += [line for line in said if line] + ["it died"] * (len(children) - len(said))
    for child in children:
        os.waitpid(child, 0)
tell(failures=failures)
