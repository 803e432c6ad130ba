"""The error tree: every leaf can be shown, in both languages, and every place that raises one gives what it needs."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dojang import errors
from dojang.errors import DojangError, Phrase
from dojang.errors.base import _placeholders

SOURCE = Path(errors.__file__).parent.parent
# The table of exit codes that scripts rely on.
EXIT_CODES = {*range(1, 16), 130}


def leaves_below(family: type[DojangError]) -> Iterator[type[DojangError]]:
    for kind in family.__subclasses__():
        if kind.code:
            yield kind
        yield from leaves_below(kind)


LEAVES = {leaf.__name__: leaf for leaf in leaves_below(DojangError)}


def raised() -> Iterator[tuple[str, type[DojangError], ast.Call]]:
    """Every construction of a leaf in the sources: where, which, and the call."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name in LEAVES:
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", LEAVES[name], node


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=str)
def test_every_leaf_can_be_shown(leaf: type[DojangError]) -> None:
    """A leaf has a code, an exit status of the table, a sentence that ends and a next step."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", leaf.code)
    assert leaf.exit_status in EXIT_CODES
    assert leaf.sentence.endswith((".", "}"))
    assert leaf.next_step.endswith((".", "}", "}'"))
    assert leaf.__subclasses__() == []


def test_codes_are_unique() -> None:
    """No two leaves share a code: scripts tell them apart by it."""
    assert [code for code, count in Counter(leaf.code for leaf in LEAVES.values()).items() if count > 1] == []


def test_what_may_be_tried_again_has_the_exit_status_for_that() -> None:
    """Retryable errors end with 11 (unreachable or busy) or 6 (a token that is not there); every 11 is one of them."""
    assert {leaf.exit_status for leaf in LEAVES.values() if leaf.retryable} == {6, 11}
    assert [leaf.__name__ for leaf in LEAVES.values() if leaf.exit_status == 11 and not leaf.retryable] == []


def test_families_are_not_raised() -> None:
    """Only leaves have a code; the families above them are for catching."""
    families = {parent for leaf in LEAVES.values() for parent in leaf.__mro__[1:] if issubclass(parent, DojangError)}
    assert all(family.code == "" for family in families)


def test_the_drawing_names_every_class() -> None:
    """The tree at the top of the errors is the tree."""
    drawn = set(re.findall(r"\b[A-Z][A-Za-z]+\b", errors.__doc__ or ""))
    named = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, DojangError)}
    assert named - drawn == set()


def test_every_raise_gives_the_facts_of_its_templates() -> None:
    """No construction of a leaf anywhere in the sources lacks a fact that its sentence or next step shows."""
    lacking = []
    for place, leaf, call in raised():
        given = {keyword.arg for keyword in call.keywords}
        needed = _placeholders(leaf.sentence)
        if "next_step" not in given:
            needed |= _placeholders(leaf.next_step)
        given |= {"token_address"} if "token" in given else set()
        if None not in given and needed - given:
            lacking.append(f"{place} {leaf.__name__} lacks {sorted(needed - given)}")
    assert lacking == []


def test_no_fact_is_a_secret() -> None:
    """Facts are printed and logged, so none is named after a PIN or a password."""
    secret = re.compile(r"(^|_)(pin|password|passphrase|secret)(_value)?$")
    named = [(place, k.arg) for place, _leaf, call in raised() for k in call.keywords if k.arg and secret.search(k.arg)]
    assert named == []


def test_words_in_facts_can_be_translated() -> None:
    """A fact that is words of ours is a literal or a ``Phrase``: what an f-string has filled in has no Korean."""
    words = {"problem", "what", "expected", "operation", "purpose", "remedy", "next_step", "wanted", "where"}
    filled_in = [
        f"{place} {keyword.arg}"
        for place, _leaf, call in raised()
        for keyword in call.keywords
        if keyword.arg in words and isinstance(keyword.value, ast.JoinedStr)
        for piece in keyword.value.values
        if isinstance(piece, ast.Constant) and re.search(r"[a-z]{2}", str(piece.value))
    ]
    assert filled_in == []


def test_a_missing_fact_is_refused() -> None:
    """A leaf that lacks a fact is a mistake found when it is made, not when it is shown."""
    with pytest.raises(TypeError, match="where"):
        errors.NotFound(what="a", command="b")


def test_better_advice_replaces_the_leafs_own() -> None:
    """``next_step`` is a template like the leaf's own."""
    error = errors.NotFound(what="Key a", where="here", command="x", next_step="Look at {where}.")
    assert error.advice() == "Look at here."
    assert str(error) == error.message() == "Key a was not found in here."


def test_a_phrase_is_its_english_text() -> None:
    """A phrase reads as English everywhere and keeps its template and facts."""
    phrase = Phrase("line {line} is long", line=7)
    assert phrase == "line 7 is long"
    assert (phrase.template, phrase.facts) == ("line {line} is long", {"line": 7})


def test_a_label_becomes_an_address() -> None:
    """Advice about a token can be pasted, whatever its label is; a locked SO PIN is not unlocked with the SO PIN."""
    locked = errors.PinLocked(token="it's 내; 100%", role="user")
    assert locked.advice().endswith("'pkcs11:token=it%27s%20%EB%82%B4%3B%20100%25'")
    for leaf in (errors.PinLocked, errors.PinLastTry):
        assert "unblock" in leaf(token="Hong", role="user").advice()
        assert "unblock" not in leaf(token="Hong", role="so").advice()
