"""What the tests of the command line share: compiled catalogues, every text for people, a terminal."""

import ast
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from babel.messages.extract import extract_from_dir, extract_from_file

from dojang import errors

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dojang"
# Where the first argument is a text for people, the second of ``refusal``, the third of ``not_known``. Check names what
# verifying looks at.
FIRST = ("_", "N_", "say", "Phrase", "Check", "Fault", "NotFetched", "_refuse")
KEYWORDS = {**dict.fromkeys(FIRST), "refusal": (2,), "not_known": (3,)}
# Facts of an error that are words rather than names of things.
WORDS_IN_FACTS = {"problem", "what", "expected", "operation", "purpose", "remedy", "next_step", "wanted", "where"}


@pytest.fixture(scope="session", autouse=True)
def compiled_catalogues() -> None:
    """The catalogues as they stand in the sources, compiled by the build hook's own function."""
    sys.path.insert(0, str(ROOT))
    importlib.import_module("hatch_build").compile_catalogues()


@pytest.fixture(autouse=True)
def nobodys_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that ran inside the test process leaves it no language for what the system says."""
    monkeypatch.setenv("LANGUAGE", "")


@pytest.fixture(scope="session")
def leaves() -> list[type[errors.DojangError]]:
    """Every error that may be raised."""
    return list(_leaves_below(errors.DojangError))


def _leaves_below(family: type[errors.DojangError]) -> Iterator[type[errors.DojangError]]:
    for kind in family.__subclasses__():
        if kind.code:
            yield kind
        yield from _leaves_below(kind)


@pytest.fixture(scope="session")
def raises() -> list[tuple[Path, ast.Call]]:
    """Every construction of an error leaf in the sources, with its file."""
    names = {leaf.__name__ for leaf in _leaves_below(errors.DojangError)}
    return [
        (path, node)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _called_name(node) in names
    ]


def _called_name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


@pytest.fixture(scope="session")
def texts(leaves: list[type[errors.DojangError]], raises: list[tuple[Path, ast.Call]]) -> dict[str, str]:
    """Every text that a person may read, and where it comes from: ours, the error templates, and click's."""
    found: dict[str, str] = {}
    for name, _line, message, *_rest in extract_from_dir(SOURCE, method_map=[("**.py", "python")], keywords=KEYWORDS):
        found |= {text: name for text in ([message] if isinstance(message, str) else message) if text}
    for leaf in leaves:
        found |= dict.fromkeys((leaf.sentence, leaf.next_step), f"errors.{leaf.__name__}")
    for path, call in raises:
        for keyword in call.keywords:
            if keyword.arg in WORDS_IN_FACTS and isinstance(keyword.value, ast.Constant) and keyword.value.value:
                found[keyword.value.value] = str(path.relative_to(SOURCE))
    return found


@pytest.fixture(scope="session")
def click_texts() -> set[str]:
    """The texts that click shows to people: its errors and its help page."""
    import click

    folder = Path(click.__file__).parent
    found: set[str] = set()
    for name in ("exceptions", "core", "formatting", "types", "decorators", "parser"):
        for _line, message, *_rest in extract_from_file("python", folder / f"{name}.py"):
            found.add(message if isinstance(message, str) else message[-1])
    return found


Terminal = Callable[..., pexpect.spawn]


@pytest.fixture
def terminal(home: Path, softhsm_module: str) -> Iterator[Terminal]:
    """Runs ``dojang ARGS`` on a pseudo-terminal, as a person does."""
    running: list[pexpect.spawn] = []

    def run(*args: object, **env: str) -> pexpect.spawn:
        environment = {**os.environ, "DOJANG_MODULE": softhsm_module, "LC_ALL": "C.UTF-8", **env}
        child = pexpect.spawn(
            sys.executable, ["-m", "dojang", *map(str, args)], env=environment, encoding="utf-8", timeout=20
        )
        running.append(child)
        return child

    yield run
    for child in running:
        child.close(force=True)
