"""The second half of each verb: from what the journal holds to the end. Everything here may have been done before.

A verb that runs undisturbed and the recovery of one that was killed go through the same functions.
"""

from typing import TYPE_CHECKING

from dojang.errors import AuthorityUnreachable, NotFound, NotPermitted, Phrase
from dojang.ledger import Event, Operation
from dojang.lifecycle.asking import authority_of, certify_again, is_elsewhere
from dojang.lifecycle.claims import check_claim, drop_claim
from dojang.lifecycle.elsewhere import revoke_replaced
from dojang.lifecycle.hooks import run_post_hook
from dojang.lifecycle.journal import (
    answer_facts,
    certified_event,
    key_id_of,
    noted_answer,
    predecessor_revoked,
    replaced_by,
)
from dojang.lifecycle.predecessor import retired_event, take_place
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import Location, MayBeAbsent, StoredCredential

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.base import CertificateAuthority

# A certificate is "restored" when its authority takes it off hold; one from a backup is brought back.
BROUGHT = {"copy": "copied", "move": "moved", "import": "imported", "restore": "brought-back", "unwrap": "unwrapped"}


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
    """Tell the authority that the certificate has arrived and works.

    One that does not find something of its own, such as the key for its list, may have confirmed: it refuses nothing.
    """
    place.say("confirm")
    try:
        authority.confirm(operation.operation_id)
    except NotFound as error:
        raise AuthorityUnreachable(
            authority=str(operation.record.facts["authority"]),
            problem=Phrase("{what} is not in {where}", what=error.facts["what"], where=error.facts["where"]),
            next_step="Bring back what it needs, then run 'dojang renew run'; what was begun is kept.",
        ) from error


def note_confirmed(
    place: Workplace, operation: Operation, location: Location, authority: "CertificateAuthority"
) -> None:
    """An authority here has revoked what a reissue replaced; one elsewhere is asked to, by the old key."""
    if operation.record.verb == "reissue" and is_elsewhere(authority):
        operation.advance("confirmed", revoked_there=revoke_replaced(place, operation, location))
    else:
        operation.advance("confirmed")


def switch(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """After the confirmation: the new credential takes the old one's name, the old is retired, the ledger says so."""
    place.say("switch")
    facts = operation.record.facts
    stored = location.switch(
        old_key_id=key_id_of(operation, "old_key_id"),
        new_key_id=key_id_of(operation),
        certificate_der=noted_answer(operation)[0],
    )
    drop_claim(operation, location)
    if operation.record.facts.get("hooked"):
        operation.advance("switched")
        run_post_hook(place, operation, "renewed")
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
    """That there is a successor, and of a reissue that the authority has revoked the old one, where that is known."""
    new = certified_event(SUCCEEDED[operation.record.verb], operation, stored)
    if operation.record.verb != "reissue":
        return [new]
    if operation.record.facts.get("revoked_there") is False:
        facts = operation.record.facts
        old = {"successor": new.fingerprint, "authority": facts["authority"]}
        return [new, Event("superseded", str(facts.get("address", "")), str(facts["old_fingerprint"]), old)]
    return [new, predecessor_revoked(operation, successor=new.fingerprint)]


def finish_asking(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """From ``asked`` to the end: the answer is asked for again, and it is not asked for twice."""
    with authority_of(place, operation, location) as authority:
        answer = certify_again(place, operation, authority)
    operation.advance("answered", **answer_facts(answer.certificate_der, answer.chain_der))
    return (finish_issue if operation.record.verb == "issue" else finish_renewal)(place, operation, location)


def finish_issue(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """From ``answered`` to the end."""
    stored = install_and_prove(place, operation, location)
    with authority_of(place, operation, location) as authority:
        confirm(place, operation, authority)
    operation.finish("issued", certified_event("issued", operation, stored))
    return stored


def finish_renewal(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """From ``answered``, ``confirmed`` or ``switched`` to the end."""
    if operation.record.step == "answered":
        check_claim(operation, location)
        install_and_prove(place, operation, location)
        with authority_of(place, operation, location) as authority:
            confirm(place, operation, authority)
            note_confirmed(place, operation, location, authority)
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


def finish_seed_delete(place: Workplace, operation: Operation, location: Location) -> None:
    """Remove what is left of a seed for one-time passwords, and record that it is gone."""
    place.say("delete")
    location.discard(key_id_of(operation))
    facts = operation.record.facts
    known = {name: facts[name] for name in ("location", "label", "key_id")}
    operation.finish("deleted", Event("otp-deleted", str(facts["address"]), "", known))


def finish_brought(operation: Operation, stored: StoredCredential) -> None:
    """Record a credential that was copied, imported or restored, and whose place it took, where that was somebody's."""
    event = brought_event(operation, stored)
    retired = [] if replaced_by(operation) is None else [retired_event(operation)]
    operation.finish(event.event, event, *retired)


def brought_event(operation: Operation, stored: StoredCredential) -> Event:
    """The ledger's entry for a credential that was copied, moved, imported or restored to where it is now."""
    facts = operation.record.facts
    kept = {name: facts[name] for name in ("location", "subject", "key_id", "origin")}
    return Event(BROUGHT[operation.record.verb], stored.address, str(facts["fingerprint"]), kept)


def finish_bringing(place: Workplace, operation: Operation, location: Location) -> StoredCredential:
    """Key and companions are in the target: from there to the end."""
    if operation.record.step == "brought":
        check_claim(operation, location)
        stored = install_and_prove(place, operation, location)
    if replaced_by(operation) is not None:
        stored = take_place(place, operation, location)
    if operation.record.verb == "move":
        leave_source(operation)
        with place.open_location(str(operation.record.facts["location"])) as source:
            return finish_move(place, operation, source)
    finish_brought(operation, stored)
    return stored


def leave_source(operation: Operation) -> None:
    """The copy is proven; from here on the original goes, and what is left to do is where it lies."""
    facts = operation.record.facts
    operation.advance("copied", location=facts["origin_location"], target=facts["location"])


def finish_move(place: Workplace, operation: Operation, source: Location) -> StoredCredential:
    """Open the copy once more, have it sign, and only then remove the original; done before, nothing is left to do."""
    from dojang.x509.challenge import prove_possession

    begun = operation.record.step == "removing"
    if isinstance(source, MayBeAbsent) and not begun:
        source.check_present()
    facts = operation.record.facts
    certificate_der, key_id = noted_answer(operation)[0], key_id_of(operation, "origin_key_id")
    with place.open_target(str(facts["target"])) as target:
        stored = twin_in(target, certificate_der)
        if stored is None:
            raise NotFound(what="The copy", where=target.address, command=f"dojang cert list '{target.address}'")
        place.say("prove")
        prove_possession(target.private_key(stored.key_id), certificate_der)
    refuse_others_lost(source, key_id, certificate_der)
    place.say("remove")
    if not begun:
        operation.advance("removing")  # from here on a file that is not there is no disk that is away
    source.delete(key_id)
    fingerprint = str(facts["fingerprint"])
    away = {"location": source.address, "label": facts["label"], "to": stored.address}
    here = {"location": facts["target"], "subject": facts["subject"], "origin": facts["origin"]}
    operation.finish(
        "moved",
        Event("moved-away", str(facts["origin"]), fingerprint, away),
        Event("moved", stored.address, fingerprint, here),
    )
    return stored


def twin_in(location: Location, certificate_der: bytes) -> StoredCredential | None:
    """The live credential in ``location`` that has this very certificate."""
    for one in location.credentials():
        if one.live and one.certificate_der == certificate_der:
            return one
    return None


def refuse_others_lost(location: Location, key_id: bytes, certificate_der: bytes) -> None:
    """``NotPermitted`` where another certificate, a retired one mostly, would go with the key."""
    for one in location.credentials():
        if one.key_id == key_id and one.certificate_der != certificate_der:
            raise NotPermitted(
                problem=Phrase("{address} is for the same key and would be lost", address=one.address),
                remedy="Copy it instead, and delete with 'dojang cert delete' what nobody needs.",
            )
