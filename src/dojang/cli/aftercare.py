"""After something new was made: what was checked of it, and how to be ready for its loss."""

import re
import shlex
from typing import TYPE_CHECKING, Any

from dojang.cli.language import _
from dojang.cli.location import checked_lines, checks_data
from dojang.errors import VerificationFailed

if TYPE_CHECKING:
    from dojang.lifecycle.held import Held
    from dojang.lifecycle.workplace import Check


class Aftercare:
    """Collects what a verb has checked: ``heard`` is what the workplace tells."""

    def __init__(self) -> None:
        self.checks: tuple[Check, ...] = ()

    def heard(self, checks: "tuple[Check, ...]") -> None:
        """A later credential's checks come after an earlier one's."""
        self.checks += checks

    @property
    def exit_status(self) -> int:
        """What is made is made; a check that fails is still told by the status."""
        return 0 if all(check.ok for check in self.checks) else VerificationFailed.exit_status

    def data(self, held: "Held") -> dict[str, Any]:
        """``checks`` and ``next`` as every command prints them with ``--json``."""
        return {"checks": checks_data(self.checks), "next": next_steps(held)}

    def lines(self, held: "Held") -> list[str]:
        """The same for people."""
        if held.traits.copyable:
            advice = [_("Back it up, in case it is lost:")]
        else:
            advice = [_("Its key cannot be copied, so it has no backup: have a second certificate on another token,")]
            advice += [_("or, when this one is lost, a new one for the rest of the term:")]
        return [*checked_lines(self.checks), "", *map("\n".join, zip(advice, self._indented(held), strict=True))]

    def _indented(self, held: "Held") -> list[str]:
        return [f"  {command}" for command in next_steps(held)]


def next_steps(held: "Held") -> list[str]:
    """The commands that make ready for the loss of a credential, or that help then."""
    if held.traits.copyable:
        name = re.sub(r"[^\w.-]+", "-", held.stored.label).strip("-.") or "credential"
        return [f"dojang location backup {shlex.quote(held.stored.address)} --to {shlex.quote(name)}-backup.p12"]
    subject = shlex.quote(held.facts.subject)
    return [
        f"dojang cert issue --to pkcs11:token=SECOND --subject {subject}",
        f"dojang cert reissue --serial {held.facts.serial} --to pkcs11:token=OTHER",
    ]
