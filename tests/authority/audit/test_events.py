"""Every place that puts something on record names an event and details that the list has."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from dojang.authority.audit.events import EVENTS

SOURCE = Path(__file__).parents[3] / "src" / "dojang"
ALWAYS = {"event", "subject", "actor", "at"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every ``audit.record(…)`` of the sources."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "audit.record":
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


CALLS = dict(calls())


@pytest.mark.parametrize("where", CALLS)
def test_a_call_tells_what_it_may(where):
    """A literal event is on the list with every detail that is named; others are checked when they run."""
    given = {word.arg: word.value for word in CALLS[where].keywords}
    assert {"event", "subject"} <= given.keys()
    event = given["event"]
    if isinstance(event, ast.Constant):
        assert given.keys() - ALWAYS - {None} <= EVENTS[event.value]


def test_nothing_is_listed_for_nothing():
    """Each event of the list is named where something happens."""
    sources = [path for room in ("authority", "centre", "cli", "otp") for path in (SOURCE / room).rglob("*.py")]
    text = "".join(path.read_text() for path in sources if path.name != "events.py")
    assert [event for event in EVENTS if f'"{event}"' not in text] == []
