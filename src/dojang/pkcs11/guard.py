"""The PIN guard: what stands between a person's hurry and a locked token.

Every try goes through ``PinGuard.attempt``. One try at a time per PIN, on the whole machine; the token's flags are read
before each; the last try is spent only on purpose; and a PIN that failed is never tried again.

What is remembered is a keyed, slow hash (scrypt, 32 MiB, about 0.1 s) of the wrong PIN, in a file only its owner can
read. A thief of that file needs about a quarter of an hour to learn a *wrong* PIN of four digits; the right one is
never written, and the file is removed with its key once nothing is left to remember. Nothing is hashed for a token
without remembered failures, so the normal start pays one failed ``open``.
"""

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from dojang.errors import DeviceBusy, PinIncorrect, PinKnownWrong, PinLastTry, PinLocked, StateUnreadable
from dojang.pkcs11.pin import PinState
from dojang.secret import Secret

MAGIC: Final = "dojang-pin-guard-1"
MOST_FAILURES: Final = 32  # per PIN; only tokens that never lock get this far
PATIENCE: Final = 120.0  # seconds to wait for another process that is logging in, perhaps at a keypad
_UNWRITABLE: Final = (StateUnreadable, DeviceBusy)
_KEY_LENGTH: Final = 32
_TAG_LENGTH: Final = 16
_NAME_LENGTH: Final = 48  # bytes of serial and of label in a file name
_LARGEST_FILE: Final = 1 << 20
_WHOLE: Final = rb"%b [0-9a-f]{%d}\n(?:(?:user|so)-[0-9a-f]*-[0-9a-f]*- [0-9a-f]{%d}\n)+" % (
    MAGIC.encode(),
    2 * _KEY_LENGTH,
    2 * _TAG_LENGTH,
)

_thread_locks: Final[dict[str, threading.Lock]] = {}
_unsaved: Final[dict[tuple[str, str], list[Secret]]] = {}  # failures that a full disk kept out of the file
os.register_at_fork(after_in_child=_thread_locks.clear)


class _Memory(NamedTuple):
    """The file: a random key, and the tags of failed PINs under the identity of each PIN."""

    key: bytes
    failures: dict[str, list[bytes]]


class PinGuard:
    """Guards the PINs of all tokens; every process that names the same ``state_path`` shares one memory."""

    def __init__(self, state_path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(state_path)
        self._locks = self._path + ".locks"

    def attempt(
        self,
        *,
        serial: str,
        token: str,
        role: str,
        pin: Secret | None,
        flags: Callable[[], PinState],
        login: Callable[[], bool | None],
        last_try: bool,
    ) -> None:
        """Call ``login`` at most once, and only if it cannot do harm.

        ``flags`` reads the token afresh; ``login`` raises ``PinIncorrect`` for a wrong PIN and returns ``False`` if the
        token did not look at the PIN (somebody is logged in already). ``pin`` is ``None`` for a keypad. Raises
        ``PinLocked``, ``PinKnownWrong`` or ``PinLastTry`` without having tried, and whatever ``login`` raises. Callers
        that wait for each other look again at the flags and the memory when their turn comes, so any number of them
        with one wrong PIN cost one try.
        """
        identity = _identity(serial, token, role)
        with self._hold(identity, token):
            memory = self._load()
            state = flags()
            if state.locked:
                raise PinLocked(token=token, role=role)
            if pin is not None and self._knows(memory, identity, pin):
                raise PinKnownWrong(token=token, memory=self._path)
            if state.final_try and not last_try:
                raise PinLastTry(token=token, role=role)
            try:
                checked = login() is not False
            except PinIncorrect as error:
                if pin is not None:
                    self._remember(identity, pin, error)
                raise
            if checked and (identity in memory.failures or (self._path, identity) in _unsaved):
                # The login stands whatever becomes of the file; what stays in it is only a wrong PIN.
                with contextlib.suppress(*_UNWRITABLE):
                    self._forget(identity)

    def forget(self, *, serial: str, role: str, token: str | None = None) -> None:
        """Forget the failures of a PIN that was changed, unblocked or wiped.

        Without ``token`` (its label) that goes for every token with this serial.
        """
        self._forget(_identity(serial, token or "", role) if token is not None else _identity_prefix(serial, role))

    def _knows(self, memory: _Memory, identity: str, pin: Secret) -> bool:
        if pin in _unsaved.get((self._path, identity), ()):
            return True
        known = memory.failures.get(identity)
        return known is not None and _tag(memory.key, identity, pin) in known

    def _remember(self, identity: str, pin: Secret, error: PinIncorrect) -> None:
        """Write the failure down; if that fails, this process still knows it and PinIncorrect stays the error."""
        try:
            with self._hold("memory", ""):
                memory = self._load()
                tags = memory.failures.setdefault(identity, [])
                tags.append(_tag(memory.key, identity, pin))
                del tags[:-MOST_FAILURES]
                self._save(memory)
        except (OSError, *_UNWRITABLE) as trouble:
            _unsaved.setdefault((self._path, identity), []).append(pin)
            error.add_note(f"The failure could not be remembered in {self._path}: {trouble}")

    def _forget(self, prefix: str) -> None:
        for key in [key for key in _unsaved if key[0] == self._path and key[1].startswith(prefix)]:
            del _unsaved[key]
        if not os.path.exists(self._path):
            return
        with self._hold("memory", ""):
            memory = self._load()
            kept = {name: tags for name, tags in memory.failures.items() if not name.startswith(prefix)}
            if len(kept) < len(memory.failures):
                try:
                    self._save(_Memory(memory.key, kept))
                except OSError as error:
                    raise StateUnreadable(path=self._path, problem=error.strerror or "it cannot be written") from error

    def _load(self) -> _Memory:
        try:
            with open(self._path, "rb") as file:
                data = file.read(_LARGEST_FILE + 1)
        except FileNotFoundError:
            return _Memory(os.urandom(_KEY_LENGTH), {})
        except OSError as error:
            raise StateUnreadable(path=self._path, problem=error.strerror or "it cannot be read") from error
        memory = _parse(data)
        # Starting afresh would forget which PINs failed and spend tries on them again, so a person decides.
        if memory is None:
            raise StateUnreadable(
                path=self._path,
                problem="it is damaged",
                next_step="Remove {path} and make sure of the PIN: wrong ones tried before are no longer remembered.",
            )
        return memory

    def _save(self, memory: _Memory) -> None:
        """Replace the file atomically and durably, 0600; an empty memory leaves no file and no key."""
        if not memory.failures:
            os.unlink(self._path)
            return
        temporary = f"{self._path}.{os.getpid()}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_format(memory))
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            raise

    @contextlib.contextmanager
    def _hold(self, name: str, token: str) -> Iterator[None]:
        """One holder of ``name`` at a time among threads (a lock) and processes (flock); ``DeviceBusy`` in the end."""
        deadline = time.monotonic() + PATIENCE
        lock = _thread_locks.setdefault(f"{self._locks}/{name}", threading.Lock())
        if not lock.acquire(timeout=PATIENCE):
            raise _busy(token)
        try:
            descriptor = self._open_lock(name)
            try:
                _wait_for(descriptor, deadline, token)
                yield
            finally:
                # Unlocked by hand: after a fork the child still has the descriptor open.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)
        finally:
            lock.release()

    def _open_lock(self, name: str) -> int:
        path = f"{self._locks}/{name}.lock"
        try:
            try:
                return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(self._locks), mode=0o700, exist_ok=True)
                os.makedirs(self._locks, mode=0o700, exist_ok=True)
                return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateUnreadable(path=self._locks, problem=error.strerror or "it cannot be written") from error


def _wait_for(descriptor: int, deadline: float, token: str) -> None:
    pause = 0.005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise _busy(token) from None
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
        else:
            return


def _busy(token: str) -> DeviceBusy:
    return DeviceBusy(token=token, function="C_Login", result="that another login is under way")


def _identity_prefix(serial: str, role: str) -> str:
    # The PIN for one signature is the user PIN with its one counter.
    return f"{'so' if role == 'so' else 'user'}-{_hex(serial)}-"


def _identity(serial: str, token: str, role: str) -> str:
    # With the label, because drivers show the PINs of one card as tokens of one serial and several labels.
    return f"{_identity_prefix(serial, role)}{_hex(token)}-"


def _hex(text: str) -> str:
    return text.strip().encode("utf-8", "surrogatepass")[:_NAME_LENGTH].hex()


def _tag(key: bytes, identity: str, pin: Secret) -> bytes:
    from hashlib import scrypt

    salt = key + identity.encode()
    return scrypt(pin.reveal(), salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=_TAG_LENGTH)


def _format(memory: _Memory) -> bytes:
    lines = [f"{MAGIC} {memory.key.hex()}"]
    lines += [f"{identity} {tag.hex()}" for identity, tags in memory.failures.items() for tag in tags]
    return ("\n".join(lines) + "\n").encode()


def _parse(data: bytes) -> _Memory | None:
    """The memory in a file, or ``None`` if any of it is not as ``_format`` writes it."""
    if len(data) > _LARGEST_FILE or not re.fullmatch(_WHOLE, data):
        return None
    first, *lines = data.decode().splitlines()
    failures: dict[str, list[bytes]] = {}
    for line in lines:
        identity, tag = line.split(" ")
        failures.setdefault(identity, []).append(bytes.fromhex(tag))
    return _Memory(bytes.fromhex(first.split(" ")[1]), failures)
