"""Has the record been touched: one walk over the rows, in constant memory, and what was found on the way.

    outcome = verify(root_certificate_der, entries, heads)

Found are: a row that was changed, rows that are missing (also the last ones, which a signed head tells of), rows in
another order, rows put in between, and heads that nobody of this authority signed.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dojang.authority.audit.chain import Entry, beginning_of, is_intact
from dojang.authority.audit.export import Export
from dojang.authority.audit.heads import Head, is_signed, leads_to
from dojang.errors import Phrase

MOST_FINDINGS: Final = 50
"""One change at the beginning must not fill the memory with what follows from it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. ``row`` is the number of the row it is about; 0 where there is none.

    ``subject`` is what the row speaks of, where that is what is wrong.
    """

    kind: str
    row: int
    problem: Phrase
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a walk found. ``sealed`` is the last row that a good head covers; later ones have only each other."""

    entries: int
    last_hash: str
    heads: int
    sealed: int
    sealed_at: str
    findings: tuple[Finding, ...]

    @property
    def valid(self) -> bool:
        return not self.findings


class Check:
    """One walk. Rows come in the order of their numbers, as the database has them."""

    def __init__(self, root_certificate_der: bytes, heads: Iterable[Head] = ()) -> None:
        """``heads`` in the order of the rows that they cover; each is read when its row has come."""
        self.root_der = root_certificate_der
        self._authority = hashlib.sha256(root_certificate_der).hexdigest()
        self._heads = iter(heads)
        self._head = next(self._heads, None)
        self._findings: list[Finding] = []
        self._entries = self._last = self._heads_seen = self._head_before = self._sealed = 0
        self._last_hash = beginning_of(root_certificate_der)
        self._sealed_at = ""
        self._trusted: dict[tuple[bytes, ...], bool] = {}

    def look_at(self, entry: Entry) -> None:
        """The next row."""
        self._entries += 1
        row, wanted = entry.seq, self._last + 1
        if row > wanted:
            self._find("missing", wanted, Phrase("rows {first} to {last} are missing", first=wanted, last=row - 1))
        elif row < wanted:
            self._find("order", row, Phrase("row {row} stands where row {expected} should", row=row, expected=wanted))
        if not is_intact(entry):
            self._find("changed", row, Phrase("row {row} is not what was written", row=row))
        if row == wanted and entry.previous != self._last_hash:
            self._find(
                "torn", row, Phrase("row {row} does not follow the row before it; one of them was replaced", row=row)
            )
        self._last, self._last_hash = max(row, self._last), entry.hash
        while self._head is not None and self._head.entries <= self._last:
            self._hold_against(self._head)
            self._head = next(self._heads, None)

    def finish(self) -> Outcome:
        """The outcome, once the last row has come."""
        end = self._last
        while self._head is not None:
            if self._is_good(self._head):
                end = max(end, self._head.entries)
            self._head = next(self._heads, None)
        if end > self._last:
            self._find_cut(end)
        counts = (self._entries, self._last_hash, self._heads_seen, self._sealed, self._sealed_at)
        return Outcome(*counts, tuple(self._findings))

    def close_with(self, head: Head) -> None:
        """The head that must cover the last row, as that of a file does."""
        if not self._is_good(head):
            return
        if head.entries < self._last:
            first, last = head.entries + 1, self._last
            self._find(
                "added", first, Phrase("rows {first} to {last} were added after signing", first=first, last=last)
            )
        elif head.entries > self._last:
            self._find_cut(head.entries)
        else:
            self._hold_against_last(head)

    def _hold_against(self, head: Head) -> None:
        """A head over a row that is missing adds nothing: the gap has been told."""
        if self._is_good(head) and head.entries == self._last:
            self._hold_against_last(head)

    def _hold_against_last(self, head: Head) -> None:
        if head.hash == self._last_hash:
            self._sealed, self._sealed_at = head.entries, head.at
            return
        row, sealed = head.entries, self._sealed
        problem = Phrase(
            "row {row} is not the one that was signed {at}; it or a row since {sealed} was replaced",
            row=row,
            at=head.at,
            sealed=sealed,
        )
        self._find("rewritten", row, problem)

    def _is_good(self, head: Head) -> bool:
        """Whether the head is what it says it is; what is wrong with it is found."""
        self._heads_seen += 1
        row, before = head.entries, self._head_before
        self._head_before = max(row, before)
        if head.authority != self._authority:
            self._find("head-foreign", row, Phrase("a head over row {row} is of another authority", row=row))
        elif not self._is_ours(head.chain_der):
            self._find("head-forged", row, Phrase("a head over row {row} was signed by a stranger", row=row))
        elif not is_signed(head):
            self._find("head-forged", row, Phrase("the signature of a head over row {row} is not good", row=row))
        elif row < before:
            self._find("head-order", row, Phrase("a head over row {row} stands out of order", row=row))
        else:
            return True
        return False

    def _is_ours(self, chain_der: tuple[bytes, ...]) -> bool:
        if chain_der not in self._trusted:
            self._trusted[chain_der] = leads_to(chain_der, self.root_der)
        return self._trusted[chain_der]

    def _find_cut(self, end: int) -> None:
        first = self._last + 1
        self._find("missing", first, Phrase("rows {first} to {last} are missing at the end", first=first, last=end))

    def _find(self, kind: str, row: int, problem: Phrase) -> None:
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(Finding(kind, row, problem))


def verify(root_certificate_der: bytes, entries: Iterable[Entry], heads: Iterable[Head] = ()) -> Outcome:
    """Walk over the rows of one authority in the order of their numbers, and over its heads in the same order."""
    check = Check(root_certificate_der, heads)
    for entry in entries:
        check.look_at(entry)
    return check.finish()


def verify_export(export: Export) -> Outcome:
    """The same for a file, with nothing but the file. Raises ``FileMalformed`` where it ends without its head."""
    check = Check(export.root_certificate_der)
    for entry in export.entries():
        check.look_at(entry)
    check.close_with(export.head())
    return check.finish()


def in_order(*heads: Iterable[Head]) -> Iterator[Head]:
    """Heads from several places, each in the order of its rows, as one such row."""
    return heapq.merge(*heads, key=lambda head: head.entries)
