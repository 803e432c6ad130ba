"""What is done when it is due, kind by kind: harmless when done twice, and each finds by itself what there is to do."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dojang.authority.jobs.engine import Job, job_engine
from dojang.authority.jobs.notices import NoticeSender, notify
from dojang.authority.jobs.runner import Done, Handler, JobRunner
from dojang.authority.jobs.schedule import Schedule
from dojang.errors import PolicyError

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority
    from dojang.authority.store import Record

Work = Callable[["LocalAuthority", datetime], None]


def runner_of(
    authority: "LocalAuthority",
    *,
    senders: Sequence[NoticeSender] = (),
    threads: int = 1,
    tell: Callable[[Done], None] = lambda done: None,
) -> JobRunner:
    """Everything that is due for an authority, not started yet; ``tell`` hears of each end.

    Notices are given only where ``senders`` are. Raises ``DatabaseUnavailable``. The authority stays the caller's.
    """
    handlers = handlers_of(authority, senders)
    engine, schedule = job_engine(authority.database), Schedule(authority.name, handlers)
    return JobRunner(engine, authority.database, handlers, schedule, threads=threads, tell=tell)


def handlers_of(authority: "LocalAuthority", senders: Sequence[NoticeSender] = ()) -> dict[str, Handler]:
    """By kind, for this authority."""
    found = {kind: _bound(work, authority) for kind, work in _WORK.items()}
    if senders:
        found["notify-renewals"] = lambda job, at: notify(authority, senders, at)
    return found


def _bound(work: Work, authority: "LocalAuthority") -> Handler:
    def handle(_job: Job, at: datetime) -> None:
        work(authority, at)

    return handle


def _publish_lists(authority: "LocalAuthority", at: datetime) -> None:
    authority.status.lists.publish_due(at)


def _produce_answers(authority: "LocalAuthority", at: datetime) -> None:
    authority.status.responder.prepare(at)


def _revoke_unconfirmed(authority: "LocalAuthority", at: datetime) -> None:
    _publish_for(authority, authority.revoke_unconfirmed(at), at)


def _end_holds(authority: "LocalAuthority", at: datetime) -> None:
    _publish_for(authority, authority.revoke_overdue_holds(at), at)


def _expire_enrolments(authority: "LocalAuthority", at: datetime) -> None:
    authority.enrolments.expire()


def _expire_conversations(authority: "LocalAuthority", at: datetime) -> None:
    from dojang.authority.conversation.transactions import forget

    with authority.database.writing() as connection:
        forget(connection, at)


def _sign_head(authority: "LocalAuthority", at: datetime) -> None:
    authority.seal()


def _renew_signers(authority: "LocalAuthority", at: datetime) -> None:
    from dojang.authority.hierarchy.delegates import renew_delegates

    renew_delegates(authority.scene())


def _publish_for(authority: "LocalAuthority", revoked: "Iterable[Record]", at: datetime) -> None:
    """Tell of what was revoked; a root's own list waits for the root, which is not here."""
    for name in sorted({record.signer for record in revoked}):
        try:
            authority.status.lists.tell(name, at)
        except PolicyError:
            if authority.roster.named(name).role != "root":
                raise


_WORK: dict[str, Work] = {
    "publish-lists": _publish_lists,
    "produce-answers": _produce_answers,
    "revoke-unconfirmed": _revoke_unconfirmed,
    "end-holds": _end_holds,
    "expire-enrolments": _expire_enrolments,
    "expire-conversations": _expire_conversations,
    "sign-head": _sign_head,
    "renew-signers": _renew_signers,
}
