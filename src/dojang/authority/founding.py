"""Founding a local authority: its root, perhaps an issuing authority below it, and the first revocation lists.

It is founded when its folder takes its name. Records in a database elsewhere say until then that it is being founded,
so that what a killed run left there is seen and made anew.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cryptography import x509
from sqlalchemy import insert

from dojang.authority import audit, settings, tables
from dojang.authority.database import Database
from dojang.authority.engines import check_url
from dojang.authority.folder import CRL_NAME, ROOT_CRL_NAME, SETTINGS_NAME, STORE_NAME
from dojang.authority.hierarchy.certifying import Above, certify, certify_itself, check_key, checked_subject, record
from dojang.authority.hierarchy.signers import CURRENT, Key, add
from dojang.authority.local import Clock, LocalAuthority, open_authority, utc_now
from dojang.authority.status.lists import Lists
from dojang.authority.store import mark_founded
from dojang.errors import AlreadyExists, FileUnwritable, NotPermitted, Phrase, Usage
from dojang.x509.keys import same_key
from dojang.x509.profiles import Profile, profile

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey

_NAME = re.compile(r"\w[\w.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Founder:
    """Who shall sign: a name, a private key wherever it lives, and the address (without a PIN) to find it by again."""

    subject: x509.Name
    key: "PrivateKey"
    key_address: str


def create_authority(
    directory: Path,
    *,
    name: str,
    subject: x509.Name,
    key: "PrivateKey",
    key_address: str,
    issuing: Founder | None = None,
    database: str | None = None,
    address: str | None = None,
    clock: Clock = utc_now,
) -> LocalAuthority:
    """Found the authority ``name`` in ``directory`` and open it: a root, and below it ``issuing`` if given.

    Its records are in its folder, or in the empty ``database`` of that address. ``address`` is its own, where others
    find its lists and certificates. It is there complete or not at all.
    Raises ``AlreadyExists``, ``Usage`` for the name, ``InvalidName`` for a subject, ``NotPermitted`` for a key that the
    profile rules out, ``FileUnwritable``, ``InvalidSetting`` for an address, ``DatabaseUnavailable``.
    """
    if not _NAME.fullmatch(name):
        raise Usage(
            problem=Phrase("'{name}' cannot be the name of an authority; use letters and digits", name=name[:64])
        )
    root = _checked(Founder(subject, key, key_address), profile("root"))
    below = _checked(issuing, profile("issuing")) if issuing else None
    _check_apart(root, below)
    at = clock().astimezone(UTC).replace(microsecond=0)
    if database is not None:
        check_url(database)
    if address is not None:
        settings.check_address(address, directory / name / SETTINGS_NAME)
    with contextlib.ExitStack() as opened:
        with _built(directory, name) as folder:
            settings.write(folder, database, address)
            records = Database.create(database or f"sqlite:///{(folder / STORE_NAME).absolute()}", name)
            opened.callback(records.close)
            _found(folder, records, name, root, below, at, address)
            if database is None:
                opened.close()  # before its file is somewhere else
        if database is not None:
            mark_founded(records)
    keys = {founder.key_address: founder.key for founder in (root, below) if founder}
    return open_authority(directory, name, keys.__getitem__, clock=clock)


def settle(folder: Path) -> None:
    """Of a run that was killed: the folder has its name, so the records are an authority's, wherever they are."""
    database = Database.open(settings.load(folder).database)
    with contextlib.closing(database):
        mark_founded(database)


def _checked(founder: Founder, wanted: Profile) -> Founder:
    """The founder with the name as it goes into the certificate."""
    check_key(cast("PublicKey", founder.key.public_key()), wanted)
    return replace(founder, subject=checked_subject(founder.subject, wanted))


def _check_apart(root: Founder, below: Founder | None) -> None:
    if below is None:
        return
    if root.subject == below.subject or same_key(root.key.public_key(), below.key.public_key()):
        raise NotPermitted(
            problem=Phrase("the root and the issuing authority have the same name or the same key"),
            remedy=Phrase("Give each a name and a key of its own."),
        )


@contextlib.contextmanager
def _built(directory: Path, name: str) -> Iterator[Path]:
    """A folder that takes its name when the block has ended well, and is gone otherwise."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (directory / name).exists():
            raise AlreadyExists(what=Phrase("authority {name}", name=name), where=directory)
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=directory))
    except OSError as error:
        raise FileUnwritable(path=directory, problem=error.strerror or Phrase("it cannot be written")) from error
    try:
        yield folder
        _take_name(folder, directory / name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def remove_rests(directory: Path, name: str) -> None:
    """Remove what a killed run left of founding ``name``, which nobody may be founding now."""
    rest = re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}")  # as mkdtemp ends a name
    for path in [path for path in directory.glob(".*") if rest.fullmatch(path.name)]:
        shutil.rmtree(path, ignore_errors=True)


def _take_name(folder: Path, final: Path) -> None:
    try:
        folder.rename(final)
    except OSError as error:
        raise AlreadyExists(what=Phrase("authority {name}", name=final.name), where=final.parent) from error
    # Some file systems cannot sync a folder; the authority is founded all the same, and its keys must stay.
    with contextlib.suppress(OSError):
        descriptor = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _found(
    folder: Path,
    database: Database,
    name: str,
    root: Founder,
    below: Founder | None,
    at: datetime,
    address: str | None,
) -> None:
    root_der = certify_itself(profile("root"), root.subject, root.key, at)
    below_der = None if below is None else _certified(below, root, root_der, at, address)
    with database.writing() as connection:
        state = "founded" if database.is_embedded else "founding"
        connection.execute(insert(tables.authority).values(name=name, state=state, founded_at=at))
        days = profile("root" if below else "issuing").crl_days
        add(connection, "root", root_der, root.key_address, state=CURRENT, crl_days=days)
        digest, tiers = sha256(root_der).hexdigest(), 2 if below else 1
        audit.record(connection, event="authority-founded", subject=name, at=at, certificate=digest, tiers=tiers)
        if below is not None and below_der is not None:
            record(connection, below_der, "issuing", "root", at)
            days = profile("issuing").crl_days
            add(connection, "issuing", below_der, below.key_address, state=CURRENT, crl_days=days)
    files = {"root": ROOT_CRL_NAME if below else CRL_NAME, "issuing": CRL_NAME}
    for role, founder in (("root", root), ("issuing", below)):
        if founder is not None:
            Lists(database, {role: founder.key}.__getitem__, lambda name: folder / files[name]).publish(role, at)


def _certified(below: Founder, root: Founder, root_der: bytes, at: datetime, address: str | None) -> bytes:
    """The issuing authority's certificate is one that the root issued, so it is on record and can be revoked."""
    above = Above(Key("root", "root", 1, root_der, root.key_address, CURRENT, 0), root.key, at, address)
    return certify(profile("issuing"), below.subject, cast("PublicKey", below.key.public_key()), above)
