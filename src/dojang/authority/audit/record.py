"""Writing rows: in the transaction of the change that they tell of."""

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from dojang.authority.audit.actor import current_actor
from dojang.authority.audit.chain import Detail, beginning_of, clean, details_text, details_texts, framed, hash_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

# As texts for the driver: every change of an authority's state comes through here, and what else it takes to compose a
# statement and to describe its result takes ten times longer than to run it.
_LAST: Final = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"
_COLUMNS: Final = "INSERT INTO audit (seq, at, actor, event, subject, details, previous, hash) VALUES "
_INSERT: Final = {"qmark": f"{_COLUMNS}(?, ?, ?, ?, ?, ?, ?, ?)", "pyformat": f"{_COLUMNS}({', '.join(['%s'] * 8)})"}


def record(
    connection: "Connection",
    *,
    event: str,
    subject: str,
    actor: str | None = None,
    at: datetime | None = None,
    **details: Detail | None,
) -> None:
    """Add a row, inside ``writing()``; it is there with the rest of the transaction or not at all.

    ``actor`` is who is at work unless said otherwise. ``ValueError`` for an event or a detail that ``EVENTS`` does not
    have. There must be a root certificate: the first row is bound to it.
    """
    from dojang.authority.swift import execute

    row = _row(*_last(connection), event, subject, actor or current_actor(), at or datetime.now(UTC), details)
    execute(connection, _INSERT[connection.dialect.paramstyle], row)


def record_many(
    connection: "Connection", *, event: str, told: "Iterable[tuple[str, Mapping[str, Detail | None]]]", at: datetime
) -> None:
    """The same for many subjects, each with its details, in one statement: who waits to write waits for no more."""
    last, previous = _last(connection)
    rows, who = [], current_actor()
    for subject, details in told:
        rows.append(_row(last, previous, event, subject, who, at, details))
        last, previous = last + 1, rows[-1][-1]
    _insert(connection, rows)


def record_alike(
    connection: "Connection",
    *,
    event: str,
    subjects: "Sequence[str]",
    shared: "Mapping[str, Detail | None]",
    columns: "Mapping[str, Sequence[str]]",
    at: datetime,
) -> None:
    """The same for subjects of which most is alike: ``columns`` has what is told of each besides what is ``shared``."""
    last, previous = _last(connection)
    fields = moment_text(at), clean(current_actor()), event
    alike, rows = b"".join(map(framed, fields)), []
    for subject, details in zip(map(clean, subjects), details_texts(event, shared, columns), strict=True):
        last += 1
        said = b"".join((previous, framed(str(last)), alike, framed(subject), framed(details)))
        rows.append((last, *fields, subject, details, previous, previous := sha256(said).digest()))
    _insert(connection, rows)


def _row(
    last: int,
    previous: bytes,
    event: str,
    subject: str,
    actor: str,
    at: datetime,
    details: "Mapping[str, Detail | None]",
) -> tuple[Any, ...]:
    """The one after the last one, with its hash at its end."""
    fields = (last + 1, moment_text(at), clean(actor), event, clean(subject), details_text(event, details))
    return (*fields, previous, bytes.fromhex(hash_of(previous.hex(), *fields)))


def _insert(connection: "Connection", rows: list[tuple[Any, ...]]) -> None:
    from dojang.authority.swift import insert_all

    insert_all(connection, _INSERT[connection.dialect.paramstyle], rows)


@lru_cache(maxsize=256)
def moment_text(at: datetime) -> str:
    """A moment as rows have it: UTC, to the millisecond, always as wide."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _last(connection: "Connection") -> tuple[int, bytes]:
    """Number and hash of the last row. One writes at a time, so nobody comes in between."""
    from dojang.authority.swift import execute

    row = execute(connection, _LAST).fetchone()
    if row is not None:
        return row[0], row[1]
    return 0, bytes.fromhex(beginning_of(root_certificate(connection)))


def root_certificate(connection: "Connection") -> bytes:
    """The authority's first root certificate, in DER: what its record begins with."""
    from sqlalchemy import select

    from dojang.authority.tables import signer

    query = select(signer.c.certificate_der).where(signer.c.role == "root").order_by(signer.c.generation).limit(1)
    found = connection.execute(query).scalar()
    assert found is not None, "an authority has a root before anything happens to it"
    return bytes(found)
