"""Labels of credentials on a token or in a file.

What state a credential is in stands in its label, so that every program on every machine reads the same:

    Hong                        live
    Hong (staged)               made by a renewal that has not switched yet
    Hong (retired 2026-11-22)   replaced on that day
"""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dojang.pkcs11 import TokenObject

_STATE: Final = re.compile(
    r"(?P<name>.*) \((?:staged|(?P<retired>retired [0-9]{4}-[0-9]{2}-[0-9]{2}(?: [0-9]+)?))\)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Label:
    """A CKA_LABEL taken apart: the name people use, and the state."""

    name: str
    staged: bool = False
    retired: bool = False

    @classmethod
    def from_text(cls, text: str) -> "Label":
        matched = _STATE.fullmatch(text)
        if not matched:
            return cls(text)
        retired = matched["retired"] is not None
        return cls(matched["name"], staged=not retired, retired=retired)

    @property
    def live(self) -> bool:
        return not (self.staged or self.retired)


def shown(label: str, replaces: bytes | None) -> str:
    """The label that a new object gets: its final one, or the staged one when it replaces another."""
    return label if replaces is None else f"{label} (staged)"


def name_handed_over(found: "Sequence[TokenObject]") -> str:
    """The name the old credential goes by, its certificate's first; the retired one's where that is done already."""
    labelled = [(one.type != "cert", Label.from_text(one.label)) for one in found]
    _, label = min(labelled, key=lambda pair: (pair[0], not pair[1].live))
    return label.name


def retired_label(name: str, old: "Iterable[TokenObject]") -> str:
    """A label that no other certificate of this key has; the one a killed run began to give, where it began."""
    certificates = [Label.from_text(one.label) for one in old if one.type == "cert"]
    texts = sorted(one.label for one in old if one.type == "cert" and Label.from_text(one.label).retired)
    if texts and all(label.retired for label in certificates):
        return texts[-1]
    return fresh_retired_label(name, texts)


def fresh_retired_label(name: str, taken: Container[str]) -> str:
    """What is retired today under that name, and under no label of those that are ``taken``."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    numbered = (f"{name} (retired {today} {number})" for number in count(2))
    return next(label for label in chain([f"{name} (retired {today})"], numbered) if label not in taken)
