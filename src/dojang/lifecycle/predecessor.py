"""A copy of what was renewed elsewhere: which one it is, and how what succeeded it takes its place.

As in a renewal the new one comes first and proves itself; the old one is retired, still readable, and deleted by none.
"""

import contextlib
from typing import TYPE_CHECKING

from dojang.errors import Ambiguous, CredentialBusy, NotFound, Phrase
from dojang.ledger import Event, Fact, Operation
from dojang.lifecycle.claims import check_claim, drop_claim, take_claim
from dojang.lifecycle.journal import key_id_of, noted_answer
from dojang.lifecycle.origin import fingerprint_of, history_of
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import Location, StoredCredential

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def predecessor_in(place: Workplace, location: Location, certificate_der: bytes) -> StoredCredential | None:
    """The credential in use there whose successor has this certificate: as the ledger knows, else of the same names
    and begun earlier. ``Ambiguous`` where it may be one of several.
    """
    from dojang.x509.reading import read_certificate

    new = read_certificate(certificate_der)
    others = [one for one in location.credentials() if one.live and one.certificate_der != certificate_der]
    found = [one for one in others if _is_before(place, one, new, fingerprint_of(certificate_der))]
    if len(found) > 1:
        raise Ambiguous(what=Phrase("Its predecessor"), matches=", ".join(one.address for one in found))
    return found[0] if found else None


def _is_before(place: Workplace, one: StoredCredential, new: "Certificate", fingerprint: str) -> bool:
    from dojang.errors import FileMalformed
    from dojang.x509.reading import read_certificate

    if any(event.facts.get("successor") == fingerprint for event in history_of(place, one)):
        return True
    try:
        old = read_certificate(one.certificate_der)
    except FileMalformed:
        return False
    same = (old.subject, old.issuer) == (new.subject, new.issuer)
    return same and old.not_valid_before_utc < new.not_valid_before_utc


def predecessor_facts(old: StoredCredential) -> dict[str, Fact]:
    """What the journal keeps of the one that will be retired."""
    return {
        "address": old.address,
        "label": old.label,
        "old_key_id": old.key_id.hex(),
        "old_fingerprint": fingerprint_of(old.certificate_der),
    }


def check_secret(location: Location, old: StoredCredential) -> None:
    """A password that does not open the old key ends it here: the new one would be sealed under a mistyped one."""
    if location.traits.opened_by == "password":
        with contextlib.suppress(NotFound):  # a certificate whose key is not here
            location.private_key(old.key_id)


def claim_place(operation: Operation, location: Location, old: StoredCredential) -> None:
    """From here on nobody renews or replaces the old one; ``CredentialBusy`` while somebody does, or has."""
    claimed = take_claim(operation, location)
    if not any(one.live and one.certificate_der == old.certificate_der for one in location.credentials()):
        raise CredentialBusy(verb=operation.record.verb, subject=old.address)
    operation.advance("claimed", claimed=claimed)


def take_place(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """What was brought has signed: it takes the place of the old one, which is retired. Never undone from here on."""
    if operation.record.step != "proven":
        check_claim(operation, location)
        operation.advance("proven")
    place.say("switch")
    stored = location.switch(
        old_key_id=key_id_of(operation, "old_key_id"),
        new_key_id=key_id_of(operation),
        certificate_der=noted_answer(operation)[0],
    )
    drop_claim(operation, location)
    return stored


def retired_event(operation: Operation) -> Event:
    """The ledger's entry for the one whose place was taken."""
    facts = operation.record.facts
    kept = {"location": facts["location"], "key_id": facts["old_key_id"], "successor": facts["fingerprint"]}
    return Event("retired", str(facts["address"]), str(facts["old_fingerprint"]), kept)
