"""A new key over everything that is sealed, while codes go on being checked.

    make      the new key: from now on everything new lies under it, the old one retires
    bring     what lies under the old key under the new one, on the HSM, batch after batch
    retire    the old key, in a transaction that has seen that nothing is left under it
    destroy   it, on the HSM

The records say how far it is: whoever was killed runs it again, or somebody else does; two at once help each other.
Whoever has read a seed before it was brought over finds the old key gone, and reads again.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from dojang.otp import tables
from dojang.otp.devices.device import TABLE
from dojang.otp.keks import current_row

if TYPE_CHECKING:
    from dojang.otp.records import Clock, Note, Records
    from dojang.otp.vault import Vault

BATCH: Final = 200
_KEK: Final = tables.otp_kek
_CARD: Final = tables.security_card
_BRING: Final = (
    update(TABLE)
    .where(TABLE.c.id == bindparam("device"), TABLE.c.kek == bindparam("old"))
    .values(kek=bindparam("new"), wrapped_seed=bindparam("wrapped"))
)

Others = Callable[[str, str, int], int]
"""Brings so many other things at most from one key to another; how many there were (``Cards.seal_anew``)."""
Progress = Callable[[int, int], None]
"""Told how many are brought over, of how many."""


class Rotated(NamedTuple):
    """The key under which everything lies now, those that were destroyed, and how much was brought over."""

    current: str
    destroyed: list[str]
    brought: int


class Rotation:
    """One run; see above."""

    def __init__(
        self, records: "Records", vault: "Vault", note: "Note", clock: "Clock", others: Sequence[Others] = ()
    ) -> None:
        self._records, self._vault, self._note, self._clock = records, vault, note, clock
        self._others = others

    def run(self, progress: Progress = lambda _done, _total: None) -> Rotated:
        """Finish what was begun; otherwise begin, and finish that."""
        destroyed = self._destroy_retired()
        current = self._begin()
        retiring, total = self._left()
        done = 0
        for old in retiring:
            for brought in self._brought(old, current):
                done += brought
                progress(done, max(total, done))
        return Rotated(current, destroyed + self._destroy_retired(), done)

    def _begin(self) -> str:
        """The id of the current key: a new one, unless an old one is retiring already."""
        with self._records.writing() as connection:
            now = current_row(connection)
            if now is None:
                return str(self._vault.keks.add(connection, 1).id)
            if connection.execute(select(_KEK.c.id).where(_KEK.c.state == "retiring")).first() is not None:
                return str(now.id)
            number = connection.execute(select(func.count()).select_from(_KEK)).scalar_one() + 1
            connection.execute(update(_KEK).where(_KEK.c.id == now.id).values(state="retiring"))
            return str(self._vault.keks.add(connection, number).id)

    def _left(self) -> tuple[list[str], int]:
        """The keys that retire, and how much lies under them."""
        with self._records.reading() as connection:
            retiring = list(connection.execute(select(_KEK.c.id).where(_KEK.c.state == "retiring")).scalars())
            return retiring, sum(_under(connection, old) for old in retiring)

    def _brought(self, old: str, new: str) -> Iterator[int]:
        while True:
            moved = self._bring_seeds(old, new) + sum(bring(old, new, BATCH) for bring in self._others)
            if moved:
                yield moved
            elif self._retire(old, new):
                return

    def _bring_seeds(self, old: str, new: str) -> int:
        under = (TABLE.c.kek == old) & TABLE.c.kek.is_not(None)
        query = select(TABLE.c.id, TABLE.c.wrapped_seed).where(under).order_by(TABLE.c.id).limit(BATCH)
        with self._records.reading() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return 0
        anew = self._vault.seal_anew([row.wrapped_seed for row in rows], old, new)
        values = [
            {"device": row.id, "old": old, "new": new, "wrapped": wrapped}
            for row, wrapped in zip(rows, anew, strict=True)
        ]
        with self._records.writing() as connection:
            connection.execute(_BRING, values)
        return len(rows)

    def _retire(self, old: str, new: str) -> bool:
        """False where something has come under it meanwhile; true when somebody else has retired it, too."""
        with self._records.writing() as connection:
            if _under(connection, old):
                return False
            mine = (_KEK.c.id == old) & (_KEK.c.state == "retiring")
            if connection.execute(update(_KEK).where(mine).values(state="retired")).rowcount:
                self._note(connection, event="otp-kek-retired", subject=old, at=self._clock(), after=new)
            return True

    def _destroy_retired(self) -> list[str]:
        with self._records.reading() as connection:
            retired = list(connection.execute(select(_KEK.c.id).where(_KEK.c.state == "retired")).scalars())
        return [kek for kek in retired if self._vault.keks.destroy(kek)]


def _under(connection: Connection, kek: str) -> int:
    """How much lies under a key."""
    counts = [
        select(func.count()).select_from(table).where(table.c.kek == kek, table.c.kek.is_not(None))
        for table in (TABLE, _CARD)
    ]
    return sum(connection.execute(count).scalar_one() for count in counts)
