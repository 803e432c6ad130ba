"""What an authority shows everybody: its newest lists and its own certificates, by the names that addresses give them.

A signer's certificate is one file (``.cer``); all that were issued to its name and key, where others signed it too, are
together in another (``.p7c``, RFC 5280 section 4.2.2.1).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from sqlalchemy import Select, select

from dojang.authority.tables import certificate, crl, signer
from dojang.errors import FileMalformed
from dojang.x509.keys import spki_of
from dojang.x509.reading import read_crl

if TYPE_CHECKING:
    from dojang.authority.database import Database

LIST_TYPE: Final = "application/pkix-crl"
CERTIFICATE_TYPE: Final = "application/pkix-cert"
CERTIFICATES_TYPE: Final = "application/pkcs7-mime; smime-type=certs-only"
_DELTA: Final = "-delta"
_KEPT: Final = 8
_SHOWN: Final = ("root", "issuing")
_NEWEST: Final = select(crl.c.id, crl.c.this_update_at, crl.c.next_update_at).order_by(crl.c.number.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Shown:
    """One file. ``begin_at`` is when it was made, ``end_at`` until when it may be relied on."""

    content: bytes
    media_type: str
    begin_at: datetime
    end_at: datetime
    tag: str


class Published:
    """For many threads. A few lists are kept in memory; whether they are still the newest is asked each time."""

    def __init__(self, database: "Database", file_of: Callable[[str], Path]) -> None:
        """``file_of`` names the file that a signer's complete list has, too."""
        self._database, self._file_of = database, file_of
        self._kept: OrderedDict[int, Shown] = OrderedDict()
        self._turn = threading.Lock()

    def revocation_list(self, name: str) -> Shown | None:
        """``issuing-2`` is the complete list of that signer, ``issuing-2-delta`` what changed since one."""
        with self._database.reading() as connection:
            row = connection.execute(_newest(name)).one_or_none()
            if row is None:
                return self._in_file(name)
            with self._turn:
                found = self._kept.get(row.id)
            if found is None:
                list_der = connection.execute(select(crl.c.der).where(crl.c.id == row.id)).scalar_one_or_none()
                if list_der is None:  # a newer one has taken its place meanwhile
                    return self.revocation_list(name)
                found = _shown(list_der, LIST_TYPE, row.this_update_at, row.next_update_at)
                self._keep(row.id, found)
        return found

    def _in_file(self, name: str) -> Shown | None:
        """A list that was published before there was a record of lists."""
        if self._own(name) is None:
            return None
        try:
            list_der = self._file_of(name).read_bytes()
            crl = read_crl(list_der)
        except (OSError, FileMalformed):
            return None
        return _shown(list_der, LIST_TYPE, crl.last_update_utc, crl.next_update_utc or crl.last_update_utc)

    def certificate(self, name: str) -> Shown | None:
        """The certificate of a signer."""
        own = self._own(name)
        return None if own is None else _of(own, own.public_bytes(Encoding.DER), CERTIFICATE_TYPE)

    def certificates(self, name: str) -> Shown | None:
        """All certificates of a signer's name and key: its own, and those that other keys signed for it."""
        own = self._own(name)
        if own is None:
            return None
        same_key = certificate.c.key_fingerprint == sha256(spki_of(own.public_key())).digest()
        with self._database.reading() as connection:
            rows = connection.execute(select(certificate.c.certificate_der).where(same_key)).scalars().all()
        others = [one for one in map(x509.load_der_x509_certificate, rows) if one.subject == own.subject]
        together = pkcs7.serialize_certificates(list(dict.fromkeys((own, *others))), Encoding.DER)
        return _of(own, together, CERTIFICATES_TYPE)

    def _own(self, name: str) -> x509.Certificate | None:
        query = select(signer.c.certificate_der).where(signer.c.id == name, signer.c.role.in_(_SHOWN))
        with self._database.reading() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else x509.load_der_x509_certificate(found)

    def _keep(self, number: int, shown: Shown) -> None:
        with self._turn:
            self._kept[number] = shown
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def _newest(name: str) -> "Select[tuple[int, datetime, datetime]]":
    if name.endswith(_DELTA):
        return _NEWEST.where(crl.c.signer == name.removesuffix(_DELTA), crl.c.base_number.is_not(None))
    return _NEWEST.where(crl.c.signer == name, crl.c.base_number.is_(None))


def _of(own: x509.Certificate, content: bytes, media_type: str) -> Shown:
    return _shown(content, media_type, own.not_valid_before_utc, own.not_valid_after_utc)


def _shown(content: bytes, media_type: str, begin_at: datetime, end_at: datetime) -> Shown:
    return Shown(content, media_type, begin_at, end_at, sha256(content).hexdigest()[:32])
