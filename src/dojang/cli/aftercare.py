"""After something new was made: what was checked of it, and how to be ready for its loss."""

import re
import shlex
from typing import TYPE_CHECKING, Any

from dojang.cli.language import _
from dojang.cli.location import checked_lines, checks_data
from dojang.errors import VerificationFailed

if TYPE_CHECKING:
    from dojang.lifecycle.aftercare import LookedAfter
    from dojang.lifecycle.held import Held
    from dojang.lifecycle.workplace import Check


class Aftercare:
    """Collects what a verb has checked: ``heard`` is what the workplace tells."""

    def __init__(self) -> None:
        """Nothing has been told yet."""
        self.checks: tuple[Check, ...] = ()
        self._under: str | None = None

    def heard(self, told: "LookedAfter") -> None:
        """Of one new credential."""
        self.checks, self._under = told.checks, told.backup_under

    @property
    def exit_status(self) -> int:
        """What is made is made; a check that fails is still told by the status."""
        return 0 if all(check.ok for check in self.checks) else VerificationFailed.exit_status

    def data(self, held: "Held") -> dict[str, Any]:
        """``checks`` and ``next`` as every command prints them with ``--json``."""
        return {"checks": checks_data(self.checks), "next": next_steps(held, self._under)}

    def lines(self, held: "Held") -> list[str]:
        """The same for people."""
        if held.traits.copyable or self._under is not None:
            advice = [_("Back it up, in case it is lost:")]
        else:
            advice = [_("Its key cannot be copied, so it has no backup: have a second certificate on another token,")]
            advice += [_("or, when this one is lost, a new one for the rest of the term:")]
        steps = [f"  {command}" for command in next_steps(held, self._under)]
        return [*checked_lines(self.checks), "", *map("\n".join, zip(advice, steps, strict=True))]


def next_steps(held: "Held", backup_under: str | None = None) -> list[str]:
    """The commands that make ready for the loss of a credential, or that help then."""
    address, name = shlex.quote(held.stored.address), re.sub(r"[^\w.-]+", "-", held.stored.label).strip("-.")
    backup = f"dojang location backup {address} --to {shlex.quote(name or 'credential')}-backup"
    if backup_under is not None:
        return [f"{backup}.key --under {shlex.quote(backup_under)} --drill-to pkcs11:token=SECOND"]
    if held.traits.copyable:
        return [f"{backup}.p12"]
    subject = shlex.quote(held.facts.subject)
    return [
        f"dojang cert issue --to pkcs11:token=SECOND --subject {subject}",
        f"dojang cert reissue --serial {held.facts.serial} --to pkcs11:token=OTHER",
    ]
