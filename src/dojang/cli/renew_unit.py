"""``dojang renew unit``: the units that have systemd renew, as files to be put where it looks for them."""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from dojang.cli.context import Invocation
from dojang.cli.files import write_file
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, say

FOLDER = Path(__file__).parent.parent / "units"
FILES = {"service": "dojang-renew.service", "timer": "dojang-renew.timer", "daemon": "dojang-renewd.service"}


@command(
    help=N_(
        "Print a systemd unit: 'timer' and 'service' renew once a day what has its turn, 'daemon' stays and does so at "
        "each turn. They belong in /etc/systemd/system, or with --user in ~/.config/systemd/user."
    ),
    examples=[
        "dojang renew unit timer",
        "dojang renew unit service --user -o ~/.config/systemd/user/dojang-renew.service",
    ],
)
@argument("which", type=click.Choice(list(FILES)))
@option("--user", is_flag=True, help=N_("For the service manager of one person's session."))
@option("-o", "--output", type=FilePath(), metavar="FILE", help=N_("Write it there instead of printing it."))
def unit(invocation: Invocation, which: str, user: bool, output: Path | None) -> None:
    """One file, complete."""
    text = unit_text(which, user=user)
    data = {"name": FILES[which], "output": output, "text": text}
    if output is not None:
        if invocation.planned([say("Write {path}", path=output)]):
            return
        write_file(output, text.encode())
        text = say("Wrote {path}", path=output)
    invocation.result(data, text.rstrip("\n"), quiet=[str(output)] if output else [text.rstrip("\n")])


def unit_text(which: str, *, user: bool) -> str:
    """The unit for this part of renewing."""
    return unit_from(FILES[which], user=user)


def unit_from(file: str, *, user: bool, words: Sequence[str] = ()) -> str:
    """The unit in that file, with this program's own path in it, and ``words`` where it leaves room for options."""
    kind = "user" if user else "system"
    parts = {
        "dojang": _program(),
        "options": "".join(f" {_quoted(word)}" for word in words),
        "place": "" if user else _read("place.system"),
        "hardening": _read(f"hardening.{kind}"),
        "target": "default.target" if user else "multi-user.target",
    }
    text = re.sub(r"@(\w+)@", lambda found: parts[found[1]], _read(file))
    if user:  # the manager of a session knows nothing of the network
        text = re.sub(r"(?m)^(After|Wants)=network-online\.target\n", "", text)
    return re.sub(r"\n{3,}", "\n\n", text).replace("\n\n\n", "\n\n") + "\n"


def _read(name: str) -> str:
    return (FOLDER / name).read_text("utf-8").strip()


def _program() -> str:
    """How this program is started, quoted for a unit."""
    found = shutil.which("dojang", path=str(Path(sys.executable).parent)) or shutil.which("dojang")
    words = [found] if found else [sys.executable, "-m", "dojang"]
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """As a unit spells it: ``%`` and ``$`` would stand for something else."""
    spelled = re.sub(r'(["\\])', r"\\\1", word).replace("%", "%%").replace("$", "$$")
    return f'"{spelled}"' if re.search(r"[^\w./:+-]", word) else spelled
