"""The files of one certificate folder: the pair every program knows, and the two that are ours."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.errors import FileUnreadable
from dojang.npki.certificates import load_certificate
from dojang.npki.files import read_file, write_file
from dojang.npki.keyfile import MAX_FILE_BYTES
from dojang.npki.names import comparable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

CERTIFICATE = "signCert.der"
KEY = "signPri.key"
KM_CERTIFICATE = "kmCert.der"
KM_KEY = "kmPri.key"
CA_PUBS = "CaPubs"
# What other programs keep in a folder; the certificate first, which makes it one.
FOREIGN_FILES = (CERTIFICATE, KEY, KM_CERTIFICATE, KM_KEY, CA_PUBS)
# Beside the signing pair, and not renewed with it: the pair that decrypts, and certificates in a form nobody has
# confirmed; so these go along as they are, and our own chain is elsewhere.
_GOES_ALONG = (KM_CERTIFICATE, KM_KEY, CA_PUBS)
CHAIN = "chain.pem"
RECORD = "dojang.json"
_LONGEST_KEY_ID = 64
_USUAL_BYTES = 512  # of a record


@dataclass(frozen=True, slots=True)
class FolderRecord:
    """``dojang.json``: which ``key_id`` the key was made under, and the folder it is to take the place of.

    ``public_key`` ties it to the key, because another program may put a new pair into the folder and leave the record.
    """

    key_id: bytes
    public_key: bytes
    replaces: str | None = None

    @classmethod
    def from_json(cls, data: bytes) -> "FolderRecord | None":
        """``None`` for anything but a record: the folder then counts as another program's."""
        return _record_in(data) if len(data) <= _USUAL_BYTES else cls._read(data)

    @classmethod
    def _read(cls, data: bytes) -> "FolderRecord | None":
        try:
            fields = json.loads(data)
            key_id, replaces = bytes.fromhex(fields["key_id"]), fields.get("replaces")
            if not 1 <= len(key_id) <= _LONGEST_KEY_ID:
                return None
            return cls(
                key_id=key_id,
                public_key=bytes.fromhex(fields["public_key"]),
                replaces=replaces if isinstance(replaces, str) else None,
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def to_json(self) -> bytes:
        fields = {"key_id": self.key_id.hex(), "public_key": self.public_key.hex()}
        return json.dumps(fields | ({"replaces": self.replaces} if self.replaces else {})).encode()


_record_in = lru_cache(maxsize=64)(FolderRecord._read)  # whoever moves a folder reads it again and again


def public_key_hash(public_key: object) -> bytes:
    """The SHA-1 subject key identifier (RFC 5280 4.2.1.2), which is what ``key_id`` is in folders we did not make."""
    from cryptography import x509

    return x509.SubjectKeyIdentifier.from_public_key(public_key).digest  # type: ignore[arg-type]


def belongs(key: "PrivateKey", certificate_der: bytes) -> bool:
    """Whether the certificate is for this key; one of a kind of key that nobody here knows is for none."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        certified = _certified_hash(certificate_der)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return certified == public_key_hash(key.public_key())


@lru_cache(maxsize=64)
def _certified_hash(certificate_der: bytes) -> bytes:
    return public_key_hash(load_certificate(certificate_der).public_key())


def files_of_key(key_id: bytes, key: "PrivateKey", sealed: bytes) -> dict[str, bytes]:
    """What a folder begins with: the key, and under which ``key_id`` it was made."""
    return {RECORD: FolderRecord(key_id, public_key_hash(key.public_key())).to_json(), KEY: sealed}


def files_beside_key(
    key_id: bytes, certificate_der: bytes, chain_der: Sequence[bytes], replaces: str | None
) -> dict[str, bytes]:
    """What goes beside the key; the certificate comes last, because with it the folder is complete."""
    from cryptography.hazmat.primitives.serialization import Encoding

    record = FolderRecord(key_id, _certified_hash(certificate_der), replaces)
    chain = b"".join(load_certificate(der).public_bytes(Encoding.PEM) for der in chain_der)
    return {CHAIN: chain, RECORD: record.to_json(), CERTIFICATE: certificate_der}


def forget_replaced(path: Path, key_id: bytes, certificate_der: bytes) -> None:
    """A folder that has taken its place says no more whose it was: another credential may come to stand there."""
    write_file(path / RECORD, FolderRecord(key_id, _certified_hash(certificate_der)).to_json())


def files_that_go_along(path: Path | str, names: dict[str, str]) -> dict[str, bytes]:
    """The km pair and CaPubs of the folder ``path``, byte for byte; ``names`` are its names by comparable form.

    A successor takes them with it: without the km key nothing encrypted before can be read.
    """
    found = {usual: names[comparable(usual)] for usual in _GOES_ALONG if comparable(usual) in names}
    return {usual: read_file(f"{path}/{name}", at_most=MAX_FILE_BYTES) for usual, name in found.items()}


def read_chain(path: Path) -> tuple[bytes, ...]:
    """The certificates above the one in the folder ``path``; none when there is no such file or it is damaged."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        certificates = x509.load_pem_x509_certificates(read_file(path / CHAIN, at_most=MAX_FILE_BYTES))
    except (FileUnreadable, ValueError, x509.InvalidVersion):
        return ()
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)
