"""A PKCS#12 file: keys and certificates under one password, without which not even their names are seen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dojang.errors import InputRequired, NotFound, PasswordIncorrect, Phrase
from dojang.locations.address import Pkcs12Address
from dojang.locations.base import Access, Companions, Traits
from dojang.locations.file_contents import Contents, KeptCertificate, KeptKey, KeptPair
from dojang.locations.file_disk import ROOM_BYTES, ROOM_PIECES, Seen, locked, look, put, refuse_full, remove
from dojang.locations.file_location import FileLocation
from dojang.locations.password_tries import UNCOUNTED
from dojang.locations.pkcs12_layout import laid_out, sorted_out
from dojang.npki.pkcs8 import Pkcs8
from dojang.npki.pkcs12 import MAX_BAGS, MAX_FILE_BYTES, open_key_bag, read_bags
from dojang.npki.pkcs12_bags import Bags, KeyBag
from dojang.npki.pkcs12_ca_pubs import ca_pubs_in, with_ca_pubs
from dojang.npki.pkcs12_writing import PROFILES, write_bags

if TYPE_CHECKING:
    from dojang.locations.address import Address
    from dojang.secret import Secret

KIND: Final = "pkcs12"
TRAITS: Final = Traits(key_leaves=True, copyable=True, opened_by="password", holds_r=True, listed_by="password")
_NEW, _LEGACY = PROFILES


class Pkcs12Location(FileLocation):
    """The credentials in one PKCS#12 file, and what belongs to them."""

    kind = KIND
    traits = TRAITS
    companions_held = frozenset({"km", "ca_pubs"})
    _file: "Pkcs12File"

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is changed within is one change of the file, which seals each key once; after an error, none."""
        with self._file.gathered():
            yield

    def export_companions(self, key_id: bytes) -> Companions:
        contents = self._file.read()
        pair, key = contents.km_pair(key_id) or KeptPair(key_id), contents.key(key_id)
        return Companions(
            pair.certificate.der if pair.certificate else b"",
            self._file.open(pair.key) if pair.key else None,
            ca_pubs_in(_bag_of(key)) if key else b"",
        )

    def import_companions(self, companions: Companions, *, key_id: bytes) -> None:
        key = certificate = None
        if companions.km_key is not None:
            key = KeptKey(key_id, "", self._file.sealed(companions.km_key))
        if companions.km_certificate_der:
            certificate = KeptCertificate(key_id, "", companions.km_certificate_der)
        pairs = (KeptPair(key_id, certificate, key),) if key or certificate else ()

        def change(contents: Contents) -> Contents:
            owner = contents.key(key_id)
            if owner is None:
                raise NotFound(what=Phrase("The private key"), where=self.address, command="dojang where")
            others = tuple(one for one in contents.km_pairs if one.owner != key_id)
            whole = replace(owner, held=with_ca_pubs(_bag_of(owner), companions.ca_pubs))
            keys = tuple(whole if one.key_id == key_id else one for one in contents.keys)
            return replace(contents, keys=keys, km_pairs=others + pairs)

        self._change(change)

    def _handed_over(self, contents: Contents, old_key_id: bytes, new_key_id: bytes) -> Contents:
        """CaPubs stay at the old key, and are the new one's too, unless that has its own."""
        old, new = contents.key(old_key_id), contents.key(new_key_id)
        if old is None or new is None or ca_pubs_in(_bag_of(new)):
            return contents
        whole = replace(new, held=with_ca_pubs(_bag_of(new), ca_pubs_in(_bag_of(old))))
        return replace(contents, keys=tuple(whole if one.key_id == new_key_id else one for one in contents.keys))


def _bag_of(key: KeptKey) -> KeyBag:
    assert isinstance(key.held, KeyBag)
    return key.held


class Pkcs12File:
    """One file. It keeps the password that opened it, and so asks once.

    A file stays in the profile that it has, unless one is asked for: what reads it today reads it tomorrow.
    """

    def __init__(self, path: Path, access: Access) -> None:
        self.paths = (path,)
        self._path, self._passwords = path, access.passwords
        self._tries = access.tries or UNCOUNTED
        self._wanted_profile, self._profile = access.pkcs12_profile, _NEW
        self._password: Secret | None = None
        self._seen, self._contents = Seen(), Contents()
        self._gathering = False

    def read(self) -> Contents:
        if self._gathering:
            return self._contents
        seen = look(self._path, at_most=MAX_FILE_BYTES)
        if seen.data != self._seen.data:
            self._contents = self._read(seen.data) if seen.data else Contents()
        self._seen = seen
        return self._contents

    def write(self, contents: Contents) -> None:
        if self._gathering:
            self._contents = contents
        else:
            self._write(contents, self._password_of_file())

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """What is written within is kept, and written when this is left; ``FileChanged`` if another was put there."""
        before = self.read()
        self._gathering = True
        try:
            yield
            gathered = self._contents
        finally:
            self._gathering, self._contents = False, before
        if gathered != before:
            with locked(self._path):
                self._write(gathered, self._password_of_file())

    def remove(self) -> None:
        remove(self._path, self._seen)

    def sealed(self, pkcs8: Pkcs8) -> KeyBag:
        bags = laid_out(self.read())
        self._password_of_file()
        self._refuse_full(bags, len(self._seen.data or b"") + ROOM_BYTES, MAX_BAGS - ROOM_PIECES)
        return KeyBag(pkcs8.der, sealed=False)

    def open(self, key: KeptKey) -> Pkcs8:
        return open_key_bag(_bag_of(key), self._password_of_file(), str(self._path))

    def identified(self, contents: Contents) -> Contents:
        return contents  # which it always is: the password was needed to read it

    def change_password(self, key_id: bytes) -> None:
        """All that is in the file has one password. With the new one on it already, there is nothing to do."""
        old, new = self._password or self._ask(new=False), self._ask(new=True)
        with locked(self._path):
            try:
                contents = self._read_with(old)
            except PasswordIncorrect:
                read_bags(look(self._path, at_most=MAX_FILE_BYTES).data or b"", new, str(self._path))  # counted already
                self._read_with(new)
                return
            if contents.key(key_id) is None:
                raise NotFound(what=key_id.hex(), where=str(self._path), command="dojang where")
            self._write(_unsealed(contents, self.open), new)

    def _read_with(self, password: "Secret") -> Contents:
        self._password, self._seen = password, Seen()
        return self.read()

    def _write(self, contents: Contents, password: "Secret") -> None:
        profile = self._wanted_profile or self._profile
        if profile != self._profile:
            contents = _unsealed(contents, self.open)
        bags = laid_out(contents)
        data = write_bags(bags, password, profile=profile)
        self._refuse_full(bags, len(data), MAX_BAGS)
        put(self._path, self._seen, data)
        self._seen, self._contents = look(self._path, at_most=MAX_FILE_BYTES), contents
        self._password, self._profile = password, profile

    def _refuse_full(self, bags: Bags, octets: int, most: int) -> None:
        pieces = len(bags.keys) + len(bags.certificates) + len(bags.others)
        refuse_full(self._path, octets, MAX_FILE_BYTES, pieces, most)

    def _password_of_file(self) -> "Secret":
        if self._password is None:
            self._password = self._ask(new=not self._seen.data)
        return self._password

    def _ask(self, *, new: bool) -> "Secret":
        if self._passwords is None:
            raise InputRequired(what=Phrase("The password for {path}", path=self._path), option="--password-source")
        return self._passwords(str(self._path), new)

    def _read(self, data: bytes) -> Contents:
        path = str(self._path)
        self._tries.check(path, data)
        password = self._password or self._ask(new=False)
        with self._tries.counted(path, data):
            bags = read_bags(data, password, path)
        self._password, self._profile = password, _LEGACY if bags.legacy else _NEW
        return sorted_out(bags, lambda bag: open_key_bag(bag, password, path))


def _unsealed(contents: Contents, opened: Callable[[KeptKey], Pkcs8]) -> Contents:
    """The same with every key in the clear, in memory, so that writing it seals it anew."""

    def plain(key: KeptKey) -> KeptKey:
        return replace(key, held=replace(_bag_of(key), value=opened(key).der, sealed=False, random_number=None))

    pairs = tuple(one if one.key is None else replace(one, key=plain(one.key)) for one in contents.km_pairs)
    return replace(contents, keys=tuple(map(plain, contents.keys)), km_pairs=pairs)


@contextmanager
def open_at(address: "Address", access: Access) -> Iterator[Pkcs12Location]:
    """The PKCS#12 file of an address; it need not exist yet."""
    assert isinstance(address, Pkcs12Address)
    location = Pkcs12Location(address, Pkcs12File(Path(address.path), access))
    try:
        yield location
    finally:
        location.tidy()
