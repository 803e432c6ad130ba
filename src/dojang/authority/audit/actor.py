"""Who is at work: said once where a request comes in, and found in every row that it leads to."""

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache

_ACTOR: ContextVar[str] = ContextVar("dojang_audit_actor")


@contextlib.contextmanager
def acting(actor: str) -> Iterator[None]:
    """Rows recorded in this block, in this thread or task, are of ``actor``: ``officer:…``, ``cmp:…``, ``job:…``."""
    before = _ACTOR.set(actor)
    try:
        yield
    finally:
        _ACTOR.reset(before)


def current_actor() -> str:
    """Who was named with ``acting``; otherwise ``local:`` and the name of the user whose process this is."""
    return _ACTOR.get(None) or _process_owner()


@cache
def _process_owner() -> str:
    import pwd

    uid = os.getuid()
    try:
        return f"local:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"local:{uid}"
