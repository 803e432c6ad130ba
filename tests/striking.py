"""Killing a process between any two steps of what it does with a database."""

import os
import signal
from typing import Any

from sqlalchemy import event

from dojang.authority.database import Database


def kill_at(database: Database, number: int) -> None:
    """SIGKILL for this process before its statement of that number, counted from 0; just after a commit is a step too.

    Nothing else tells of all statements: many pass by SQLAlchemy, and the connection that writes stays out.
    """
    seen = 0

    def step(*_arguments: object) -> None:
        nonlocal seen
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    engine, commit = database._engine, database._engine.dialect.do_commit

    def commit_and_step(connection: Any) -> None:
        commit(connection)
        step()

    engine.dialect.do_commit = commit_and_step
    if database.is_embedded:  # SQLite tells of its statements itself, whoever gave them to it
        event.listen(engine.pool, "checkout", lambda connection, *_: connection.set_trace_callback(step))
        database.glances.close()
        database.glances.watch = lambda connection: connection.set_trace_callback(step)
    else:
        event.listen(engine, "before_cursor_execute", step)
