"""The centre's log: a line of JSON for each event, written by a thread of its own, without a secret in any.

No body, no query, no code and no PIN is ever handed to it; what looks like one all the same is taken out at the door.
"""

import json
import logging
import logging.handlers
import queue
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, TextIO

ACCESS: Final = "dojang.centre.access"
MOST_WAITING: Final = 10_000
"""Lines that wait to be written; beyond that they are dropped and counted, and the service goes on."""

_NAMES: Final = "pin|so[-_]?pin|pin[-_]value|password|passphrase|secret|code|authori[sz]ation|cookie"
_SECRETS: Final = re.compile(rf"""(?i)\b({_NAMES})(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"'}})\]]+)""")
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_QUERY: Final = re.compile(r"(https?://[^\s?#\"']+)\?[^\s\"']*")


def redacted(text: str) -> str:
    """The text without what looks like a secret: values named like one, private keys, queries of addresses."""
    text = _PEM.sub("[private key]", text)
    return _SECRETS.sub(r"\1\2…", _QUERY.sub(r"\1?…", text))


class JsonLines(logging.Formatter):
    """One JSON object a line; everything in it has passed ``redacted``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": redacted(record.getMessage()),
        }
        for name, value in getattr(record, "facts", {}).items():
            line[name] = redacted(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = redacted("".join(traceback.format_exception(record.exc_info[1])))
        return json.dumps(line, ensure_ascii=False, default=str)


class _Unhurried(logging.handlers.QueueHandler):
    """Never waits for whoever reads the log."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # formatted by the thread that writes, in this process

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class Log:
    """Everything that the process logs goes here while this is entered."""

    def __init__(self, level: str = "info", *, access: bool = True, stream: TextIO | None = None) -> None:
        writer = logging.StreamHandler(stream or sys.stderr)
        writer.setFormatter(JsonLines())
        self._queue: queue.Queue[logging.LogRecord] = queue.Queue(MOST_WAITING)
        self._handler = _Unhurried(self._queue)
        self._listener = logging.handlers.QueueListener(self._queue, writer)
        self._level = logging.getLevelName(level.upper())
        self._access = access

    def __enter__(self) -> "Log":
        root = logging.getLogger()
        self._before = root.level, root.handlers[:]
        root.handlers[:] = [self._handler]
        root.setLevel(self._level)
        logging.getLogger(ACCESS).disabled = not self._access
        for noisy in (
            "uvicorn",
            "uvicorn.error",
            "uvicorn.access",
            "asyncio",
            "alembic",
            "sqlalchemy",
            "procrastinate",
        ):
            logging.getLogger(noisy).setLevel(max(self._level, logging.WARNING))
        self._listener.start()
        return self

    def __exit__(self, *_error: object) -> None:
        root = logging.getLogger()
        root.setLevel(self._before[0])
        root.handlers[:] = self._before[1]
        if self._handler.dropped:
            self._queue.put(_record("lines dropped", {"lines": self._handler.dropped}))
        self._listener.stop()


def tell(event: str, level: int = logging.INFO, **facts: object) -> None:
    """One event of the centre itself."""
    logging.getLogger("dojang.centre").log(level, event, extra={"facts": facts})


def _record(event: str, facts: dict[str, object]) -> logging.LogRecord:
    record = logging.LogRecord("dojang.centre", logging.WARNING, __file__, 0, event, None, None)
    record.facts = facts
    return record
