"""How rows hang together. Anybody can check it with SHA-256 and these twelve lines.

    The hash of a row is SHA-256 over, in this order and with nothing between:
      - the hash of the row before, 32 octets;
      - for each of number (decimal digits), moment, actor, event, subject, details:
        the length of its UTF-8 in octets as 4 octets, the highest first, and then the UTF-8 itself.
    Before the first row stands SHA-256 over the ASCII text "dojang audit 1", one zero octet, and the DER of the
    authority's first root certificate.
    Details are JSON text as it was written; it is hashed as text, so nobody has to write JSON in the same way again.

Rows are numbered from 1 without a gap. Lengths before texts, so that no two rows give the same octets.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Final

from dojang.authority.audit.events import EVENTS

_AS_JSON: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_BEGINNING: Final = b"dojang audit 1\0"
Detail = str | int | list[str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as it is stored. ``at`` and ``details`` are texts, for it is texts that were hashed; hashes are hex."""

    seq: int
    at: str
    actor: str
    event: str
    subject: str
    details: str
    previous: str
    hash: str


def beginning_of(root_certificate_der: bytes) -> str:
    """What stands where the row before the first would: it binds the rows to one authority."""
    return hashlib.sha256(_BEGINNING + root_certificate_der).hexdigest()


def hash_of(previous: str, seq: int, at: str, actor: str, event: str, subject: str, details: str) -> str:
    """The hash of a row, from the hash of the row before and what the row says."""
    said = map(framed, (str(seq), at, actor, event, subject, details))
    return hashlib.sha256(b"".join((bytes.fromhex(previous), *said))).hexdigest()


def framed(text: str) -> bytes:
    """A text as it is hashed: its length before it."""
    octets = text.encode()
    return len(octets).to_bytes(4, "big") + octets


def is_intact(entry: Entry) -> bool:
    """Whether the row says what it said when it was hashed. (Texts that cannot be hashed were never written.)"""
    fields = (entry.seq, entry.at, entry.actor, entry.event, entry.subject, entry.details)
    try:
        return hash_of(entry.previous, *fields) == entry.hash
    except (ValueError, AttributeError, TypeError):
        return False


def details_text(event: str, details: Mapping[str, Detail | None]) -> str:
    """The details as stored; ``None`` is left out. ``ValueError`` for what ``EVENTS`` does not allow."""
    _check(event, details)
    told = {name: value for name, value in details.items() if value is not None}
    return clean(_AS_JSON(told))


def _check(event: str, names: Iterable[str]) -> None:
    unknown = set(names) - EVENTS[event] if event in EVENTS else {event}
    if unknown:
        raise ValueError(f"{event} may not tell of {', '.join(sorted(unknown))}")


def details_texts(
    event: str, shared: Mapping[str, Detail | None], columns: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """The same for many that share most of their details; ``columns`` has those that differ, a text for each."""
    names = sorted({name for name, value in shared.items() if value is not None} | columns.keys())
    _check(event, names)
    before, between = "{", list[str]()
    for name in names:
        before += f"{_AS_JSON(name)}:"
        if name in columns:
            between.append(before)
            before = ","
        else:
            before += f"{_AS_JSON(shared[name])},"
    after = before.removesuffix(",") + "}"
    for values in zip(*(columns[name] for name in names if name in columns), strict=True):
        told = [f"{start}{encode_basestring(value)}" for start, value in zip(between, values, strict=True)]
        yield clean("".join(told) + after)


def clean(text: str) -> str:
    """A text that both databases keep as it is: no zero octets, no halves of characters."""
    if text.isascii():
        return text.replace("\0", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
