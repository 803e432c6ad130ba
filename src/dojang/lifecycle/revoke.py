"""Revoke, suspend and restore at a local authority, and note it in the ledger."""

from dojang.authority.local import LocalAuthority
from dojang.authority.store import Record
from dojang.errors import UnsupportedOperation
from dojang.ledger import Event, Fact
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.workplace import Workplace


def revoke(place: Workplace, authority_name: str, serial: str, reason: str) -> Record:
    """Revoke for good and publish it. Raises ``NotFound`` for the serial and ``Usage`` for the reason."""
    with place.open_authority(authority_name) as authority:
        local = _local(authority)
        local.revoke(serial, reason)
        return _note(place, local, serial, "revoked", reason=reason)


def suspend(place: Workplace, authority_name: str, serial: str) -> Record:
    """Put on hold and publish it."""
    with place.open_authority(authority_name) as authority:
        local = _local(authority)
        local.suspend(serial)
        return _note(place, local, serial, "suspended")


def restore(place: Workplace, authority_name: str, serial: str) -> Record:
    """Take off hold and publish it."""
    with place.open_authority(authority_name) as authority:
        local = _local(authority)
        local.restore(serial)
        return _note(place, local, serial, "restored")


def _local(authority: object) -> LocalAuthority:
    if not isinstance(authority, LocalAuthority):
        raise UnsupportedOperation(where="An authority elsewhere", operation="change the state of a certificate here")
    return authority


def _note(place: Workplace, authority: LocalAuthority, serial: str, event: str, **facts: Fact) -> Record:
    record = authority.find(serial)
    fingerprint = fingerprint_of(record.certificate_der)
    known = [past.address for past in place.ledger.history(fingerprint=fingerprint) if past.address]
    facts |= {"authority": authority.name, "serial": record.serial}
    place.ledger.record(Event(event, known[-1] if known else "", fingerprint, facts))
    return record
