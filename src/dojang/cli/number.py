"""``--number-source``: whose a certificate is, by a VID of his number."""

from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.frame import option
from dojang.cli.language import N_

if TYPE_CHECKING:
    from dojang.lifecycle.person import AskNumber

OPTION = "--number-source"

number_option = option(
    OPTION,
    metavar="SRC",
    help=N_(
        "Where the owner's resident or business number comes from, for a certificate with a VID: prompt, env:NAME, "
        "file:PATH or fd:N. Only the VID, a hash of it, is kept; a local authority only."
    ),
)


def number_asker(invocation: Invocation, source: str | None, *, required: bool = False) -> "AskNumber | None":
    """What gives the number when it is wanted; where none is named, a person is asked if the profile requires one."""
    if source is None and not (required and invocation.can_ask):
        return None
    return lambda: invocation.secrets.number(source or "prompt", OPTION)
