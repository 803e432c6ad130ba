"""Where tracebacks go: a private file for the maintainers, the screen only with ``--log-level debug``."""

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.cli.output import without_pins
from dojang.cli.remarks import remark

if TYPE_CHECKING:
    from dojang.cli.context import Invocation


def write_traceback(invocation: "Invocation", problem: BaseException) -> str:
    """Append the traceback to the log (0600) and return its path."""
    text = _text_of(problem)
    if invocation.flags.log_level == "debug":
        remark(text)
    path = _log_path(invocation)
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as log:
            log.write(f"--- {moment} dojang {invocation.command}\n{text}")
    except OSError:
        return "-"
    return str(path)


def show_traceback(error: BaseException) -> None:
    remark(_text_of(error))


def _log_path(invocation: "Invocation") -> Path:
    from dojang.errors import InvalidSetting
    from dojang.settings import load

    try:
        return invocation.settings.log_path
    except InvalidSetting:
        return load(environment={**os.environ, "DOJANG_CONFIG": os.devnull}).log_path


def _text_of(problem: BaseException) -> str:
    return without_pins("".join(traceback.format_exception(problem)))
