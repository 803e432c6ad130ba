"""Import a key that was made elsewhere into a token or another location, without a certificate."""

from dataclasses import dataclass, field
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.errors import Ambiguous, NotFound, Phrase, UnsupportedOperation, VerificationFailed
from dojang.ledger import Event, Fact
from dojang.lifecycle.journal import KEY_ID_BYTES, key_id_of, name_in, taken_back_on_failure
from dojang.lifecycle.recover import recover
from dojang.lifecycle.request import fingerprint_of_key
from dojang.lifecycle.workplace import Check, Step, Workplace
from dojang.locations.base import HoldsR, Location, TakesKeys, WrapsKeys
from dojang.pkcs11.uri import Pkcs11Uri

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from dojang.npki.pkcs8 import Pkcs8


@dataclass(frozen=True, slots=True)
class ImportKeyOrder:
    """Which key goes where and what it is called. ``without_r``: leave R behind where it cannot be kept."""

    to: str
    label: str
    key: "Pkcs8" = field(repr=False)
    path: str = "the key file"
    without_r: bool = False


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A key that is where it was to be; ``already`` when it had been before. ``left_out`` could not be kept there."""

    label: str
    key_id: bytes
    location: str
    algorithm: str
    checks: tuple[Check, ...]
    left_out: frozenset[str] = frozenset()
    already: bool = False


def import_key(order: ImportKeyOrder, place: Workplace) -> ImportedKey:
    """Put the key there, open it again and have it sign; complete and proven when this returns.

    ``AlreadyExists`` for a label in use, ``NotPermitted`` where R would be lost. After any error the location is as it
    was; after a kill, the next run takes back what was made.
    """
    from dojang.npki.keyfile import load_key
    from dojang.x509.keys import algorithm_of

    original = load_key(order.key, order.path)
    algorithm = algorithm_of(original.public_key())
    with place.open_location(order.to) as location:
        takes = _taking(location)
        recover(place, location)
        if (there := key_there(location, order.label, original.public_key())) is not None:
            place.say("prove")
            _prove(location.private_key(there), original)
            return ImportedKey(order.label, there, location.address, algorithm, _checked(location), already=True)
        location.check_free(label=order.label, subject_der=b"")
        key, left_out = _without_r(order, location)
        facts: dict[str, Fact] = {
            "location": location.address,
            "address": location.address,
            "key_id": token_bytes(KEY_ID_BYTES).hex(),
            "label": order.label,
            "algorithm": algorithm,
        }
        with (
            place.ledger.begin("import-key", name_in(location, order.label), facts) as operation,
            taken_back_on_failure(place, operation, location),
        ):
            key_id = key_id_of(operation)
            place.say("bring")
            takes.import_key(key, key_id=key_id, label=order.label)
            place.say("prove")
            with place.open_location(order.to) as again:
                _prove(again.private_key(key_id), original)
            event = Event("key-imported", location.address, fingerprint_of_key(original.public_key()), facts)
            operation.finish("key-imported", event)
        return ImportedKey(order.label, key_id, location.address, algorithm, _checked(location), left_out)


def key_there(location: Location, label: str, public_key: "PublicKeyTypes") -> bytes | None:
    """The ``key_id`` of this very key where a token has it under this label already."""
    from dojang.x509.keys import same_key

    if not isinstance(location, WrapsKeys):
        return None
    try:
        key_id, _label = location.find_key(Pkcs11Uri(object=label).to_text())
        there = location.private_key(key_id).public_key()
    except (NotFound, Ambiguous):
        return None
    return key_id if same_key(there, public_key) else None


def _checked(location: Location) -> tuple[Check, ...]:
    return Check("opened-again", True, location.address), Check("signature", True)


def plan_import_key(order: ImportKeyOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``import_key`` would take, after the refusals that need no PIN."""
    with place.open_location(order.to) as location:
        _taking(location)
        location.check_free(label=order.label, subject_der=b"")
        where = {"location": location.address, "label": order.label}
        return Step("bring", where), Step("prove", where)


def _taking(location: Location) -> TakesKeys:
    if not isinstance(location, TakesKeys):
        raise UnsupportedOperation(where=location.address, operation=Phrase("take a key that was made elsewhere"))
    return location


def _without_r(order: ImportKeyOrder, location: Location) -> "tuple[Pkcs8, frozenset[str]]":
    """The key without R where R cannot be kept and need not be; where it must be, the location refuses."""
    key = order.key
    if key.random_number is None or not order.without_r or not isinstance(location, HoldsR) or location.holds_r:
        return key, frozenset()
    return key.without_random_number(), frozenset({"r"})


def _prove(imported: "PrivateKey", original: "PrivateKey") -> None:
    from dojang.x509.challenge import prove_key
    from dojang.x509.keys import same_key

    if not same_key(imported.public_key(), original.public_key()):
        problem = Phrase("the key that came out is not the one that went in")
        raise VerificationFailed(problems=(problem,), next_step="Nothing was kept there; try another location.")
    prove_key(imported)
