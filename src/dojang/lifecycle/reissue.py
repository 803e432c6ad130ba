"""Reissue: a new key and certificate for the rest of the old one's term; the old certificate is revoked.

For a key that is lost, a password that is forgotten, a secret that others know: nothing of the old key is needed. Who
may have that is the authority's to decide; a local one serves whoever has its PIN.
"""

import contextlib
from dataclasses import dataclass, field, replace
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.cmp.urls import is_url
from dojang.errors import DojangError, NothingToDo, NotPermitted, Phrase, UnsupportedOperation
from dojang.ledger import Fact, Operation
from dojang.lifecycle.aftercare import tell_checks
from dojang.lifecycle.asking import Terms, ask_steps, is_elsewhere, terms_of
from dojang.lifecycle.elsewhere import known_record, revoke_elsewhere
from dojang.lifecycle.fallout import Fallout, fallout_of, serial_in
from dojang.lifecycle.finish import settle_elsewhere, switch
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.journal import KEY_ID_BYTES, key_in, name_in
from dojang.lifecycle.meant import Meant, issuer_known
from dojang.lifecycle.new_key import refuse_no_new_key, wrapping
from dojang.lifecycle.origin import Origin, fingerprint_of
from dojang.lifecycle.person import (
    AskNumber,
    Person,
    ask_number,
    new_person,
    no_old_number,
    refuse_number,
    same_person,
    vid_in,
)
from dojang.lifecycle.recover import recover
from dojang.lifecycle.scene import Scene, open_scene, retire_there
from dojang.lifecycle.status import change, subject_of
from dojang.lifecycle.successor import algorithm_in, as_it_is_now, bring, claim, load, refuse_unusable, successor_facts
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import StoredCredential

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority
    from dojang.secret import Secret

SUPERSEDED, COMPROMISED = REASONS = ("superseded", "keyCompromise")


@dataclass(frozen=True, slots=True)
class ReissueOrder:
    """Which certificate to replace, and where the new key shall live: in the same place unless ``to`` names another.

    With the reason ``keyCompromise`` the old certificate is revoked before anything else is made. What came from a
    reissue itself is reissued only when ``again`` says so: a command that is run twice reissues once. ``backup_under``
    names the wrapping key of a token whose key shall be able to leave it; in place, as the old one was, unless said.
    ``ask_number`` gives the owner's number for a new VID; without it the old one goes over, with R of the old key.
    """

    meant: Meant
    to: str | None = None
    label: str | None = None
    reason: str = SUPERSEDED
    again: bool = False
    backup_under: str | None = None
    ask_number: AskNumber | None = None


@dataclass(frozen=True, slots=True)
class Reissue:
    """The new credential, and the old one: retired in its place, which may be out of reach or not known (``None``).

    ``revoked`` unless an authority elsewhere was asked by a code and has not said what becomes of the old one.
    """

    credential: Held
    previous: Held | None
    previous_der: bytes
    fallout: Fallout = field(default_factory=Fallout)
    revoked: bool = True


def reissue(order: ReissueOrder, place: Workplace) -> Reissue:
    """Bring a new key and a certificate with the same names and the same end, then revoke and retire the old one.

    The authority revokes the old certificate when the new one has been confirmed; after ``keyCompromise`` first of
    all, and then it stays revoked whatever follows, and the same order again brings the new one. ``NothingToDo`` when
    it was replaced already, ``NotRenewable`` when it has expired. Killed at any moment, the next run finishes or
    undoes the new one.
    """
    with open_scene(order.meant, order.to, place) as scene:
        if (finished := _finished_now(place, scene)) is not None:
            return _with_fallout(order, place, finished)
        if _replaced(place, scene):
            retire_there(place, scene)  # if that was left out
        _refuse(order, place, scene)
        origin = issuer_known(place, scene.old_der)
        with place.open_authority(origin.authority) as authority:
            terms = _terms(authority, origin, scene)
            _check_free(order, scene)
            number = _number(order, scene, authority, origin)
            scene.here.has_key(token_bytes(KEY_ID_BYTES))  # asks for the PIN, so that a wrong one ends here
            if order.backup_under is not None:
                wrapping(scene.here).wrapping_key(order.backup_under)
            if order.reason == COMPROMISED:
                if is_elsewhere(authority):
                    authority.has_reference(needed=True)
                _revoke_at_once(place, authority, scene)
            person = _person(order, scene, authority, origin, number)
            with _begin(order, place, scene, origin, terms) as operation:
                if scene.in_place and scene.old is not None:
                    claim(place, operation, scene.here, scene.old)
                bring(place, operation, scene.here, authority, scene.old_der, person)
                stored = (
                    switch(place, operation, scene.here) if scene.in_place else settle_elsewhere(operation, scene.here)
                )
        return _with_fallout(order, place, _result(place, scene, stored))


def plan_reissue(order: ReissueOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``reissue`` would take, after the same refusals; nothing is made and no PIN is asked."""
    with open_scene(order.meant, order.to, place, recovering=False) as scene:
        _refuse(order, place, scene)
        origin = issuer_known(place, scene.old_der)
        with place.open_authority(origin.authority) as authority:
            _terms(authority, origin, scene)
            _check_free(order, scene)
            if order.ask_number is not None:
                refuse_number(authority, origin.profile, scene.here, given=True)
            else:
                _refuse_no_person(order, scene, authority, origin)
            ask = ask_steps(authority, origin.authority, origin.profile, "reissue")
        if order.backup_under is not None:
            wrapping(scene.here)
        label, algorithm = _label(order, scene), algorithm_in(scene.old_der)
        where = {"location": scene.here.address, "label": label}
        serial, by = serial_in(scene.old_der), {"authority": origin.authority}
        revoke = Step("revoke", {"serial": serial, **by})
        first = [revoke] if order.reason == COMPROMISED else []
        steps = [
            *first,
            Step("generate", {**where, "algorithm": algorithm}),
            *ask,
        ]
        steps += [Step("install", where), Step("prove", where), Step("confirm-reissue", {"serial": serial, **by})]
        if scene.in_place and scene.old is not None:
            return (*steps, Step("switch", {**where, "address": scene.old.address}))
        return (*steps, Step("retire", {"address": scene.old.address})) if scene.old is not None else tuple(steps)


def _finished_now(place: Workplace, scene: Scene) -> Reissue | None:
    """What the recovery has just finished of this very reissue."""
    fingerprint = fingerprint_of(scene.old_der)
    for outcome in scene.recovered:
        new, facts = outcome.credential, outcome.record.facts
        if outcome.record.verb != "reissue" or new is None:
            continue
        if facts["old_fingerprint"] == fingerprint:
            return _result(place, scene, new)
        if new.certificate_der == scene.old_der:  # its address names the new one by now
            for one in scene.here.credentials():
                if fingerprint_of(one.certificate_der) == facts["old_fingerprint"]:
                    tell_checks(place, scene.here, new)
                    new_held, old_held = look_at(place, scene.here.traits, new), look_at(place, scene.here.traits, one)
                    return Reissue(new_held, old_held, one.certificate_der)
    return None


def _refuse(order: ReissueOrder, place: Workplace, scene: Scene) -> None:
    """What is replaced, expired or not in use."""
    history = place.ledger.history(fingerprint=fingerprint_of(scene.old_der))
    if _replaced(place, scene):
        advice = Phrase("'dojang cert list' shows its successor.")
        told = any(event.event == "revoked" and event.facts.get("reason") == COMPROMISED for event in history)
        if order.reason == COMPROMISED and not told:
            advice = Phrase(
                "'dojang cert revoke {serial} --reason keyCompromise' makes the compromise known; 'dojang cert list' "
                "shows its successor.",
                serial=serial_in(scene.old_der),
            )
        raise NothingToDo(problem=Phrase("it was replaced already"), next_step=advice)
    if any(event.event == "reissued" for event in history) and not order.again:
        raise NothingToDo(
            problem=Phrase("it came from a reissue itself"), next_step="--again reissues it all the same."
        )
    where = scene.old.address if scene.old is not None else load(scene.old_der).subject.rfc4514_string()
    live = scene.old is None or scene.old.live
    refuse_unusable(place, where, scene.old_der, live=live)


def _replaced(place: Workplace, scene: Scene) -> bool:
    history = place.ledger.history(fingerprint=fingerprint_of(scene.old_der))
    return any("successor" in event.facts for event in history)


def _terms(authority: "CertificateAuthority", origin: Origin, scene: Scene) -> Terms:
    return terms_of(authority, origin.profile, algorithm_in(scene.old_der))


def _check_free(order: ReissueOrder, scene: Scene) -> None:
    if order.reason != COMPROMISED:  # whose revocation waits for nothing
        refuse_no_new_key(scene.here, scene.here.address)
    if not scene.in_place:
        subject_der = load(scene.old_der).subject.public_bytes()
        scene.here.check_free(label=_label(order, scene), subject_der=subject_der)


def _label(order: ReissueOrder, scene: Scene) -> str:
    """What the new one is called: in the old one's place as that, elsewhere as the order says, else as the old one."""
    from cryptography.x509.oid import NameOID

    if scene.old is not None and (scene.in_place or order.label is None):
        return scene.old.label
    subject = load(scene.old_der).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return order.label or (str(names[-1].value) if names else subject.rfc4514_string())


def _number(order: ReissueOrder, scene: Scene, authority: "CertificateAuthority", origin: Origin) -> "Secret | None":
    if order.ask_number is not None:
        refuse_number(authority, origin.profile, scene.here, given=True)
    return ask_number(order.ask_number)


def _person(
    order: ReissueOrder,
    scene: Scene,
    authority: "CertificateAuthority",
    origin: Origin,
    number: "Secret | None",
) -> Person | None:
    """Whom the VID of the new one names: whoever has the number, else whoever the old one names."""
    if number is not None:
        return new_person(load(scene.old_der).subject, number)
    _refuse_no_person(order, scene, authority, origin)
    if scene.old is None:
        return None
    try:
        return same_person(scene.there or scene.here, scene.old, authority, scene.here)
    except DojangError as error:  # lost, locked or forgotten: what a reissue is for
        raise no_old_number(scene.old.address) from error


def _refuse_no_person(order: ReissueOrder, scene: Scene, authority: "CertificateAuthority", origin: Origin) -> None:
    """What can be told of it before R of the old key is looked at. Others may know R of a compromised key."""
    if vid_in(scene.old_der) is None:
        refuse_number(authority, origin.profile, scene.here, given=False)
        return
    if is_elsewhere(authority):
        raise UnsupportedOperation(
            where=authority.name,
            operation=Phrase("reissue a certificate with a VID from afar"),
            next_step="Run it where the authority is: dojang cert reissue ADDRESS --ca NAME.",
        )
    if scene.old is None or order.reason == COMPROMISED:
        raise no_old_number(scene.old.address if scene.old is not None else serial_in(scene.old_der))


def _revoke_at_once(place: Workplace, authority: "CertificateAuthority", scene: Scene) -> None:
    """Before the new key is made: whoever has the old one can use it until then.

    An authority elsewhere hears it from the old key itself, where that is here; then only a code brings a new one.
    """
    serial = serial_in(scene.old_der)
    place.say("revoke")
    recover(place, subject_key=subject_of(authority.name, serial))
    if is_elsewhere(authority):
        with contextlib.suppress(NotPermitted):
            revoke_elsewhere(place, authority.name, scene.old_der, COMPROMISED, by_key=True)
        return
    change(place, authority, "revoke", serial, COMPROMISED)


def _begin(order: ReissueOrder, place: Workplace, scene: Scene, origin: Origin, terms: Terms) -> Operation:
    key_id, label = token_bytes(KEY_ID_BYTES), _label(order, scene)
    facts: dict[str, Fact] = successor_facts(scene.here, scene.old_der, origin, terms, key_id=key_id, label=label) | {
        "serial": serial_in(scene.old_der),
        "reason": order.reason,
    }
    if scene.old is not None:
        facts["address"] = scene.old.address
    if order.backup_under is not None:
        facts["backup_under"] = order.backup_under
    if not scene.in_place:
        return place.ledger.begin("reissue", name_in(scene.here, label), facts)
    assert scene.old is not None
    facts["old_key_id"] = scene.old.key_id.hex()
    return place.ledger.begin("reissue", key_in(scene.here, scene.old.key_id), facts)


def _result(place: Workplace, scene: Scene, new: StoredCredential) -> Reissue:
    tell_checks(place, scene.here, new)
    credential = look_at(place, scene.here.traits, new)
    if scene.in_place and scene.old is not None:
        old = as_it_is_now(scene.here, scene.old)
        return Reissue(credential, look_at(place, scene.here.traits, old), scene.old_der)
    return Reissue(credential, retire_there(place, scene), scene.old_der)


def _with_fallout(order: ReissueOrder, place: Workplace, done: Reissue) -> Reissue:
    known = done.previous.stored.address if done.previous is not None else None
    fallout = fallout_of(place, done.previous_der, known, compromised=order.reason == COMPROMISED)
    elsewhere = is_url(issuer_known(place, done.previous_der).authority)
    revoked = not elsewhere or known_record(place, done.previous_der).state == "revoked"
    return replace(done, fallout=fallout, revoked=revoked)
