"""A loaded PKCS#11 module: initialised with OS locking, healed after fork, restarted only when empty."""

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import Cryptoki, CryptokiError
from dojang.pkcs11.quirks import ONE_CALL_AT_A_TIME
from dojang.pkcs11.structures import text
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.discovery import ModuleSpec

T = TypeVar("T")

_START_PATIENCE = (0.02, 0.05, 0.1)
"""Seconds between attempts of C_Initialize after CKR_GENERAL_ERROR: SoftHSM answers it when another process happens to
be writing a token file, about once in forty simultaneous starts."""

_QUIET_PATIENCE = 30.0
"""Seconds that a re-initialisation waits for other threads to come out of the module."""

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
        self.draining = False
        self.parallel = not path.rpartition("/")[2].startswith(ONE_CALL_AT_A_TIME)
        self.lock = threading.RLock()
        self.turn = threading.RLock()
        self.remembered: dict[object, Secret] = {}
        """The PIN that opened each token, by ``Token.key``: for logging in again while it is open."""
        self._init_string = init_string
        self._ours = False
        self._ready = False
        self._inherited = False
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
            self.draining = True
            try:
                self._await_quiet()
                if self._ours:
                    self._finalize_quietly()
                if self._initialize():
                    self.generation += 1
            finally:
                self.draining = False

    def rescan(self) -> bool:
        """Look for tokens made by other processes, where that takes a restart; only when no session is open here."""
        with self.lock:
            if not self._ours or any(holder.sessions_open() for holder in self._holders):
                return False
            self.reinitialise(self.generation)
            return True

    def close(self) -> None:
        """Finalise in an orderly way; a thread still inside the module keeps it alive until the process ends."""
        if not self.lock.acquire(timeout=_CLOSE_PATIENCE):
            return  # it hangs, and must not keep the process from ending
        try:
            self.draining = True
            if not any(holder.sessions_in_use() for holder in self._holders) and self._ours and self._ready:
                self._finalize_quietly()
                self._ready = False
                self.generation += 1
            self.draining = False
        finally:
            self.lock.release()

    def _await_quiet(self) -> None:
        deadline = time.monotonic() + _QUIET_PATIENCE
        while any(holder.sessions_in_use() for holder in self._holders):
            if time.monotonic() > deadline:
                raise errors.DeviceBusy(token=self.name, function="C_Finalize", result="threads still at work")
            time.sleep(0.002)

    def _initialize(self) -> bool:
        """Whether the module began anew; false where somebody else had initialised it, and sessions live on."""
        if self._inherited:
            # The copy a fork leaves must be finalised in the child; the parent's own is not touched by that.
            self._finalize_quietly()
            self._inherited = False
        for pause in (*_START_PATIENCE, None):
            try:
                self.cryptoki.initialize(self._init_string)
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

    def _after_fork(self) -> None:
        self.lock = threading.RLock()
        self.turn = threading.RLock()
        self.draining = False
        self.generation += 1
        self._inherited = self._ours
        self._ready = False
        for holder in list(self._holders):
            holder.forked()


def _heal_child() -> None:
    Module._loading = {}
    for module in Module.loaded():
        module._after_fork()


def _close_all() -> None:
    for module in Module.loaded():
        module.close()


os.register_at_fork(after_in_child=_heal_child)
atexit.register(_close_all)
