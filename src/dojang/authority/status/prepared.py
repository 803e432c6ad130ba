"""What the database says of certificates that are asked for, and the answers that were put into it beforehand."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, insert, not_, or_, select

from dojang.authority.glance import Glance
from dojang.authority.status.answer import Term
from dojang.authority.status.stock import Stocked
from dojang.authority.tables import certificate, ocsp_answer

if TYPE_CHECKING:
    from dojang.authority.database import Database
    from dojang.authority.status.request import CertId

USUAL_HASH: Final = "1.3.14.3.2.26"
"""SHA-1: what nearly every client names an issuer with. Answers for others are made when they are asked for."""
PAGE: Final = 100


class State(NamedTuple):
    """From when on a certificate is revoked or on hold, and why; both ``None`` where it is neither."""

    revoked_at: datetime | None
    reason: str | None


class Due(NamedTuple):
    """A certificate whose answer may have to be made: what stands in the database of it."""

    number: int
    serial: str
    state: State
    says: str | None
    term: Term | None


_STATE: Final = select(certificate.c.serial, certificate.c.revoked_at, certificate.c.reason)
_ONE: Final = Glance(
    _STATE.where(certificate.c.serial == bindparam("serial"), certificate.c.signer == bindparam("signer"))
)
_SEVERAL: Final = _STATE.where(
    certificate.c.serial.in_(bindparam("serials", expanding=True)), certificate.c.signer == bindparam("signer")
)
_ANSWER: Final = select(ocsp_answer).where(
    ocsp_answer.c.serial == bindparam("serial"), ocsp_answer.c.algorithm == bindparam("algorithm")
)
_IS_ANSWER: Final = and_(ocsp_answer.c.serial == certificate.c.serial, ocsp_answer.c.algorithm == USUAL_HASH)
_PAGE: Final = (
    select(
        certificate.c.number,
        certificate.c.serial,
        certificate.c.revoked_at,
        certificate.c.reason,
        ocsp_answer.c.says,
        ocsp_answer.c.this_update_at,
        ocsp_answer.c.next_update_at,
    )
    .select_from(certificate.outerjoin(ocsp_answer, _IS_ANSWER))
    .where(
        certificate.c.number > bindparam("number"),
        certificate.c.signer == bindparam("signer"),
        certificate.c.not_after_at > bindparam("at"),
        or_(
            ocsp_answer.c.serial.is_(None),
            ocsp_answer.c.next_update_at <= bindparam("stale_until"),
            ocsp_answer.c.this_update_at <= certificate.c.changed_at,
            ocsp_answer.c.this_update_at > bindparam("at"),  # the clock was set back
            not_(ocsp_answer.c.says.endswith(bindparam("tag"))),
        ),
    )
    .order_by(certificate.c.number)
    .limit(PAGE)
)


def states_of(database: "Database", signer: str, serials: Sequence[str]) -> dict[str, State]:
    """By serial; what this signer never issued is not there."""
    if len(serials) == 1:
        row = _ONE.one(database, {"serial": serials[0], "signer": signer})
        return {} if row is None else {row[0]: State(row[1] and datetime.fromisoformat(row[1]), row[2])}
    with database.reading() as connection:
        rows = connection.execute(_SEVERAL, {"serials": list(serials), "signer": signer})
        return {row[0]: State(row[1], row[2]) for row in rows}


def find_answer(connection: Connection, named: "CertId", says: str) -> Stocked | None:
    """The answer about this certificate that says just that."""
    row = connection.execute(_ANSWER, {"serial": f"{named.serial:x}", "algorithm": named.algorithm}).one_or_none()
    if row is None or row.says != says:
        return None
    return Stocked(says, row.der, Term(row.this_update_at, row.next_update_at))


def due_page(connection: Connection, number: int, **facts: Any) -> list[Due]:
    """The next certificates after that number which have not expired and whose answer may have to be made.

    ``facts`` are the ``signer`` and ``at``, the ``tag`` of whose answers are good, and ``stale_until``.
    """
    return [_due(row) for row in connection.execute(_PAGE, {"number": number, **facts})]


def _due(row: Any) -> Due:
    term = None if row.says is None else Term(row.this_update_at, row.next_update_at)
    return Due(row.number, row.serial, State(row.revoked_at, row.reason), row.says, term)


def store(connection: Connection, answers: Iterable[tuple[str, Stocked]]) -> None:
    """Put answers in the place of those that are there, by serial. Inside ``writing()``."""
    rows = [
        {
            "serial": serial,
            "algorithm": USUAL_HASH,
            "says": answer.says,
            "this_update_at": answer.term.this_update_at,
            "next_update_at": answer.term.next_update_at,
            "der": answer.der,
        }
        for serial, answer in answers
    ]
    serials = [row["serial"] for row in rows]
    connection.execute(
        delete(ocsp_answer).where(ocsp_answer.c.serial.in_(serials), ocsp_answer.c.algorithm == USUAL_HASH)
    )
    connection.execute(insert(ocsp_answer), rows)


def remove_old(connection: Connection, at: datetime) -> None:
    """What holds no more: of certificates that have expired. Inside ``writing()``."""
    connection.execute(delete(ocsp_answer).where(ocsp_answer.c.next_update_at <= at))
