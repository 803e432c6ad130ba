"""Whose a credential is: the VID that goes into its certificate, and the R that stays with its key.

A VID is made of a number and a new R when a certificate is issued. Afterwards the number is known to nobody here: the
VID goes over to a successor with R itself, or is made anew by whoever gives the number again. Neither number nor R is
written anywhere but R where the location keeps it, with the key.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dojang.errors import AnswerMismatch, InputRequired, NotPermitted, Phrase, UnsupportedOperation
from dojang.lifecycle.asking import is_elsewhere
from dojang.lifecycle.possession import random_number_of
from dojang.locations.base import KeepsKeys, Location, StoredCredential, TakesR
from dojang.secret import Secret

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from dojang.authority.base import CertificateAuthority

OPTION = "--number-source"
AskNumber = Callable[[], Secret]
"""Gives a resident or business number when it is wanted, once."""
_RENEW_OTHERWISE = Phrase(
    "Renew it with --keep-key where its profile allows that, or have it reissued with its number: "
    "dojang cert reissue ADDRESS --number-source SRC."
)
_GIVE_NUMBER = Phrase("Give the number again with --number-source SRC: then both are made anew.")


@dataclass(frozen=True, slots=True)
class Person:
    """What the next certificate says of its owner. ``vid_der`` is public; ``number`` where it was given now.

    ``needed`` unless the authority may leave the VID out.
    """

    vid_der: bytes
    random_number: Secret = field(repr=False)
    number: Secret | None = field(default=None, repr=False)
    needed: bool = True


def ask_number(ask: AskNumber | None) -> Secret | None:
    """The number, as far as its digits tell one; ``Usage`` for what is none."""
    if ask is None:
        return None
    from dojang.npki.vid import check_number

    number = ask()
    check_number(number)
    return number


def refuse_number(authority: "CertificateAuthority", profile: str, location: Location, *, given: bool) -> None:
    """Refuse a number where none can be used, and its absence where the profile wants a VID; nobody is asked.

    ``UnsupportedOperation``, ``NotPermitted``, ``InputRequired``. What an authority elsewhere wants is not known here.
    """
    if given and is_elsewhere(authority):
        raise UnsupportedOperation(
            where=authority.name,
            operation=Phrase("take a number for a VID from afar"),
            next_step="Run it where the authority is, with --ca NAME; or leave --number-source out.",
        )
    rule = None if is_elsewhere(authority) else _rule(authority, profile)
    if given and rule == "none":
        raise NotPermitted(
            problem=Phrase("the profile '{name}' has no VID in its certificates, so no number is wanted", name=profile),
            remedy="Leave --number-source out, or choose another --profile.",
        )
    if given:
        _taking(location)
    elif rule == "required":
        raise InputRequired(what=Phrase("The resident or business number"), option=f"{OPTION} SRC")


def new_person(subject: "Name", number: Secret | None) -> Person | None:
    """Whoever has that number, with a new R; ``None`` without a number."""
    if number is None:
        return None
    from dojang.npki.pkcs8 import new_random_number
    from dojang.npki.vid import identify

    random_number = new_random_number()
    return Person(identify(_real_name(subject), number, random_number).to_other_name().value, random_number, number)


def same_person(
    location: Location, old: StoredCredential, authority: "CertificateAuthority", target: Location | None = None
) -> Person | None:
    """Whoever the old certificate names, with the R of its key; ``None`` where it has no VID.

    ``target`` is where the new key goes, if not beside the old one. ``NotPermitted`` where R is not with the old key,
    or cannot be kept with the new one. A password may be asked.
    """
    vid_der = vid_in(old.certificate_der)
    if vid_der is None:
        return None
    random_number = random_number_of(location, old.key_id)
    if random_number is None:
        raise NotPermitted(
            problem=Phrase("{address} has a VID, and R, which goes with it, is not with its key", address=old.address),
            remedy=_RENEW_OTHERWISE,
        )
    _taking(target or location)
    return Person(vid_der, random_number, needed=not is_elsewhere(authority))


def no_old_number(where: str) -> NotPermitted:
    """For a successor that has to have a VID, where neither number nor R of the old key can be had."""
    problem = Phrase("{address} has a VID, and R of its key cannot go over to the new one", address=where)
    return NotPermitted(problem=problem, remedy=_GIVE_NUMBER)


def vid_in(certificate_der: bytes) -> bytes | None:
    """The name among a certificate's alternative names that holds its VID, in DER; ``None`` where there is none."""
    from dojang.npki.vid import vid_value_of

    return vid_value_of(certificate_der)


def keep_r(location: Location, person: Person | None, *, key_id: bytes, replaces: bytes | None = None) -> None:
    """The key that is made next gets R of this person."""
    if person is not None:
        _taking(location).keep_random_number(person.random_number, key_id=key_id, replaces=replaces)


def check_named(certificate_der: bytes, person: Person | None) -> None:
    """``AnswerMismatch`` where a certificate does not say of its owner what was asked for."""
    if person is None:
        return
    found = vid_in(certificate_der)
    if found != person.vid_der and (found is not None or person.needed):
        raise AnswerMismatch(problems=(Phrase("it has another VID than was asked for"),))


def prove_person(location: Location, stored: StoredCredential, person: Person | None) -> None:
    """``AnswerMismatch`` unless certificate, R as it is kept with the key, and the number explain each other."""
    if person is None:
        return
    from dojang.npki.vid import verify_vid

    check_named(stored.certificate_der, person)
    known = random_number_of(location, stored.key_id) == person.random_number
    if not known or (person.number and not verify_vid(stored.certificate_der, person.number, person.random_number)):
        raise AnswerMismatch(problems=(Phrase("its VID and the R that lies with its key do not belong together"),))


def _rule(authority: "CertificateAuthority", profile: str) -> str | None:
    return next((one.vid for one in authority.profiles() if one.name == profile), None)


def _taking(location: Location) -> TakesR:
    if isinstance(location, TakesR) and not isinstance(location, KeepsKeys):
        return location
    raise UnsupportedOperation(
        where=location.address,
        operation=Phrase("keep R, which goes with a VID, with a key"),
        next_step="Choose another place for the key; 'dojang where' shows those in use.",
    )


def _real_name(subject: "Name") -> str:
    """The name alone: the common names of Korean authorities add numbers to it, after a parenthesis."""
    from cryptography.x509.oid import NameOID

    from dojang.x509.name import format_name

    found = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    whole = str(found[-1].value) if found else format_name(subject)
    return whole.partition("(")[0].strip() or whole
