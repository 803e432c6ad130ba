"""The global flags: the same before and after the verb, the later one wins."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import click

from dojang.cli.language import N_
from dojang.settings import KEY_FILE_FORMATS, LANGUAGES, PASSWORD_ENCODINGS, PKCS12_PROFILES

LOG_LEVELS = ("debug", "info", "warning", "error")


class Flags:
    """What the global flags said; ``None`` where a flag was not given. (A dataclass would cost every start 1 ms.)"""

    json: bool = False
    quiet: bool = False
    log_level: str | None = None
    module: str | None = None
    pin_source: str | None = None
    so_pin_source: str | None = None
    ca_pin_source: str | None = None
    password_source: str | None = None
    no_input: bool = False
    lang: str | None = None
    timeout: float | None = None
    plan: bool = False
    config: Path | None = None
    last_try: bool = False
    no_agent: bool = False
    key_file_format: str | None = None
    pkcs12_profile: str | None = None
    password_encoding: str | None = None
    ca_certificates: tuple[str, ...] = ()
    reference: str | None = None
    code_source: str | None = None
    factors: tuple[str, ...] | None = None  # of a command that takes them
    applicant: str | None = None


def peek(arguments: list[str]) -> Flags:
    """Language, output form and configuration, read before anything is parsed: errors and help need them."""
    flags = Flags()
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not equals:
            value = "".join(words[position + 1 : position + 2])
        if word in ("--json", "--quiet"):
            setattr(flags, word[2:], True)
        elif name == "--lang" and value in LANGUAGES:
            flags.lang = value
        elif name == "--config" and value:
            flags.config = Path(value)
        elif name == "--log-level" and value in LOG_LEVELS:
            flags.log_level = value
    return flags


@cache
def flag_options(*, hidden: bool) -> tuple[click.Option, ...]:
    """The flags as click options; commands carry them hidden, the root shows them."""
    from dojang.cli.frame import FilePath, Option

    source = {"metavar": "SRC"}
    switch = {"is_flag": True}
    seconds = {"metavar": "SECONDS", "type": click.FloatRange(0, min_open=True)}
    file = {"metavar": "FILE", "type": FilePath()}
    rows: list[tuple[str, dict[str, Any], str]] = [
        ("--json", switch, N_("Print exactly one JSON document on standard output.")),
        ("--quiet", switch, N_("Print only addresses and errors.")),
        ("--log-level", {"type": click.Choice(LOG_LEVELS)}, N_("How much to tell on standard error.")),
        ("--module", {"metavar": "PATH"}, N_("PKCS#11 module to use, by path or name.")),
        ("--pin-source", source, N_("Where the user PIN comes from; SRC is listed below.")),
        (
            "--so-pin-source",
            source,
            N_("Where the SO PIN comes from; for a PIV card its management key, in hexadecimal."),
        ),
        ("--ca-pin-source", source, N_("Where the PIN of the local authority's token comes from.")),
        ("--password-source", source, N_("Where the password of a key file comes from.")),
        ("--no-input", switch, N_("Never ask; fail instead.")),
        ("--lang", {"type": click.Choice(LANGUAGES)}, N_("Language of help and messages.")),
        ("--timeout", seconds, N_("Give up after so many seconds; the next run finishes or undoes what was begun.")),
        ("--plan", switch, N_("Say what would happen and do nothing.")),
        ("--config", file, N_("Configuration file to read.")),
        ("--no-agent", switch, N_("Leave the agent aside.")),
        (
            "--last-try",
            switch,
            N_("Allow the last PIN try, or one more password for a file after too many wrong ones."),
        ),
    ]
    return tuple(
        Option([name], help=text, hidden=hidden, expose_value=False, default=None, callback=keep, **extra)
        for name, extra, text in rows
    )


def key_file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """For a command that writes keys to files: in which form. Nothing is passed on; whoever opens locations looks."""
    from dojang.cli.frame import option

    form = option(
        "--key-file-format",
        type=click.Choice(KEY_FILE_FORMATS),
        help=N_(
            "How a key file is encrypted: for dojang and OpenSSL, for other programs, or for very old ones. Unless "
            "said, as the file that it replaces."
        ),
        expose_value=False,
        callback=keep,
    )
    encoding = option(
        "--password-encoding",
        type=click.Choice(PASSWORD_ENCODINGS),
        help=N_("How Korean letters of a password go into a key file; on reading both ways are tried."),
        expose_value=False,
        callback=keep,
    )
    return form(encoding(pkcs12_profile_option(function)))


def pkcs12_profile_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for one that writes files of other programs only."""
    from dojang.cli.frame import option

    wrapped: Callable[..., Any] = option(
        "--pkcs12-profile",
        type=click.Choice(PKCS12_PROFILES),
        help=N_("How a PKCS#12 file is protected: as is usual today, or for programs of before 2020."),
        expose_value=False,
        callback=keep,
    )(function)
    return wrapped


def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Put a flag that was given where the command finds it."""
    if value not in (None, False, ()) and parameter.name and ctx.obj is not None:
        setattr(ctx.obj.flags, parameter.name, value)
    return value
