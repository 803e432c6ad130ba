"""Which certificate a person means: by the address where it lies, by a file with it, or by its serial."""

from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dojang.cmp.urls import is_url
from dojang.errors import Ambiguous, NotFound, NotPermitted, Phrase
from dojang.lifecycle.origin import Origin, origin_known
from dojang.lifecycle.workplace import Workplace

if TYPE_CHECKING:
    from dojang.authority.store import Record


@dataclass(frozen=True, slots=True)
class Meant:
    """One of the three. ``authority`` narrows down whose serial it is."""

    address: str | None = None
    certificate_der: bytes | None = None
    serial: str | None = None
    authority: str | None = None


def issued_with(place: Workplace, meant: Meant) -> bytes:
    """The certificate with this serial: from the records of a local authority, or, where one elsewhere issued it, from
    the ledger. ``NotFound``, ``Ambiguous``.
    """
    assert meant.serial is not None
    found = {name: record.certificate_der for name, record in _records(place, meant)} | _noted(place, meant)
    if not found:
        what = Phrase("certificate {serial}", serial=meant.serial[:64])
        raise NotFound(what=what, where=Phrase("the authorities known here"), command="dojang ca list")
    if len(found) > 1:
        raise Ambiguous(
            what=Phrase("certificate {serial}", serial=meant.serial[:64]),
            matches=", ".join(found),
            next_step=Phrase("Name one of these authorities with --ca."),
        )
    return next(iter(found.values()))


def _noted(place: Workplace, meant: Meant) -> dict[str, bytes]:
    """What authorities elsewhere have issued with this serial, as far as the ledger knows, by their URLs."""
    from dojang.lifecycle.fallout import serial_in

    wanted = str(meant.serial).lower().replace(":", "").removeprefix("0x").lstrip("0")
    found: dict[str, bytes] = {}
    for event in place.ledger.history():
        authority = str(event.facts.get("authority", ""))
        if is_url(authority) and "certificate" in event.facts and meant.authority in (None, authority):
            certificate_der = b64decode(str(event.facts["certificate"]))
            if serial_in(certificate_der) == wanted:
                found[authority] = certificate_der
    return found


def issuer_known(place: Workplace, certificate_der: bytes) -> Origin:
    """The authority and the profile that a certificate came from; ``NotPermitted`` where nobody here knows them."""
    from dojang.x509.status import credential_facts

    origin = origin_known(place, certificate_der)
    if origin is None:
        subject = credential_facts(certificate_der, place.now()).subject
        raise NotPermitted(
            problem=Phrase("no authority known here issued {subject}", subject=subject),
            remedy="Ask the authority that issued it.",
        )
    return origin


def _records(place: Workplace, meant: Meant) -> "list[tuple[str, Record]]":
    assert meant.serial is not None
    found: list[tuple[str, Record]] = []
    if meant.authority is not None and is_url(meant.authority):
        return found
    for name in [meant.authority] if meant.authority else place.authorities():
        from dojang.authority.local import LocalAuthority  # where there is none, nothing of it need be installed

        with place.open_authority(name) as authority:
            if isinstance(authority, LocalAuthority):
                try:
                    found.append((name, authority.find(meant.serial)))
                except NotFound:
                    continue
    return found
