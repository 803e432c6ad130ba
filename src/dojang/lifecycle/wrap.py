"""Wrap and unwrap: a key that never leaves its HSM in plain, brought to another one under a key that both have.

    wrap_credential(place, address, under) -> bytes
        the file (see ``wrapped_file``) for the key at ``address``, its R, certificate and chain; nothing changes
    unwrap_credential(place, blob, UnwrapOrder(to, under, …)) -> Unwrapped
        the key in the location ``to``, opened again there, proven by a signature and read back; journalled as "unwrap"
    look_into(blob, path) -> WrappedFile
        what a file says of itself, without any token: label, certificate, which wrapping key it needs

``under`` is the label or the address of the wrapping key in the location that is worked in.
"""

from dataclasses import dataclass, replace
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.errors import (
    CertificateUnusable,
    Phrase,
    UnsupportedFormat,
    VerificationFailed,
    WrappingKeyMismatch,
)
from dojang.ledger import Event, Fact, Operation
from dojang.lifecycle.finish import brought_event, install_and_prove, twin_in
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.import_key import key_there
from dojang.lifecycle.journal import KEY_ID_BYTES, answer_facts, key_id_of, name_in, taken_back_on_failure
from dojang.lifecycle.new_key import wrapping
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.recover import recover
from dojang.lifecycle.request import fingerprint_of_key
from dojang.lifecycle.workplace import Check, Step, Workplace
from dojang.lifecycle.wrapped_file import WrappedFile, read_wrapped, refuse_broken_seal
from dojang.locations.base import HoldsR, Location, StoredCredential, WrapsKeys
from dojang.locations.labels import Label

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from dojang.pkcs11.wrapping import WrappingKey


@dataclass(frozen=True, slots=True)
class UnwrapOrder:
    """Where a wrapped key goes, under which wrapping key there, and what it is called: as before, unless said.

    ``path`` is what errors call the file. ``without_r``: leave R behind where the token cannot keep it. ``alone``: put
    no certificates of issuers beside it, which nobody could tell from others afterwards.
    """

    to: str
    under: str
    label: str | None = None
    path: str = "the wrapped key"
    without_r: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A key that is where it was to be; ``credential`` where it has a certificate, ``already`` when it had been there.

    ``left_out`` could not be kept there.
    """

    label: str
    key_id: bytes
    location: str
    algorithm: str
    checks: tuple[Check, ...]
    credential: Held | None = None
    already: bool = False
    left_out: frozenset[str] = frozenset()


def wrap_credential(place: Workplace, address: str, under: str) -> bytes:
    """The key at ``address`` as a file that only a holder of the wrapping key can open.

    ``KeyDoesNotLeave`` for a key that was not made for it, ``NotFound`` for one or the other, ``UnsupportedOperation``
    for a location that wraps nothing.
    """
    with place.open_location(address) as location:
        wraps = wrapping(location)
        recover(place, location)
        key_id, label = wraps.find_key(address)
        kek = wraps.wrapping_key(under)
        place.say("wrap")
        stored = _certified(location, key_id)
        file = WrappedFile(
            label=Label.from_text(stored.label if stored else label).name,
            wrapped=wraps.wrap(key_id, kek),
            kek_label=kek.label,
            kek_check=kek.check,
            wrapped_at=place.now(),
            certificate_der=stored.certificate_der if stored else b"",
            chain_der=location.chain_of(stored.certificate_der) if stored else (),
        )
        _refuse_foreign_certificate(file)
        data = file.to_json(lambda value: wraps.wrap_value(value, kek))
        facts: dict[str, Fact] = {"location": location.address, "key_id": key_id.hex(), "under": kek.check}
        where = stored.address if stored else location.address
        place.ledger.record(Event("wrapped", where, _fingerprint(file), facts))
        return data


def plan_wrap(place: Workplace, address: str, under: str) -> tuple[Step, ...]:
    """What ``wrap_credential`` would do, after the refusals that say which key and which wrapping key is meant."""
    with place.open_location(address) as location:
        wraps = wrapping(location)
        _key_id, label = wraps.find_key(address)
        return (Step("wrap", {"label": label, "kek": wraps.wrapping_key(under).label}),)


def look_into(blob: bytes, path: str = "the wrapped key") -> WrappedFile:
    """What a file says of itself; nobody has looked at its seal yet. Raises ``FileMalformed``."""
    return read_wrapped(blob, path).content


def unwrap_credential(place: Workplace, blob: bytes, order: UnwrapOrder) -> Unwrapped:
    """Bring a wrapped key to a location; complete, opened again and proven when this returns.

    ``FileMalformed`` for a damaged or changed file, ``WrappingKeyMismatch`` for another wrapping key,
    ``AlreadyExists`` for a name in use, ``NotPermitted`` where R would be lost. After any error the location is as it
    was. The same certificate with its key there already: proven, and left.
    """
    with place.open_target(order.to) as location:
        wraps = wrapping(location)
        recover(place, location)
        file, kek = _opened(blob, order, wraps)
        if (twin := _twin(location, file)) is not None:
            return _already(place, location, file, twin)
        label = order.label or file.label
        if not file.certificate_der and (there := key_there(location, label, _public_key(file))) is not None:
            return _key_already(place, location, file, there, label)
        location.check_free(label=label, subject_der=_subject_of(file))
        file, left_out = _without_r(file, order, location)
        operation = _begin(place, location, replace(file, chain_der=()) if order.alone else file, label)
        with operation, taken_back_on_failure(place, operation, location):
            place.say("unwrap")
            wraps.unwrap(file.wrapped, kek, key_id=key_id_of(operation), label=label)
            with place.open_target(order.to) as again:
                done = _finish(place, operation, again, file)
        return replace(done, left_out=left_out)


def plan_unwrap(place: Workplace, blob: bytes, order: UnwrapOrder) -> tuple[Step, ...]:
    """The steps that ``unwrap_credential`` would take, after the same refusals but those about R."""
    with place.open_target(order.to) as location:
        file, kek = _opened(blob, order, wrapping(location))
        label = order.label or file.label
        where = {"location": location.address, "label": label, "kek": kek.label}
        if _twin(location, file) is not None:
            return (Step("prove", where),)
        location.check_free(label=label, subject_der=_subject_of(file))
        install = (Step("install", where),) if file.certificate_der else ()
        return Step("unwrap", where), Step("prove", where), *install


def _opened(blob: bytes, order: UnwrapOrder, wraps: WrapsKeys) -> "tuple[WrappedFile, WrappingKey]":
    """The file, after its wrapping key and its seal were seen to be right."""
    read = read_wrapped(blob, order.path)
    file = read.content
    kek = wraps.wrapping_key(order.under)
    if kek.check != file.kek_check:
        raise WrappingKeyMismatch(
            path=order.path, label=file.kek_label, check=file.kek_check, given=kek.label, found=kek.check
        )
    refuse_broken_seal(read, lambda value: wraps.wrap_value(value, kek), order.path)
    _refuse_foreign_certificate(file)
    return file, kek


def _refuse_foreign_certificate(file: WrappedFile) -> None:
    """What is sealed may still have been put together wrongly."""
    from dojang.x509.keys import same_key
    from dojang.x509.reading import read_certificate

    if not file.certificate_der:
        return
    certificate = read_certificate(file.certificate_der)
    if not same_key(certificate.public_key(), _public_key(file)):
        raise CertificateUnusable(
            subject=certificate.subject.rfc4514_string(), problem=Phrase("the private key does not belong to it")
        )


def _without_r(file: WrappedFile, order: UnwrapOrder, location: Location) -> tuple[WrappedFile, frozenset[str]]:
    """The file without R where R cannot be kept and need not be; where it must be, the location refuses."""
    if not (file.wrapped.random_number and order.without_r and isinstance(location, HoldsR)) or location.holds_r:
        return file, frozenset()
    return replace(file, wrapped=replace(file.wrapped, random_number=b"")), frozenset({"r"})


def _begin(place: Workplace, location: Location, file: WrappedFile, label: str) -> Operation:
    facts: dict[str, Fact] = {
        "location": location.address,
        "address": location.address,
        "key_id": token_bytes(KEY_ID_BYTES).hex(),
        "label": label,
        "origin": "wrapped",
        "fingerprint": _fingerprint(file),
        "algorithm": file.wrapped.algorithm,
    }
    if file.certificate_der:
        from dojang.x509.name import format_name
        from dojang.x509.reading import read_certificate

        facts |= answer_facts(file.certificate_der, file.chain_der)
        facts["subject"] = format_name(read_certificate(file.certificate_der).subject)
    return place.ledger.begin("unwrap" if file.certificate_der else "unwrap-key", name_in(location, label), facts)


def _finish(place: Workplace, operation: Operation, location: Location, file: WrappedFile) -> Unwrapped:
    """From the key in its place to the end."""
    from dojang.x509.challenge import prove_key

    key_id = key_id_of(operation)
    key = location.private_key(key_id)
    _refuse_other_key(key, file)
    place.say("prove")
    prove_key(key)  # before the certificates: those above it would stay, because others may need them
    credential = None
    if file.certificate_der:
        operation.advance("brought")
        stored = install_and_prove(place, operation, location, key)
        credential = look_at(place, location.traits, stored)
        operation.finish("unwrapped", brought_event(operation, stored))
    else:
        kept = {name: operation.record.facts[name] for name in ("location", "label", "key_id", "algorithm")}
        operation.finish("unwrapped", Event("unwrapped", location.address, _fingerprint(file), kept))
    label = str(operation.record.facts["label"])
    checks = (Check("opened-again", True, location.address), Check("attributes", True), Check("signature", True))
    return Unwrapped(label, key_id, location.address, file.wrapped.algorithm, checks, credential)


def _twin(location: Location, file: WrappedFile) -> StoredCredential | None:
    """The same credential, there already; a certificate whose key was lost is none."""
    twin = twin_in(location, file.certificate_der) if file.certificate_der else None
    return twin if twin is not None and location.has_key(twin.key_id) else None


def _already(place: Workplace, location: Location, file: WrappedFile, twin: StoredCredential) -> Unwrapped:
    from dojang.x509.challenge import prove_possession

    place.say("prove")
    prove_possession(location.private_key(twin.key_id), file.certificate_der)
    checks = (Check("opened-again", True, twin.address), Check("signature", True))
    held = look_at(place, location.traits, twin)
    return Unwrapped(twin.label, twin.key_id, location.address, file.wrapped.algorithm, checks, held, already=True)


def _key_already(place: Workplace, location: Location, file: WrappedFile, key_id: bytes, label: str) -> Unwrapped:
    from dojang.x509.challenge import prove_key

    place.say("prove")
    prove_key(location.private_key(key_id))
    checks = (Check("opened-again", True, location.address), Check("signature", True))
    return Unwrapped(label, key_id, location.address, file.wrapped.algorithm, checks, already=True)


def _refuse_other_key(key: "PrivateKey", file: WrappedFile) -> None:
    from dojang.x509.keys import same_key

    if not same_key(key.public_key(), _public_key(file)):
        problem = Phrase("the key that came out is not the one that the file names")
        raise VerificationFailed(problems=(problem,), next_step="Nothing was kept; take another copy of the file.")


def _certified(location: Location, key_id: bytes) -> StoredCredential | None:
    """The credential of a key: the live one, else one that waits or was replaced."""
    found = [one for one in location.credentials() if one.key_id == key_id]
    return next((one for one in found if one.live), found[0] if found else None)


def _fingerprint(file: WrappedFile) -> str:
    return fingerprint_of(file.certificate_der) if file.certificate_der else fingerprint_of_key(_public_key(file))


def _public_key(file: WrappedFile) -> "PublicKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        return load_der_public_key(file.wrapped.public_key_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnsupportedFormat(
            what=Phrase("The wrapped key"), problem=Phrase("its public half cannot be read")
        ) from error


def _subject_of(file: WrappedFile) -> bytes:
    from dojang.x509.reading import read_certificate

    return read_certificate(file.certificate_der).subject.public_bytes() if file.certificate_der else b""
