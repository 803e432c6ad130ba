"""Terms as an officer wrote them, made such that the authority will issue by them; wrong ones are refused at once."""

from typing import TYPE_CHECKING

from dojang.authority.enrolment.records import Terms
from dojang.errors import NotFound, NotPermitted, Phrase, Usage
from dojang.x509.alternative_names import format_alternative_names, kind_of, parse_alternative_names
from dojang.x509.name import attribute_names, format_name, parse_name

if TYPE_CHECKING:
    from dojang.x509.profiles import Profile


def settled_terms(terms: Terms, profile: "Profile") -> Terms:
    """The same, spelt as the certificate will have it. ``InvalidName``, ``Usage``, ``NotFound``, ``NotPermitted``."""
    if not profile.is_for_subscribers:
        raise NotFound(
            what=Phrase("profile '{name}'", name=profile.name),
            where=Phrase("the certificate profiles"),
            command="dojang ca profiles",
        )
    subject = parse_name(terms.subject)
    names = tuple(parse_alternative_names(terms.alternative_names) or ())
    _check_subject(attribute_names(subject), profile)
    _check_names({kind_of(name) for name in names}, attribute_names(subject), profile)
    return Terms(profile.name, format_name(subject), format_alternative_names(names), _years(terms.years, profile))


def _check_subject(found: set[str], profile: "Profile") -> None:
    missing = [kind for kind in profile.subject_required if kind not in found]
    if missing:
        _refuse("the profile '{profile}' wants {type} in the subject", profile=profile.name, type=", ".join(missing))
    wrong = sorted(found - set(profile.subject_allowed)) if profile.subject_allowed else []
    if wrong:
        _refuse(
            "the profile '{profile}' does not allow {type} in the subject", profile=profile.name, type=", ".join(wrong)
        )


def _check_names(kinds: set[str], in_subject: set[str], profile: "Profile") -> None:
    if kinds - set(profile.alternative_names_allowed):
        _refuse("the profile '{profile}' does not allow the alternative name", profile=profile.name)
    may_follow = "email" in profile.alternative_names_allowed and "emailAddress" in in_subject
    if profile.alternative_names_required and not kinds and not may_follow:
        allowed = ", ".join(profile.alternative_names_allowed)
        _refuse("the profile '{profile}' wants an alternative name ({kinds})", profile=profile.name, kinds=allowed)


def _years(wanted: int | None, profile: "Profile") -> int | None:
    choices = profile.validity_years
    if wanted is None or wanted in choices:
        return wanted
    if not choices:
        raise Usage(problem=Phrase("the profile '{profile}' leaves no choice of years", profile=profile.name))
    years = ", ".join(map(str, choices))
    raise Usage(problem=Phrase("the profile '{profile}' is for {years} years", profile=profile.name, years=years))


def _refuse(template: str, **facts: object) -> None:
    remedy = Phrase("'dojang ca profiles --json' tells what each profile wants.")
    raise NotPermitted(problem=Phrase(template, **facts), remedy=remedy)
