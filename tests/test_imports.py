"""The floors of the house: which room may import which, read from the source, and what a cold start may load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"

FLOORS = {
    "errors": 1,
    "der": 1,
    "tbs": 1,
    "secret": 1,
    "places": 1,
    "renewal_settings": 1,
    "columns": 2,
    "pkcs11": 2,
    "pcsc": 2,
    "npki": 2,
    "x509": 2,
    "cmp": 2,
    "csc": 2,
    "ledger": 2,
    "settings": 2,
    "locations": 3,
    "authority": 3,
    "agent": 3,
    "otp": 3,
    "lifecycle": 4,
    "signing": 4,
    "testing": 5,
    "centre": 5,
    "cli": 6,
    "__main__": 6,
    "__init__": 7,  # the front door: names for users of the library; the rooms import from each other
}

SIDEWAYS = {
    ("locations", "agent"),  # locations sign through the resident agent when it runs
    ("authority", "otp"),
    ("cmp", "x509"),  # a request that came by CMP becomes the value that a PKCS#10 request becomes
    ("__main__", "cli"),
    ("der", "errors"),  # its complaints can be translated
    ("renewal_settings", "errors"),  # and so can these
    ("tbs", "der"),
}

ONLY_IN = {
    "click": {"cli"},
    "rich": {"cli"},
    "ctypes": {"pkcs11"},
    "_ctypes": {"pkcs11"},
    "cffi": {"pkcs11"},
    "pkcs11": set(),  # the independent bindings read our work in tests, in processes of their own
    "PyKCS11": set(),
    "smartcard": {"pcsc"},
    "yubikit": {"pcsc", "otp"},
    "starlette": {"centre"},
    "uvicorn": {"centre"},
    "prometheus_client": {"centre"},
}


@dataclass(frozen=True, slots=True)
class Import:
    """``module`` imports ``target``; both are dotted, ``line`` is where."""

    module: str
    target: str
    line: int

    @property
    def room(self) -> str:
        parts = self.module.split(".")
        return parts[1] if len(parts) > 1 else "__init__"

    @property
    def target_room(self) -> str:
        """The room of one of our own modules; ``from dojang import x`` counts as the room ``x`` if there is one."""
        parts = self.target.split(".")
        return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "__init__"

    def __str__(self) -> str:
        return f"{self.module} (line {self.line}) imports {self.target}"


def _targets(node: ast.AST, package: list[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _imports_in(source: str, module: str, package: list[str]) -> list[Import]:
    """Every import statement, at the top of the file or inside a function."""
    return [
        Import(module, target, node.lineno)
        for node in ast.walk(ast.parse(source))
        for target in _targets(node, package)
    ]


def _imports_of(path: Path) -> list[Import]:
    parts = list(path.relative_to(SRC).with_suffix("").parts)
    package = parts[:-1]
    return _imports_in(path.read_text(), ".".join(package if parts[-1] == "__init__" else parts), package)


def _breaks_floors(found: Import) -> bool:
    if found.target.split(".")[0] != "dojang" or found.target_room == found.room:
        return False
    if (found.room, found.target_room) in SIDEWAYS or found.target == "dojang.__version__":
        return False
    return FLOORS[found.target_room] >= FLOORS[found.room]


def _breaks_doors(found: Import) -> bool:
    rooms = ONLY_IN.get(found.target.split(".")[0])
    return rooms is not None and found.room not in rooms


ALL_IMPORTS = [found for path in sorted(SRC.rglob("*.py")) for found in _imports_of(path)]


def test_every_room_stands_on_a_floor():
    """A new room is entered in FLOORS before it can be imported, so that no room escapes the rules below."""
    rooms = {path.relative_to(SRC / "dojang").parts[0].removesuffix(".py") for path in SRC.rglob("*.py")}
    assert rooms <= FLOORS.keys()


def test_imports_point_down():
    """No room imports one on its own floor or above, save the pairs named in SIDEWAYS."""
    assert [str(found) for found in ALL_IMPORTS if _breaks_floors(found)] == []


def test_foreign_libraries_come_in_by_one_door():
    """Only pkcs11 touches ctypes, nothing imports a foreign binding, only cli imports click or rich."""
    assert [str(found) for found in ALL_IMPORTS if _breaks_doors(found)] == []


def test_errors_and_secret_stand_on_nothing():
    """errors and secret import the standard library alone, and errors its own files."""
    foreign = [
        str(found)
        for found in ALL_IMPORTS
        if found.room in {"errors", "secret"}
        and found.target.split(".")[0] not in sys.stdlib_module_names
        and not (found.room == "errors" and found.target.startswith("dojang.errors."))
    ]
    assert foreign == []


@pytest.mark.parametrize(
    ("source", "room", "breaks"),
    [
        ("from dojang.cli import output", "lifecycle", _breaks_floors),
        ("def f():\n    from ..authority import local", "locations", _breaks_floors),
        ("import dojang.signing.cms", "lifecycle", _breaks_floors),
        ("from dojang import cli", "x509", _breaks_floors),
        ("from dojang import open_token", "cli", _breaks_floors),
        ("import ctypes.util", "locations", _breaks_doors),
        ("from pkcs11 import lib", "pkcs11", _breaks_doors),
        ("from rich.table import Table", "lifecycle", _breaks_doors),
    ],
)
def test_a_broken_rule_is_seen(source, room, breaks):
    """Each rule catches the import it is there to forbid, absolute or relative, at the top or inside a function."""
    found = _imports_in(source, f"dojang.{room}.some", ["dojang", room])
    assert any(breaks(one) for one in found)


def _loaded_by(*args: str) -> set[str]:
    """The modules that ``dojang ARGS`` has loaded when it ends."""
    program = (
        "import atexit, sys, runpy\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "runpy.run_module('dojang', run_name='__main__', alter_sys=True)"
    )
    run = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout
    assert "dojang" in run.stderr
    return {name.split(".")[0] for name in run.stderr.split()}


def test_version_loads_nothing_heavy():
    """``dojang --version`` loads no command line library, no cryptography and nothing that reaches a PKCS#11 module."""
    heavy = {"click", "rich", "cryptography", "asn1crypto", "ctypes", "_ctypes", "sqlite3", "argparse", "gettext"}
    assert _loaded_by("--version") & heavy == set()


def test_help_loads_no_cryptography():
    """``dojang --help`` draws its page without cryptography, a PKCS#11 module or a database."""
    assert _loaded_by("--help") & {"cryptography", "asn1crypto", "ctypes", "_ctypes", "sqlite3"} == set()


def test_only_an_authority_loads_its_database(home: Path) -> None:
    """``dojang where`` loads no database library, nor does ``dojang ca profiles`` where there is no authority."""
    for words in (["where", "--json"], ["ca", "profiles", "--json"]):
        assert _loaded_by(*words) & {"sqlalchemy", "alembic", "psycopg", "starlette", "uvicorn"} == set(), words
