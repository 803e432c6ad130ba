"""What may be signed for whom: the programs a key is for, and the person who is asked."""

import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dojang.agent.peer import Peer, identity_of
from dojang.errors import AgentRefused, NotPermitted, Phrase

PATIENCE = 120.0  # seconds a person has for an answer
_asking = threading.Lock()  # one question at a time on the screen


class Permission(NamedTuple):
    """The rules of one key. Without ``programs``, every program of the user; with ``confirm``, a person is asked.

    ``question`` is what the person is asked, with ``{program}``, ``{pid}`` and ``{address}``.
    """

    programs: tuple[str, ...] = ()
    confirm: bool = False
    question: str = "{program} ({pid}): {address}"

    def within(self, other: "Permission") -> bool:
        """Whether these rules let nothing through that the other ones would not."""
        fewer = not other.programs or (bool(self.programs) and set(self.programs) <= set(other.programs))
        return fewer and (not other.confirm or (self.confirm and self.question == other.question))

    def allows(self, peer: Peer) -> bool:
        """Whether the program that connected is one of those named, by device and inode of what they are now."""
        return not self.programs or (peer.program is not None and peer.program in map(_identity, self.programs))

    def check_program(self, peer: Peer) -> None:
        """``AgentRefused`` unless it is."""
        if not self.allows(peer):
            raise AgentRefused(
                problem=Phrase("this key is not for the program {program}", program=peer.path or "?"),
                remedy=Phrase("Name it with 'dojang agent start --allow-program', or use --no-agent."),
            )


def check_program_file(path: str) -> str:
    """The absolute path of a program that can be told from others; a script runs as its interpreter, which cannot."""
    try:
        full = Path(path).resolve()
        with full.open("rb") as file:
            script = file.read(2) == b"#!"
    except OSError as error:
        problem = Phrase("the program {path} cannot be read ({detail})", path=path, detail=error.strerror)
        raise NotPermitted(problem=problem, remedy=Phrase("Name the program's own file.")) from error
    if script:
        raise NotPermitted(
            problem=Phrase("{path} is a script, which the system shows as its interpreter", path=path),
            remedy=Phrase("Name the interpreter, and know that every script it runs may then sign."),
        )
    return str(full)


def confirm(environment: Mapping[str, str], question: str, key: str, peer: Peer) -> None:
    """Ask the person whether ``key`` may sign for ``peer``; ``AgentRefused`` for no, and where nobody can be asked.

    The program is ``DOJANG_CONFIRM``, else ``SSH_ASKPASS``; it is called as ``ssh-askpass`` is, and exits 0 for yes.
    """
    program = confirming_program(environment, key)
    asked = question.format_map({"program": peer.path or "?", "pid": peer.pid, "address": key})
    with _asking:
        if not _said_yes(program, asked, environment):
            raise AgentRefused(
                problem=Phrase("a signature by {address} was not confirmed", address=key),
                remedy=Phrase("Run the command again and allow it."),
            )


def confirming_program(environment: Mapping[str, str], key: str) -> str:
    """The program that asks the person; ``AgentRefused`` where none is named."""
    program = environment.get("DOJANG_CONFIRM") or environment.get("SSH_ASKPASS")
    if not program:
        raise AgentRefused(
            problem=Phrase("signatures by {address} must be confirmed, and no program is there to ask", address=key),
            remedy=Phrase("Start the agent with DOJANG_CONFIRM or SSH_ASKPASS set to a program like ssh-askpass."),
        )
    return program


def _said_yes(program: str, question: str, environment: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - the person names the program
            [program, question],
            env={**environment, "SSH_ASKPASS_PROMPT": "confirm"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _identity(path: str) -> tuple[int, int] | None:
    try:
        return identity_of(Path(path))
    except OSError:
        return None
