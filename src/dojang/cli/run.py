"""One command line from beginning to end: the only place where an error becomes text, JSON and an exit status."""

import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from dojang.cli import language
from dojang.cli.commands import root
from dojang.cli.context import Invocation
from dojang.cli.flags import peek
from dojang.cli.language import N_
from dojang.cli.remarks import forget, remark
from dojang.errors import (
    Bug,
    DojangError,
    ExtraMissing,
    FileUnwritable,
    Interrupted,
    InvalidSetting,
    Phrase,
    Usage,
)

COMPLETE_VARIABLE = "_DOJANG_COMPLETE"
EXTRAS = {
    "sqlalchemy": "authority",
    "alembic": "authority",
    "psycopg": "postgres",
    "psycopg_pool": "postgres",
    "procrastinate": "postgres",
    "reportlab": "otp",
    "starlette": "centre",
    "uvicorn": "centre",
    "granian": "granian",
    "prometheus_client": "centre",
}


def run(arguments: list[str]) -> int:
    """Run ``arguments`` (without the program's name) and return the exit status of the table in the README."""
    return _run(arguments, lambda invocation: _invoke(invocation, arguments))


def report(arguments: list[str], command: str, error: BaseException) -> int:
    """Tell what a shorter way to ``command`` raised, as ``run`` would have, and return the exit status."""

    def fail(invocation: Invocation) -> int:
        invocation.command = command
        raise error

    return _run(arguments, fail)


def _run(arguments: list[str], work: Callable[[Invocation], int]) -> int:
    _prepare_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # remarks of libraries to programmers; what a user should know is said by us
    invocation = Invocation(peek(arguments))
    try:
        language.speak(_language_of(invocation))
        return _answer(invocation, work)
    except BrokenPipeError:
        forget(sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return Interrupted.exit_status


def _prepare_streams() -> None:
    """What a terminal cannot show is spelt out; what a caller closed is a stream that nobody reads."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w" if number else "r"))
        if number:
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _language_of(invocation: Invocation) -> str:
    """The language asked for; a configuration that cannot be read is reported later, by the command that needs it."""
    try:
        asked = invocation.flags.lang or invocation.settings.lang
    except InvalidSetting:
        asked = None
    return language.choose(asked, os.environ)


def _answer(invocation: Invocation, work: Callable[[Invocation], int]) -> int:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        return work(invocation)
    except (KeyboardInterrupt, click.Abort, EOFError):
        error: DojangError = Interrupted()
    except click.ClickException as problem:
        error = _usage(invocation, problem)
    except BrokenPipeError:
        raise
    except DojangError as known:
        _log(invocation, known)
        error = known
    except OSError as problem:
        error = _nowhere_to_write(problem) or _bug(invocation, problem)
    except ModuleNotFoundError as problem:
        error = _not_installed(problem) or _bug(invocation, problem)
    except Exception as problem:  # no traceback reaches a person: it goes to the log
        error = _bug(invocation, problem)
    return _failed(invocation, error)


def _failed(invocation: Invocation, error: DojangError) -> int:
    """Say what went wrong. Where that cannot be written down, the exit status says it alone."""
    try:
        invocation.out.failure(invocation.command, error)
    except OSError:
        forget(sys.stdout.fileno())
    except Exception as problem:  # words that cannot be put together are a mistake of ours like any other
        error = _bug(invocation, problem)
        invocation.out.failure(invocation.command, error)
    return error.exit_status


def _invoke(invocation: Invocation, arguments: list[str]) -> int:
    group = root()
    if COMPLETE_VARIABLE in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(group, {"obj": invocation}, "dojang", COMPLETE_VARIABLE, os.environ[COMPLETE_VARIABLE])
    try:
        with group.make_context("dojang", list(arguments), obj=invocation) as context:
            status: Any = group.invoke(context)
    except click.exceptions.Exit as left:
        status = left.exit_code
    sys.stdout.flush()
    return int(status or 0)


def _usage(invocation: Invocation, problem: click.ClickException) -> DojangError:
    """click's complaint as ours; the JSON names the command as far as it was understood."""
    context = getattr(problem, "ctx", None)
    invocation.command = getattr(context.command, "path", "") if context else ""
    if isinstance(problem, click.exceptions.NoArgsIsHelpError):
        if not invocation.flags.json:
            remark(problem.format_message() + "\n")
        return Usage(problem=N_("A command is missing"), next_step=N_("Choose one of the commands that --help lists."))
    return Usage(problem=problem.format_message())


def _nowhere_to_write(problem: OSError) -> DojangError | None:
    """A full disk behind standard output is the user's to mend; any other OSError should have stopped at its room."""
    if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO) or problem.filename is not None:
        return None
    forget(sys.stdout.fileno())
    return FileUnwritable(path=Phrase(N_("standard output")), problem=problem.strerror)


def _not_installed(problem: ModuleNotFoundError) -> DojangError | None:
    """A library that only some commands need, which comes with an extra of the package."""
    module = (problem.name or "").partition(".")[0]
    return ExtraMissing(module=module, extra=EXTRAS[module]) if module in EXTRAS else None


def _bug(invocation: Invocation, problem: Exception) -> DojangError:
    from dojang.cli.log import write_traceback

    return Bug(kind=type(problem).__name__, path=write_traceback(invocation, problem))


def _log(invocation: Invocation, error: DojangError) -> None:
    if invocation.flags.log_level == "debug":
        from dojang.cli.log import show_traceback

        show_traceback(error)
