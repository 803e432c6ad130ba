"""Revoke, suspend and restore, and note it in the ledger; at an authority elsewhere only revoke."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dojang.cmp.urls import is_url
from dojang.errors import NotFound
from dojang.lifecycle.asking import is_elsewhere
from dojang.lifecycle.elsewhere import KnownRecord, known_record, reason_flag, revoke_elsewhere
from dojang.lifecycle.fallout import compromised_with, serial_in
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.meant import Meant, issued_with, issuer_known
from dojang.lifecycle.recover import recover
from dojang.lifecycle.status import change, local_authority, subject_of
from dojang.lifecycle.workplace import Step, Workplace

if TYPE_CHECKING:
    from dojang.authority.store import Record


@dataclass(frozen=True, slots=True)
class RevokeOrder:
    """Which certificate to revoke, and why, as RFC 5280 spells it."""

    meant: Meant
    reason: str = "unspecified"


@dataclass(frozen=True, slots=True)
class Revocation:
    """What the authority has recorded, and the credential where it was named by its address.

    ``standing``: what came before a compromised one and is still valid.
    """

    authority: str
    record: "Record | KnownRecord"
    credential: Held | None = None
    standing: "tuple[Record, ...]" = ()


def look_up(order: RevokeOrder, place: Workplace) -> Revocation:
    """Which certificate it would be, and how it stands now. ``NotFound``, ``NotPermitted`` where nobody issued it, and
    ``Usage`` for the reason.
    """
    certificate_der, held = _named(order.meant, place)
    origin = issuer_known(place, certificate_der)
    with place.open_authority(origin.authority) as authority:
        _check_reason(order.reason, elsewhere=is_elsewhere(authority))
        if is_elsewhere(authority):
            return Revocation(origin.authority, known_record(place, certificate_der), held)
        record = local_authority(authority).find(serial_in(certificate_der))
        if record.certificate_der != certificate_der:
            raise NotFound(
                what="the certificate", where=origin.authority, command=f"dojang ca list --ca {origin.authority}"
            )
        compromised = record.state == "revoked" and record.reason == "keyCompromise"
        standing = compromised_with(authority, certificate_der, place.now()) if compromised else ()
    return Revocation(origin.authority, record, held, standing)


def _check_reason(reason: str, *, elsewhere: bool) -> None:
    """Before anybody types a serial for it."""
    from dojang.authority.revocation import reason_of

    (reason_flag if elsewhere else reason_of)(reason)


def revoke_meant(order: RevokeOrder, place: Workplace) -> Revocation:
    """Have the authority that issued it revoke a certificate for good; revoked already, it publishes that again."""
    found = look_up(order, place)
    if is_url(found.authority):
        recover(place, subject_key=subject_of(found.authority, found.record.serial))
        if known_record(place, found.record.certificate_der).state != "revoked":
            revoke_elsewhere(place, found.authority, found.record.certificate_der, order.reason)
    else:
        revoke(place, found.authority, found.record.serial, order.reason)
    return look_up(order, place)


def plan_revocation(order: RevokeOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``revoke_meant`` would take, after the same refusals; nothing is changed and no PIN is asked."""
    found = look_up(order, place)
    by = {"authority": found.authority}
    revoking = Step("revoke", {"serial": found.record.serial, **by})
    return (revoking,) if is_url(found.authority) else (revoking, Step("publish", by))


def revoke(place: Workplace, authority_name: str, serial: str, reason: str) -> "Record":
    """Revoke for good and publish it. Raises ``NotFound`` for the serial and ``Usage`` for the reason."""
    return _change(place, "revoke", authority_name, serial, reason)


def suspend(place: Workplace, authority_name: str, serial: str) -> "Record":
    """Put on hold and publish it."""
    return _change(place, "suspend", authority_name, serial)


def restore(place: Workplace, authority_name: str, serial: str) -> "Record":
    """Take off hold and publish it."""
    return _change(place, "release", authority_name, serial)


def _change(place: Workplace, verb: str, authority_name: str, serial: str, reason: str = "") -> "Record":
    with place.open_authority(authority_name) as authority:
        recover(place, subject_key=subject_of(authority_name, local_authority(authority).find(serial).serial))
        return change(place, authority, verb, serial, reason)


def _named(meant: Meant, place: Workplace) -> tuple[bytes, Held | None]:
    """The certificate, and the credential where an address names it."""
    if meant.address is not None:
        with place.open_location(meant.address) as location:
            stored = location.find(meant.address)
            return stored.certificate_der, look_at(place, location.traits, stored)
    return meant.certificate_der or issued_with(place, meant), None
