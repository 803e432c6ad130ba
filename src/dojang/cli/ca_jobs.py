"""``dojang ca jobs``: the work that is due from time to time, to look at and to do by hand."""

from typing import TYPE_CHECKING, Any

from dojang.cli.ca import ca_option
from dojang.cli.context import Invocation
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, message_of, say
from dojang.cli.workplace import chosen_authority, open_authority_named
from dojang.errors import BatchIncomplete, DojangError, NothingDue, Phrase, Usage

if TYPE_CHECKING:
    from datetime import datetime

    from dojang.authority.jobs.engine import Standing
    from dojang.authority.jobs.outcomes import Outcome
    from dojang.authority.jobs.runner import Done

KINDS = {
    "publish-lists": N_("Publish revocation lists that are over soon"),
    "produce-answers": N_("Sign answers about certificates' states in advance"),
    "revoke-unconfirmed": N_("Revoke what nobody confirmed in time"),
    "expire-enrolments": N_("Write down which codes have run out of time"),
    "expire-conversations": N_("Forget conversations that are over"),
    "end-holds": N_("Revoke what was on hold for too long"),
    "sign-head": N_("Sign the head of the audit record"),
    "renew-signers": N_("Renew the certificates of the authority's own keys"),
    "notify-renewals": N_("Tell subscribers what can be renewed"),
}
IDLE = "idle"
STATES = {"waiting": N_("waits"), "running": N_("runs"), IDLE: N_("not asked for")}


@command(
    help=N_("List the work that an authority does from time to time: when it is due, and how it went."),
    examples=["dojang ca jobs list", "dojang ca jobs list --ca office --json"],
)
@ca_option
def list_(invocation: Invocation, ca: str | None) -> None:
    """No PIN is asked."""
    import contextlib

    from dojang.authority.jobs.engine import job_engine
    from dojang.authority.jobs.outcomes import outcomes

    with open_authority_named(invocation, chosen_authority(invocation, ca)) as authority:
        with contextlib.closing(job_engine(authority.database)) as engine:
            standing = {one.kind: one for one in engine.standing()}
        ended = {one.kind: one for one in outcomes(authority.database)}
    jobs = [_job_data(kind, standing.get(kind), ended.get(kind)) for kind in KINDS]
    columns = [N_("Work"), N_("What is done"), N_("State"), N_("Due"), N_("Last done"), N_("Failures"), N_("Problem")]
    rows = [_row(**one) for one in jobs]
    quiet = [one["kind"] for one in jobs]
    invocation.result({"jobs": jobs}, lambda: invocation.out.table(columns, rows), quiet=quiet)


def _row(
    *,
    kind: str,
    state: str | None,
    run_at: "datetime | None",
    done_at: "datetime | None",
    failures: int,
    problem: str | None,
    **_more: object,
) -> list[object]:
    moments = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (run_at, done_at)]
    return [kind, _(KINDS[kind]), _(STATES[state or IDLE]), *moments, failures, problem]


def _job_data(kind: str, standing: "Standing | None", ended: "Outcome | None") -> dict[str, Any]:
    return {
        "kind": kind,
        "state": standing.state if standing else None,
        "run_at": standing.run_at if standing else None,
        "done_at": ended.done_at if ended else None,
        "ended_at": ended.ended_at if ended else None,
        "failures": ended.failures if ended else 0,
        "problem": ended.problem if ended else None,
    }


@command(
    help=N_(
        "Do the work of an authority that is due now, or the kinds named, due or not. For an authority that no server "
        "works for: run it from a timer."
    ),
    examples=["dojang ca jobs run", "dojang ca jobs run publish-lists sign-head --ca office"],
)
@argument("kinds", metavar="[KIND …]", nargs=-1)
@option("--all", "everything", is_flag=True, help=N_("Every kind, due or not."))
@ca_option
def run(invocation: Invocation, kinds: tuple[str, ...], everything: bool, ca: str | None) -> int:
    """Exit status 14 when nothing was due, 15 when some of it failed; what failed is tried again."""
    from dojang.authority.jobs.kinds import runner_of

    name = chosen_authority(invocation, ca)
    wanted = _wanted(kinds, everything)
    if invocation.planned([_(KINDS[kind]) for kind in wanted or KINDS], authority=name):
        return 0
    with open_authority_named(invocation, name) as authority, runner_of(authority, threads=0) as runner:
        done = []
        for one in runner.run_due(wanted):
            done.append(one)
            invocation.out.note(_done_line(one))
    words = say("{count} pieces of work are done.", count=len(done)) if done else _("Nothing is due.")
    invocation.result({"jobs": [_done_data(one) for one in done]}, words, quiet=[one.job.kind for one in done])
    if any(one.error is not None for one in done):
        return BatchIncomplete.exit_status
    return 0 if done else NothingDue.exit_status


def _wanted(kinds: tuple[str, ...], everything: bool) -> list[str] | None:
    """``None`` for what is due."""
    known = [kind for kind in KINDS if kind != "notify-renewals"]  # a server has what reaches subscribers
    if everything:
        return known
    for kind in kinds:
        if kind not in known:
            choices = ", ".join(known)
            raise Usage(problem=Phrase("there is no work '{kind}'; choose of {kinds}", kind=kind[:64], kinds=choices))
    return list(dict.fromkeys(kinds)) or None


def _done_line(done: "Done") -> str:
    kind = done.job.kind
    if done.error is None:
        return say("{kind}: done", kind=kind)
    return say("{kind}: {problem}", kind=kind, problem=_problem(done.error))


def _problem(error: Exception) -> str:
    return message_of(error) if isinstance(error, DojangError) else f"{type(error).__name__}: {error}"


def _done_data(done: "Done") -> dict[str, Any]:
    problem = None if done.error is None else _problem(done.error)
    return {"kind": done.job.kind, "attempt": done.job.attempt, "ok": done.error is None, "problem": problem}
