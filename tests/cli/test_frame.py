"""The frame that every command stands in: lazy loading, global flags, help, usage errors."""

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from dojang.cli.commands import KOREAN, ROOT, root
from dojang.cli.frame import Command, Entry, LazyGroup, Section


def entries(section: Section = ROOT, path: str = "") -> Iterator[tuple[str, Entry]]:
    for name, entry in section.entries.items():
        if isinstance(entry, Section):
            yield from entries(entry, f"{path} {name}".strip())
        else:
            yield f"{path} {name}".strip(), entry


PATHS = [path for path, _entry in entries()]


def find(path: str) -> click.Command:
    found: click.Command | None = root()
    for word in path.split():
        assert isinstance(found, LazyGroup)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


def modules_loaded_by(*arguments: str) -> set[str]:
    """The modules that a command line loads, told by the interpreter itself."""
    tell = "atexit.register(lambda: print('\\n', *sys.modules))"
    code = f"import atexit, sys; {tell}; from dojang.__main__ import main; main()"
    words = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["token", "--help"], ["token", "init", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """Version and help load neither cryptography nor a PKCS#11 module nor the rooms below."""
    loaded = modules_loaded_by(*arguments)
    heavy = {"cryptography", "asn1crypto", "ctypes", "sqlite3", "rich", "dojang.pkcs11", "dojang.lifecycle"}
    assert loaded & heavy == set()


def test_version_loads_no_command_line() -> None:
    """``--version`` alone answers without click."""
    assert modules_loaded_by("--version") & {"click", "dojang.cli"} == set()


def test_group_help_loads_no_command() -> None:
    """A group's help is written from the table, not from its commands."""
    assert "dojang.cli.token" not in modules_loaded_by("token", "--help")


@pytest.mark.parametrize("path", PATHS)
def test_every_command_has_help_and_an_example(path: str) -> None:
    """Each row of the table leads to a command with help and an example that starts with its own name."""
    command = find(path)
    assert isinstance(command, Command)
    assert command.path == path
    assert command.help
    assert any(f"dojang {path}" in example for example in command.examples)


@pytest.mark.parametrize("path", PATHS)
def test_every_parameter_has_help_or_a_name(path: str) -> None:
    """Options say what they do; arguments have a name that says it."""
    for parameter in find(path).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
        else:
            assert parameter.metavar or isinstance(parameter.type, click.Choice)


def test_no_option_takes_a_pin_itself() -> None:
    """There is no flag that takes a PIN's or password's value: those are asked for by their source."""
    names = {name for path in PATHS for parameter in find(path).params for name in parameter.opts}
    assert [name for name in names if name.strip("-") in ("pin", "so-pin", "new-pin", "password")] == []


@pytest.mark.parametrize(
    "words", [("--json", "token", "list"), ("token", "--json", "list"), ("token", "list", "--json")]
)
def test_global_flags_work_everywhere(run_dojang, words: tuple[str, ...]) -> None:
    """A global flag means the same before, between and after the words of a command."""
    done = run_dojang(*words)
    assert done.returncode == 0
    assert json.loads(done.stdout)["command"] == "token list"


def test_the_later_flag_wins(run_dojang) -> None:
    """A flag given twice has the value given last."""
    assert (
        run_dojang("--module", "/absent.so", "token", "list", "--module", "/also-absent.so").stderr.count("also") == 1
    )


@pytest.mark.parametrize(
    ("words", "named", "command"),
    [
        (["nonsense"], "nonsense", ""),
        (["token", "lst"], "lst", "token"),
        (["token", "init"], "--label", "token init"),
        (["token", "init", "--nope"], "--nope", "token init"),
        (["key", "generate", "pkcs11:token=a", "--algorithm", "dsa"], "dsa", "key generate"),
        (["--timeout", "soon", "token", "list"], "soon", ""),
        (["token", "list", "superfluous"], "superfluous", "token list"),
        ([], "command", ""),
        (["token"], "command", "token"),
    ],
)
def test_usage_errors(run_dojang, words: list[str], named: str, command: str) -> None:
    """What cannot be understood is exit status 2 with the same JSON as every error, and text that names it."""
    done = run_dojang(*words, "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 2
    assert (answer["ok"], answer["command"], answer["error"]["code"], answer["error"]["exit"]) == (
        False,
        command,
        "usage",
        2,
    )
    assert named in answer["error"]["message"]
    told = run_dojang(*words)
    assert (told.returncode, told.stdout) == (2, "")
    assert named in told.stderr


def test_a_likely_word_is_suggested(run_dojang) -> None:
    """A mistyped command gets the one that was probably meant."""
    assert "list" in run_dojang("token", "lits").stderr


def test_a_pin_in_a_usage_error_is_not_echoed(run_dojang) -> None:
    """An address with a PIN in the wrong place does not come back on the screen."""
    done = run_dojang("token", "list", "pkcs11:token=a?pin-value=314159")
    assert done.returncode == 2
    assert "314159" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", KOREAN)
def test_korean_names(name: str) -> None:
    """A Korean name is the command it stands for, wherever that command exists."""
    path = KOREAN[name]
    if path in PATHS:
        assert find(name) is find(path)
        assert find(name).path == path
    else:
        assert root().get_command(click.Context(root()), name) is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(run_dojang, shell: str) -> None:
    """The script for each shell calls dojang back by the variable it reads."""
    done = run_dojang("completion", shell)
    assert done.returncode == 0
    assert "_DOJANG_COMPLETE" in done.stdout


def test_completion_answers(run_dojang) -> None:
    """What the shell asks while a person types is answered from the table."""
    env = {"_DOJANG_COMPLETE": "bash_complete", "COMP_WORDS": "dojang token ", "COMP_CWORD": "2"}
    done = run_dojang(env=env)
    assert done.returncode == 0
    assert {"plain,list", "plain,init", "plain,pin"} <= set(done.stdout.split())


def test_help_is_on_standard_output_and_names_the_aliases(run_dojang) -> None:
    """--help is an answer, not an error."""
    done = run_dojang("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "발급" in done.stdout
    assert "--pin-source" in done.stdout


def test_version_beside_other_flags(run_dojang) -> None:
    """--version answers in JSON as everything does."""
    from dojang import __version__

    assert json.loads(run_dojang("--json", "--version").stdout)["data"] == {"version": __version__}
