"""``python -m dojang.testing NAME [COMMAND…]``: the command, or a shell, with that token brought up around it."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from dojang.testing.modules import KINDS, around, bring_up, opencryptoki
from dojang.testing.scratch import scratch
from dojang.testing.setup import BringUpFailed, TokenSetup


def main(words: list[str]) -> int:
    """The exit status of the command; 2 for a name that is none, and what the error says when a bring-up fails."""
    options = _options(words)
    if options.list or options.name is None:
        for name, kind in KINDS.items():
            print(f"{name:14}{kind.about}")
        return 0
    try:
        if around(options.name) and opencryptoki.OUTSIDE not in os.environ:
            _start_inside(options.name, words)
        with bring_up(options.name) as setup:
            return _run(setup, options.command)
    except BringUpFailed as error:
        print(error, file=sys.stderr)
        return 5


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dojang.testing", description=__doc__)
    parser.add_argument("--list", action="store_true", help="show the names and what they are")
    parser.add_argument("name", nargs="?", choices=KINDS, metavar="NAME", help=", ".join(KINDS))
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="otherwise $SHELL")
    return parser.parse_args(words)


def _start_inside(name: str, words: list[str]) -> None:
    """This process again, in namespaces of its own."""
    os.environ[opencryptoki.OUTSIDE] = opencryptoki.mount_namespace()
    root = [] if os.geteuid() == 0 else ["sudo", "-n", "-E"]
    command = [*root, *around(name), sys.executable, "-m", "dojang.testing", *words]
    os.execvp(command[0], command)  # noqa: S606 - words of ours and of who started us, no shell


def environment_of(setup: TokenSetup, home: Path) -> dict[str, str]:
    """What makes dojang use this token and nothing else, with its PINs, and keep its state in ``home``."""
    lines = [f'so-pin-source = "{setup.so_pin_source}"'] if setup.so_pin_source else []
    if setup.init_string is not None:
        lines += ["[[modules]]", f'path = "{setup.module}"', f'name = "{setup.name}"']
        lines += [f'init-string = "{setup.init_string}"']
    (home / "config.toml").write_text("\n".join(["discover-modules = false", *lines, ""]))
    return {
        **setup.environment,
        "DOJANG_HOME": str(home),
        "DOJANG_MODULE": str(setup.module),
        "DOJANG_PIN_SOURCE": setup.pin_source,
        "DOJANG_TOKEN": setup.uri,
        "DOJANG_TOKEN_UNLOCK": shlex.join(setup.unlock_command),
    }


def _explain(setup: TokenSetup) -> None:
    lines = [
        f"{KINDS[setup.name].about}: it is there until this shell ends.",
        f"  token   {setup.uri}  ($DOJANG_TOKEN)",
        f"  module  {setup.module}  ($DOJANG_MODULE)",
        f"  PIN     {setup.pin_source}  ($DOJANG_PIN_SOURCE)",
        f"  SO PIN  {setup.so_pin_source or 'none'}",
        "Try:  dojang token show $DOJANG_TOKEN;  dojang key generate $DOJANG_TOKEN --algorithm rsa-2048",
    ]
    print("\n".join(lines), file=sys.stderr)


def _run(setup: TokenSetup, command: list[str]) -> int:
    with scratch("dojang-home-") as home:
        environment = environment_of(setup, home)
        if not command:
            _explain(setup)
        # Ctrl-C is for the command; what was brought up has to outlive it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        child = subprocess.Popen(command or [os.environ.get("SHELL", "/bin/sh")], env=os.environ | environment)
        try:
            return child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
