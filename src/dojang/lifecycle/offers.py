"""Credentials in a file or a folder of any form that people keep them in: named, and taken out when one is chosen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dojang.errors import FileMalformed, FileUnreadable, Phrase
from dojang.lifecycle.parcel import Parcel, name_of, take_out
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import Companions

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from dojang.npki.pkcs8 import Pkcs8

_HEAD: Final = 1 << 16
_ZIP, _PEM, _DER = b"PK\x03\x04", b"-----BEGIN ", b"\x30"


@dataclass(frozen=True, slots=True)
class Offer:
    """One credential that could be taken; ``take`` opens its key."""

    name: str
    certificate_der: bytes
    take: Callable[[], Parcel] = field(repr=False)


@contextmanager
def offered(path: Path, place: Workplace) -> Iterator[list[Offer]]:
    """The live credentials in a PKCS#12 file, PEM, a zip of certificate folders, one such folder or an NPKI folder.

    What it is tells itself, whatever the name. ``FileUnreadable``, or ``FileMalformed`` for anything else.
    """
    if path.is_dir():
        files = _folder_files(path)
        if files:
            yield [_offer(files, str(path), place)]
            return
        address = f"npki:{_escaped(path)}"
    elif (head := _head_of(path)).startswith(_ZIP):
        yield _zipped(path, place)
        return
    else:
        address = f"{_scheme_of(head, path)}{_escaped(path)}"
    with place.open_location(address) as location:
        found = [one for one in location.credentials() if one.live]
        yield [Offer(name_of(one), one.certificate_der, partial(take_out, location, one)) for one in found]


def _head_of(path: Path) -> bytes:
    from dojang.npki.files import read_file

    try:
        if path.is_file():  # a pipe would have us wait for ever
            with path.open("rb") as file:
                return file.read(_HEAD)
    except OSError:
        pass
    return read_file(path, at_most=_HEAD)  # which says what is wrong with it


def _scheme_of(head: bytes, path: Path) -> str:
    if _PEM in head:
        return "pem:"
    if head.startswith(_DER):
        return "pkcs12:"
    raise FileMalformed(
        path=str(path),
        expected=Phrase("a PKCS#12 file, PEM or a zip of certificate folders"),
        problem=Phrase("it begins like none of them"),
    )


def _escaped(path: Path) -> str:
    from dojang.locations.address_text import escaped

    return escaped(str(path.absolute()))


def _zipped(path: Path, place: Workplace) -> list[Offer]:
    from dojang.npki.zips import read_zip

    return [_offer(one.files, f"{path}/{one.name}".rstrip("/"), place) for one in read_zip(path)]


def _folder_files(path: Path) -> dict[str, bytes]:
    """The files of one certificate folder by the names everybody knows; none where there is no certificate."""
    from dojang.npki.contents import CERTIFICATE, CHAIN, FOREIGN_FILES
    from dojang.npki.files import read_file
    from dojang.npki.folder import path_in
    from dojang.npki.keyfile import MAX_FILE_BYTES

    found = {name: path_in(path, name) for name in (*FOREIGN_FILES, CHAIN)}
    files = {name: read_file(one, at_most=MAX_FILE_BYTES) for name, one in found.items() if one is not None}
    return files if CERTIFICATE in files else {}


def _offer(files: dict[str, bytes], origin: str, place: Workplace) -> Offer:
    from dojang.npki.contents import CERTIFICATE
    from dojang.x509.reading import read_certificate

    certificate_der = files[CERTIFICATE]
    name = _name_in(read_certificate(certificate_der, f"{origin}/{CERTIFICATE}").subject)
    return Offer(name, certificate_der, lambda: _opened(files, name, origin, place))


def _opened(files: dict[str, bytes], name: str, origin: str, place: Workplace) -> Parcel:
    from dojang.npki.contents import CA_PUBS, CERTIFICATE, CHAIN, KEY, KM_CERTIFICATE, KM_KEY
    from dojang.x509.reading import certificates_in

    if KEY not in files:
        raise FileUnreadable(path=f"{origin}/{KEY}", problem="it is not there")
    key = _open_key(files[KEY], f"{origin}/{KEY}", place)
    km_key = _open_key(files[KM_KEY], f"{origin}/{KM_KEY}", place) if KM_KEY in files else None
    parcel = Parcel(
        label=name,
        certificate_der=files[CERTIFICATE],
        key=key,
        chain_der=tuple(certificates_in(files[CHAIN], origin)) if files.get(CHAIN) else (),
        companions=Companions(files.get(KM_CERTIFICATE, b""), km_key, files.get(CA_PUBS, b"")),
        origin=origin,
    )
    parcel.check_pair()
    return parcel


def _open_key(der: bytes, path: str, place: Workplace) -> "Pkcs8":
    from dojang.locations.key_files import KeyFiles

    return KeyFiles(place.passwords, tries=place.tries).open_data(der, path).pkcs8


def _name_in(subject: "Name") -> str:
    """The common name, else the whole name."""
    from cryptography.x509 import NameOID

    from dojang.x509.name import format_name

    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else format_name(subject)
