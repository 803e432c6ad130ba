"""What several threads want done at the same time is done in one transaction: one wait for the disk for all of them."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dojang.authority.engines import may_pass
from dojang.errors import DatabaseUnavailable, Phrase

if TYPE_CHECKING:
    from dojang.authority.database import Database

T = TypeVar("T")


class Wish:
    """What one thread wants done, and what came of it."""

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.context = copy_context()  # who is at work, for one
        self.answer: Any = None
        self.error: BaseException | None = None
        self.is_done = False

    def do(self, connection: Connection) -> None:
        """Without a savepoint: an error ends the transaction."""
        self.answer = self.context.run(self.work, connection)

    def attempt(self, connection: Connection) -> None:
        """In a savepoint: an error is this wish's own, unless the transaction itself is lost with it."""
        savepoint = connection.begin_nested()
        try:
            self.answer = self.context.run(self.work, connection)
            savepoint.commit()
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and may_pass(error):
                raise
            savepoint.rollback()
            self.error = error


class Batch:
    """Whoever comes first does what all who wait want done; those who come meanwhile are the next batch."""

    LARGEST: Final = 256

    def __init__(self) -> None:
        self._waiting: list[Wish] = []
        self._list_lock, self._turn = threading.Lock(), threading.Lock()

    def join(self, database: "Database", work: Callable[[Connection], T]) -> T:
        (answer,) = self.join_all(database, [work])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def join_all(self, database: "Database", works: list[Callable[[Connection], T]]) -> list[T | Exception]:
        wishes = [Wish(work) for work in works]
        with self._list_lock:
            self._waiting += wishes
        for wish in wishes:
            while not wish.is_done:
                with self._turn:
                    if not wish.is_done:
                        self._do_all(database)
        return [_result(wish, database) for wish in wishes]

    def _do_all(self, database: "Database") -> None:
        with self._list_lock:
            batch, self._waiting = self._waiting[: self.LARGEST], self._waiting[self.LARGEST :]
        try:
            if not self._done_plainly(database, batch):
                with database.writing() as connection:
                    for wish in batch:
                        wish.attempt(connection)
        except BaseException as error:
            for wish in batch:
                wish.error = wish.error or error
            if not isinstance(error, Exception):
                raise
        finally:
            for wish in batch:
                wish.is_done = True

    def _done_plainly(self, database: "Database", batch: list[Wish]) -> bool:
        """Without savepoints, which cost half as much as what they guard; false, and nothing done, when one failed."""
        try:
            with database.writing() as connection:
                for wish in batch:
                    wish.do(connection)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, DatabaseUnavailable):
                raise
            return False
        return True


def _result(wish: Wish, database: "Database") -> Any:
    error = wish.error
    if isinstance(error, SQLAlchemyError):
        return database.ours(error)
    if error is not None and not isinstance(error, Exception):
        return DatabaseUnavailable(where=database.place, problem=Phrase("the run was interrupted"))
    return wish.answer if error is None else error
