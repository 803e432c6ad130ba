"""Where PINs and passwords come from: every source a person or a script can name, and what a token says of its PIN."""

import os
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from dojang.errors import InputRequired, InvalidSource, PinUnusable, SecretUnavailable
from dojang.secret import Secret

PROMPT, ENV, FILE, FD, CMD, PINPAD, KEYRING = KINDS = ("prompt", "env", "file", "fd", "cmd", "pinpad", "keyring")
COMMAND_TIMEOUT: Final = 60.0  # seconds; long enough for a person at a pinentry window
LONGEST_SECRET: Final = 4096
KEYRING_SERVICE: Final = "dojang"

_reading: Final = threading.RLock()
_SPENT_ENVIRONMENT: Final[dict[str, Secret]] = {}


class PinRequest(NamedTuple):
    """Whose PIN is wanted and what the token says of it; ``role`` is ``user``, ``so`` or ``context``.

    With a ``keypad`` (protected authentication path) the token takes the PIN itself, and the answer is ``None``.
    """

    token: str
    serial: str
    role: str
    count_low: bool
    final_try: bool
    min_length: int
    max_length: int
    keypad: bool = False


class PinState(NamedTuple):
    """The flags of one PIN (CK_TOKEN_INFO): a wrong one was given, one try is left, none is, it is a first PIN."""

    count_low: bool = False
    final_try: bool = False
    locked: bool = False
    to_be_changed: bool = False


PinProvider = Callable[[PinRequest], Secret | None]
"""Answers with the PIN, or ``None`` where the token has its own keypad (protected authentication path)."""


class PinFileExposed(UserWarning):
    """A PIN file that others on this machine may read; ``path`` and ``mode`` tell which."""

    def __init__(self, path: str, mode: int) -> None:
        super().__init__(f"{path} may be read by others on this machine (mode {mode:04o}); chmod 600 {path}")
        self.path = path
        self.mode = mode


class PinSource:
    """One ``SRC`` of the command line. Calling it gives the secret; the argument shows in no ``repr`` and no error
    where it could itself be a secret.
    """

    __slots__ = ("_once", "argument", "ask", "kind")

    def __init__(self, kind: str, argument: str = "", ask: PinProvider | None = None) -> None:
        """Use ``parse``; ``ask`` answers for ``prompt``."""
        self.kind = kind
        self.argument = argument
        self.ask = ask
        self._once: list[Secret] = []

    def __repr__(self) -> str:
        return f"PinSource({self.kind})"

    @classmethod
    def parse(cls, text: str, *, ask: PinProvider | None = None) -> Self:
        """Read ``prompt``, ``env:NAME``, ``file:PATH``, ``fd:N``, ``cmd:COMMAND``, ``pinpad`` or ``keyring:NAME``.

        ``InvalidSource`` never repeats what was given: people type the PIN itself here.
        """
        kind, colon, argument = text.partition(":")
        if kind in (PROMPT, PINPAD) and not colon:
            return cls(kind, ask=ask)
        if kind not in KINDS or kind in (PROMPT, PINPAD):
            raise InvalidSource(source="…", problem="it begins with none of the known kinds")
        if not argument.strip() or "\0" in argument:
            raise InvalidSource(source=f"{kind}:…", problem="nothing usable follows the colon")
        if kind == FD and not (argument.isascii() and argument.isdigit() and len(argument) < 10):
            raise InvalidSource(source=f"{kind}:…", problem="a file descriptor is a number")
        return cls(kind, argument, ask)

    @classmethod
    def from_uri(cls, text: str, *, ask: PinProvider | None = None) -> Self:
        """Read the ``pin-source`` of a PKCS#11 URI (RFC 7512 section 2.4): a path, a ``file:`` URI, or as ``parse``.

        Commands (``|program``, ``cmd:``) are refused: addresses are pasted from mails and web pages, and pasting one
        must not run a program. Whoever wants a command names it as the PIN source.
        """
        if text.startswith("|") or text.partition(":")[0] == CMD:
            raise InvalidSource(
                source="|…",
                problem="an address may not run a command",
                next_step="Give the command yourself with --pin-source cmd:COMMAND.",
            )
        if text.startswith("/"):
            return cls.parse(f"{FILE}:{text}")
        if text.startswith("file://"):
            return cls.parse(f"{FILE}:{text.removeprefix('file://').removeprefix('localhost')}")
        return cls.parse(text, ask=ask)

    def __call__(self, request: PinRequest) -> Secret | None:
        """The PIN for ``request``; ``SecretUnavailable`` says which source failed and why."""
        if self.kind == PROMPT:
            if self.ask is None:
                raise InputRequired(what=_purpose(request.role), option="--pin-source")
            return self.ask(request)
        return self.read(_purpose(request.role))

    def read(self, purpose: str) -> Secret | None:
        """The secret for ``purpose`` (a word for errors) from any source but ``prompt``; ``None`` for ``pinpad``."""
        if self.kind == PINPAD:
            return None
        with _reading:
            return self._read(purpose)

    def _read(self, purpose: str) -> Secret:
        if self._once:
            return self._once[0]
        try:
            secret = _READERS[self.kind](self.argument)
        except _Unreadable as problem:
            raise SecretUnavailable(purpose=purpose, source=self._shown(), problem=str(problem)) from None
        # An empty PIN comes from an unset CI variable far more often than from a person, and would cost a try.
        if not secret:
            raise SecretUnavailable(purpose=purpose, source=self._shown(), problem="it is empty")
        if self.kind == FD:
            self._once.append(secret)  # the next read would get the next line
        return secret

    def _shown(self) -> str:
        return f"{CMD}:{self.argument.split()[0]} …" if self.kind == CMD else f"{self.kind}:{self.argument}"


def check_pin_length(pin: Secret | None, request: PinRequest) -> None:
    """Refuse a user PIN that the token cannot accept, before a try is spent; ``PinUnusable``.

    Limits count bytes (CK_TOKEN_INFO). They are believed only where they make sense, and never for the SO PIN: cards
    use a management key there, of another length than they report.
    """
    sensible = 0 < request.min_length <= request.max_length and 4 <= request.max_length <= 255
    if pin is None or not sensible or request.role == "so":
        return
    if not request.min_length <= len(pin) <= request.max_length:
        problem = "it is too short" if len(pin) < request.min_length else "it is too long"
        raise PinUnusable(
            token=request.token, problem=problem, min_length=request.min_length, max_length=request.max_length
        )


class _Unreadable(Exception):
    """Why a source gave nothing; holds no secret and is raised outside ``except``, so that no cause holds one."""


def _purpose(role: str) -> str:
    return "SO PIN" if role == "so" else "PIN"


def _first_line(data: bytes) -> Secret:
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    if len(line) > LONGEST_SECRET:
        raise _Unreadable(f"its first line is longer than {LONGEST_SECRET} bytes")
    return Secret(line)


def _read_env(name: str) -> Secret:
    # Taken out of the environment at once so that no child inherits it, and kept for whoever asks next.
    value = os.environ.pop(name, None)
    if value is not None:
        _SPENT_ENVIRONMENT[name] = Secret(os.fsencode(value))
    if name not in _SPENT_ENVIRONMENT:
        raise _Unreadable("no such variable is set")
    return _SPENT_ENVIRONMENT[name]


def _read_file(path: str) -> Secret:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            _check_mode(path, os.fstat(file.fileno()))
            line = file.readline(LONGEST_SECRET + 2)
    except OSError as error:
        raise _Unreadable(error.strerror or "it cannot be read") from None
    return _first_line(line)


def _check_mode(path: str, status: os.stat_result) -> None:
    """Refuse a file in which anybody may plant wrong PINs; warn of one that others may read.

    Reading by others is let through because orchestrators mount secrets world-readable into containers that have no
    others (Kubernetes writes 0644, Docker Swarm 0444).
    """
    import stat
    import warnings

    if os.name != "posix" or not stat.S_ISREG(status.st_mode):
        return
    if status.st_mode & stat.S_IWOTH:
        raise _Unreadable("anybody on this machine may write to it (chmod 600)")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.warn(PinFileExposed(path, stat.S_IMODE(status.st_mode)), stacklevel=5)


def _read_fd(number: str) -> Secret:
    # Byte by byte: the lines after the first belong to whoever reads this descriptor next (openssl -passin fd: too).
    data = bytearray()
    try:
        while len(data) <= LONGEST_SECRET and (octet := os.read(int(number), 1)) not in (b"", b"\n"):
            data += octet
    except OSError as error:
        raise _Unreadable(error.strerror or "it cannot be read") from None
    return _first_line(bytes(data))


def _read_cmd(command: str) -> Secret:
    """The first line that ``command`` prints; split into words as a shell would, but no shell sees it."""
    import shlex
    import subprocess

    try:
        words = shlex.split(command)
    except ValueError:
        raise _Unreadable("its quotes do not match") from None
    try:
        done = subprocess.run(  # noqa: S603 - the person names the command
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT, check=False
        )
    except OSError as error:
        problem = error.strerror or "it cannot be run"
    except subprocess.TimeoutExpired:
        problem = f"it did not answer within {COMMAND_TIMEOUT:g} seconds"
    else:
        if done.returncode == 0:
            return _first_line(done.stdout)
        problem = f"it ended with status {done.returncode}"
    raise _Unreadable(problem)


def _read_keyring(name: str) -> Secret:
    try:
        import keyring
    except ImportError:
        raise _Unreadable("the keyring extra is not installed (pip install 'dojang[keyring]')") from None
    try:
        value = keyring.get_password(KEYRING_SERVICE, name)
    except Exception as error:  # backends raise what they like, and their texts are not ours to show
        raise _Unreadable(f"the keyring failed ({type(error).__name__})") from None
    if value is None:
        raise _Unreadable(f"the keyring has no entry of that name (keyring set {KEYRING_SERVICE} {name})")
    return Secret(value)


_READERS: Final[dict[str, Callable[[str], Secret]]] = {
    ENV: _read_env,
    FILE: _read_file,
    FD: _read_fd,
    CMD: _read_cmd,
    KEYRING: _read_keyring,
}
