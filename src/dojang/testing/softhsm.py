"""SoftHSM2 apart from everybody else's: a configuration and a token folder of its own, in memory where there is one.

    with softhsm() as hsm, hsm.in_this_process():
        token = hsm.token("Hong")

Two facts about SoftHSM2 (2.6.1) shape this. It reads ``SOFTHSM2_CONF`` when it is initialised, so that has to be set
before. And once initialised it never sees a token that another process makes. So where this process has it in use, by
whichever binding, a token is made in this process; otherwise ``softhsm2-util`` makes it. Later processes see both.
"""

import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from dojang.testing.modules.parts import new_pin, program
from dojang.testing.scratch import scratch
from dojang.testing.setup import BringUpFailed, TokenSetup

if TYPE_CHECKING:
    from dojang.pkcs11.module import Module

VARIABLE: Final = "SOFTHSM2_CONF"
_PREFIX: Final = "dojang-softhsm-"
_PATIENCE: Final = 20.0
_PROMPT: Final = b": "
_CONFIGURATION: Final = """directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
slots.mechanisms = ALL
library.reset_on_fork = false
"""
_ELSEWHERE: Final = (
    "{module} is in use in this process already, with the tokens that SOFTHSM2_CONF named before, and stays with them. "
    "New processes see the tokens for tests, this one does not: ask for them before your module is initialised."
)


class SoftHsmInUse(UserWarning):
    """This process uses SoftHSM2 already, with tokens of somebody else's, and goes on with them."""


class SoftHsm:
    """One isolated SoftHSM2. Get it from ``softhsm()``; every method may be called by several threads."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is its own; ``BringUpFailed`` when SoftHSM2 is not installed."""
        self.folder = folder
        self.module = _find_module()
        self.configuration = folder / "softhsm2.conf"
        self._tokens = folder / "tokens"
        self._making = threading.Lock()
        self._here = False
        self._util = program("softhsm2-util", "softhsm2")
        self._tokens.mkdir(mode=0o700)
        self.configuration.write_text(_CONFIGURATION.format(tokens=self._tokens))

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs in its environment to see these tokens and no others."""
        return {VARIABLE: str(self.configuration)}

    @contextmanager
    def in_this_process(self) -> Iterator[None]:
        """Set ``SOFTHSM2_CONF`` for this process and the children it starts meanwhile; as it was, afterwards.

        Where this process has SoftHSM2 in use by then, dojang turns to this one unless a token is open. Whatever else
        has it in use stays with its own tokens, of which ``SoftHsmInUse`` warns: only children see these.
        """
        before = os.environ.get(VARIABLE)
        os.environ.update(self.environment)
        self._here = _begin_anew(self.module)
        if not self._here:
            warnings.warn(_ELSEWHERE.format(module=self.module), SoftHsmInUse, stacklevel=3)
        try:
            yield
        finally:
            os.environ.pop(VARIABLE, None)
            if before is not None:
                os.environ[VARIABLE] = before
            if self._here:
                self._here = False
                for one in _loaded_by_dojang(self.module):
                    one.close()  # it is initialised again when somebody needs it

    def token(self, label: str | None = None, *, pin: str | None = None, so_pin: str | None = None) -> TokenSetup:
        """A fresh token; the label and the PINs (eight digits) are random unless given."""
        label = label or f"test-{uuid4().hex[:12]}"
        staging = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        try:
            pin, _ = new_pin(staging, "pin", pin)
            so_pin, _ = new_pin(staging, "so-pin", so_pin)
            serial = self._made_here(label, pin, so_pin) or self._made_by_util(staging, label, pin, so_pin)
            keep = staging.rename(self.folder / serial)
        except BaseException:
            shutil.rmtree(staging)
            raise
        return TokenSetup(
            name="softhsm",
            module=self.module,
            label=label,
            serial=serial,
            pin=pin,
            so_pin=so_pin,
            pin_source=f"file:{keep / 'pin'}",
            so_pin_source=f"file:{keep / 'so-pin'}",
            environment=self.environment,
        )

    def remove(self, tokens: Iterable[TokenSetup]) -> None:
        """Tokens of this SoftHSM2 that nobody uses any more, with everything on them; for later processes and this one.

        Where this process has a token open it is left alone, and goes on seeing what it saw.
        """
        for token in tokens:
            for folder in self._tokens.glob(f"*-{token.serial[:4]}-{token.serial[4:]}"):
                shutil.rmtree(folder)
            shutil.rmtree(self.folder / token.serial, ignore_errors=True)
        for one in _loaded_by_dojang(self.module) if self._here else ():
            one.rescan()

    def _made_here(self, label: str, pin: str, so_pin: str) -> str | None:
        """The serial of a token made in this process, for all of it to see; ``None`` where SoftHSM2 is not in use."""
        if not self._here or not _in_use(self.module):
            return None
        from dojang.pkcs11 import ModuleSearch, PinGuard, list_tokens
        from dojang.secret import Secret

        guard = PinGuard(self.folder / "pin-guard")
        with self._making:
            free = list_tokens(ModuleSearch(module=str(self.module), discover=False)).empty_slots[0]
            made = free.initialize(label=label, so_pin=Secret(so_pin), user_pin=Secret(pin), guard=guard)
        return made.info.serial

    def _made_by_util(self, staging: Path, label: str, pin: str, so_pin: str) -> str:
        """Made beside the others and moved in when complete: nobody meets half a token, nor waits for a long list."""
        tokens, configuration = staging / "tokens", staging / "softhsm2.conf"
        tokens.mkdir()
        configuration.write_text(_CONFIGURATION.format(tokens=tokens))
        command = [self._util, "--init-token", "--free", "--label", label]
        _dictate(command, {**os.environ, VARIABLE: str(configuration)}, [so_pin, so_pin, pin, pin])
        (made,) = tokens.iterdir()
        made.rename(self._tokens / made.name)
        tokens.rmdir()
        configuration.unlink()
        return made.name.replace("-", "")[-16:]  # SoftHSM2 makes the serial from the name it gives the folder


def _find_module() -> Path:
    from dojang.pkcs11.well_known import candidates

    for name, path in candidates():
        if name == "softhsm2" and Path(path).exists():
            return Path(path)
    raise BringUpFailed("SoftHSM2 is not installed (Debian: apt-get install softhsm2; macOS: brew install softhsm).")


@contextmanager
def softhsm() -> Iterator[SoftHsm]:
    """An isolated SoftHSM2 in a folder of its own, in memory where there is a tmpfs; the folder is gone afterwards.

    What a killed process left behind is removed by the next one.
    """
    with scratch(_PREFIX) as folder:
        yield SoftHsm(folder)


def _begin_anew(module: Path) -> bool:
    """Whether this process works with what ``SOFTHSM2_CONF`` says now, from its next use of SoftHSM2 on."""
    if not _in_use(module):
        return True
    ours = _loaded_by_dojang(module)
    return bool(ours) and all(one.rescan() for one in ours)


def _in_use(module: Path) -> bool:
    """Whether anything in this process has initialised SoftHSM2; it is not loaded to find that out."""
    try:
        loaded = os.path.realpath(module) in Path("/proc/self/maps").read_text()
    except OSError:  # a system without that file: only of dojang itself is it known
        loaded = bool(_loaded_by_dojang(module))
    if not loaded:
        return False
    from dojang.pkcs11.cryptoki import Cryptoki, CryptokiError

    try:
        Cryptoki.load(str(module)).info()
    except CryptokiError:
        return False
    return True


def _loaded_by_dojang(module: Path) -> "list[Module]":
    if "dojang.pkcs11.module" not in sys.modules:
        return []
    from dojang.pkcs11.module import Module

    return [one for one in Module.loaded() if os.path.realpath(one.path) == os.path.realpath(module)]


def _dictate(command: list[str], environment: Mapping[str, str], answers: list[str]) -> None:
    """Run a program that asks for PINs on a terminal: arguments would show them in the list of processes."""
    ours, theirs = pty.openpty()
    said = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        try:
            for answer in answers:
                said += _heard(ours)
                os.write(ours, answer.encode() + b"\n")
            said += _heard(ours)
            refused = said.endswith(_PROMPT) or process.wait(_PATIENCE)
        finally:
            process.kill()
            os.close(ours)
    if refused:
        raise BringUpFailed(f"softhsm2-util did not make the token:\n{said.decode(errors='replace')}")


def _heard(terminal: int) -> bytes:
    """What a program says up to its next question or to its end."""
    said = b""
    while not said.endswith(_PROMPT) and select.select([terminal], [], [], _PATIENCE)[0]:
        with suppress(OSError):  # how Linux says that the other end is closed
            heard = os.read(terminal, 4096)
            if heard:
                said += heard
                continue
        break
    return said
