"""``dojang ca profiles``: what can be issued, for whom, for how long; and everything that one profile says."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dojang.cli.ca import ca_option
from dojang.cli.context import Invocation
from dojang.cli.factor_words import factor_name
from dojang.cli.frame import argument, command
from dojang.cli.language import N_, _, say, spoken
from dojang.cli.workplace import authority_names, chosen_authority, open_authority_named
from dojang.errors import NotFound, Phrase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dojang.x509.profiles import FactorRule, Factors, Profile, ValueRule

OCCASIONS = {"issue": N_("issuing"), "renew": N_("renewing"), "reissue": N_("reissuing")}


@command(
    help=N_(
        "List the certificate profiles: those of an authority, or those shipped with dojang. With a name, show all "
        "that the profile says."
    ),
    examples=["dojang ca profiles", "dojang ca profiles --ca office --json", "dojang ca profiles personal-general"],
)
@argument("name", metavar="[NAME]", required=False)
@ca_option
def profiles(invocation: Invocation, name: str | None, ca: str | None) -> None:
    """Without a name, what subscribers can ask for; by name also the authority's own."""
    known = _known(invocation, ca, own=name is not None)
    if name is not None:
        _show(invocation, known, name)
        return
    columns = [N_("Profile"), N_("For"), N_("Term"), N_("Due before"), N_("May keep key"), N_("Algorithms")]
    rows = [
        [
            one.name,
            one.titles[spoken()],
            _term(one),
            one.renewal_window_days,
            _("yes") if one.keep_key_allowed else _("no"),
            ", ".join(one.algorithms),
        ]
        for one in known
    ]
    data = {"profiles": [profile_data(one) for one in known]}
    invocation.result(data, lambda: invocation.out.table(columns, rows), quiet=[one.name for one in known])


def _known(invocation: Invocation, ca: str | None, *, own: bool) -> "list[Profile]":
    from dojang.x509 import profiles as shipped

    if ca is None and len(authority_names(invocation)) != 1:
        return [one for one in shipped.profiles() if own or one.is_for_subscribers]
    with open_authority_named(invocation, chosen_authority(invocation, ca)) as authority:
        folder = invocation.settings.authorities_dir / authority.name / "profiles"
        policy = authority.settings.factors()
    found = (one for one in shipped.profiles(folder) if own or one.is_for_subscribers)
    return [replace(one, factors=policy.rule(one)) for one in found]


def _show(invocation: Invocation, known: "list[Profile]", name: str) -> None:
    found = next((one for one in known if one.name == name), None)
    if found is None:
        what, where = Phrase("profile '{name}'", name=name[:80]), Phrase("the certificate profiles")
        raise NotFound(what=what, where=where, command="dojang ca profiles")
    invocation.result({"profile": profile_data(found)}, "\n".join(_lines(found)), quiet=[found.name])


def profile_data(profile: "Profile") -> dict[str, Any]:
    """All of a profile, as ``--json`` prints it."""
    return {
        "name": profile.name,
        "titles": dict(profile.titles),
        "for": "authority" if profile.is_ca else profile.signer_role or "subscriber",
        "validity_days": profile.validity_days,
        "validity_years": list(profile.validity_years),
        "korean_days": profile.korean_days,
        "renewal_window_days": profile.renewal_window_days,
        "early_renewal": profile.early_renewal_allowed,
        "may_change": list(profile.renewal_changes),
        "keep_key": profile.keep_key_allowed,
        "key_reuse": profile.key_reuse_allowed,
        "several": profile.several_allowed,
        "algorithms": list(profile.algorithms),
        "key_usage": list(profile.key_usage),
        "extended_key_usage": list(profile.extended_key_usage),
        "policies": list(profile.policies),
        "policies_critical": profile.policies_critical,
        "notice": profile.notice,
        "cps": profile.cps,
        "vid": profile.vid,
        "addresses": dict(profile.addresses),
        "fee": {"currency": profile.fee.currency, "amount": profile.fee.amount} if profile.fee else None,
        "identity_checks": list(profile.identity_checks),
        "factors": profile.factors.to_data() if profile.factors else None,
        "subject_required": list(profile.subject_required),
        "subject_allowed": list(profile.subject_allowed),
        "subject_rules": _rules_data(profile.subject_rules),
        "alternative_names_allowed": list(profile.alternative_names_allowed),
        "alternative_names_required": profile.alternative_names_required,
        "alternative_name_rules": _rules_data(profile.alternative_name_rules),
        "path_length": profile.path_length,
        "crl_days": profile.crl_days if profile.is_ca else None,
    }


def _rules_data(rules: "Iterable[ValueRule]") -> dict[str, dict[str, Any]]:
    return {
        rule.kind: {
            "values": list(rule.values),
            "pattern": rule.pattern,
            "shortest": rule.shortest,
            "longest": rule.longest,
        }
        for rule in rules
    }


def _term(profile: "Profile") -> str:
    if not profile.validity_years:
        return say("{days} days", days=profile.validity_days)
    return say("{years} yr", years=" / ".join(map(str, profile.validity_years)))


def _lines(profile: "Profile") -> "Iterator[str]":
    """For people: what a subscriber asks first, then everything else by its name in the file."""
    yield f"{profile.name}: {profile.titles[spoken()]}"
    yield say("Term: {term}", term=_term(profile))
    yield say("Renewal: from {days} days before expiry", days=profile.renewal_window_days)
    if profile.fee is not None:
        yield say("Fee: {amount} {currency} a year", amount=f"{profile.fee.amount:,}", currency=profile.fee.currency)
    if profile.identity_checks:
        yield say("Identity checks: {checks}", checks=", ".join(profile.identity_checks))
    if profile.factors is not None:
        yield say("Factors: {factors} ({occasions})", **factor_words(profile.factors))
    told = (
        "name",
        "titles",
        "validity_days",
        "validity_years",
        "renewal_window_days",
        "fee",
        "identity_checks",
        "factors",
    )
    for key, value in profile_data(profile).items():
        if key not in told and value not in (None, [], {}):
            yield f"{key.replace('_', '-')}: {_plain(value)}"


def factor_words(rule: "FactorRule") -> dict[str, str]:
    """What is wanted, and before what, as a person says it."""
    return {
        "factors": _joined(rule.wanted, outermost=True),
        "occasions": ", ".join(_(OCCASIONS[one]) for one in rule.occasions),
    }


def _joined(factors: "Factors", *, outermost: bool = False) -> str:
    parts = [factor_name(part) if isinstance(part, str) else _joined(part) for part in factors.parts]
    text = (_(" and ") if factors.how == "all" else _(" or ")).join(parts)
    return text if outermost or len(parts) == 1 else f"({text})"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items() if inner not in (None, []))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
