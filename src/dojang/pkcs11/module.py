"""A loaded PKCS#11 module: initialised with OS locking, healed after fork, restarted only when empty."""

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import Cryptoki, CryptokiError
from dojang.pkcs11.quirks import (
    HIDES_WHAT_IS_WRITTEN,
    LIVES_ON_DISK,
    LOSES_WHAT_WAS_AWAY,
    ONE_CALL_AT_A_TIME,
    TAKE_NO_LOCKS,
    quiet,
)
from dojang.pkcs11.structures import text
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.discovery import ModuleSpec

T = TypeVar("T")

_START_PATIENCE = (0.02, 0.05, 0.1)
"""Seconds between attempts of C_Initialize after CKR_GENERAL_ERROR: SoftHSM answers it when another process happens to
be writing a token file, about once in forty simultaneous starts."""

_WRITTEN_SECONDS = 0.3
_HIDDEN_PATIENCE = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
"""Seconds between restarts of a module that does not show every token it has."""

_UNCOVER_SECONDS = 5.0
"""Seconds between two restarts for the same hidden token: each closes the sessions of all others."""

_QUIET_PATIENCE = 30.0
"""Seconds that a re-initialisation waits for other threads to come out of the module."""

_FORK_PATIENCE = 2.0
"""Seconds that a fork waits for that. What a thread holds inside a module while another one forks is held for ever in
the child: of forty children that signed, twenty hung and two crashed (seen, SoftHSM 2.6.1)."""

_CLOSE_PATIENCE = 1.0
"""Seconds that the end of the process waits for a module that does not answer."""


class ModuleInfo(NamedTuple):
    """CK_INFO: who made the module, what it is, and the versions of itself and of the standard it speaks."""

    manufacturer: str
    description: str
    library_version: tuple[int, int]
    cryptoki_version: tuple[int, int]


class SessionHolder(Protocol):
    """Something that has sessions in a module: the module counts who is inside and tells who must start afresh."""

    def sessions_in_use(self) -> int: ...

    def sessions_open(self) -> int: ...

    def forked(self) -> None: ...


class Module:
    """One shared library, loaded and initialised once in this process. Get it from ``Module.load``."""

    _loaded: ClassVar["dict[tuple[str, str | None], Module]"] = {}
    _loading: ClassVar["dict[tuple[str, str | None], threading.Lock]"] = {}
    """One for each module: a module that hangs while it starts keeps nobody from another."""

    def __init__(self, path: str, name: str, init_string: str | None, cryptoki: Cryptoki) -> None:
        """Use ``load`` instead: two of these over one library would initialise it twice."""
        self.path = path
        self.name = name
        self.cryptoki = cryptoki
        self.generation = 0
        self.draining = 0
        """How many keep others out: who begins the module anew, and who forks meanwhile."""
        self.losses = 0
        """How often a call found its session or the token gone."""
        file = path.rpartition("/")[2]
        self._locking = not file.startswith(TAKE_NO_LOCKS)
        self.parallel = self._locking and not file.startswith(ONE_CALL_AT_A_TIME)
        self.lock = threading.RLock()
        self.turn = threading.RLock()
        self.remembered: dict[object, Secret] = {}
        """The PIN that opened each token, by ``Token.key``: for logging in again while it is open."""
        self._init_string = init_string
        self._still_hiding, self._uncovered_at = frozenset[str](), 0.0
        self._ours = False
        self._ready = False
        self._inherited = False
        self._counting = threading.Lock()
        self._held: set[int] = set()  # the threads that fork and have the lock
        self._holders: weakref.WeakSet[SessionHolder] = weakref.WeakSet()

    @classmethod
    def load(cls, spec: "ModuleSpec") -> "Module":
        """The initialised module, from memory when this process has it already; ``ModuleUnloadable`` says why not."""
        from dojang.pkcs11 import discovery

        key = (os.path.realpath(spec.path), spec.init_string)
        with cls._loading.setdefault(key, threading.Lock()):
            module = cls._loaded.get(key)
            if module is None:
                discovery.check_pin_of_file(spec)
                missing = discovery.explain_missing_init_string(spec.path, spec.init_string)
                if missing is not None:
                    raise missing
                quiet(spec.path)
                try:
                    cryptoki = Cryptoki.load(spec.path)
                except (OSError, AttributeError) as error:
                    raise discovery.explain_load_failure(spec.path, error) from error
                except CryptokiError as error:
                    raise discovery.explain_initialize_failure(spec.path, ck.result_name(error.rv)) from error
                module = cls._loaded[key] = cls(spec.path, spec.name, spec.init_string, cryptoki)
            module.ensure_ready()
        return module

    @classmethod
    def loaded(cls) -> "list[Module]":
        """Every module this process has loaded."""
        return list(cls._loaded.values())

    def join(self, holder: SessionHolder) -> None:
        """Count ``holder`` among those who may be inside the module."""
        with self.lock:  # a set must not grow while somebody walks through it
            self._holders.add(holder)

    def ensure_ready(self) -> None:
        """Initialise if that has not happened yet, or not in this process since a fork."""
        if self._ready:
            return
        with self.lock:
            if not self._ready:
                self._initialize()

    def alone(self) -> AbstractContextManager[object]:
        """For as long as a call into the module takes: no other thread calls one that bears no two. Taken before every
        other lock.
        """
        return nullcontext() if self.parallel else self.turn

    def call(self, work: Callable[[Cryptoki], T]) -> T:
        """Run a short call that needs no session; once more when somebody had finalised the module."""
        with self.alone(), self.lock:
            self.ensure_ready()
            try:
                return work(self.cryptoki)
            except CryptokiError as error:
                if error.rv != ck.CKR_CRYPTOKI_NOT_INITIALIZED:
                    raise
            self.reinitialise(self.generation)
            return work(self.cryptoki)

    def info(self) -> ModuleInfo:
        """What the module says of itself."""
        info = self.call(lambda cryptoki: cryptoki.info())
        return ModuleInfo(
            manufacturer=text(info.manufacturer),
            description=text(info.description),
            library_version=(info.library_version.major, info.library_version.minor),
            cryptoki_version=(info.cryptoki_version.major, info.cryptoki_version.minor),
        )

    def reinitialise(self, seen_generation: int) -> None:
        """C_Finalize and C_Initialize, unless somebody did it since ``seen_generation``; waits until nobody is inside.

        The caller must have given back its own session. Every session and handle from before is dead afterwards.
        """
        with self.lock:
            if self.generation != seen_generation:
                return
            self._drain(1)
            try:
                self._await_quiet()
                if self._ours:
                    self._finalize_quietly()
                if self._initialize_again():
                    self.generation += 1
            finally:
                self._drain(-1)

    def _drain(self, by: int) -> None:
        with self._counting:
            self.draining += by

    def _initialize_again(self) -> bool:
        """What started before has not become unloadable: its daemon is away, or it fails for a while."""
        try:
            return self._initialize()
        except errors.ModuleUnloadable as error:
            said = ck.result_name(error.__cause__.rv) if isinstance(error.__cause__, CryptokiError) else str(error)
            failure = errors.DeviceFailure(token=self.name, function="C_Initialize", result=said)
            raise self.silence() or failure from error

    def silence(self) -> errors.DaemonSilent | None:
        """The error that says which daemon of this module does not answer, if one does not."""
        from dojang.pkcs11.daemons import silent_daemon

        return silent_daemon(self.path)

    def remembers_files(self) -> bool:
        """Whether a token whose files were away stays without objects until the module begins anew."""
        return self.path.rpartition("/")[2].startswith(LOSES_WHAT_WAS_AWAY)

    def out_of_room(self) -> bool:
        """Whether what the module says only failed may have failed for want of room on its disk."""
        if not self.path.rpartition("/")[2].startswith(LIVES_ON_DISK):
            return False
        from dojang.pkcs11.softhsm import disk_is_full

        return disk_is_full()

    def restarts(self) -> Iterator[bool]:
        """Restart, a step at a time, for as long as that may bring to light a token that is not shown.

        Once where nobody has a session open; then again, with patience, where the module hides what is being written.
        """
        for pause in (0.0, *_HIDDEN_PATIENCE):
            if pause and not self._hides_tokens():
                return
            time.sleep(pause)
            if not self.rescan():
                return
            yield True

    def wait_for_writers(self) -> bool:
        """Wait until others may have written what this module hides meanwhile; false where it hides nothing."""
        hides = self.path.rpartition("/")[2].startswith(HIDES_WHAT_IS_WRITTEN)
        if hides:
            time.sleep(_WRITTEN_SECONDS)
        return hides

    def _hides_tokens(self) -> bool:
        return bool(self._hiding())

    def _hiding(self) -> frozenset[str]:
        """What lies on disk, where the module does not show all of it."""
        if not self.path.rpartition("/")[2].startswith(HIDES_WHAT_IS_WRITTEN):
            return frozenset()
        from dojang.pkcs11.softhsm import tokens_on_disk

        def shown(cryptoki: Cryptoki) -> int:
            present = [cryptoki.token_info(slot) for slot in cryptoki.slot_list(token_present=True)]
            return sum(bool(info.flags & ck.CKF_TOKEN_INITIALIZED) for info in present)

        there = tokens_on_disk()
        return there if self.call(shown) < len(there) else frozenset()

    def rescan(self) -> bool:
        """Look for tokens made by other processes, where that takes a restart; only when no session is open here."""
        with self.lock:
            if not self._ours or any(holder.sessions_open() for holder in self._holders):
                return False
            self.reinitialise(self.generation)
            return True

    def uncover(self) -> bool:
        """Begin anew where tokens lie on disk that are not shown, though others have sessions, who open them again.

        Where that brought nothing to light, something there is broken, perhaps: then only every few seconds.
        """
        hiding = self._hiding()
        if not hiding or (hiding == self._still_hiding and time.monotonic() < self._uncovered_at + _UNCOVER_SECONDS):
            return False
        self.reinitialise(self.generation)
        self._still_hiding, self._uncovered_at = self._hiding(), time.monotonic()
        return True

    def close(self) -> None:
        """Finalise in an orderly way; a thread still inside the module keeps it alive until the process ends."""
        if not self.lock.acquire(timeout=_CLOSE_PATIENCE):
            return  # it hangs, and must not keep the process from ending
        try:
            self._drain(1)
            if not any(holder.sessions_in_use() for holder in self._holders) and self._ours and self._ready:
                self._finalize_quietly()
                self._ready = False
                self.generation += 1
            self._drain(-1)
        finally:
            self.lock.release()

    def _await_quiet(self) -> None:
        if not self._quiet_within(_QUIET_PATIENCE):
            raise errors.DeviceBusy(token=self.name, function="C_Finalize", result="threads still at work")

    def _quiet_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while any(holder.sessions_in_use() for holder in self._holders):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True

    def _initialize(self) -> bool:
        """Whether the module began anew; false where somebody else had initialised it, and sessions live on."""
        if self._inherited:
            # The copy a fork leaves must be finalised in the child; the parent's own is not touched by that.
            self._finalize_quietly()
            self._inherited = False
        for pause in (*_START_PATIENCE, None):
            try:
                self.cryptoki.initialize(self._init_string, locking=self._locking)
                self._ours = True
                break
            except CryptokiError as error:
                if error.rv == ck.CKR_CRYPTOKI_ALREADY_INITIALIZED:
                    # Somebody else's initialisation may lack locking: stay out of the way of parallel calls.
                    self._ours, self.parallel = False, False
                    self._ready = True
                    return False
                if error.rv != ck.CKR_GENERAL_ERROR or pause is None:
                    from dojang.pkcs11 import discovery

                    raise discovery.explain_initialize_failure(self.path, ck.result_name(error.rv)) from error
            time.sleep(pause)
        self._ready = True
        return True

    def _finalize_quietly(self) -> None:
        try:
            self.cryptoki.finalize()
        except CryptokiError:
            return  # NOT_INITIALIZED, or a daemon that is gone: C_Initialize decides what happens next

    def stand_still(self) -> None:
        """Let nobody in until ``go_on``, and wait, though not for ever, until nobody is inside."""
        if self.lock.acquire(timeout=_FORK_PATIENCE):
            self._held.add(threading.get_ident())
        self._drain(1)
        self._quiet_within(_FORK_PATIENCE)

    def go_on(self) -> None:
        """Undo ``stand_still``, in the thread that called it."""
        self._drain(-1)
        if threading.get_ident() in self._held:
            self._held.remove(threading.get_ident())
            self.lock.release()

    def _after_fork(self) -> None:
        self.lock = threading.RLock()
        self.turn = threading.RLock()
        self._counting = threading.Lock()
        self._held = set()
        self.draining = 0
        self.generation += 1
        self._inherited = self._ours
        self._ready = False
        for holder in list(self._holders):
            holder.forked()


_standing: dict[int, list[Module]] = {}
"""By thread that forks: the modules that stand still for it. One that is loaded meanwhile does not."""


def _before_fork() -> None:
    modules = _standing[threading.get_ident()] = Module.loaded()
    for module in modules:
        module.stand_still()


def _after_fork() -> None:
    for module in _standing.pop(threading.get_ident()):
        module.go_on()


def _heal_child() -> None:
    _standing.clear()
    Module._loading = {}
    for module in Module.loaded():
        module._after_fork()


def _close_all() -> None:
    for module in Module.loaded():
        module.close()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_heal_child)
atexit.register(_close_all)
