"""The drill: what a backup holds is restored to a scratch folder and made to sign, before anybody relies on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_bytes, token_hex

from dojang.errors import FileMalformed, Phrase
from dojang.ledger import Event
from dojang.lifecycle.finish import twin_in
from dojang.lifecycle.journal import KEY_ID_BYTES
from dojang.lifecycle.offers import offered
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.parcel import Parcel, compare
from dojang.lifecycle.scratch import digest_of, folder_for, scratch, wipe
from dojang.lifecycle.workplace import Check, Step, Workplace
from dojang.locations.base import HoldsCompanions, Location, TakesKeys
from dojang.secret import Secret


@dataclass(frozen=True, slots=True)
class Drilled:
    """One credential of a backup that was restored and signed."""

    name: str
    certificate_der: bytes
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class DrilledFile:
    """A backup of which every credential was restored and signed. ``sha256`` is the file's, in hex."""

    file: Path
    sha256: str
    credentials: tuple[Drilled, ...]


def drill_file(file: Path, place: Workplace) -> DrilledFile:
    """Restore everything in a backup to a scratch folder, have it sign, and wipe the folder.

    ``PasswordIncorrect`` for a wrong password and for damage alike, ``CertificateUnusable`` or ``VerificationFailed``
    for a backup that is no good. The file is only read.
    """
    file = file.resolve()
    folder = folder_for(file, place)
    with scratch("drill", folder, place, {"file": str(file)}) as operation:
        done = DrilledFile(file, digest_of(file), restored_on_trial(file, folder, place))
        wipe(folder)
        facts = {"file": str(file), "sha256": done.sha256}
        events = [Event("drilled", str(file), fingerprint_of(one.certificate_der), facts) for one in done.credentials]
        operation.finish("drilled", *events)
    return done


def plan_drill(file: Path) -> tuple[Step, ...]:
    """What ``drill_file`` would do."""
    digest_of(file)  # refuses what cannot be read
    return (Step("drill", {"file": str(file)}),)


def restored_on_trial(
    file: Path, folder: Path, place: Workplace, expected: Sequence[Parcel] | None = None
) -> tuple[Drilled, ...]:
    """Each credential in ``file`` restored below ``folder``, opened again there, proven and compared.

    Compared with what the file says, or with ``expected``, the credentials that it was made from.
    """
    place.say("drill")
    with offered(file, replace(place, open_location=place.open_target)) as offers:
        parcels = [offer.take() for offer in offers]
    found = {parcel.certificate_der for parcel in parcels}
    if not parcels or any(one.certificate_der not in found for one in expected or ()):
        raise FileMalformed(path=str(file), expected=Phrase("a backup"), problem=Phrase("not everything is in it"))
    wanted = {one.certificate_der: one for one in expected or parcels}
    return tuple(
        _restored(parcel, wanted[parcel.certificate_der], folder / str(number) / "NPKI")
        for number, parcel in enumerate(parcels)
    )


def put_in(parcel: Parcel, location: Location, label: str) -> None:
    """Key, R, companions, certificate and chain in a place that is nobody's yet; no journal is kept of it."""
    assert isinstance(location, TakesKeys)
    key_id = token_bytes(KEY_ID_BYTES)
    location.import_key(parcel.key, key_id=key_id, label=label)
    if isinstance(location, HoldsCompanions) and parcel.companions.names() & location.companions_held:
        location.import_companions(parcel.companions, key_id=key_id)
    location.install(key_id=key_id, label=label, certificate_der=parcel.certificate_der, chain_der=parcel.chain_der)


def _restored(parcel: Parcel, expected: Parcel, root: Path) -> Drilled:
    """Under a password that nobody knows: it lasts as long as the scratch folder, and need not be slow to guess."""
    from dojang.locations.disk import DiskLocation
    from dojang.npki.keyfile import KeyFileForm
    from dojang.x509.challenge import prove_possession

    password, form = Secret(token_hex(32)), KeyFileForm("pbes2-seed")
    put_in(parcel, DiskLocation(root, lambda _path, _new: password, form), parcel.label)
    location = DiskLocation(root, lambda _path, _new: password, form)
    stored = twin_in(location, parcel.certificate_der)
    assert stored is not None, "it has just been installed"
    prove_possession(location.private_key(stored.key_id), parcel.certificate_der)
    _opened_again, *checks = compare(expected, location, stored)
    return Drilled(parcel.label, parcel.certificate_der, (Check("restored", True), *checks))
