"""Signing answers before anybody asks, as a job: page by page, so that it can stop anywhere and go on later."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from dojang.authority.status import prepared
from dojang.authority.status.clerk import Clerk
from dojang.authority.status.issuers import Issuer, KeyHolder
from dojang.authority.status.prepared import USUAL_HASH, Due
from dojang.authority.status.request import CertId
from dojang.errors import RootOffline

if TYPE_CHECKING:
    from dojang.authority.database import Database
    from dojang.authority.status.stock import Stocked


class Preparation:
    """One round at the moment ``at``: all that is not there, says something old, or is over half of its term."""

    def __init__(self, database: "Database", clerk: Clerk, at: datetime) -> None:
        self._database, self._clerk, self._at = database, clerk, at

    def run(self, issuer: Issuer, most: int | None) -> int:
        """The number of answers signed, ``most`` of them; none for a root that is offline."""
        holder, named, signed = issuer.answers(self._at), issuer.named(USUAL_HASH), 0
        for page in self._pages(issuer, holder):
            left = None if most is None else most - signed
            if left == 0:
                break
            try:
                made = [(due.serial, self._made(due, holder, named)) for due in self._due(page, holder, named)[:left]]
            except RootOffline:
                return signed
            if made:
                with self._database.writing() as connection:
                    prepared.store(connection, made)
            signed += len(made)
        return signed

    def _pages(self, issuer: Issuer, holder: KeyHolder) -> Iterator[list[Due]]:
        facts = {"at": self._at, "tag": holder.tag, "stale_until": self._clerk.stale_until(self._at)}
        number = 0
        while True:
            with self._database.reading() as connection:
                page = prepared.due_page(connection, number, signer=issuer.signer, **facts)
            if not page:
                return
            yield page
            number = page[-1].number

    def _due(self, page: list[Due], holder: KeyHolder, named: CertId) -> list[Due]:
        return [due for due in page if not self._is_right(due, holder, named)]

    def _is_right(self, due: Due, holder: KeyHolder, named: CertId) -> bool:
        if due.term is None or not due.term.is_fresh(self._at):
            return False
        return due.says == self._clerk.says(self._clerk.verdict(named, due.state), holder)

    def _made(self, due: Due, holder: KeyHolder, named: CertId) -> "Stocked":
        about = CertId(named.algorithm, named.name_hash, named.key_hash, int(due.serial, 16))
        return self._clerk.write([self._clerk.verdict(about, due.state)], holder, self._at)
