"""``dojang completion``: the script that teaches a shell dojang's words."""

import click
from click.shell_completion import get_completion_class

from dojang.cli.context import Invocation
from dojang.cli.frame import argument, command
from dojang.cli.language import N_
from dojang.cli.run import COMPLETE_VARIABLE


@command(
    help=N_("Print the completion script for a shell; let the shell read it at start."),
    examples=['eval "$(dojang completion bash)"', "dojang completion fish > ~/.config/fish/completions/dojang.fish"],
)
@argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(invocation: Invocation, shell: str) -> None:
    """Print the script; with ``--json`` it is the field ``script``."""
    found = get_completion_class(shell)
    assert found is not None
    completer = found(click.Group(), {}, "dojang", COMPLETE_VARIABLE)
    script = completer.source_template % completer.source_vars()
    invocation.result({"shell": shell, "script": script}, script, quiet=[script])
