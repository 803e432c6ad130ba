"""Reading rows and heads, a page at a time: a million of them need no more memory than a thousand."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dojang.authority.audit.chain import Entry
from dojang.authority.audit.heads import Head, issued_by, text_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dojang.authority.database import Database

PAGE: Final = 2000


def entries(database: "Database", *, after: int | None = None, up_to: int | None = None) -> Iterator[Entry]:
    """The rows in the order of their numbers, whatever these are; no transaction stays open between two pages."""
    from sqlalchemy import select

    from dojang.authority.tables import audit

    query = select(audit).order_by(audit.c.seq).limit(PAGE)
    if up_to is not None:
        query = query.where(audit.c.seq <= up_to)
    last = after
    while True:
        with database.reading() as connection:
            page = connection.execute(query if last is None else query.where(audit.c.seq > last)).all()
        for seq, at, actor, event, subject, details, previous, hashed in page:
            yield Entry(seq, at, actor, event, subject, details, previous.hex(), hashed.hex())
        if len(page) < PAGE:
            return
        last = page[-1][0]


def latest(database: "Database", count: int) -> list[Entry]:
    """The last rows, oldest first."""
    first = last_row(database)[0] - count
    return list(entries(database, after=first))


def last_row(database: "Database") -> tuple[int, str]:
    """Number and hash of the last row; 0 and nothing where there is none."""
    from sqlalchemy import select

    from dojang.authority.tables import audit

    with database.reading() as connection:
        row = connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
    return (row[0], row[1].hex()) if row else (0, "")


def root_of(database: "Database") -> bytes:
    """The first root certificate, in DER: what the record begins with."""
    from dojang.authority.audit.record import root_certificate

    with database.reading() as connection:
        return root_certificate(connection)


def heads(database: "Database") -> Iterator[Head]:
    """The signed heads in the order of the rows that they cover."""
    from sqlalchemy import select

    from dojang.authority.audit.record import root_certificate
    from dojang.authority.tables import audit_head

    with database.reading() as connection:
        root_der, chains = root_certificate(connection), _chains(connection)
    query, last = select(audit_head).order_by(audit_head.c.seq).limit(PAGE), None
    while True:
        with database.reading() as connection:
            page = connection.execute(query if last is None else query.where(audit_head.c.seq > last)).all()
        for row in page:
            text = text_of(root_der, row.seq, row.hash.hex(), row.signed_at)
            yield Head(text, row.signature, chains.get(row.signer, ()))
        if len(page) < PAGE:
            return
        last = page[-1].seq


def newest_head(database: "Database") -> Head | None:
    """The head over the most rows."""
    from sqlalchemy import func, select

    from dojang.authority.audit.record import root_certificate
    from dojang.authority.tables import audit_head

    newest = select(func.max(audit_head.c.seq)).scalar_subquery()
    with database.reading() as connection:
        row = connection.execute(select(audit_head).where(audit_head.c.seq == newest)).first()
        if row is None:
            return None
        text = text_of(root_certificate(connection), row.seq, row.hash.hex(), row.signed_at)
        return Head(text, row.signature, _chains(connection).get(row.signer, ()))


def _chains(connection: "Connection") -> dict[str, tuple[bytes, ...]]:
    """The certificate of each signer and those above it, as far as they are known, by the signer's id."""
    from sqlalchemy import select

    from dojang.authority.tables import signer

    rows = connection.execute(select(signer.c.id, signer.c.certificate_der).order_by(signer.c.generation)).all()
    known = {row[0]: bytes(row[1]) for row in rows if row[1] is not None}
    return {one: _chain(der, tuple(known.values())) for one, der in known.items()}


def _chain(der: bytes, known: tuple[bytes, ...]) -> tuple[bytes, ...]:
    from cryptography import x509

    certificates = {one: x509.load_der_x509_certificate(one) for one in known}
    chain = [der]
    while (last := certificates[chain[-1]]).issuer != last.subject:
        above = [
            one for one in known if certificates[one].subject == last.issuer and issued_by(last, certificates[one])
        ]
        if not above or above[0] in chain:
            break
        chain.append(above[0])
    return tuple(chain)
