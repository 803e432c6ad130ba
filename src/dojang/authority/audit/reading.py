"""Reading rows and heads, a page at a time: a million of them need no more memory than a thousand."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from dojang.authority.audit.chain import Entry
from dojang.authority.audit.heads import Head, issued_by, text_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dojang.authority.database import Database

PAGE: Final = 2000


def entries(
    database: "Database", *, after: int | None = None, up_to: int | None = None, within: "Connection | None" = None
) -> Iterator[Entry]:
    """The rows in the order of their numbers, whatever these are; no transaction stays open between two pages.

    ``within`` is a transaction whose view of them is wanted.
    """
    from sqlalchemy import select

    from dojang.authority.tables import audit

    query = select(audit).order_by(audit.c.seq).limit(PAGE)
    if up_to is not None:
        query = query.where(audit.c.seq <= up_to)
    last = after
    while True:
        with database.reading() if within is None else nullcontext(within) as connection:
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

    from dojang.authority.tables import audit_head

    with database.reading() as connection:
        chains = Chains(connection)
    query, last = select(audit_head).order_by(audit_head.c.seq).limit(PAGE), None
    while True:
        with database.reading() as connection:
            page = connection.execute(query if last is None else query.where(audit_head.c.seq > last)).all()
        for row in page:
            yield _head(row, chains)
        if len(page) < PAGE:
            return
        last = page[-1].seq


def newest_head(database: "Database") -> Head | None:
    """The head over the most rows."""
    from sqlalchemy import select

    from dojang.authority.tables import audit_head

    with database.reading() as connection:
        row = connection.execute(select(audit_head).order_by(audit_head.c.seq.desc()).limit(1)).first()
        return None if row is None else _head(row, Chains(connection))


def _head(row: Any, chains: "Chains") -> Head:
    text = text_of(chains.root_der, row.seq, row.hash.hex(), row.signed_at)
    return Head(text, row.signature, chains.of(row.signer))


class Chains:
    """The certificates that lead from each signer to the first root, across generations; the root's own is the last."""

    def __init__(self, connection: "Connection") -> None:
        """All that could be on the way: certificates of signers, and those by which roots certified each other."""
        from cryptography import x509
        from sqlalchemy import select

        from dojang.authority.audit.record import root_certificate
        from dojang.authority.hierarchy.certifying import fingerprint_of
        from dojang.authority.hierarchy.crossing import PROFILE
        from dojang.authority.tables import certificate, signer

        self.root_der = root_certificate(connection)
        own = select(signer.c.id, signer.c.certificate_der).where(signer.c.certificate_der.is_not(None))
        found = connection.execute(own.order_by(signer.c.generation)).all()
        self._own = {row.id: bytes(row.certificate_der) for row in found}
        self._known = {der: x509.load_der_x509_certificate(der) for der in (self.root_der, *self._own.values())}
        prints = [fingerprint_of(one) for one in self._known.values() if one.subject == one.issuer]
        crossing = select(certificate.c.certificate_der).where(
            certificate.c.key_fingerprint.in_(prints), certificate.c.profile == PROFILE
        )
        for der in connection.execute(crossing).scalars():
            self._known[bytes(der)] = x509.load_der_x509_certificate(der)
        self._found: dict[str, tuple[bytes, ...]] = {}

    def of(self, name: str) -> tuple[bytes, ...]:
        """The shortest way; the signer's certificate alone where there is none."""
        if name not in self._found:
            self._found[name] = self._search(self._own[name]) if name in self._own else ()
        return self._found[name]

    def _search(self, der: bytes) -> tuple[bytes, ...]:
        waiting: list[tuple[bytes, ...]] = [(der,)]
        seen = {der}
        while waiting:
            way = waiting.pop(0)
            if way[-1] == self.root_der:
                return way
            last = self._known[way[-1]]
            for one, issuer in self._known.items():
                if one not in seen and issuer.subject == last.issuer and issued_by(last, issuer):
                    seen.add(one)
                    waiting.append((*way, one))
        return (der,)
