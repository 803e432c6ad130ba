"""Passwords on the side that is written: the target of a copy, a new file, a backup."""

from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.frame import option
from dojang.cli.language import N_, _
from dojang.errors import InputRequired, Phrase

if TYPE_CHECKING:
    from dojang.secret import Secret

OPTION = "--new-password-source"
new_password_option = option(
    OPTION,
    "new_password_source",
    metavar="SRC",
    help=N_("Where the password of what is written comes from; asked for unless said."),
)


class NewPasswords:
    """Gives one password for all that one command writes, and opens that again with it; asked for once."""

    def __init__(self, invocation: Invocation, source: str | None) -> None:
        """Nothing is read and nobody is asked yet."""
        self._invocation = invocation
        self._source = source
        self._known: Secret | None = None
        self.guessed: set[str] = set()  # files that are there, opened with the password of the original

    def __call__(self, path: str, new: bool) -> "Secret":
        if self._known is None:
            self._known = self._ask(path, new)
        return self._known

    def _ask(self, path: str, new: bool) -> "Secret":
        """The source that was named, a person, or else the password that opens the original."""
        flags, settings = self._invocation.flags, self._invocation.settings
        if self._source is not None or self._invocation.can_ask:
            return self._invocation.secrets.password(self._source, path, new=new)
        if not (flags.password_source or settings.password_source):
            raise InputRequired(what=Phrase(N_("The password for {purpose}"), purpose=path), option=OPTION)
        if new:
            self._invocation.out.note(_("No new password was given; the copy keeps that of the original."))
        else:
            self.guessed.add(path)
        return self._invocation.password(path)
