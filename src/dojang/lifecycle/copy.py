"""Copy: a second live credential in another location, key, R, chain and companions with it."""

from dataclasses import dataclass

from dojang.errors import KeyDoesNotLeave
from dojang.lifecycle.finish import finish_brought
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.origin import origin_known
from dojang.lifecycle.parcel import Parcel, name_of, take_out
from dojang.lifecycle.recover import recover
from dojang.lifecycle.transfer import Brought, Errand, brought, plan_bringing, refuse_early
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import GivesKeys, Location, StoredCredential


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """Which credential to copy, where to, and what it is called there: as here, unless said.

    ``without_r``: leave R behind where it cannot be kept. ``replace``: in the place of the copy that it succeeds, which
    is retired; where there is none, as ever.
    """

    address: str
    to: str
    label: str | None = None
    without_r: bool = False
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Transferred:
    """The credential where it is now, and as it lay where it came from; ``None`` when it was there all along."""

    brought: Brought
    original: Held | None


def copy(order: CopyOrder, place: Workplace) -> Transferred:
    """Bring a copy to the other location; complete, opened again and proven when this returns.

    ``KeyDoesNotLeave`` for a key that its location keeps, ``AlreadyExists`` when another credential has its name there
    whose place it is not to take.
    What is there already is proven and left. After any error both locations are as they were.
    """
    with place.open_location(order.address) as source:
        recover(place, source)
        stored = source.find(order.address)
        refuse_staying(place, source, stored, order.to)
        label = order.label or name_of(stored)
        refuse_early(label, stored.certificate_der, order.to, place, replace=order.replace)
        place.say("take")
        parcel = take_out(source, stored)
        original = look_at(place, source.traits, stored)
    errand = Errand("copy", order.to, order.label, without_r=order.without_r, replace=order.replace)
    return Transferred(deliver(parcel, errand, place), original)


def deliver(parcel: Parcel, errand: Errand, place: Workplace) -> Brought:
    """Bring a parcel to its target and record it; for every verb after which the original stays."""
    with brought(parcel, errand, place) as done:
        if done.operation is not None:
            finish_brought(done.operation, done.credential.stored)
        return done


def plan_copy(order: CopyOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``copy`` would take, after the refusals that need no key; nothing is made and no PIN is asked."""
    with place.open_location(order.address) as source:
        stored = source.find(order.address)
        refuse_staying(place, source, stored, order.to)
    label = order.label or name_of(stored)
    taken = Step("take", {"address": stored.address})
    return (taken, *plan_bringing(label, stored.certificate_der, order.to, place, replace=order.replace))


def refuse_staying(place: Workplace, source: Location, stored: StoredCredential, to: str) -> None:
    """``KeyDoesNotLeave`` where the key stays for good, with the command that makes a second one in ``to``, or with
    who can issue one where no authority known here did.
    """
    if isinstance(source, GivesKeys):
        return
    from dojang.x509.name import format_name
    from dojang.x509.reading import read_certificate

    certificate = read_certificate(stored.certificate_der)
    facts = {"address": stored.address, "subject": format_name(certificate.subject), "to": to}
    if origin_known(place, stored.certificate_der) is None:
        raise KeyDoesNotLeave(
            **facts,
            issuer=format_name(certificate.issuer),
            next_step="Ask the institution that issued it ({issuer}) to issue a second one, for a key in {to}.",
        )
    raise KeyDoesNotLeave(
        **facts,
        next_step="Issue a second certificate there instead: dojang cert issue --to '{to}' --subject '{subject}'",
    )
