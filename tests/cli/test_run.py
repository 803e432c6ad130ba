"""What happens when something goes wrong that no command expected, and when the reader or the person goes away."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

BROKEN = """
import sys
from dojang.cli import token
from dojang.cli.run import run
def fail(invocation, **_):
    raise {error}
token.list_.callback = fail
sys.exit(run(sys.argv[1:]))
"""


def run_broken(error: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = BROKEN.format(error=error)
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


def test_a_mistake_of_ours_shows_no_traceback(home: Path) -> None:
    """An unexpected exception is exit status 1 and one sentence; the traceback is in a private file."""
    done = run_broken("ZeroDivisionError('pin-value=271828')", "token", "list")
    log = home / "state" / "dojang.log"
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(log) in done.stderr
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700
    assert "ZeroDivisionError" in log.read_text()
    assert "271828" not in log.read_text()


def test_a_mistake_of_ours_in_json(home: Path) -> None:
    """The JSON of a mistake has the code ``bug``."""
    error = json.loads(run_broken("ZeroDivisionError()", "token", "list", "--json").stdout)["error"]
    assert (error["code"], error["exit"]) == ("bug", 1)


def test_debug_shows_the_traceback(home: Path) -> None:
    """``--log-level debug`` is for those who want to see it."""
    assert "Traceback" in run_broken("ZeroDivisionError()", "token", "list", "--log-level", "debug").stderr


def test_a_mistake_without_a_place_to_log(home: Path) -> None:
    """Where even the log cannot be written the answer is the same."""
    (home / "state").write_text("a file in the way")
    done = run_broken("ZeroDivisionError()", "token", "list")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_words_that_cannot_be_put_together(home: Path) -> None:
    """An error whose own words fail is a mistake of ours like any other, and no traceback."""
    error = "__import__('dojang').errors.FileUnreadable(path='x', problem=Unsayable())"
    code = BROKEN.replace("from dojang.cli import token", "from dojang.cli import token\nimport dojang.errors")
    unsayable = (
        "class Unsayable:\n    __str__ = lambda self: 1 / 0 if sys._getframe(1).f_code.co_name == 'say' else ''\n"
    )
    code = code.format(error=error).replace("def fail", f"{unsayable}def fail")
    done = subprocess.run([sys.executable, "-c", code, "token", "list"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "inside dojang" in done.stderr


def test_interrupt_is_130(home: Path) -> None:
    """Ctrl-C is exit status 130 and says that nothing was lost."""
    done = run_broken("KeyboardInterrupt", "token", "list", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (130, "interrupted")


def test_sigint_while_a_person_is_asked(terminal, make_token) -> None:
    """Ctrl-C at a prompt ends the program at once."""
    child = terminal("key", "list", make_token().uri)
    child.expect("PIN of token")
    child.sendintr()
    child.expect_exact("\r\nError: Interrupted")
    child.expect_exact("Next:")
    child.wait()
    assert child.exitstatus == 130


def test_sigint_while_it_starts(home: Path) -> None:
    """Ctrl-C before a command has even been understood is answered like any other."""
    code = "import importlib.abc, os, signal, sys, dojang.__main__ as start\n"
    code += "class Interrupting(importlib.abc.MetaPathFinder):\n"
    code += "    def find_spec(self, name, *_):\n"
    code += "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
    code += "sys.meta_path.insert(0, Interrupting()); start.main()"
    done = subprocess.run([sys.executable, "-c", code, "token", "list", "--json"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")
    assert json.loads(done.stdout)["error"]["code"] == "interrupted"


def test_sigint_while_waiting(home: Path, tmp_path: Path, softhsm_module: str) -> None:
    """SIGINT while standard input is read leaves no half-written file."""
    fifo, output = tmp_path / "fifo", tmp_path / "out.sig"
    os.mkfifo(fifo)
    words = ["verify", str(fifo), "--trust", str(fifo)]
    child = subprocess.Popen(
        [sys.executable, "-m", "dojang", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    _out, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "Interrupted" in err
    assert not output.exists()


def test_a_reader_that_left_is_no_error(home: Path, softhsm_module: str) -> None:
    """``dojang … | head`` is quiet when head has seen enough."""
    command = f"{sys.executable} -m dojang --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [["--help"], ["token", "list", "--json"]])
def test_a_full_disk_behind_standard_output(home: Path, softhsm_module: str, words: list[str]) -> None:
    """An answer that cannot be written is exit status 9, not a traceback."""
    env = {**os.environ, "DOJANG_MODULE": softhsm_module}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dojang", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            timeout=60,
        )
    assert done.returncode == 9
    assert "Traceback" not in done.stderr
    assert "standard output" in done.stderr or words[-1] == "--json"


@pytest.mark.parametrize("words", ["nope --json", "token show rubbish --json", "nope 2>&1"])
def test_a_full_disk_behind_an_error(home: Path, words: str) -> None:
    """An error that cannot be written keeps its exit status."""
    command = f"{sys.executable} -m dojang {words} >/dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.parametrize(("closed", "status"), [(">&-", 0), ("<&- >&- 2>&-", 0), ("--nope 2>&-", 2)])
def test_closed_streams(home: Path, closed: str, status: int) -> None:
    """A caller that closed a stream gets the exit status and no traceback."""
    command = f"{sys.executable} -m dojang ca profiles {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, "")


def test_a_broken_configuration_is_reported(home: Path, run_dojang) -> None:
    """A command that needs the configuration says what is wrong in it; help still works."""
    (home / "config.toml").write_text("nonsense = 1")
    done = run_dojang("token", "list", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (2, "invalid-setting")
    assert "nonsense" in error["message"]
    assert run_dojang("--help").returncode == 0


def test_letters_that_the_terminal_cannot_show(run_dojang) -> None:
    """A terminal without Korean letters gets escapes, not an error."""
    done = run_dojang("--help", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\u" in done.stdout


def test_remarks_between_libraries_stay_there(run_dojang, tmp_path) -> None:
    """A certificate that cryptography has something to say about is shown without a word from cryptography."""
    certificate = tmp_path / "zero.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", tmp_path / "key.pem", "-out", certificate, "-subj", "/CN=zero", "-set_serial", "0"]
    subprocess.run(command, check=True, capture_output=True)
    done = run_dojang("cert", "show", certificate)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_part_that_is_not_installed_is_named(home) -> None:
    """Not a traceback: which extra to install, with an exit status of its own."""
    program = (
        "import sys; sys.modules['sqlalchemy'] = None; sys.argv = ['dojang', 'ca', 'show', 'office', '--json']\n"
        "from dojang.__main__ import main\nsys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (10, "extra-missing")
    assert "pip install 'dojang[authority]'" in error["next"]
