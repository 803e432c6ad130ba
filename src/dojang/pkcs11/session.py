"""Sessions on one token: a pool that logs in once, gives each thread its own session, and climbs the retry ladder."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import addressof, c_ulong, create_string_buffer, string_at
from typing import NamedTuple, TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.failures import explain
from dojang.pkcs11.module import Module
from dojang.pkcs11.retry import NEVER, REINITIALISE, SEARCH, Climb
from dojang.pkcs11.structures import AttributeReader, AttributeValue, Mechanism, text

T = TypeVar("T")

_USER_STATES = (ck.CKS_RO_USER_FUNCTIONS, ck.CKS_RW_USER_FUNCTIONS)
_SIGNATURE_ROOM = 1024
_SESSION_PATIENCE = 30.0

Search = tuple[tuple[int, AttributeValue], ...]
"""What identifies one object: attributes to search for, in a fixed order so that it can be a dictionary key."""


class TokenIdentity(NamedTuple):
    """What stays the same while slot numbers change: label, serial, manufacturer and model of a token."""

    label: str
    serial: str
    manufacturer: str
    model: str


class Session:
    """One C session: used by one thread at a time, remembers the handles it has looked up and its own memory."""

    __slots__ = (
        "_address",
        "_length",
        "_length_address",
        "_readers",
        "_room",
        "_signature",
        "cryptoki",
        "generation",
        "handle",
        "handles",
        "read_write",
        "spoiled",
        "token_label",
    )

    def __init__(self, module: Module, handle: int, token_label: str, *, read_write: bool) -> None:
        """Wrap an open session; the pool opens and closes."""
        self.cryptoki = module.cryptoki
        self.generation = module.generation
        self.handle = handle
        self.read_write = read_write
        self.token_label = token_label
        self.spoiled = False
        self.handles: dict[Search, int] = {}
        self._readers: dict[tuple[int, ...], AttributeReader] = {}
        self._make_room(_SIGNATURE_ROOM)
        self._length = c_ulong()
        self._length_address = addressof(self._length)

    def _make_room(self, size: int) -> None:
        self._signature = create_string_buffer(size)
        self._address = addressof(self._signature)
        self._room = size

    def resolve(self, search: Search) -> int:
        """The handle of the one object that ``search`` describes, from memory where it was looked up before."""
        handle = self.handles.get(search)
        if handle is None:
            found = self.cryptoki.find_objects(self.handle, search, limit=2)
            if len(found) > 1:
                raise errors.Ambiguous(what=describe(search), matches=f"{len(found)} objects with the same CKA_ID")
            if not found:
                raise Missing(search)
            handle = self.handles[search] = found[0]
        return handle

    def read(self, handle: int, kinds: tuple[int, ...]) -> dict[int, bytes]:
        """Attributes of one object in one call; what it lacks or hides is absent."""
        reader = self._readers.get(kinds)
        if reader is None:
            reader = self._readers[kinds] = AttributeReader(kinds)
        return self.cryptoki.read_attributes(self.handle, handle, reader)

    def sign_begin(self, mechanism: Mechanism, key: int) -> None:
        """C_SignInit."""
        rv = self.cryptoki.sign_init(self.handle, mechanism.address, key)
        if rv:
            raise CryptokiError("C_SignInit", rv)

    def sign_end(self, data: bytes) -> bytes:
        """C_Sign, once; again only where the module asked for more room, which means that it has not signed (5.2)."""
        length = self._length
        length.value = self._room
        rv = self.cryptoki.sign_into(self.handle, data, len(data), self._address, self._length_address)
        if rv == ck.CKR_BUFFER_TOO_SMALL and length.value > self._room:
            self._make_room(length.value)
            rv = self.cryptoki.sign_into(self.handle, data, len(data), self._address, self._length_address)
        if rv:
            raise CryptokiError("C_Sign", rv)
        return string_at(self._address, length.value)

    def close(self) -> None:
        """C_CloseSession; a session that is already gone is no error."""
        try:
            self.cryptoki.close_session(self.handle)
        except CryptokiError:
            return  # closed by C_CloseAllSessions, C_Finalize or removal: nothing is left to close


def describe(search: Search) -> errors.Phrase:
    """A search in words for a message."""
    values = {kind: value for kind, value in search if isinstance(value, bytes)}
    label, key_id = values.get(ck.CKA_LABEL), values.get(ck.CKA_ID)
    if label is not None and key_id is not None:
        return errors.Phrase("label {label} and id {id}", label=label.decode("utf-8", "replace"), id=key_id.hex())
    if label is not None:
        return errors.Phrase("label {label}", label=label.decode("utf-8", "replace"))
    return errors.Phrase("id {id}", id=key_id.hex()) if key_id is not None else errors.Phrase("the object")


class Missing(Exception):
    """Nothing matches; the pool decides whether that is the truth or the login is gone. Never leaves this package."""

    def __init__(self, search: Search) -> None:
        """Keep what was searched for."""
        super().__init__(describe(search))
        self.search = search


LogIn = Callable[[Session], None]
"""Performs one guarded C_Login on the session it is given."""


class SessionPool:
    """At most ``limit`` sessions on one token; thread-safe; shared by everybody in the process who opened that token.

    ``log_in`` performs one guarded C_Login on the session it is given. It is called by one thread at a time, and again
    only when the token says that the login is gone. The pool never calls C_Logout, so nobody else is logged out.
    """

    def __init__(self, module: Module, identity: TokenIdentity, slot_id: int, *, limit: int) -> None:
        """Sessions are opened when somebody needs one."""
        self.module = module
        self.identity = identity
        self.slot_id = slot_id
        self.logged_in = False
        self._limit = limit if module.parallel else 1
        self._idle: deque[Session] = deque()
        self._count = 0
        self._waiting = 0
        self._room = threading.Condition(threading.Lock())
        self._login_lock = threading.RLock()
        module.join(self)

    # What the module asks of those who hold sessions

    def sessions_in_use(self) -> int:
        return self._count - len(self._idle)

    def sessions_open(self) -> int:
        return self._count

    def forked(self) -> None:
        """In the child of a fork: no session of the parent is ours."""
        self._idle.clear()
        self._count = self._waiting = 0
        self.logged_in = False
        self._room = threading.Condition(threading.Lock())
        self._login_lock = threading.RLock()

    # Taking and giving back

    def take(self) -> Session:
        """A session for this thread alone; waits when all are in use."""
        while True:
            try:
                session = self._idle.pop()
            except IndexError:
                session = self._open_or_wait()
            # Checked after taking: a re-initialisation that began earlier is seen here, one that begins now sees us.
            if not self.module.draining and session.generation == self.module.generation:
                return session
            self._forget(session)
            with self.module.lock:  # held for as long as a re-initialisation takes
                self.module.ensure_ready()

    def give(self, session: Session) -> None:
        """Return a session that has no operation under way."""
        self._idle.append(session)
        if self._waiting:
            with self._room:
                self._room.notify()

    def discard(self, session: Session) -> None:
        """Close a session instead of returning it; closing the last one ends the login (2.40, 5.6.2)."""
        if session.generation == self.module.generation:  # later on, its handle may be another session's
            session.close()
        self._forget(session)

    def _forget(self, session: Session) -> None:
        with self._room:
            self._count -= 1
            if self._count == 0 or session.generation != self.module.generation:
                self.logged_in = False
            self._room.notify()

    def _open_or_wait(self) -> Session:
        deadline = time.monotonic() + _SESSION_PATIENCE
        while True:
            self.module.ensure_ready()
            with self._room:
                if self._idle:
                    return self._idle.pop()
                if self._count < self._limit:
                    self._count += 1
                    break
                self._wait(deadline)
        # Counted before looking: a re-initialisation that has not begun by now waits for us.
        try:
            if self.module.draining:
                raise CryptokiError("C_OpenSession", ck.CKR_CRYPTOKI_NOT_INITIALIZED)
            return self._open()
        except BaseException:
            with self._room:
                self._count -= 1
                self._room.notify()
            raise

    def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise errors.DeviceBusy(token=self.identity.label, function="C_OpenSession", result="all sessions in use")
        self._waiting += 1
        try:
            if not self._idle:
                self._room.wait(timeout=1.0)
        finally:
            self._waiting -= 1

    def _open(self) -> Session:
        module = self.module
        cryptoki = module.cryptoki
        try:
            handle = cryptoki.open_session(self.slot_id, read_write=True)
            return Session(module, handle, self.identity.label, read_write=True)
        except CryptokiError as error:
            if error.rv != ck.CKR_TOKEN_WRITE_PROTECTED:
                raise
        handle = cryptoki.open_session(self.slot_id, read_write=False)
        return Session(module, handle, self.identity.label, read_write=False)

    # Work

    def run(self, work: Callable[[Session], T], log_in: LogIn | None = None) -> T:
        """Do ``work`` on a session, logged in when ``log_in`` is given; recover as ``retry`` allows.

        ``work`` may be repeated from its beginning, except after a function of ``ONCE_MADE_NEVER_AGAIN`` has begun.
        """
        if not self.module.parallel:
            with self.module.turn:
                return self._climb(work, log_in)
        return self._climb(work, log_in)

    def _climb(self, work: Callable[[Session], T], log_in: LogIn | None) -> T:
        climb: Climb | None = None
        while True:
            session: Session | None = None
            try:
                session = self.take()
                if log_in is not None and not self.logged_in:
                    self._log_in(session, log_in)
                result = work(session)
            except CryptokiError as error:
                climb = climb or Climb()
                self._recover(error, climb, session)
                continue
            except Missing as missing:
                climb = climb or Climb()
                self._doubt(missing, climb, session, logged_in=log_in is not None)
                continue
            except errors.DojangError:
                if session is not None:
                    (self.discard if session.spoiled else self.give)(session)
                raise
            except BaseException:
                if session is not None:
                    self.discard(session)
                raise
            self.give(session)
            return result

    def _doubt(self, missing: Missing, climb: Climb, session: Session | None, *, logged_in: bool) -> None:
        """Private objects vanish from sight when somebody logs out; only then is the search repeated (2.40, 5.7.7)."""
        if session is not None and logged_in and self._login_lost(session):
            self._recover(CryptokiError("C_FindObjects", ck.CKR_USER_NOT_LOGGED_IN), climb, session)
            return
        if session is not None:
            self.give(session)
        raise errors.NotFound(
            what=describe(missing.search),
            where=errors.Phrase("token {token}", token=self.identity.label),
            command="dojang key list",
        ) from missing

    def _recover(self, error: CryptokiError, climb: Climb, session: Session | None) -> None:
        """Take the next rung, or raise the error of ours where there is none."""
        rung = climb.next_rung(error.function, error.rv)
        generation = session.generation if session else self.module.generation
        if session is not None and rung == SEARCH and not session.spoiled:
            session.handles.clear()
            self.logged_in = self.logged_in and not self._login_lost(session)
            self.give(session)
            return
        if session is not None:
            self.discard(session)
        if error.rv == ck.CKR_USER_NOT_LOGGED_IN:
            self.logged_in = False
        if rung == NEVER:
            raise self.explain(error) from error
        if rung == REINITIALISE:
            self.module.reinitialise(generation)
        self._close_idle()
        self._locate()

    def explain(self, error: CryptokiError, mechanism: str = "") -> errors.DojangError:
        """The error of ours for what the module answered."""
        if error.function == "C_Sign" and error.rv in (
            ck.CKR_DEVICE_ERROR,
            ck.CKR_DEVICE_REMOVED,
            ck.CKR_GENERAL_ERROR,
            ck.CKR_SESSION_CLOSED,
            ck.CKR_FUNCTION_FAILED,
        ):
            return errors.SignatureUncertain(
                token=self.identity.label, function=error.function, result=ck.result_name(error.rv)
            )
        return explain(error, token=self.identity.label, mechanism=mechanism)

    def _close_idle(self) -> None:
        """Sessions that were open when one died are doubtful; those in use will find out by themselves."""
        while True:
            try:
                self.discard(self._idle.pop())
            except IndexError:
                return

    def _locate(self) -> None:
        """Find the token's slot again; slots are renumbered when a token is initialised or plugged in elsewhere."""
        found = find_slot(self.module, self.identity)
        if found is None:
            raise errors.TokenRemoved(token=self.identity.label)
        self.slot_id = found

    # Login

    def _login_lost(self, session: Session) -> bool:
        try:
            return session.cryptoki.session_state(session.handle) not in _USER_STATES
        except CryptokiError:
            return True

    def _log_in(self, session: Session, log_in: LogIn) -> None:
        with self._login_lock:
            if self.logged_in:
                return
            # CKR_USER_ALREADY_LOGGED_IN would say nothing about the PIN, so a login is never tried when one exists.
            if session.cryptoki.session_state(session.handle) not in _USER_STATES:
                log_in(session)
            self.logged_in = True

    @contextmanager
    def reserved(self, log_in: LogIn | None = None) -> Iterator[Session]:
        """A session kept for several steps of reading; a failure in them is explained, never repeated."""
        self.run(lambda _: None, log_in)
        session = self.take()
        try:
            yield session
        except CryptokiError as error:
            session.spoiled = True
            raise self.explain(error) from error
        except (errors.DojangError, GeneratorExit):  # a reader that has seen enough spoils nothing
            raise
        except BaseException:
            session.spoiled = True
            raise
        finally:
            (self.discard if session.spoiled else self.give)(session)

    def close(self) -> None:
        """Close the idle sessions; the login ends with the last session."""
        self._close_idle()


def find_slot(module: Module, identity: TokenIdentity) -> int | None:
    """The slot that holds the token now, or ``None``."""

    def search(_: object) -> int | None:
        for slot_id in module.cryptoki.slot_list(token_present=True):
            try:
                info = module.cryptoki.token_info(slot_id)
            except CryptokiError as error:
                if error.rv in (ck.CKR_TOKEN_NOT_PRESENT, ck.CKR_TOKEN_NOT_RECOGNIZED, ck.CKR_DEVICE_REMOVED):
                    continue
                raise
            found = TokenIdentity(text(info.label), text(info.serial), text(info.manufacturer), text(info.model))
            if found == identity:
                return slot_id
        return None

    return module.call(search)
