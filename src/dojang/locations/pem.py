"""A PEM file with a certificate, its chain and its PKCS#8 key, or a pair of files as other programs have them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dojang.errors import FileMalformed, InputRequired, NotFound, PasswordIncorrect, Phrase
from dojang.locations.address import PemAddress
from dojang.locations.base import Access, Traits
from dojang.locations.file_contents import Contents, KeptKey
from dojang.locations.file_disk import ROOM_BYTES, ROOM_PIECES, Seen, locked, look, put, refuse_full, remove
from dojang.locations.file_location import FileLocation
from dojang.locations.password_tries import UNCOUNTED
from dojang.locations.pem_blocks import ENCRYPTED_KEY, MOST_BLOCKS, PLAIN_KEY, Block, read_blocks
from dojang.locations.pem_layout import laid_out, sorted_out
from dojang.npki.contents import public_key_hash
from dojang.npki.keyfile import KeyFileForm, check_key_file, load_key, open_pkcs8
from dojang.npki.pkcs8 import Pkcs8

if TYPE_CHECKING:
    from dojang.locations.address import Address
    from dojang.secret import Secret

KIND: Final = "pem"
TRAITS: Final = Traits(key_leaves=True, copyable=True, opened_by="password", holds_r=True)
MAX_FILE_BYTES: Final = 1 << 20


class PemLocation(FileLocation):
    """The credentials in one PEM file, or in one of certificates and one of keys."""

    kind = KIND
    traits = TRAITS


class PemFiles:
    """The file, or the two. Keys of other programs stay as they are; new ones are always encrypted.

    Of two files the one with the certificates is written first: it says which credential is in use, and the keys of
    all of them are in the other, before and after.
    """

    def __init__(self, address: PemAddress, access: Access) -> None:
        self.paths = tuple(Path(path) for path in (address.path, address.key_path) if path is not None)
        self._key_path = self.paths[-1]
        self._passwords, self._tries = access.passwords, access.tries or UNCOUNTED
        self._form = access.key_files.in_pem if access.key_files else None
        self._known: list[Secret] = []  # passwords that opened a key
        self._seen = tuple(Seen() for _ in self.paths)
        self._contents = Contents()

    def read(self) -> Contents:
        seen = tuple(look(path, at_most=MAX_FILE_BYTES) for path in self.paths)
        if [one.data for one in seen] != [one.data for one in self._seen]:
            self._contents = sorted_out([_read(path, one) for path, one in zip(self.paths, seen, strict=True)])
        self._seen = seen
        return self._contents

    def write(self, contents: Contents) -> None:
        texts = laid_out(contents.live_first(), len(self.paths))
        new = [text.encode("utf-8", "surrogateescape") for text in texts]
        for path, data in zip(self.paths, new, strict=True):
            refuse_full(path, len(data), MAX_FILE_BYTES, data.count(b"-----BEGIN "), MOST_BLOCKS)
        for path, seen, data in zip(self.paths, self._seen, new, strict=True):
            if data != (seen.data or b""):
                put(path, seen, data)
        self.read()

    def remove(self) -> None:
        for path, seen in zip(self.paths, self._seen, strict=True):
            remove(path, seen)

    def sealed(self, pkcs8: Pkcs8) -> Block:
        """Under the password that the file has already, where it has one."""
        contents = self.read()
        for path, seen in zip(self.paths, self._seen, strict=True):
            data = seen.data or b""
            pieces = data.count(b"-----BEGIN ") + ROOM_PIECES
            refuse_full(path, len(data) + ROOM_BYTES, MAX_FILE_BYTES, pieces, MOST_BLOCKS)
        encrypted = next((one for one in contents.keys if _block_of(one).asks), None)
        if encrypted is not None:
            self.open(encrypted)
        elif not self._known:
            self._known = [self._ask(new=True)]
        return self._sealed(pkcs8, self._known[-1])

    def open(self, key: KeptKey) -> Pkcs8:
        block = _block_of(key)
        self._refuse_hostile(block)
        if not block.asks:
            return self._opened(block, None)
        for password in tuple(self._known):
            with suppress(PasswordIncorrect):
                pkcs8 = self._opened(block, password)
                self._keep(password)
                return pkcs8
        return self._opened_by(block, [self._asked(key)])

    def identified(self, contents: Contents) -> Contents:
        keys = tuple(one if one.key_id else replace(one, key_id=self._hash_of(one)) for one in contents.keys)
        return replace(contents, keys=keys)

    def change_password(self, key_id: bytes) -> None:
        """The key's, and that of all keys here that have the same; a key in the clear gets its first.

        Nobody is asked for an old password where there is none, or where none would be tried.
        """
        known = self.read().key(key_id)
        old = self._asked(known) if known is None or _block_of(known).asks else None
        new = self._ask(new=True)
        with locked(*self.paths):
            contents = self.identified(self.read())
            key = contents.key(key_id)
            if key is None:
                raise NotFound(what=key_id.hex(), where=str(self._key_path), command="dojang where")
            pkcs8 = self._opened_by(_block_of(key), [old, new])
            keys = [self._under_new(one, old, new) if one != key else self._sealed(pkcs8, new) for one in contents.keys]
            self.write(replace(contents, keys=tuple(map(_held_as, contents.keys, keys))))
        self._known = [new]

    def _asked(self, key: KeptKey | None) -> "Secret":
        if key is not None:
            self._refuse_hostile(_block_of(key))
            self._tries.check(str(self._key_path), _block_of(key).body.encode(errors="surrogateescape"))
        return self._ask(new=False)

    def _under_new(self, key: KeptKey, old: "Secret | None", new: "Secret") -> Block:
        block = _block_of(key)
        with suppress(PasswordIncorrect):
            return self._sealed(self._opened(block, old), new) if block.asks else block
        return block

    def _sealed(self, pkcs8: Pkcs8, password: "Secret") -> Block:
        return Block.of(ENCRYPTED_KEY, (self._form or KeyFileForm()).seal(pkcs8, password))

    def _refuse_hostile(self, block: Block) -> None:
        """Before anybody types a password: what should not be opened, or cannot be."""
        if block.kind == ENCRYPTED_KEY:
            with self._damage_is_a_wrong_password():
                check_key_file(block.der, str(self._key_path))

    def _opened_by(self, block: Block, passwords: "Sequence[Secret | None]") -> Pkcs8:
        """By the first that opens it, which is kept. The attempt counts as one, and a key in the clear as none."""
        if not block.asks:
            return self._opened(block, None)
        path = str(self._key_path)
        with self._tries.counted(path, block.body.encode(errors="surrogateescape")):
            for password in passwords:
                with suppress(PasswordIncorrect):
                    pkcs8 = self._opened(block, password)
                    self._keep(password)
                    return pkcs8
            raise PasswordIncorrect(path=path)

    def _keep(self, password: "Secret | None") -> None:
        """The one that opened a key last is the last."""
        if password is not None:
            self._known = [one for one in self._known if one != password] + [password]

    def _opened(self, block: Block, password: "Secret | None") -> Pkcs8:
        """``PasswordIncorrect`` for a wrong password and for damage."""
        path = str(self._key_path)
        with self._damage_is_a_wrong_password():
            if block.kind in (ENCRYPTED_KEY, PLAIN_KEY):
                return open_pkcs8(block.der, password, path)
            return _traditional(block, password)

    @contextmanager
    def _damage_is_a_wrong_password(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise PasswordIncorrect(path=str(self._key_path)) from error

    def _hash_of(self, key: KeptKey) -> bytes:
        return public_key_hash(load_key(self.open(key), str(self._key_path)).public_key())

    def _ask(self, *, new: bool) -> "Secret":
        path = str(self._key_path)
        if self._passwords is None:
            raise InputRequired(what=Phrase("The password for {path}", path=path), option="--password-source")
        return self._passwords(path, new)


def _held_as(key: KeptKey, block: Block) -> KeptKey:
    return replace(key, held=block)


def _block_of(key: KeptKey) -> Block:
    assert isinstance(key.held, Block)
    return key.held


def _traditional(block: Block, password: "Secret | None") -> Pkcs8:
    """A key in the forms of before PKCS#8, which OpenSSL still writes on request."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(block.body.encode(errors="surrogateescape"), password.reveal() if password else None)
    except TypeError as error:
        raise ValueError("it takes a password, or it takes none") from error
    return Pkcs8.from_key(key)  # type: ignore[arg-type]


def _read(path: Path, seen: Seen) -> tuple[list[Block], str]:
    try:
        blocks, after = read_blocks(seen.data or b"")
    except ValueError as error:
        raise _malformed(path, error.args[0]) from error
    if not blocks and after.strip():
        raise _malformed(path, Phrase("there is nothing between BEGIN and END in it"))
    return blocks, after


def _malformed(path: Path, problem: str) -> FileMalformed:
    return FileMalformed(path=str(path), expected=Phrase("a PEM file"), problem=problem)


@contextmanager
def open_at(address: "Address", access: Access) -> Iterator[PemLocation]:
    """The PEM file, or pair of files, of an address; they need not exist yet."""
    assert isinstance(address, PemAddress)
    location = PemLocation(address, PemFiles(address, access))
    try:
        yield location
    finally:
        location.tidy()
