"""Sessions on one token: a pool that logs in once, gives each thread its own session, and climbs the retry ladder."""

import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.failures import explain
from dojang.pkcs11.module import Module
from dojang.pkcs11.retry import NEVER, REINITIALISE, SEARCH, SESSION, WRITING, Climb, wanted_rung
from dojang.pkcs11.session import Missing, Search, Session, describe
from dojang.pkcs11.structures import Mechanism
from dojang.pkcs11.whereabouts import TokenIdentity, find_slot

T = TypeVar("T")

_USER_STATES = (ck.CKS_RO_USER_FUNCTIONS, ck.CKS_RW_USER_FUNCTIONS)
_SESSION_PATIENCE = 30.0

LogIn = Callable[[Session], bool]
"""Performs one guarded C_Login on the session it is given; false where the token wants no login."""


class SessionPool:
    """At most ``limit`` sessions on one token; thread-safe; shared by everybody in the process who opened that token.

    ``log_in`` performs one guarded C_Login on the session it is given. It is called by one thread at a time, and again
    only when the token says that the login is gone. The pool never calls C_Logout, so nobody else is logged out.
    """

    def __init__(
        self, module: Module, identity: TokenIdentity, slot_id: int, *, limit: int, generation: int | None = None
    ) -> None:
        """Sessions are opened when somebody needs one; ``generation`` is the module's when ``slot_id`` was right."""
        self.module = module
        self.identity = identity
        self.slot_id = slot_id
        self._slot_generation = module.generation if generation is None else generation
        self.logged_in = False
        self.logins = 0
        """Grows before and after each login, so it is odd during one; see ``may_have_missed``."""
        self._limit = limit if module.parallel else 1
        self._suspected = NEVER
        """The rung that an operation would have needed which must not be repeated: the next one begins with it."""
        self._repaired = NEVER
        self._login_free = False
        self._closed = False
        self._handles: dict[Search, int] = {}
        self._expected: set[Search] = set()
        self._missed: set[Search] = set()  # what a module begun anew did not show either
        self._handles_generation = module.generation
        self._idle: deque[Session] = deque()
        self._count = 0
        self._waiting = 0
        self._room = threading.Condition(threading.Lock())
        self._login_lock = threading.RLock()
        module.join(self)

    @property
    def at_once(self) -> int:
        """How many threads can be at work at the same time."""
        return self._limit if self.module.parallel else 1

    # What the module asks of those who hold sessions

    def sessions_in_use(self) -> int:
        return self._count - len(self._idle)

    def sessions_open(self) -> int:
        dead = sum(session.generation != self.module.generation for session in list(self._idle))
        return self._count - dead

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
            # Checked after taking: who began earlier to drain the module is seen here, who begins now sees us.
            if not self.module.draining:
                if session.generation == self.module.generation:
                    return session
                self._forget(session)
            else:
                self._step_aside(session)

    def _step_aside(self, session: Session) -> None:
        """Wait until the module is no longer drained; whether the session is still good then is for the next to see."""
        self._idle.append(session)
        with self.module.lock:  # held for as long as a re-initialisation or a fork takes
            self.module.ensure_ready()

    def give(self, session: Session) -> None:
        """Return a session that has no operation under way."""
        self._idle.append(session)
        if self._waiting or self._closed:
            self._wake()

    def _wake(self) -> None:
        with self._room:
            self._room.notify()
        if self._closed:
            self._close_idle()

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
                self._handles.clear()
            self._room.notify()

    def _open_or_wait(self) -> Session:
        deadline = time.monotonic() + _SESSION_PATIENCE
        while True:
            self.module.ensure_ready()
            if self._slot_generation != self.module.generation:
                self._locate()  # slot numbers from before may be another token's, and it would get this one's PIN
            with self._room:
                if self._idle:
                    return self._idle.pop()
                if self._count >= self._limit:
                    self._wait(deadline)
                    continue
                self._count += 1
            session = self._open_counted()
            if session is not None:
                return session

    def _open_counted(self) -> Session | None:
        """A new session, or ``None`` when it is worth trying again: after a restart, or when one of ours is free."""
        session = None
        try:
            # Counted before looking: a re-initialisation that has not begun by now waits for us.
            if not self.module.draining and self._slot_generation == self.module.generation:
                session = self._open()
        except CryptokiError as error:
            if error.rv != ck.CKR_SESSION_COUNT or self._count <= 1:
                raise
            self._limit = max(self._count - 1, 1)  # the token has fewer sessions than it states: share those we have
        finally:
            if session is None:
                with self._room:
                    self._count -= 1
                    self._room.notify()
        if session is None:
            with self.module.lock:  # held for as long as a re-initialisation takes
                self.module.ensure_ready()
        return session

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
        try:
            session = self._opened(read_write=True)
        except CryptokiError as error:
            if error.rv != ck.CKR_TOKEN_WRITE_PROTECTED:
                raise
            session = self._opened(read_write=False)
        try:
            there = TokenIdentity.from_struct(session.cryptoki.token_info(self.slot_id))
            if there != self.identity:  # another card in the same reader, which would get this one's PIN
                raise CryptokiError("C_OpenSession", ck.CKR_TOKEN_NOT_PRESENT)
        except BaseException:
            session.close()
            raise
        return session

    def _opened(self, *, read_write: bool) -> Session:
        handle = self.module.cryptoki.open_session(self.slot_id, read_write=read_write)
        handles = self._current_handles()
        return Session(self.module, handle, self.identity.label, handles, self._missed, read_write=read_write)

    def _current_handles(self) -> dict[Search, int]:
        """Shared by all sessions (2.40, 2.6.7: an object's handle is the same in each), dead with their generation.

        Shared, so that destroying an object forgets its handle everywhere: some modules give it to the next one made.
        """
        with self._room:
            if self._handles_generation != self.module.generation:
                self._handles, self._handles_generation = {}, self.module.generation
            return self._handles

    # Work

    def run(
        self,
        work: Callable[[Session], T],
        log_in: LogIn | None = None,
        failed: tuple[CryptokiError, Session] | None = None,
    ) -> T:
        """Do ``work`` on a session, logged in when ``log_in`` is given; recover as ``retry`` allows.

        ``work`` may be repeated from its beginning, except after a function of ``ONCE_MADE_NEVER_AGAIN`` has begun.
        ``failed`` is a first attempt that the caller made itself.
        """
        if not self.module.parallel:
            with self.module.turn:
                return self._climb(work, log_in, failed)
        return self._climb(work, log_in, failed)

    def sign(self, mechanism: Mechanism, search: Search, data: bytes, log_in: LogIn) -> bytes:
        """One C_SignInit and one C_Sign with the key that ``search`` finds.

        The way without obstacles is written out, because what Python does here is paid with every signature; all that
        could be in the way (no free session, no login, a handle not known yet, a failure) is left to ``run``'s climb.
        """
        failed = None
        try:
            session = self._idle.pop()
        except IndexError:
            return self.run(self._signing(mechanism, search, data), log_in)
        module = self.module
        handle = session.handles.get(search)
        clear = self.logged_in and module.parallel and not module.draining and session.generation == module.generation
        if handle is None or not clear:
            self.give(session)  # who began to wait meanwhile is woken
        else:
            try:
                signature = session.sign(mechanism, handle, data)
            except CryptokiError as error:
                failed = error, session
            except BaseException:
                self.discard(session)
                raise
            else:
                self._idle.append(session)
                if self._waiting or self._closed:
                    self._wake()
                return signature
        return self.run(self._signing(mechanism, search, data), log_in, failed)

    def sign_all(
        self, mechanism: Mechanism, search: Search, data: Sequence[bytes], log_in: LogIn
    ) -> list[bytes | errors.DojangError]:
        """``sign`` for each of a few, on one session as far as nothing is in the way; or the error it would raise."""
        signatures: list[bytes] = []
        failed = self._sign_plainly(mechanism, search, data, signatures)
        answers: list[bytes | errors.DojangError] = [*signatures]
        for one in data[len(signatures) :]:
            try:
                answers.append(self.run(self._signing(mechanism, search, one), log_in, failed))
            except errors.DojangError as error:
                answers.append(error)
            failed = None
        return answers

    def _sign_plainly(
        self, mechanism: Mechanism, search: Search, data: Sequence[bytes], signatures: list[bytes]
    ) -> tuple[CryptokiError, Session] | None:
        """As many as the way without obstacles leads to; what failed there, and on what session."""
        try:
            session = self._idle.pop()
        except IndexError:
            return None
        module = self.module
        handle = session.handles.get(search)
        clear = self.logged_in and module.parallel and not module.draining and session.generation == module.generation
        if handle is not None and clear:
            try:
                session.sign_all(mechanism, handle, data, signatures)
            except CryptokiError as error:
                return error, session
            except BaseException:
                self.discard(session)
                raise
        self.give(session)
        return None

    @staticmethod
    def _signing(mechanism: Mechanism, search: Search, data: bytes) -> Callable[[Session], bytes]:
        def work(session: Session) -> bytes:
            return session.sign(mechanism, session.resolve(search), data)

        return work

    def _climb(
        self,
        work: Callable[[Session], T],
        log_in: LogIn | None,
        failed: tuple[CryptokiError, Session] | None = None,
    ) -> T:
        climb: Climb | None = None
        astray = False
        if failed is not None:
            climb = Climb()
            astray = self._recover(failed[0], climb, failed[1])
        if self._suspected != NEVER:
            astray = self._repair() or astray
        while True:
            session: Session | None = None
            logins = self.logins
            try:
                if astray:
                    self._locate()
                    astray = False
                session = self.take()
                if log_in is not None and not self.logged_in:
                    self._log_in(session, log_in)
                    logins = self.logins
                result = work(session)
            except CryptokiError as error:
                climb = climb or Climb()
                astray = self._recover(error, climb, session) or astray
                continue
            except Missing as missing:
                climb = climb or Climb()
                astray = self._doubt(missing, climb, session, None if log_in is None else logins)
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
            self._repaired = NEVER
            return result

    def _suspect(self, error: CryptokiError) -> None:
        """Remember that the token may be gone or new, or the module dead; the gentler rung first.

        A module that shows a token and calls it gone, even after it was looked up again, holds on to a card that has
        left the reader; nothing but a new beginning makes it take the one that is there.
        """
        wanted = wanted_rung(error.rv)
        if wanted in (SESSION, REINITIALISE):
            holds_on = error.rv in (ck.CKR_DEVICE_REMOVED, ck.CKR_TOKEN_NOT_PRESENT)
            further = REINITIALISE if holds_on else wanted
            self._suspected = further if self._repaired != NEVER else SESSION
            self._handles.clear()
            self._close_idle()

    def _repair(self) -> bool:
        """Take the rung that was suspected; true when the slot must be looked up."""
        with self._room:
            suspected, self._suspected = self._suspected, NEVER
        if suspected == REINITIALISE:
            self.module.reinitialise(self.module.generation)
        self._repaired = self._repaired or suspected
        return suspected != NEVER

    def _doubt(self, missing: Missing, climb: Climb, session: Session | None, logins: int | None) -> bool:
        """Private objects vanish from sight when somebody logs out; only then is the search repeated (2.40, 5.7.7).

        Another thread may have logged in again since; ``logins`` is their number when this search began.
        """
        if session is not None and logins is not None and self.may_have_missed(logins, session):
            return self._recover(CryptokiError("C_FindObjects", ck.CKR_USER_NOT_LOGGED_IN), climb, session)
        if session is not None and self._went_away(missing.search):
            return self._recover(CryptokiError("C_FindObjects", ck.CKR_DEVICE_ERROR), climb, session)
        if session is not None:
            self.give(session)
        raise errors.NotFound(
            what=describe(missing.search),
            where=errors.Phrase("token {token}", token=self.identity.label),
            command=f"dojang key list {shlex.quote(self._address())}",
        ) from missing

    def expect(self, search: Search) -> None:
        """Somebody holds what ``search`` found: should it go out of sight, the token may have been away meanwhile."""
        self._expected.add(search)

    def _went_away(self, search: Search) -> bool:
        """Whether a module that keeps what it read is to be begun anew: once, until what went out of sight is found."""
        if search not in self._expected or search in self._missed or not self.module.remembers_files():
            return False
        self._missed.add(search)
        return True

    def _address(self) -> str:
        from dojang.pkcs11.uri import Pkcs11Uri

        return Pkcs11Uri(token=self.identity.label, serial=self.identity.serial or None).to_text()

    def _recover(self, error: CryptokiError, climb: Climb, session: Session | None) -> bool:
        """Take the next rung, or raise the error of ours where there is none; true when the slot must be looked up."""
        rung = climb.next_rung(error.function, error.rv)
        generation = session.generation if session else self.module.generation
        if session is not None and rung == SEARCH and not session.spoiled:
            session.handles.clear()
            self.logged_in = self.logged_in and not self.login_lost(session)
            self.give(session)
            return False
        self.module.losses += wanted_rung(error.rv) in (SESSION, REINITIALISE)
        if session is not None:
            self.discard(session)
        if error.rv == ck.CKR_USER_NOT_LOGGED_IN:
            self.logged_in = False
        if rung == NEVER:
            self._suspect(error)
            raise self.explain(error) from error
        if rung == REINITIALISE:
            self.module.reinitialise(generation)
        self._handles.clear()
        self._close_idle()
        return True

    def explain(self, error: CryptokiError, mechanism: str = "") -> errors.DojangError:
        """The error of ours for what the module answered."""
        if error.function == "C_Sign" and error.rv in (
            ck.CKR_DEVICE_ERROR,
            ck.CKR_DEVICE_REMOVED,
            ck.CKR_TOKEN_NOT_RECOGNIZED,
            ck.CKR_GENERAL_ERROR,
            ck.CKR_SESSION_CLOSED,
            ck.CKR_FUNCTION_FAILED,
        ):
            return errors.SignatureUncertain(
                token=self.identity.label, function=error.function, result=ck.result_name(error.rv)
            )
        failed = error.rv in (ck.CKR_GENERAL_ERROR, ck.CKR_FUNCTION_FAILED)
        if failed and error.function in WRITING and self.module.out_of_room():
            return errors.TokenFull(token=self.identity.label)
        return explain(error, token=self.identity.label, mechanism=mechanism)

    def _close_idle(self) -> None:
        """Sessions that were open when one died are doubtful; those in use will find out by themselves."""
        while self._idle:  # else nothing is to be called, and nobody's turn need be waited for
            with self.module.alone():
                try:
                    session = self._idle.pop()
                except IndexError:
                    return
                if self.module.draining:
                    self._step_aside(session)
                else:
                    self.discard(session)

    def _locate(self) -> None:
        """Find the token's slot again; slots are renumbered when a token is initialised or plugged in elsewhere."""
        generation = self.module.generation
        found = find_slot(self.module, self.identity, self.slot_id)
        restarts = self.module.restarts()  # p11-kit's client shows nothing until it is begun anew
        while found is None and next(restarts, False):
            generation = self.module.generation
            found = find_slot(self.module, self.identity, self.slot_id)
        if found is None and self._expected and self.module.uncover():
            generation = self.module.generation
            found = find_slot(self.module, self.identity, self.slot_id)
        if found is None:
            self._suspected = self._suspected or SESSION  # whoever comes next looks again
            raise self.module.silence() or errors.TokenRemoved(token=self.identity.label)
        self.slot_id, self._slot_generation = found, generation

    # Login

    def may_have_missed(self, logins: int, session: Session) -> bool:
        """Whether a search may have seen only what is public; ``logins`` was their number when it began."""
        # The number last: a login that hides what was lost has been counted by the time that it can be seen.
        return logins % 2 == 1 or self.login_lost(session) or logins != self.logins

    def login_lost(self, session: Session) -> bool:
        """Whether the token no longer knows of the login that its objects need; private ones are then out of sight."""
        if self._login_free:
            return False
        try:
            return session.cryptoki.session_state(session.handle) not in _USER_STATES
        except CryptokiError:
            return True

    def _log_in(self, session: Session, log_in: LogIn) -> None:
        with self._login_lock:
            if self.logged_in:
                return
            # CKR_USER_ALREADY_LOGGED_IN would say nothing about the PIN, so a login is never tried when one exists.
            self.logins += 1
            try:
                if session.cryptoki.session_state(session.handle) not in _USER_STATES:
                    self._login_free = not log_in(session)
                self.logged_in = True
            finally:
                self.logins += 1

    def open(self) -> None:
        """Keep sessions that are given back."""
        self._closed = False

    def close(self) -> None:
        """Keep no session that is given back; ``end`` closes those that are idle, and the login ends with the last."""
        self._closed = True

    def end(self) -> None:
        """What ``close`` leaves to do, which may have to wait until another thread is out of the module."""
        if self._closed:
            self._close_idle()
