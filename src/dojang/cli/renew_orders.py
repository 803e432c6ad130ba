"""What the commands of ``renew`` share: hooks, how many at once, notices in words, and what went wrong on the way."""

import shlex
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from dojang.cli.context import Invocation
from dojang.cli.frame import option
from dojang.cli.language import N_, advice_of, message_of, say
from dojang.cli.secrets import variables_with_secrets
from dojang.errors import DojangError, Phrase, Usage

if TYPE_CHECKING:
    from dojang.lifecycle.hooks import Hooks
    from dojang.lifecycle.notices import Notice
    from dojang.lifecycle.rounds import Orders
    from dojang.lifecycle.workplace import Workplace

SOME_FAILED = 15

SUBJECTS = {
    "unknown-origin": N_("Certificate of {subject} expires in {days} days and is not renewed by itself"),
    "out-of-reach": N_("Certificate of {subject} expires in {days} days and is not where it was seen"),
    "failing": N_("Certificate of {subject} expires in {days} days and could not be renewed"),
}
TEXTS = {
    "unknown-origin": N_(
        "The certificate of {subject} expires at {not_after}.\n"
        "It lies in {address}.\n\n"
        "dojang does not know the authority that issued it, so it is not renewed by itself. Renew it with the\n"
        "institution that issued it, then bring the new one to its place."
    ),
    "out-of-reach": N_(
        "The certificate of {subject} expires at {not_after}.\n"
        "It was seen in {address}, which is not there now.\n\n"
        "Plug the token or disk in; what dojang knows the authority of is renewed then by itself."
    ),
    "failing": N_(
        "The certificate of {subject} expires at {not_after}.\n"
        "It lies in {address}.\n\n"
        "dojang tried to renew it and could not. 'dojang renew status' says why; 'dojang renew now' tries again."
    ),
}

pre_hook_option = option(
    "--pre-hook", metavar="COMMAND", help=N_("Run before each renewal, by no shell; if it fails, nothing is renewed.")
)
post_hook_option = option("--post-hook", metavar="COMMAND", help=N_("Run after each renewal that was begun."))
jobs_option = option(
    "--jobs", type=click.IntRange(1, 64), metavar="N", help=N_("Renewals at a time; one for each core unless said.")
)


def hooked(
    invocation: Invocation, place: "Workplace", pre: str | None = None, post: str | None = None
) -> "tuple[Workplace, list[DojangError]]":
    """The place with the hooks that flags and settings name, and a list that fills with what goes wrong beside."""
    warnings: list[DojangError] = []

    def warn(error: DojangError) -> None:
        warnings.append(error)
        invocation.out.warning(f"{message_of(error)} {advice_of(error)}")

    return replace(place, hooks=hooks_of(invocation, pre, post), warn=warn), warnings


def warnings_data(warnings: list[DojangError]) -> list[dict[str, Any]]:
    return [{"code": error.code, "message": message_of(error)} for error in warnings]


def hooks_of(invocation: Invocation, pre: str | None = None, post: str | None = None) -> "Hooks":
    """Flags win over settings."""
    from dojang.lifecycle.hooks import Hooks
    from dojang.renewal_settings import RenewSettings

    settings = invocation.settings.renew or RenewSettings()
    return Hooks(
        pre=settings.pre_hook if pre is None else _words(pre),
        post=settings.post_hook if post is None else _words(post),
        seconds=settings.hook_timeout,
        withheld=frozenset(variables_with_secrets(invocation)),
    )


def jobs_of(invocation: Invocation, jobs: int | None) -> int:
    """One for each core; one alone where a person would be asked for passwords."""
    import os

    settings = invocation.settings
    if jobs is None and settings.renew is not None:
        jobs = settings.renew.jobs
    source = invocation.flags.password_source or settings.password_source or "prompt"
    asks = invocation.can_ask and source == "prompt"
    return 1 if asks else jobs or os.cpu_count() or 1


def orders_of(invocation: Invocation, jobs: int | None) -> "Orders":
    """How the service goes its rounds."""
    from dojang.lifecycle.rounds import Orders
    from dojang.lifecycle.schedule import this_machine
    from dojang.renewal_settings import NoticeSettings

    settings = invocation.settings.notices
    if settings is None:
        return Orders(this_machine(), jobs_of(invocation, jobs), NoticeSettings().days)
    from dojang.lifecycle.channels import channels_of

    channels = channels_of(settings, lambda source, purpose: invocation.secrets.password(source, purpose, new=False))
    return Orders(this_machine(), jobs_of(invocation, jobs), settings.days, channels, notice_words)


def notice_words(notice: "Notice") -> tuple[str, str]:
    """Subject and text, in the language of this run; what a certificate calls itself never makes a line of its own."""
    from dojang.cli.table import printable

    facts = {"subject": printable(notice.subject), "days": notice.days_left, "address": printable(notice.address)}
    subject = say(SUBJECTS[notice.reason], **facts)
    return subject, say(TEXTS[notice.reason], **facts, not_after=notice.not_after_at)


def window_of(text: str | None) -> timedelta | None:
    from dojang.cli.where import days_of

    return None if text is None else days_of(text)


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise Usage(problem=Phrase(N_("'{text}' is not a command: its quotes do not match"), text=text)) from error
    if not words:
        raise Usage(problem=Phrase(N_("A hook needs a command")))
    return words


def failed_data(address: str, error: DojangError) -> dict[str, str]:
    return {"address": address, "code": error.code, "message": message_of(error)}
