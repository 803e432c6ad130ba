"""What an officer wants of a code, made such that the authority will issue by it; what is wrong is refused at once."""

from datetime import timedelta
from typing import TYPE_CHECKING

from dojang.authority.enrolment.policy import MOST_DAYS, EnrolmentPolicy, ProfileRule
from dojang.authority.enrolment.records import Terms
from dojang.authority.naming import problem_of_alternative_names, problem_of_subject
from dojang.errors import NotFound, NotPermitted, Phrase, Usage
from dojang.x509.alternative_names import format_alternative_names, parse_alternative_names
from dojang.x509.name import attribute_values, format_name, parse_name

if TYPE_CHECKING:
    from dojang.x509.profiles import Profile
    from dojang.x509.profiles.factors import FactorRule


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
    attributes = attribute_values(subject)
    addresses = parse_alternative_names(f"email:{value}" for kind, value in attributes if kind == "emailAddress")
    _refuse_for(problem_of_subject(attributes, profile))
    _refuse_for(problem_of_alternative_names((*names, *(addresses or ())), profile))
    return Terms(profile.name, format_name(subject), format_alternative_names(names), _years(terms.years, profile))


def check_vouched(profile: "Profile", rule: ProfileRule, applicant: str | None, pre_authorised: bool) -> None:
    """Somebody must stand for the identity: the checks of an applicant, or who makes the code. ``NotPermitted``."""
    kinds = ", ".join(profile.identity_checks)
    if pre_authorised and not rule.pre_authorised:
        raise NotPermitted(
            problem=Phrase("codes by the profile '{profile}' are not made without its checks", profile=profile.name),
            remedy=Phrase("Name the applicant with --applicant, and record: {kinds}.", kinds=kinds),
        )
    if profile.identity_checks and not pre_authorised and applicant is None:
        wanted = Phrase("the profile '{profile}' requires identity checks: {kinds}", profile=profile.name, kinds=kinds)
        remedy = Phrase("Name the applicant with --applicant, or vouch for the identity with --pre-authorised.")
        raise NotPermitted(problem=wanted, remedy=remedy)


def check_can_pass(profile: "Profile", factors: "FactorRule | None", applicant: str | None) -> None:
    """Where factors are asked for, somebody must be known who has them. ``NotPermitted``."""
    if factors is not None and applicant is None:
        raise NotPermitted(
            problem=Phrase("the profile '{profile}' asks for factors of an applicant", profile=profile.name),
            remedy=Phrase("Name the applicant with --applicant: an id of 'dojang ca applicant list'."),
        )


def lifetime_of(policy: EnrolmentPolicy, valid_days: int | None) -> timedelta:
    """How long a code may be used. ``Usage``."""
    days = policy.valid_days if valid_days is None else valid_days
    if not 1 <= days <= MOST_DAYS:
        raise Usage(problem=Phrase("a code is valid for 1 to {limit} days", limit=MOST_DAYS))
    return timedelta(days=days)


def uses_of(policy: EnrolmentPolicy, uses: int | None) -> int:
    """How often it works: once, but where the authority is for tests. ``Usage``, ``NotPermitted``."""
    if uses is not None and uses < 1:
        raise Usage(problem=Phrase("a code works once at least"))
    if uses not in (None, 1) and not policy.is_test:
        raise NotPermitted(
            problem=Phrase("a code works once; only an authority for tests gives out others"),
            remedy=Phrase("Leave out --uses. An authority for tests has 'test = true' in its authority.toml."),
        )
    return policy.uses if uses is None else uses


def _years(wanted: int | None, profile: "Profile") -> int | None:
    choices = profile.validity_years
    if wanted is None or wanted in choices:
        return wanted
    if not choices:
        raise Usage(problem=Phrase("the profile '{profile}' leaves no choice of years", profile=profile.name))
    years = ", ".join(map(str, choices))
    raise Usage(problem=Phrase("the profile '{profile}' is for {years} years", profile=profile.name, years=years))


def _refuse_for(problem: Phrase | None) -> None:
    if problem is not None:
        remedy = Phrase("'dojang ca profiles --json' tells what each profile wants.")
        raise NotPermitted(problem=problem, remedy=remedy)
