"""An NPKI folder on disk: the key encrypted under a password, the certificate beside it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dojang.errors import Ambiguous, DojangError, FileMalformed, FileUnreadable, KeyMismatch, NotFound, Phrase
from dojang.locations.address import DiskAddress, RemovableAddress
from dojang.locations.base import IN_USE, Access, Companions, PasswordProvider, StoredCredential, Traits
from dojang.locations.claims import ClaimBoard, FolderBoard
from dojang.locations.disk_names import live_under, may_name, named_by
from dojang.locations.key_files import KeyFiles, OpenedKeyFile
from dojang.npki import shelves
from dojang.npki.contents import (
    CA_PUBS,
    KEY,
    KM_CERTIFICATE,
    KM_KEY,
    belongs,
    files_beside_key,
    files_of_key,
    forget_replaced,
    read_chain,
)
from dojang.npki.files import read_file
from dojang.npki.folder import STAGING, KeyFolder, Place, exact_folder, path_in, scan, settled, staged_folder, succeeds
from dojang.npki.keyfile import MAX_FILE_BYTES, KeyFileForm, generate_key, load_key
from dojang.npki.names import comparable, subject_folder_name
from dojang.npki.pkcs8 import Pkcs8, new_random_number

if TYPE_CHECKING:
    from dojang.locations.address import Address
    from dojang.locations.base import PrivateKey
    from dojang.locations.password_tries import PasswordTries
    from dojang.secret import Secret

KIND: Final = "disk"
TRAITS: Final = Traits(key_leaves=True, copyable=True, opened_by="password", holds_r=True)

# A switch takes two renames; who looks between them looks again.
_LOOK_AGAIN_AFTER: Final = (0.02, 0.05, 0.1, 0.2)


class DiskLocation:
    """The credentials below one NPKI root. Keeps every key it opened until it is forgotten itself."""

    kind = KIND
    traits = TRAITS
    companions_held = frozenset({"km", "ca_pubs"})

    def __init__(
        self,
        root: Path,
        passwords: PasswordProvider | None = None,
        form: KeyFileForm | None = None,
        tries: "PasswordTries | None" = None,
        *,
        address: DiskAddress | RemovableAddress | None = None,
        shown: Callable[[Path], str] = str,
    ) -> None:
        """``form`` is how key files are written here; ``tries`` counts wrong passwords.

        ``address`` is the location's where that is not the root's, and ``shown`` how people know a path below it.
        """
        self.root = root
        self._address = address or DiskAddress(str(root))
        self._location = self._address.location().to_text()
        self._files = KeyFiles(passwords, form, tries, shown)
        self._opened: dict[bytes, tuple[OpenedKeyFile, PrivateKey]] = {}
        self._seen: dict[bytes, list[str]] = {}  # by key_id: the names of the folders that it was found in or moved to
        self._left_out: list[str] = []
        self._numbers: dict[bytes, Secret] = {}  # R of keys to come

    @property
    def address(self) -> str:
        return self._address.to_text()

    def check_present(self) -> None:
        if not self.root.is_dir():
            raise FileUnreadable(path=str(self.root), problem="it is not there")

    def claim_board(self) -> ClaimBoard:
        return FolderBoard(self.root / STAGING)

    def credentials(self) -> Iterator[StoredCredential]:
        folders = self._scan()
        return (self._credential(folder) for folder in settled(folders))

    def damaged(self) -> list[tuple[str, DojangError]]:
        return [(self._address.folder_text(self._location, name), self._damage(name)) for name in self._left_out]

    def find(self, address: str) -> StoredCredential:
        wanted = self._address.from_text(address)
        if (known := self._known(wanted)) is not None:
            return self._credential(known)
        for pause in (*_LOOK_AGAIN_AFTER, None):
            found = named_by(wanted, settled(self._scan()))
            if found or pause is None or not wanted.names_credential:
                break
            time.sleep(pause)
        if not found:
            for name in filter(partial(may_name, wanted), self._left_out):
                raise self._damage(name)
            what = f"'{address}'" if wanted.names_credential else IN_USE
            raise NotFound(what=what, where=self.address, command=f"dojang cert list '{self.address}'")
        if len(found) > 1:
            matches = ", ".join(self._credential(folder).address for folder in found)
            raise Ambiguous(what=f"'{address}'", matches=matches)
        return self._credential(found[0])

    def chain_of(self, certificate_der: bytes) -> tuple[bytes, ...]:
        for folder in scan(self.root):
            if folder.certificate_der == certificate_der:
                return read_chain(folder.path)
        return ()

    def check_free(self, *, label: str, subject_der: bytes) -> None:
        wanted = comparable(subject_folder_name(subject_der))
        for folder in scan(self.root):
            if folder.place is Place.LIVE and comparable(folder.path.name) == wanted:
                raise shelves.subject_taken(folder.path.name, self.address)

    def generate(self, algorithm: str, *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        key = generate_key(algorithm, where=self.address)
        random_number = self._numbers.pop(key_id, None) or new_random_number()
        return self._stage(Pkcs8.from_key(key, random_number), key, key_id, replaces)

    def keep_random_number(self, random_number: "Secret", *, key_id: bytes, replaces: bytes | None = None) -> None:
        del replaces  # R goes into the key file itself
        self._numbers[key_id] = random_number

    def import_key(self, key: Pkcs8, *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        return self._stage(key, load_key(key, self.address), key_id, replaces)

    def private_key(self, key_id: bytes) -> "PrivateKey":
        return self._open(key_id)[1]

    def export_key(self, key_id: bytes) -> Pkcs8:
        return self._open(key_id)[0].pkcs8

    def has_key(self, key_id: bytes) -> bool:
        if self._live_key(key_id) or any(folder.key_path is not None for folder in self._near(key_id) or ()):
            return True
        try:
            return bool(self._keys(key_id))
        except NotFound:
            return False

    def install(
        self,
        *,
        key_id: bytes,
        label: str,
        certificate_der: bytes,
        chain_der: Sequence[bytes] = (),
        replaces: bytes | None = None,
    ) -> StoredCredential:
        folders = self._folders(key_id, *([] if replaces is None else [replaces]))
        done = (Place.LIVE,) if replaces is None else (Place.LIVE, Place.STAGED)
        for folder in folders:
            if (folder.certificate_der, folder.key_id) == (certificate_der, key_id) and folder.place in done:
                return self._credential(folder)
        replaced = None if replaces is None else live_under(folders, replaces)
        files = files_beside_key(key_id, certificate_der, chain_der, replaced.name if replaced else None)
        if replaced is not None:
            along = shelves.files_that_go_along(replaced)
            begun = shelves.staged_path(self.root, key_id)  # companions that were brought with the key stay
            files = {name: data for name, data in along.items() if path_in(begun, name) is None} | files
        path = self._staged(key_id, folders, files)
        if replaces is None:
            path = shelves.place(self.root, path, certificate_der)
            self._remember(key_id, path)
        return self._at(path)

    def switch(self, *, old_key_id: bytes, new_key_id: bytes, certificate_der: bytes | None = None) -> StoredCredential:
        del certificate_der  # what is staged, and what replaces what, stands in the folders themselves
        folders = self._folders(old_key_id, new_key_id)
        staged = next((f for f in folders if f.place is Place.STAGED and f.key_id == new_key_id), None)
        if staged is None:
            return self._at(self._finish_switch(folders, old_key_id, new_key_id))
        old = live_under(folders, old_key_id)
        target = None
        if old is not None and shelves.stands_in_place_of(old, staged.certificate_der):
            target = old.path
            self._remember(old_key_id, shelves.retire(self.root, old))
            old = None
        if old is not None:
            shelves.mark_leaving(self.root, old_key_id)
        target = shelves.place(self.root, staged.path, staged.certificate_der, target)
        self._remember(new_key_id, target)
        # A new subject has a folder of its own: then the new one stood before the old one goes.
        if old is not None:
            self._remember(old_key_id, shelves.retire(self.root, old))
        forget_replaced(target, staged.key_id, staged.certificate_der)
        shelves.forget_leaving(self.root, old_key_id)
        return self._at(target)

    def export_companions(self, key_id: bytes) -> Companions:
        path = self._keys(key_id)[0][0].parent
        km_key = path_in(path, KM_KEY)
        return Companions(
            _contents(path_in(path, KM_CERTIFICATE)),
            self._files.open(km_key, likely=[self._open(key_id)[0].password]).pkcs8 if km_key else None,
            _contents(path_in(path, CA_PUBS)),
        )

    def import_companions(self, companions: Companions, *, key_id: bytes) -> None:
        path = self._keys(key_id)[0][0].parent
        files = {KM_CERTIFICATE: companions.km_certificate_der, CA_PUBS: companions.ca_pubs}
        if companions.km_key is not None:
            password = self._open(key_id)[0].password or self._files.password(path / KM_KEY, new=True)
            files = {KM_KEY: self._files.seal(companions.km_key, password)} | files
        shelves.add_files(path, {name: data for name, data in files.items() if data})

    def change_password(self, key_id: bytes) -> None:
        """Retired copies of the keys go along where they are under the same password."""
        main, *others = [path for path, _ in self._keys(key_id)]
        km_key = path_in(main.parent, KM_KEY)
        others += [one for path in others if (one := path_in(path.parent, KM_KEY)) is not None]
        opened = self._files.change_password(main, beside=[km_key] if km_key else [], elsewhere=others)
        self._opened[key_id] = opened, load_key(opened.pkcs8, str(main))

    def retire(self, key_id: bytes) -> StoredCredential:
        folders = list(scan(self.root))
        live = live_under(folders, key_id)
        if live is not None:
            return self._at(shelves.retire(self.root, live))
        done = next((f.path for f in folders if f.key_id == key_id and f.place is Place.RETIRED), None)
        if done is None:
            raise NotFound(what=key_id.hex(), where=self.address, command=f"dojang cert list '{self.address}'")
        return self._at(done)

    def discard(self, key_id: bytes) -> None:
        shelves.clear_staging(self.root, key_id)
        self._forget(key_id)

    def delete(self, key_id: bytes) -> None:
        self._forget(key_id)
        for folder in list(scan(self.root)):
            if folder.key_id == key_id:
                shelves.remove(self.root, folder.path, key_id)
        shelves.clear_staging(self.root, key_id)

    def _forget(self, key_id: bytes) -> None:
        self._opened.pop(key_id, None)
        self._numbers.pop(key_id, None)

    def _scan(self) -> list[KeyFolder]:
        """All folders; those that are damaged are kept in mind."""
        self._left_out = []
        return list(scan(self.root, self._left_out))

    def _damage(self, name: str) -> DojangError:
        return FileMalformed(
            path=str(self.root / name),
            expected=Phrase("a certificate folder"),
            problem=Phrase("there is no certificate in it that can be read"),
            next_step="Restore its signCert.der from a backup, or have its issuer send the certificate again.",
        )

    def _finish_switch(self, folders: list[KeyFolder], old_key_id: bytes, new_key_id: bytes) -> Path:
        """Nothing is staged any more; a switch that was cut short may still have to retire the old folder."""
        new = next((f for f in folders if f.place is Place.LIVE and f.key_id == new_key_id and f.replaces), None)
        new = new or live_under(folders, new_key_id)
        if new is None:
            raise NotFound(what="The new credential", where=self.address, command=f"dojang cert list '{self.address}'")
        if new.replaces:
            for folder in folders:
                if folder.place is Place.LIVE and folder.key_id == old_key_id and succeeds(new, folder):
                    shelves.retire(self.root, folder)
            forget_replaced(new.path, new.key_id, new.certificate_der)
        shelves.forget_leaving(self.root, old_key_id)
        return new.path

    def _staged(self, key_id: bytes, folders: list[KeyFolder], files: dict[str, bytes]) -> Path:
        """The staging folder with the certificate in it; made of the live one's key when that key is kept."""
        if shelves.is_staged(self.root, key_id):
            path = shelves.staged_path(self.root, key_id)
            shelves.add_files(path, files)
            return path
        kept = live_under(folders, key_id)
        if kept is None:
            raise NotFound(what="The private key", where=self.address, command=f"dojang cert list '{self.address}'")
        return shelves.stage_copy(self.root, kept, files)

    def _stage(self, pkcs8: Pkcs8, key: "PrivateKey", key_id: bytes, replaces: bytes | None) -> "PrivateKey":
        """Make the staging folder with the key in it, under a new password.

        The km key of the one that it replaces comes under the same where somebody knows its own, else stays as it is.
        """
        password = self._files.password(self.root, new=True)
        replaced = None if replaces is None else live_under(self._folders(replaces), replaces)
        old = self._opened[replaced.key_id][0] if replaced and replaced.key_id in self._opened else None
        sealed = self._files.seal(pkcs8, password, replaces=replaced.key_path if replaced else None, predecessor=old)
        km_key = path_in(replaced.path, KM_KEY) if replaced else None
        likely = [old.password] if old else []
        along = {KM_KEY: self._files.brought_under(password, km_key, likely)} if km_key else {}
        shelves.clear_staging(self.root, key_id)
        shelves.stage(self.root, key_id, files_of_key(key_id, key, sealed) | along)
        self._opened[key_id] = OpenedKeyFile(pkcs8, password), key
        self._seen.setdefault(key_id, [])
        return key

    def _open(self, key_id: bytes) -> "tuple[OpenedKeyFile, PrivateKey]":
        """The key under ``key_id``, opened once; ``KeyMismatch`` where the certificate beside it is another key's."""
        if key_id not in self._opened:
            path, certificate_der = self._key_in_use(key_id)
            opened = self._files.open(path)
            key = load_key(opened.pkcs8, str(path))
            if certificate_der and not belongs(key, certificate_der):
                raise KeyMismatch(path=path)
            self._opened[key_id] = opened, key
        return self._opened[key_id]

    def _key_in_use(self, key_id: bytes) -> tuple[Path, bytes]:
        """The first of ``_keys``, without a look at all folders where it is known."""
        return self._live_key(key_id) or self._keys(key_id)[0]

    def _live_key(self, key_id: bytes) -> tuple[Path, bytes] | None:
        """The key file in use under ``key_id`` and its certificate, where they were seen and still are."""
        for name in self._seen.get(key_id, ()):
            folder = exact_folder(self.root, name)
            if folder is not None and folder.key_id == key_id and folder.place is Place.LIVE and folder.key_path:
                return folder.key_path, folder.certificate_der
        return None

    def _keys(self, key_id: bytes) -> list[tuple[Path, bytes]]:
        """The key files under ``key_id``, the live one first and retired copies last, and their certificates.

        One without any is staged. ``NotFound`` where there is no key file.
        """
        folders = [folder for folder in scan(self.root) if folder.key_id == key_id]
        found = [(folder.key_path, folder.certificate_der) for folder in folders if folder.key_path is not None]
        begun = shelves.staged_path(self.root, key_id) / KEY
        if not found and begun.exists():
            found = [(begun, b"")]
        if not found:
            raise NotFound(what="The private key", where=self.address, command=f"dojang cert list '{self.address}'")
        return found

    def _known(self, wanted: DiskAddress | RemovableAddress) -> KeyFolder | None:
        """A folder that is named exactly, or was seen under the ``key_id`` that is wanted, as it is now."""
        if wanted.key_id is not None:
            folders = self._near(wanted.key_id) or []
            sure = len(folders) == 1 and folders[0].place is not Place.STAGED
            return folders[0] if sure and not shelves.is_leaving(self.root, wanted.key_id) else None
        folder = exact_folder(self.root, wanted.folder) if wanted.folder else None
        if folder is not None and folder.replaces is None and not shelves.is_leaving(self.root, folder.key_id):
            if folder.place is Place.LIVE:
                self._seen.setdefault(folder.key_id, [folder.name])
            return folder
        return None

    def _near(self, *key_ids: bytes) -> list[KeyFolder] | None:
        """The folders under these ``key_id``, read where they were seen, and what is staged; ``None`` where that is
        not known or not so any more.
        """
        found = []
        for key_id in key_ids:
            if key_id not in self._seen:
                return None
            here = [exact_folder(self.root, name) for name in self._seen[key_id]]
            if any(folder is None or folder.key_id != key_id for folder in here):
                return None
            staged = staged_folder(self.root, key_id)
            if not here and staged is None and not shelves.is_staged(self.root, key_id):
                return None  # it is somewhere else by now
            found += [folder for folder in (*here, staged) if folder is not None]
        return found

    def _folders(self, *key_ids: bytes) -> list[KeyFolder]:
        """At least those under these ``key_id``; all there are, unless it is known where those lie."""
        near = self._near(*dict.fromkeys(key_ids))
        return list(scan(self.root)) if near is None else near

    def _remember(self, key_id: bytes, path: Path) -> None:
        self._seen[key_id] = [path.relative_to(self.root).as_posix()]

    def _at(self, path: Path) -> StoredCredential:
        folder = exact_folder(self.root, path.relative_to(self.root).as_posix())
        if folder is not None and folder.replaces is None:
            return self._credential(folder)
        staged = staged_folder(self.root, bytes.fromhex(path.name)) if path.parent.name == STAGING else None
        if staged is not None and staged.replaces and exact_folder(self.root, staged.replaces) is not None:
            return self._credential(staged)
        for folder in settled(list(scan(self.root))):
            if folder.path == path:
                return self._credential(folder)
        raise FileUnreadable(path=str(path), problem="another program changed it meanwhile")

    def _credential(self, folder: KeyFolder) -> StoredCredential:
        return StoredCredential(
            address=self._address.folder_text(self._location, folder.name),
            kind=self.kind,
            label=folder.common_name or folder.path.name,
            key_id=folder.key_id,
            certificate_der=folder.certificate_der,
            has_key=folder.key_name is not None,
            staged=folder.place is Place.STAGED,
            retired=folder.place is Place.RETIRED,
            seen=folder.seen,
        )


def _contents(path: Path | None) -> bytes:
    return read_file(path, at_most=MAX_FILE_BYTES) if path else b""


@contextmanager
def open_at(address: "Address", access: Access) -> Iterator[DiskLocation]:
    """The NPKI folder of an address; it need not exist yet."""
    assert isinstance(address, DiskAddress)
    yield DiskLocation(Path(address.root), access.passwords, access.key_files, access.tries)
