"""What an authority says of a certificate that it issued, changed: revoked, on hold, off hold; and noted here.

The authority is told first and the ledger second; a run that is killed between the two is finished by the next one.
"""

from typing import TYPE_CHECKING

from dojang.cmp.urls import is_url
from dojang.errors import DojangError, UnsupportedOperation
from dojang.ledger import Event, Fact, Operation
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.workplace import Workplace

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority
    from dojang.authority.local import LocalAuthority
    from dojang.authority.store import Record

EVENTS = {"revoke": "revoked", "suspend": "suspended", "release": "restored"}


def change(place: Workplace, authority: "CertificateAuthority", verb: str, serial: str, reason: str = "") -> "Record":
    """``revoke``, ``suspend`` or ``release`` (take off hold) one certificate, publish it and note it in the ledger.

    ``NotFound`` for the serial. After an error the certificate is as it was, or the change waits in the journal.
    """
    local = local_authority(authority)
    before = local.find(serial)
    with place.ledger.begin(verb, subject_of(local.name, before.serial), _facts(place, local, before, reason)) as begun:
        try:
            return _carry_out(begun, local)
        except DojangError as error:
            if local.find(before.serial).state == before.state:
                begun.undo(error.code)
            raise


def finish_change(place: Workplace, operation: Operation) -> str:
    """From ``begun`` to the end; the authority may have done it before."""
    name = str(operation.record.facts["authority"])
    if is_url(name):
        from dojang.lifecycle.elsewhere import finish_revoking

        return finish_revoking(place, operation)
    with place.open_authority(name) as authority:
        _carry_out(operation, local_authority(authority))
    return "finished"


def subject_of(authority_name: str, serial: str) -> str:
    """The subject of an operation that changes what an authority says of a certificate."""
    return f"{authority_name}#serial={serial}"


def local_authority(authority: "CertificateAuthority") -> "LocalAuthority":
    """The authority, where its records are here. ``UnsupportedOperation`` otherwise."""
    from dojang.authority.local import LocalAuthority

    if not isinstance(authority, LocalAuthority):
        raise UnsupportedOperation(where="An authority elsewhere", operation="change the state of a certificate here")
    return authority


def _carry_out(operation: Operation, authority: "LocalAuthority") -> "Record":
    verb, facts = operation.record.verb, operation.record.facts
    serial = str(facts["serial"])
    if verb == "revoke":
        authority.revoke(serial, str(facts["reason"]))
    elif verb == "suspend":
        authority.suspend(serial)
    else:
        authority.restore(serial)
    record = authority.find(serial)
    noted: dict[str, Fact] = {name: facts[name] for name in ("authority", "serial")}
    if verb == "revoke":
        noted["reason"] = record.reason  # which may be an earlier one
    address, fingerprint = str(facts.get("address", "")), str(facts["fingerprint"])
    operation.finish(EVENTS[verb], Event(EVENTS[verb], address, fingerprint, noted))
    return record


def _facts(place: Workplace, authority: "LocalAuthority", record: "Record", reason: str) -> dict[str, Fact]:
    fingerprint = fingerprint_of(record.certificate_der)
    facts: dict[str, Fact] = {"authority": authority.name, "serial": record.serial, "fingerprint": fingerprint}
    if reason:
        facts["reason"] = reason
    known = [past.address for past in place.ledger.history(fingerprint=fingerprint) if past.address]
    return facts | {"address": known[-1]} if known else facts
