"""A location that is one file with several credentials; what the file looks like is its kind's business."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dojang.errors import Ambiguous, DojangError, FileMalformed, FileUnreadable, NotFound, Phrase
from dojang.locations import file_contents
from dojang.locations.base import IN_USE, StoredCredential, Traits
from dojang.locations.claims import ClaimBoard, FolderBoard
from dojang.locations.file_contents import Contents, KeptCertificate, KeptKey, common_name
from dojang.locations.file_disk import locked, sweep
from dojang.locations.issuers import not_before
from dojang.npki.certificates import load_certificate
from dojang.npki.contents import public_key_hash
from dojang.npki.keyfile import generate_key, load_key
from dojang.npki.names import comparable
from dojang.npki.pkcs8 import Pkcs8, new_random_number

if TYPE_CHECKING:
    from dojang.locations.address import PemAddress, Pkcs12Address
    from dojang.locations.base import PrivateKey
    from dojang.secret import Secret

_LONGEST_NAME = 1000
_NAME_IN_CLAIMS = 40  # a claim's own name is a hundred characters and more


class CredentialFile(Protocol):
    """How one kind of file is read and written. It remembers what it read last, to tell when another was put there."""

    @property
    def paths(self) -> tuple[Path, ...]: ...

    def read(self) -> Contents:
        """What lies there now; nothing where there is no file."""
        ...

    def write(self, contents: Contents) -> None:
        """Replace what was read last; ``FileChanged`` where another is there."""
        ...

    def remove(self) -> None:
        """Remove what was read last."""
        ...

    def sealed(self, pkcs8: Pkcs8) -> object:
        """A new key as ``KeptKey.held``; the password is asked for if it is not known."""
        ...

    def open(self, key: KeptKey) -> Pkcs8:
        """``PasswordIncorrect`` for a wrong password and for damage alike."""
        ...

    def identified(self, contents: Contents) -> Contents:
        """The same with the owner of every key known; keys are opened for it."""
        ...

    def change_password(self, key_id: bytes) -> None:
        """Put what ``key_id`` names, and what shares its password, under a new one."""
        ...


class FileLocation:
    """The credentials in one file. Keeps every key it opened until it is forgotten itself."""

    kind: str
    traits: Traits

    def __init__(self, address: "Pkcs12Address | PemAddress", file: CredentialFile) -> None:
        self._address = address.location()
        self._file = file
        self._opened: dict[bytes, PrivateKey] = {}
        self._emptied = False
        self._numbers: dict[bytes, Secret] = {}  # R of keys to come

    @property
    def address(self) -> str:
        return self._address.to_text()

    @property
    def holds_r(self) -> bool:
        return True

    def check_present(self) -> None:
        if not any(path.exists() for path in self._file.paths):
            raise FileUnreadable(path=str(self._file.paths[0]), problem="it is not there")

    def claim_board(self) -> ClaimBoard:
        path = Path(os.path.realpath(self._file.paths[0]))
        return FolderBoard(path.parent, prefix=f".{path.name[:_NAME_IN_CLAIMS]}.")

    def credentials(self) -> Iterator[StoredCredential]:
        contents = self._file.read()
        return (self._credential(contents, one) for one in contents.certificates)

    def find(self, address: str) -> StoredCredential:
        wanted, contents = self._address.from_text(address), self._file.read()
        found = _matching(contents, wanted)
        if not found:
            raise self._missing(f"'{address}'" if wanted.names_credential else IN_USE)
        if len(found) > 1:
            matches = ", ".join(self._credential(contents, one).address for one in found)
            raise Ambiguous(what=f"'{address}'", matches=matches)
        return self._credential(contents, found[0])

    def chain_of(self, certificate_der: bytes) -> tuple[bytes, ...]:
        return self._file.read().chain_of(certificate_der)

    def check_free(self, *, label: str, subject_der: bytes) -> None:
        file_contents.check_label(self._file.read(), label, None, self.address)

    def generate(self, algorithm: str, *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        key = generate_key(algorithm, where=self.address)
        random_number = self._numbers.pop(key_id, None) or new_random_number()
        return self._take(Pkcs8.from_key(key, random_number), key, key_id, label, replaces)

    def keep_random_number(self, random_number: "Secret", *, key_id: bytes, replaces: bytes | None = None) -> None:
        del replaces  # R goes with the key itself
        self._numbers[key_id] = random_number

    def import_key(self, key: Pkcs8, *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        return self._take(key, load_key(key, self.address), key_id, label, replaces)

    def private_key(self, key_id: bytes) -> "PrivateKey":
        if key_id not in self._opened:
            self._opened[key_id] = load_key(self.export_key(key_id), str(self._file.paths[-1]))
        return self._opened[key_id]

    def export_key(self, key_id: bytes) -> Pkcs8:
        contents = self._file.read()
        kept = self._key(contents, key_id)
        if kept is None:
            raise self._missing(Phrase("The private key"))
        pkcs8 = self._file.open(kept)
        self._refuse_mismatch(contents.under(key_id), pkcs8)
        return pkcs8

    def random_number(self, key_id: bytes) -> "Secret | None":
        return self.export_key(key_id).random_number

    def has_key(self, key_id: bytes) -> bool:
        return self._key(self._file.read(), key_id) is not None

    def install(
        self,
        *,
        key_id: bytes,
        label: str,
        certificate_der: bytes,
        chain_der: Sequence[bytes] = (),
        replaces: bytes | None = None,
    ) -> StoredCredential:
        def change(contents: Contents) -> Contents:
            if self._key(contents, key_id) is None:
                raise self._missing(Phrase("The private key"))
            new = KeptCertificate(key_id, label, certificate_der)
            return file_contents.with_certificate(contents, new, chain_der, replaces, self.address)

        return self._stored(self._change(change), key_id, certificate_der)

    def switch(self, *, old_key_id: bytes, new_key_id: bytes, certificate_der: bytes | None = None) -> StoredCredential:
        stored: list[bytes] = []

        def change(contents: Contents) -> Contents:
            done, new = file_contents.switched(contents, old_key_id, new_key_id, certificate_der, self.address)
            stored.append(new.der)
            return self._handed_over(done, old_key_id, new_key_id)

        return self._stored(self._change(change), new_key_id, stored[-1])

    def _handed_over(self, contents: Contents, _old_key_id: bytes, _new_key_id: bytes) -> Contents:
        """The same, with what a kind of file keeps at a key besides."""
        return contents

    def retire(self, key_id: bytes) -> StoredCredential:
        contents = self._change(lambda contents: file_contents.retired(contents, key_id, self.address))
        newest = sorted(
            (one for one in contents.under(key_id) if one.state.retired), key=lambda one: not_before(one.der)
        )
        return self._credential(contents, newest[-1])

    def discard(self, key_id: bytes) -> None:
        assert key_id  # an empty one is every key's whose owner is not known
        self._forget(key_id)
        self._change(lambda contents: file_contents.discarded(contents, key_id))

    def delete(self, key_id: bytes) -> None:
        assert key_id
        self._forget(key_id)
        self._change(lambda contents: file_contents.deleted(contents, key_id))

    def change_password(self, key_id: bytes) -> None:
        self._file.change_password(key_id)

    def _forget(self, key_id: bytes) -> None:
        self._opened.pop(key_id, None)
        self._numbers.pop(key_id, None)

    def tidy(self) -> None:
        """Remove the file if what was done here has left nothing in it."""
        if self._emptied:
            with suppress(DojangError), locked(*self._file.paths):
                if self._file.read().empty:
                    self._file.remove()

    def _take(self, pkcs8: Pkcs8, key: "PrivateKey", key_id: bytes, label: str, replaces: bytes | None) -> "PrivateKey":
        if replaces is None:  # looked at again below; here, so that nobody types a password for nothing
            file_contents.check_label(self._file.read(), label, key_id, self.address)
        new = KeptKey(key_id, label, self._file.sealed(pkcs8))
        self._change(lambda contents: file_contents.with_key(contents, new, label, replaces, self.address))
        self._opened[key_id] = key
        return key

    def _change(self, change: Callable[[Contents], Contents]) -> Contents:
        """Replace the file by what ``change`` makes of what lies there now, in one step and alone."""
        self._file.read()  # asks for the password, if at all, while nobody is kept waiting
        with locked(*self._file.paths):
            before = self._file.read()
            after = change(before)
            if after != before:
                self._file.write(after)
                self._emptied = after.empty
            else:
                for path in self._file.paths:
                    sweep(path)
        return after

    def _key(self, contents: Contents, key_id: bytes) -> KeptKey | None:
        found = contents.key(key_id)
        if found is None and any(not one.key_id for one in contents.keys):
            found = self._file.identified(contents).key(key_id)
        return found

    def _refuse_mismatch(self, certificates: Sequence[KeptCertificate], pkcs8: Pkcs8) -> None:
        """A file may say that a key belongs to a certificate, and be wrong."""
        if not certificates:
            return
        path = str(self._file.paths[-1])
        own = public_key_hash(load_key(pkcs8, path).public_key())
        if any(public_key_hash(load_certificate(one.der).public_key()) != own for one in certificates):
            raise FileMalformed(
                path=path,
                expected=Phrase("a key with its certificate"),
                problem=Phrase("the key belongs to another certificate"),
            )

    def _stored(self, contents: Contents, key_id: bytes, certificate_der: bytes) -> StoredCredential:
        return self._credential(contents, next(one for one in contents.under(key_id) if one.der == certificate_der))

    def _missing(self, what: str) -> NotFound:
        return NotFound(what=what, where=self.address, command=f"dojang cert list '{self.address}'")

    def _credential(self, contents: Contents, one: KeptCertificate) -> StoredCredential:
        unknown = any(not key.key_id for key in contents.keys)
        return StoredCredential(
            address=self._address_of(contents, one).to_text(),
            kind=self.kind,
            label=one.label,
            key_id=one.key_id,
            certificate_der=one.der,
            has_key=True if contents.key(one.key_id) else None if unknown else False,
            staged=one.state.staged,
            retired=one.state.retired,
        )

    def _address_of(self, contents: Contents, one: KeptCertificate) -> "Pkcs12Address | PemAddress":
        """By its name, which outlives renewals, else by its id, else by its name and state: what finds only this."""
        by_id = replace(self._address, key_id=one.key_id)
        choices = [by_id]
        if "\0" not in one.label and 0 < len(one.label) <= _LONGEST_NAME:
            by_label = replace(self._address, common_name=one.label)
            choices = [by_label, by_id] if one.state.live else [by_id, by_label]
        return next((choice for choice in choices if _matching(contents, choice) == [one]), by_id)


def _matching(contents: Contents, wanted: "Pkcs12Address | PemAddress") -> list[KeptCertificate]:
    """What an address names: by id the live one before staged and retired ones, by name live ones only, unless the
    name tells the state.
    """
    live = [one for one in contents.certificates if one.state.live]
    if wanted.key_id is not None:
        same = contents.under(wanted.key_id)
        staged = [one for one in same if one.state.staged]
        return _youngest([one for one in same if one.state.live]) or staged or same
    if wanted.common_name is None:
        return _youngest(live)
    exact = [one for one in contents.certificates if one.label == wanted.common_name]
    if exact:
        return _youngest(exact)
    name = comparable(wanted.common_name)
    named = [(one, comparable(common_name(load_certificate(one.der)))) for one in live]
    whole = [one for one, known in named if known == name]
    return _youngest(whole or [one for one, known in named if known.partition("(")[0] == name])


def _youngest(found: list[KeptCertificate]) -> list[KeptCertificate]:
    """Of several for one key, the one that a renewal put there last."""
    last = {one.key_id: one for one in sorted(found, key=lambda one: not_before(one.der))}
    return [one for one in found if last[one.key_id] == one] if len(found) > 1 else found
