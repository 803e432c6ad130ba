"""Move: the credential is in the other location afterwards, and no longer where it was."""

from functools import partial
from pathlib import Path
from secrets import token_bytes

from dojang.errors import NotFound
from dojang.ledger import Fact, Operation
from dojang.lifecycle.copy import CopyOrder, Transferred, refuse_staying
from dojang.lifecycle.finish import finish_move, leave_source, refuse_others_lost
from dojang.lifecycle.held import look_at
from dojang.lifecycle.journal import KEY_ID_BYTES, answer_facts, identity_of, key_in
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.parcel import name_of, take_out
from dojang.lifecycle.recover import recover
from dojang.lifecycle.transfer import Brought, Errand, brought, plan_bringing, proven_twin, refuse_early
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.address import parse_address
from dojang.locations.base import Location, StoredCredential


def move(order: CopyOrder, place: Workplace) -> Transferred:
    """Copy, prove the copy, and only then remove the original; a run that was killed is finished by the next.

    ``KeyDoesNotLeave`` and ``AlreadyExists`` as for ``copy``; ``NotPermitted`` when the target cannot keep all of it,
    or when another certificate for the same key would go with the original. Where source and target are one place,
    there is nothing to do.
    """
    _recover_between(order, place)
    with place.open_location(order.address) as source:
        try:
            stored = source.find(order.address)
        except NotFound:
            if (before := _done_before(order, place, source)) is not None:
                return before
            raise
        refuse_staying(place, source, stored, order.to)
        if same_place(source, order, place):
            return Transferred(_proven_there(order, place, stored), None)
        refuse_others_lost(source, stored.key_id, stored.certificate_der)
        refuse_early(order.label or name_of(stored), stored.certificate_der, order.to, place)
        place.say("take")
        parcel = take_out(source, stored)
        previous = look_at(place, source.traits, stored)
        facts = _facts(source, stored)
        subject = key_in(source, stored.key_id)
        check = partial(_refuse_gone, source, stored)
        errand = Errand("move", order.to, order.label, whole=True, subject=subject, facts=facts, check=check)
        with brought(parcel, errand, place) as done:
            operation = done.operation or _begin_removal(place, source, stored, done)
            with operation:
                leave_source(operation)
                finish_move(place, operation, source)
        return Transferred(done, previous)


def _recover_between(order: CopyOrder, place: Workplace) -> None:
    """What was cut short in either place, this very move perhaps. Whoever opens the source next reads it anew."""
    with place.open_location(order.address) as source, place.open_target(order.to) as target:
        recover(place, target, other=source.address)
        recover(place, source, other=target.address)


def plan_move(order: CopyOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``move`` would take, after the refusals that need no key; nothing is made and no PIN is asked."""
    with place.open_location(order.address) as source:
        stored = source.find(order.address)
        refuse_staying(place, source, stored, order.to)
        where = {"address": stored.address}
        if same_place(source, order, place):
            return (Step("prove", where),)
        refuse_others_lost(source, stored.key_id, stored.certificate_der)
    steps = plan_bringing(order.label or name_of(stored), stored.certificate_der, order.to, place)
    return (Step("take", where), *steps, Step("remove", where))


def same_place(source: Location, order: CopyOrder, place: Workplace) -> bool:
    """Whether source and target are one: by their addresses, or by the folder or file that both lead to."""
    with place.open_target(order.to) as target:
        if identity_of(source.address) == identity_of(target.address):
            return True
        here, there = _path_of(source), _path_of(target)
    try:
        return here is not None and there is not None and here.samefile(there)
    except OSError:
        return False


def _refuse_gone(source: Location, stored: StoredCredential) -> None:
    """``NotFound`` for what was moved elsewhere, renewed or deleted while its password was typed."""
    if not any(one.live and one.certificate_der == stored.certificate_der for one in source.credentials()):
        raise NotFound(what=f"'{stored.address}'", where=source.address, command=f"dojang cert list '{source.address}'")


def _path_of(location: Location) -> Path | None:
    """The folder or the file that a location is, if it is one: two mounts may show the same under two names."""
    path = getattr(location, "root", None) or getattr(parse_address(location.address), "path", None)
    return None if path is None else Path(path)


def _begin_removal(place: Workplace, source: Location, stored: StoredCredential, done: Brought) -> Operation:
    """The target has had it before; what is left is to remove the original. The ``key_id`` here is nobody's."""
    facts: dict[str, Fact] = {
        "location": done.location,
        "address": done.credential.stored.address,
        "key_id": token_bytes(KEY_ID_BYTES).hex(),
        "label": name_of(stored),
        "subject": done.credential.facts.subject,
        "origin": stored.address,
        "fingerprint": fingerprint_of(stored.certificate_der),
        **answer_facts(stored.certificate_der, ()),
        **_facts(source, stored),
    }
    return place.ledger.begin("move", key_in(source, stored.key_id), facts)


def _facts(source: Location, stored: StoredCredential) -> dict[str, Fact]:
    return {"origin_location": source.address, "origin_key_id": stored.key_id.hex()}


def _proven_there(order: CopyOrder, place: Workplace, stored: StoredCredential) -> Brought:
    with place.open_target(order.to) as target:
        return proven_twin(place, target, stored)


def _named(address: str, origin: str, label: str) -> bool:
    """Whether an address named what lay at ``origin`` under ``label``, as far as that can be told now."""
    asked = parse_address(address)
    return (
        address == origin
        or not asked.names_credential
        or label in (getattr(asked, "common_name", None), getattr(asked, "object", None))
    )


def _done_before(order: CopyOrder, place: Workplace, source: Location) -> Transferred | None:
    """What an earlier run has moved from here to there, if this names it and it is there still."""
    here = identity_of(source.address)
    for event in reversed(place.ledger.history()):
        if event.event != "moved-away" or identity_of(str(event.facts["location"])) != here:
            continue
        if not _named(order.address, event.address, str(event.facts["label"])):
            continue
        with place.open_target(order.to) as target:
            for one in target.credentials():
                if one.live and fingerprint_of(one.certificate_der) == event.fingerprint:
                    return Transferred(proven_twin(place, target, one), None)
    return None
