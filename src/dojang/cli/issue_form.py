"""The questions of ``cert issue``: what was not said on the command line is asked for, or has a default."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from dojang.cli.chooser import place_given
from dojang.cli.context import Invocation
from dojang.cli.language import N_, message_of, say, spoken
from dojang.cli.number import number_asker
from dojang.cli.workplace import chosen_authority
from dojang.cmp.urls import is_url
from dojang.errors import NotFound, UserError

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from dojang.lifecycle.issue import IssueOrder
    from dojang.lifecycle.workplace import Workplace
    from dojang.x509.profiles import Profile

T = TypeVar("T")

USUAL_PROFILE = "personal"
USUAL_ALGORITHM = "ec-p256"


def fill_in(
    invocation: Invocation,
    place: "Workplace",
    *,
    to: str | None,
    subject: str | None,
    profile: str | None,
    algorithm: str | None,
    label: str | None,
    authority: str | None,
    number_source: str | None,
    alternative_names: tuple[str, ...],
) -> "IssueOrder":
    """The complete order. Run bare, or without where or who, it asks for all that is missing, in this order."""
    from dojang.lifecycle.issue import IssueOrder

    asking = invocation.can_ask and (to is None or subject is None)
    ca = chosen_authority(invocation, authority)
    chosen = None if is_url(ca) else _offered(invocation, place, ca, profile, asking)
    name = subject_name(invocation, subject)
    if chosen and asking and not alternative_names and _wants_further_name(chosen, name):
        alternative_names = (_further_name(invocation),)
    address = place_given(invocation, to)
    return IssueOrder(
        to=address,
        subject=name,
        authority=ca,
        profile=chosen.name if chosen else profile or "",
        algorithm=algorithm or (_algorithm(invocation, chosen, asking) if chosen else USUAL_ALGORITHM),
        label=label or label_in(address) or common_name(name),
        alternative_names=alternative_names,
        ask_number=number_asker(invocation, number_source, required=chosen is not None and chosen.vid == "required"),
    )


def _offered(invocation: Invocation, place: "Workplace", authority: str, wanted: str | None, asking: bool) -> "Profile":
    """One of an authority's own profiles; what one elsewhere offers is its own business."""
    with place.open_authority(authority) as opened:
        return _profile(invocation, [one for one in opened.profiles() if not one.is_ca], wanted, asking)


def _wants_further_name(profile: "Profile", subject: "Name") -> bool:
    """Whether a certificate of this kind must bear an alternative name, and the subject holds none that would do."""
    from cryptography.x509.oid import NameOID

    return profile.alternative_names_required and not (
        "email" in profile.alternative_names_allowed and subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
    )


def _further_name(invocation: Invocation) -> str:
    from dojang.x509.alternative_names import parse_alternative_names

    def checked(text: str) -> str:
        parse_alternative_names([text])
        return text

    question = N_("A further name, as in email:hong@example.com or dns:www.example.com")
    return ask_until_valid(invocation, question, "--alternative-name", checked)


def subject_name(invocation: Invocation, text: str | None) -> "Name":
    """The name given, or one that a person types until it is a name. Raises ``InvalidName``, ``InputRequired``."""
    from dojang.x509.name import parse_name

    if text is not None:
        return parse_name(text)
    question = N_("Subject, as in CN=Hong Gildong,C=KR")
    return ask_until_valid(invocation, question, "--subject", parse_name)


def ask_until_valid(invocation: Invocation, question: str, option: str, parse: Callable[[str], T]) -> T:
    """What a person typed, parsed; asked again with the reason when it is not right."""
    while True:
        text = invocation.ask(question, option=option)
        try:
            return parse(text)
        except UserError as error:
            invocation.out.note(message_of(error))


def common_name(name: "Name") -> str:
    """The common name, else the whole name: what a credential is called unless its owner says otherwise."""
    from cryptography.x509.oid import NameOID

    from dojang.x509.name import format_name

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else format_name(name)


def label_in(address: str) -> str | None:
    """The name of a credential that an address holds already (``;object=…``)."""
    from dojang.locations.address import parse_address

    return getattr(parse_address(address), "object", None)


def key_id_in(address: str) -> bytes | None:
    """The id of a key that an address holds already (``;id=…`` or ``?id=…``)."""
    from dojang.locations.address import parse_address

    return parse_address(address).key_id


def _profile(invocation: Invocation, offered: "list[Profile]", wanted: str | None, asking: bool) -> "Profile":
    names = [profile.name for profile in offered]
    if wanted is not None:
        for profile in offered:
            if profile.name == wanted:
                return profile
        raise NotFound(what=say("profile '{name}'", name=wanted), where=", ".join(names), command="dojang ca profiles")
    usual = names.index(USUAL_PROFILE) if USUAL_PROFILE in names else 0
    if not asking:
        return offered[usual]
    columns = [N_("Profile"), N_("For"), N_("Days")]
    rows = [[one.name, title(one), str(one.validity_days)] for one in offered]
    return offered[invocation.choose(N_("Which kind of certificate"), columns, rows, option="--profile", default=usual)]


def _algorithm(invocation: Invocation, profile: "Profile", asking: bool) -> str:
    allowed = profile.algorithms
    usual = allowed.index(USUAL_ALGORITHM) if USUAL_ALGORITHM in allowed else 0
    if not asking:
        return allowed[usual]
    rows = [[name] for name in allowed]
    chosen = invocation.choose(N_("Which kind of key"), [N_("Algorithm")], rows, option="--algorithm", default=usual)
    return allowed[chosen]


def title(profile: "Profile") -> str:
    """What a profile is for, in the person's language."""
    return profile.titles[spoken()]
