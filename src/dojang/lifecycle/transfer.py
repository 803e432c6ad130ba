"""Bringing a credential to another location: put in, opened again, proven, compared; the way that copy, move, import
and restore share.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.errors import AlreadyExists, NotPermitted, Phrase, UnsupportedOperation
from dojang.ledger import Fact, Operation
from dojang.lifecycle.finish import install_and_prove, twin_in
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.journal import (
    KEY_ID_BYTES,
    answer_facts,
    key_id_of,
    key_in,
    name_in,
    replaced_by,
    taken_back_on_failure,
)
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.parcel import RANDOM_NUMBER, Parcel, compare, compared
from dojang.lifecycle.predecessor import check_secret, claim_place, predecessor_facts, predecessor_in, take_place
from dojang.lifecycle.recover import recover
from dojang.lifecycle.successor import as_it_is_now
from dojang.lifecycle.workplace import Check, Step, Workplace
from dojang.locations.base import HoldsCompanions, Location, StoredCredential, TakesKeys

if TYPE_CHECKING:
    from cryptography.x509 import Name


@dataclass(frozen=True, slots=True)
class Errand:
    """What to bring where, as which verb of the journal. ``replace``: in the place of its predecessor, if there is one.

    ``whole``: refuse to leave anything out, because the original goes afterwards; R is left out only ``without_r``,
    because then nobody can be identified by the copy. ``subject`` is what nobody else may be at meanwhile, the name in
    the target unless said; ``facts`` go into the journal. ``check`` is asked when nobody else can
    be at it any more.
    """

    verb: str
    to: str
    label: str | None = None
    whole: bool = False
    subject: str | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    without_r: bool = False
    check: Callable[[], object] = lambda: None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """A credential that is where it was to be; ``already`` when it had been; ``left_out`` could not be kept there.

    ``retired`` is what had its place before.
    """

    credential: Held
    location: str
    checks: tuple[Check, ...]
    left_out: frozenset[str] = frozenset()
    already: bool = False
    operation: Operation | None = None
    retired: Held | None = None


@contextlib.contextmanager
def brought(parcel: Parcel, errand: Errand, place: Workplace) -> Iterator[Brought]:
    """The credential in the target, proven by a key that was opened anew; its operation is the caller's to finish.

    There already: proven as well, with no operation. ``AlreadyExists`` when another one has its name. After any error
    the target is as it was; after a kill, the next run sees to it.
    """
    with contextlib.ExitStack() as held:
        with place.open_target(errand.to) as target:
            recover(place, target)
            if (twin := twin_in(target, parcel.certificate_der)) is not None:
                yield _already(parcel, errand, place, target, twin)
                return
            old = predecessor_in(place, target, parcel.certificate_der) if errand.replace else None
            refuse_taken(target, errand.label or parcel.label, parcel.certificate_der, old)
            left_out = _left_out(parcel, errand, target)
            if RANDOM_NUMBER in left_out:
                parcel = replace(parcel, key=parcel.key.without_random_number())
            target.has_key(token_bytes(KEY_ID_BYTES))  # asks for the PIN, so that a wrong one ends here
            if old is not None:
                check_secret(target, old)
            operation = held.enter_context(_begin(parcel, errand, place, target, old))
            with taken_back_on_failure(place, operation, target):
                errand.check()
                if old is not None:
                    claim_place(operation, target, old)
                _put_in(parcel, operation, target, place)
                operation.advance("brought")
        with place.open_target(errand.to) as target:
            with taken_back_on_failure(place, operation, target):
                stored = install_and_prove(place, operation, target)
                checks = compare(parcel, target, stored)
            retired = None
            if old is not None:
                stored = take_place(place, operation, target)
                checks = (replace(checks[0], detail=stored.address), *checks[1:])
                retired = look_at(place, target.traits, as_it_is_now(target, old))
            credential = look_at(place, target.traits, stored)
        yield Brought(credential, target.address, checks, left_out, operation=operation, retired=retired)


def refuse_taken(target: Location, label: str, certificate_der: bytes, old: StoredCredential | None = None) -> None:
    """What stops any key from elsewhere: a place that takes none, a name that is taken, if not by the ``old`` one whose
    place it is to take.
    """
    if not isinstance(target, TakesKeys):
        raise UnsupportedOperation(where=target.address, operation=Phrase("take a key that was made elsewhere"))
    if old is None:
        target.check_free(label=label, subject_der=subject_of(certificate_der).public_bytes())


def refuse_early(
    label: str, certificate_der: bytes, to: str, place: Workplace, *, replace: bool | None = None
) -> StoredCredential | None:
    """What stops a key from elsewhere is told before anybody types the password that opens it.

    With ``replace`` its predecessor does not stop it, and is returned; with ``False`` the error says how to replace it;
    ``None`` is for verbs that replace nothing.
    """
    with place.open_target(to) as target:
        recover(place, target)
        return None if twin_in(target, certificate_der) else _in_the_way(place, target, label, certificate_der, replace)


def _in_the_way(
    place: Workplace, target: Location, label: str, certificate_der: bytes, replace: bool | None
) -> StoredCredential | None:
    old = predecessor_in(place, target, certificate_der) if replace else None
    try:
        refuse_taken(target, label, certificate_der, old)
    except AlreadyExists as error:
        if replace is False and (before := predecessor_in(place, target, certificate_der)) is not None:
            raise AlreadyExists(
                what=error.facts["what"],
                where=error.facts["where"],
                address=before.address,
                next_step="What is copied has succeeded it ({address}): copy with --replace, which retires it.",
            ) from error
        raise
    return old


def plan_bringing(
    label: str, certificate_der: bytes, to: str, place: Workplace, *, replace: bool | None = None
) -> tuple[Step, ...]:
    """The steps that ``brought`` would take, after the refusals that need no key; nothing is made, no PIN is asked."""
    with place.open_target(to) as target:
        where = {"location": target.address, "label": label}
        if twin_in(target, certificate_der) is not None:
            return (Step("prove", where),)
        old = _in_the_way(place, target, label, certificate_der, replace)
    where |= {} if old is None else {"label": old.label}
    steps = Step("bring", where), Step("install", where), Step("prove", where)
    return steps if old is None else (*steps, Step("switch", {**where, "address": old.address}))


def subject_of(certificate_der: bytes) -> "Name":
    from dojang.x509.reading import read_certificate

    return read_certificate(certificate_der).subject


def _left_out(parcel: Parcel, errand: Errand, target: Location) -> frozenset[str]:
    """What cannot go along; ``NotPermitted`` where all must, and for R unless it was said."""
    left_out = parcel.left_out_by(target)
    if RANDOM_NUMBER in left_out and not (errand.whole or errand.without_r):
        raise NotPermitted(
            problem=Phrase(
                "{target} cannot keep R, by which the owner is identified, so it would be lost", target=target.address
            ),
            remedy=Phrase("Use another location, or leave R behind on purpose with --without-r."),
        )
    if errand.whole and left_out:
        raise NotPermitted(
            problem=Phrase("{target} cannot keep everything that belongs to it", target=target.address),
            remedy=Phrase(
                "Copy it instead; what cannot go along ({names}) stays where it is.", names=", ".join(sorted(left_out))
            ),
        )
    return left_out


def _already(parcel: Parcel, errand: Errand, place: Workplace, target: Location, twin: StoredCredential) -> Brought:
    """What is there already, compared with what would be brought. ``NotPermitted`` where the original would be lost."""
    done = proven_twin(place, target, twin)
    checks = compared(parcel, target, twin)
    lacking = frozenset(check.name for check in checks if not check.ok)
    left_out = _left_out(parcel, errand, target) | lacking
    if errand.whole and lacking:
        raise NotPermitted(
            problem=Phrase("{address} has the certificate, but not all that belongs to it", address=twin.address),
            remedy=Phrase("Keep both, or delete that one first: dojang cert delete '{address}'", address=twin.address),
        )
    return replace(done, checks=tuple(check for check in checks if check.ok), left_out=left_out)


def proven_twin(place: Workplace, target: Location, twin: StoredCredential) -> Brought:
    """What is there already, and signs."""
    from dojang.x509.challenge import prove_possession

    place.say("prove")
    prove_possession(target.private_key(twin.key_id), twin.certificate_der)
    checks = (Check("opened-again", True, twin.address), Check("signature", True))
    return Brought(look_at(place, target.traits, twin), target.address, checks, already=True)


def _begin(
    parcel: Parcel, errand: Errand, place: Workplace, target: Location, old: StoredCredential | None
) -> Operation:
    from dojang.x509.name import format_name

    label = errand.label or parcel.label
    facts: dict[str, Fact] = {
        "location": target.address,
        "address": target.address,
        "key_id": token_bytes(KEY_ID_BYTES).hex(),
        "label": label,
        "subject": format_name(subject_of(parcel.certificate_der)),
        "origin": parcel.origin,
        "fingerprint": fingerprint_of(parcel.certificate_der),
        **answer_facts(parcel.certificate_der, parcel.chain_der),
        **errand.facts,
        **({} if old is None else predecessor_facts(old)),
    }
    subject = name_in(target, label) if old is None else key_in(target, old.key_id)
    return place.ledger.begin(errand.verb, errand.subject or subject, facts)


def _put_in(parcel: Parcel, operation: Operation, target: Location, place: Workplace) -> None:
    """Key, R and companions; with the certificate, which comes later, it is complete."""
    assert isinstance(target, TakesKeys)
    place.say("bring")
    key_id = key_id_of(operation)
    label = str(operation.record.facts["label"])
    target.import_key(parcel.key, key_id=key_id, label=label, replaces=replaced_by(operation))
    if isinstance(target, HoldsCompanions) and parcel.companions.names() & target.companions_held:
        target.import_companions(parcel.companions, key_id=key_id)
