"""The secret on the authority's token from which codes are computed: found, or made when it is first needed."""

import hashlib
from datetime import datetime
from typing import Any, Final, Protocol, runtime_checkable

from sqlalchemy import Connection, insert, select

from dojang.authority import audit, tables
from dojang.authority.database import Database
from dojang.authority.enrolment.codes import CodeKey
from dojang.errors import NotFound, Phrase

ROLE: Final = "codes"
_ID_BYTES: Final = 20


@runtime_checkable
class KeyRing(Protocol):
    """Who can open secrets by their addresses and make new ones: the tokens of an authority, as a process has them."""

    def open(self, address: str) -> CodeKey:
        """The secret at that address."""
        ...

    def make(self, beside: str, key_id: bytes, label: str) -> str:
        """The address of the secret ``key_id`` on the token of the key at ``beside``; made unless it is there."""
        ...


def address_of_key(database: Database) -> str | None:
    """Where the secret is; ``None`` before the first code."""
    with database.reading() as connection:
        return _recorded(connection)


def open_code_key(database: Database, authority: str, ring: KeyRing) -> CodeKey:
    """The secret of an authority that has handed out a code. ``NotFound`` before."""
    address = address_of_key(database)
    if address is None:
        raise NotFound(
            what=Phrase("the key for authorization codes"),
            where=authority,
            command=f"dojang ca show {authority}",
            next_step="Make the first code: dojang ca code new --profile PROFILE --subject DN",
        )
    return ring.open(address)


def make_code_key(database: Database, authority: str, ring: KeyRing, at: datetime) -> CodeKey:
    """The secret, made and recorded when there is none yet.

    Its id follows from the authority's certificate: a run that was killed between making and recording it left a key
    that the next run finds and takes. One at a time, so the token is asked inside the transaction: two secrets under
    one id would be none.
    """
    with database.writing() as connection:
        address = _recorded(connection)
        if address is None:
            beside, certificate_der = issuing_key(connection)
            key_id = hashlib.sha256(b"dojang codes\0" + certificate_der).digest()[:_ID_BYTES]
            address = ring.make(beside, key_id, f"{authority}-codes")
            connection.execute(insert(tables.signer).values(id=ROLE, role=ROLE, key_address=address))
            details: dict[str, Any] = {"role": ROLE, "generation": 1, "state": "current"}
            audit.record(connection, event="signer-added", subject=ROLE, at=at, **details)
    return ring.open(address)


def _recorded(connection: Connection) -> str | None:
    table = tables.signer
    wanted = (table.c.role == ROLE) & (table.c.state == "current")
    return connection.execute(select(table.c.key_address).where(wanted)).scalar()


def issuing_key(connection: Connection) -> tuple[str, bytes]:
    """Address and certificate of the key that issues."""
    table = tables.signer
    wanted = table.c.role.in_(("root", "issuing")) & (table.c.state == "current")
    query = select(table.c.key_address, table.c.certificate_der).where(wanted).order_by(table.c.role).limit(1)
    address, certificate_der = connection.execute(query).one()  # "issuing" before "root"
    return address, certificate_der
