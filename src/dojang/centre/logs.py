"""The centre's log: a line of JSON for each event, written by a thread of its own, without a secret in any.

No body, no query, no code and no PIN is ever handed to it; what looks like one all the same is taken out at the door.
"""

import contextlib
import json
import logging
import re
import sys
import threading
import traceback
from collections import deque
from datetime import UTC, datetime
from typing import Any, Final, TextIO

ACCESS: Final = "dojang.centre.access"
MOST_WAITING: Final = 10_000
"""Lines that wait to be written; beyond that they are dropped and counted, and the service goes on."""

_AS_JSON: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode
_EVERY: Final = 0.1
_PATIENCE: Final = 5.0
_NAMES: Final = "pin|so[-_]?pin|pin[-_]value|password|passphrase|secret|code|authori[sz]ation|cookie"
_SECRETS: Final = re.compile(rf"""(?i)\b({_NAMES})(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"'}})\]]+)""")
_DASHES: Final = "-----BEGIN "
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_QUERY: Final = re.compile(r"(https?://[^\s?#\"']+)\?[^\s\"']*")


def redacted(text: str) -> str:
    """The text without what looks like a secret: values named like one, private keys, queries of addresses."""
    # Looked for only where there is what none of them can do without: most texts have nothing of it.
    if _DASHES in text:
        text = _PEM.sub("[private key]", text)
    if "?" in text:
        text = _QUERY.sub(r"\1?…", text)
    if "=" in text or ":" in text:
        text = _SECRETS.sub(r"\1\2…", text)
    return text


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
        return _AS_JSON(line)


class _Unhurried(logging.Handler):
    """Never waits for whoever reads the log, and wakes nobody for a line: a thread looks for lines now and then."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.dropped = 0
        self._stream = stream
        self._waiting: deque[logging.LogRecord] = deque()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def createLock(self) -> None:  # noqa: N802 - the library's name
        """None: a deque takes a line at once, and one thread alone writes."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(record)
        else:
            self.dropped += 1

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """What waits is written, if somebody reads it in time."""
        self._ended.set()
        self._thread.join(_PATIENCE)

    def _write(self) -> None:
        while not self._ended.wait(_EVERY):
            self._write_waiting()
        self._write_waiting()
        if self.dropped:
            self._put([_record("lines dropped", {"lines": self.dropped})])

    def _write_waiting(self) -> None:
        while self._waiting:
            self._put([self._waiting.popleft() for _ in range(min(len(self._waiting), 500))])

    def _put(self, records: list[logging.LogRecord]) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            self._stream.write("".join(self.format(one) + "\n" for one in records))
            self._stream.flush()


class Log:
    """Everything that the process logs goes here while this is entered."""

    def __init__(self, level: str = "info", *, access: bool = True, stream: TextIO | None = None) -> None:
        self._handler = _Unhurried(stream or sys.stderr)
        self._handler.setFormatter(JsonLines())
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
        self._handler.begin()
        return self

    def __exit__(self, *_error: object) -> None:
        root = logging.getLogger()
        root.setLevel(self._before[0])
        root.handlers[:] = self._before[1]
        self._handler.end()


def tell(event: str, level: int = logging.INFO, **facts: object) -> None:
    """One event of the centre itself."""
    logging.getLogger("dojang.centre").log(level, event, extra={"facts": facts})


def _record(event: str, facts: dict[str, object]) -> logging.LogRecord:
    record = logging.LogRecord("dojang.centre", logging.WARNING, __file__, 0, event, None, None)
    record.facts = facts
    return record
