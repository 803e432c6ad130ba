"""The second half of each verb: from what the journal holds to the end. Everything here may have been done before.

A verb that runs undisturbed and the recovery of one that was killed go through the same functions.
"""

from typing import TYPE_CHECKING

from dojang.ledger import Event, Operation
from dojang.lifecycle.journal import certified_event, key_id_of, noted_answer, replaced_by
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import Location, StoredCredential

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.base import CertificateAuthority


SUCCEEDED = {"renew": "renewed", "reissue": "reissued"}


def install_and_prove(
    place: Workplace, operation: Operation, location: Location, key: "PrivateKey | None" = None
) -> StoredCredential:
    """Put the noted answer beside its key, then sign a challenge with the key and verify it with the certificate.

    ``key`` saves finding the key again; it is looked up by ``key_id`` otherwise.
    """
    from dojang.x509.challenge import prove_possession

    certificate_der, chain_der = noted_answer(operation)
    key_id = key_id_of(operation)
    key = key or location.private_key(key_id)
    place.say("install")
    stored = location.install(
        key_id=key_id,
        label=str(operation.record.facts["label"]),
        certificate_der=certificate_der,
        chain_der=chain_der,
        replaces=replaced_by(operation),
    )
    place.say("prove")
    prove_possession(key, certificate_der)
    return stored


def confirm(place: Workplace, operation: Operation, authority: "CertificateAuthority") -> None:
    """Tell the authority that the certificate has arrived and works."""
    place.say("confirm")
    authority.confirm(operation.operation_id)


def switch(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """After the confirmation: the new credential takes the old one's name, the old is retired, the ledger says so."""
    place.say("switch")
    facts = operation.record.facts
    stored = location.switch(
        old_key_id=key_id_of(operation, "old_key_id"),
        new_key_id=key_id_of(operation),
        certificate_der=noted_answer(operation)[0],
    )
    new, *others = successor_events(operation, stored)
    retired = Event(
        "retired",
        str(facts["address"]),
        str(facts["old_fingerprint"]),
        {"location": location.address, "key_id": facts["old_key_id"], "successor": new.fingerprint},
    )
    operation.finish(new.event, new, retired, *others)
    return stored


def settle_elsewhere(operation: Operation, location: Location) -> StoredCredential:
    """After the confirmation of a new credential that lies elsewhere than the old one: it is in use already."""
    certificate_der, chain_der = noted_answer(operation)
    stored = location.install(
        key_id=key_id_of(operation),
        label=str(operation.record.facts["label"]),
        certificate_der=certificate_der,
        chain_der=chain_der,
    )
    new, *others = successor_events(operation, stored)
    operation.finish(new.event, new, *others)
    return stored


def successor_events(operation: Operation, stored: StoredCredential) -> list[Event]:
    """That there is a successor, and of a reissue that the authority has revoked the old one."""
    facts = operation.record.facts
    new = certified_event(SUCCEEDED[operation.record.verb], operation, stored)
    if operation.record.verb != "reissue":
        return [new]
    revoked = {name: facts[name] for name in ("authority", "serial", "reason")} | {"successor": new.fingerprint}
    return [new, Event("revoked", str(facts["address"]), str(facts["old_fingerprint"]), revoked)]


def finish_issue(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """From ``answered`` to the end."""
    stored = install_and_prove(place, operation, location)
    with place.open_authority(str(operation.record.facts["authority"])) as authority:
        confirm(place, operation, authority)
    operation.finish("issued", certified_event("issued", operation, stored))
    return stored


def finish_renewal(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """From ``answered`` or ``confirmed`` to the end."""
    if operation.record.step == "answered":
        install_and_prove(place, operation, location)
        with place.open_authority(str(operation.record.facts["authority"])) as authority:
            confirm(place, operation, authority)
        operation.advance("confirmed")
    if replaced_by(operation) is None:
        return settle_elsewhere(operation, location)
    return switch(place, operation, location)


def finish_install(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """The certificate that was brought is in the journal from the beginning."""
    stored = install_and_prove(place, operation, location)
    operation.finish("installed", certified_event("installed", operation, stored))
    return stored


def finish_delete(place: Workplace, operation: Operation, location: Location) -> None:
    """Remove what is left and record that it is gone."""
    place.say("delete")
    location.delete(key_id_of(operation))
    facts = operation.record.facts
    gone = Event("deleted", str(facts["address"]), str(facts["fingerprint"]), {"location": location.address})
    operation.finish("deleted", gone)
