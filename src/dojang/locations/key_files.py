"""Key files of one location: opened with a password that is asked when it is needed, sealed in the form that is set."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.errors import (
    FileUnreadable,
    InputRequired,
    NotPermitted,
    PasswordIncorrect,
    PasswordWithheld,
    Phrase,
    UnsupportedFormat,
)
from dojang.locations.base import PasswordProvider
from dojang.locations.file_disk import locked
from dojang.locations.password_tries import UNCOUNTED, PasswordTries
from dojang.npki.files import read_file, write_files
from dojang.npki.keyfile import MAX_FILE_BYTES, KeyFileForm, check_key_file, is_unencrypted

if TYPE_CHECKING:
    from dojang.npki.keyfile import Sealing
    from dojang.npki.pkcs8 import Pkcs8
    from dojang.secret import Secret


@dataclass(frozen=True, slots=True)
class OpenedKeyFile:
    """What a key file holds, and the password that opened it; none where it is not encrypted."""

    pkcs8: "Pkcs8"
    password: "Secret | None" = None
    sealing: "Sealing | None" = None  # what a successor under the same password can be sealed with


class KeyFiles:
    """Opens and seals; keeps nothing."""

    def __init__(
        self,
        passwords: PasswordProvider | None = None,
        form: KeyFileForm | None = None,
        tries: PasswordTries | None = None,
        shown: Callable[[Path], str] = str,
    ) -> None:
        """``form`` is what new files are written in; ``tries`` counts wrong passwords; ``shown`` is how people know a
        path.
        """
        self._passwords = passwords
        self._form = form or KeyFileForm()
        self._tries = tries or UNCOUNTED
        self._shown = shown

    def seal(
        self,
        pkcs8: "Pkcs8",
        password: "Secret",
        replaces: Path | None = None,
        predecessor: "OpenedKeyFile | None" = None,
    ) -> bytes:
        """A key file, its attributes (R) in it; the one that it ``replaces`` may have a say in its form.

        ``predecessor`` is that one opened: under the same password the work of deriving a key is not done twice.
        """
        replaced_der = b"" if replaces is None else read_file(replaces, at_most=MAX_FILE_BYTES)
        same = predecessor is not None and predecessor.password == password
        return self._form.seal(pkcs8, password, replaced_der, predecessor.sealing if predecessor and same else None)

    def open(self, path: Path, likely: "Iterable[Secret | None]" = ()) -> OpenedKeyFile:
        """The key file at ``path``; see ``open_data``."""
        return self.open_data(read_file(path, at_most=MAX_FILE_BYTES), self._shown(path), likely)

    def open_data(self, der: bytes, name: str, likely: "Iterable[Secret | None]" = ()) -> OpenedKeyFile:
        """What is in the key file ``name``. The passwords of files beside it are tried before its own is asked for.

        ``PasswordIncorrect`` for a wrong password and for damage alike.
        """
        check_key_file(der, name)
        known = self._first(der, name, likely)
        if known is not None:
            return known
        return self._by(der, name, [] if is_unencrypted(der) else [self._asked(der, name)])

    def change_password(self, path: Path, beside: Sequence[Path], elsewhere: Sequence[Path]) -> OpenedKeyFile:
        """Put ``path`` and the files ``beside`` it under a new password, and those ``elsewhere`` that share its old.

        Everything is opened and written aside before anything takes its place, ``path`` last. So what a killed run
        left opens with the old or the new password, and the next run with the same two finds what is still to be done.
        """
        der, name = self._read(path)
        old = None if is_unencrypted(der) else self._asked(der, name)
        new = self.password(path, new=True)
        with locked(path, *beside, *elsewhere):
            main = self._by(*self._read(path), (old, new))
            found = [(one, self._shared(one, (old, new))) for one in elsewhere]
            found += [(one, self.open(one, likely=(old, new))) for one in beside]
            write_files(
                [
                    (one, self.seal(opened.pkcs8, new, replaces=one), one.stat())
                    for one, opened in [*found, (path, main)]
                    if opened is not None and (old == new or opened.password != new)
                ]
            )
        return OpenedKeyFile(main.pkcs8, new)

    def brought_under(self, new: "Secret", path: Path, likely: "Iterable[Secret | None]" = ()) -> bytes:
        """The key file at ``path`` under the password ``new``; as it is where nobody gives the one that opens it.

        Nobody is asked for it where one of the ``likely`` ones does.
        """
        der, name = read_file(path, at_most=MAX_FILE_BYTES), self._shown(path)
        opened = None
        with suppress(InputRequired, NotPermitted, PasswordIncorrect, PasswordWithheld, UnsupportedFormat):
            check_key_file(der, name)
            opened = self._first(der, name, [new, *likely])
            if opened is None and (old := self._asked(der, name)) != new:
                opened = self._by(der, name, [old])
        if opened is None or opened.password in (None, new):
            return der
        return self.seal(opened.pkcs8, new, replaces=path)

    def password(self, path: Path, *, new: bool) -> "Secret":
        """The password for ``path``; ``InputRequired`` where nobody gives any."""
        return self._given(self._shown(path), new=new)

    def _asked(self, der: bytes, name: str) -> "Secret":
        """Nobody is asked for a password that would not be tried."""
        self._tries.check(name, der)
        return self._given(name, new=False)

    def _given(self, name: str, *, new: bool) -> "Secret":
        if self._passwords is None:
            raise InputRequired(what=Phrase("The password for {path}", path=name), option="--password-source")
        return self._passwords(name, new)

    def _read(self, path: Path) -> tuple[bytes, str]:
        der, name = read_file(path, at_most=MAX_FILE_BYTES), self._shown(path)
        check_key_file(der, name)
        return der, name

    def _shared(self, path: Path, passwords: "Iterable[Secret | None]") -> OpenedKeyFile | None:
        """What one of these opens; a file that none of them does, or that is damaged, is somebody else's business."""
        try:
            return self._first(*self._read(path), passwords)
        except (FileUnreadable, NotPermitted, PasswordIncorrect, UnsupportedFormat):
            return None

    def _by(self, der: bytes, name: str, passwords: "Iterable[Secret | None]") -> OpenedKeyFile:
        with nullcontext() if is_unencrypted(der) else self._tries.counted(name, der):
            opened = self._first(der, name, passwords)
            if opened is None:
                raise PasswordIncorrect(path=name)
        return opened

    def _first(self, der: bytes, name: str, passwords: "Iterable[Secret | None]") -> OpenedKeyFile | None:
        """By the first that opens it; what is not encrypted needs none of them."""
        for password in [None] if is_unencrypted(der) else passwords:
            try:
                pkcs8, sealing = self._form.open(der, password, name)
            except PasswordIncorrect:
                continue
            return OpenedKeyFile(pkcs8, password, sealing)
        return None
