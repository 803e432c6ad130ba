"""From the tables of a file to a profile, or to the one sentence that says what is wrong with it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from dojang.errors import Phrase
from dojang.x509.profiles.factors import rule_in
from dojang.x509.profiles.model import (
    ADDRESS_KINDS,
    ALTERNATIVE_NAME_KINDS,
    DAYS_A_YEAR,
    EXTENDED_KEY_USAGES,
    IDENTITY_CHECKS,
    KEY_ALGORITHMS,
    KEY_USAGES,
    RENEWAL_CHANGES,
    SIGNER_ROLES,
    USUAL_ADDRESSES,
    VID_RULES,
    Fee,
    Profile,
    ValueRule,
)
from dojang.x509.profiles.reading import Table

_LONGEST_DAYS: Final = 36500
_LONGEST_VALUE: Final = 1024
_LONGEST_FEE: Final = 10**12
_LONGEST_NOTICE: Final = 200  # RFC 5280 section 4.2.1.4
_OCSP_SIGNING: Final = EXTENDED_KEY_USAGES["ocsp-signing"]
_ADDRESS: Final = re.compile(
    r"https?://[\w.~:/?#@!$&'()*+,;=%{}\[\]-]{1,500}|[\w.~/?#!$&'()*+,;=%{}-]{1,500}", re.ASCII
)


def merged(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """The child's settings over its parent's; tables are merged, everything else and ``factors`` is replaced."""
    whole = {**parent, **child}
    for key, value in child.items():
        if key != "factors" and isinstance(value, dict) and isinstance(parent.get(key), dict):
            whole[key] = merged(parent[key], value)
    for one, other in (("validity-days", "validity-years"), ("validity-years", "validity-days")):
        if one in child and other not in child:
            whole.pop(other, None)
    return whole


def from_table(name: str, data: Mapping[str, Any]) -> Profile:
    """The profile that the settings make. ``ValueError`` with a phrase that names the setting at fault."""
    table = Table(data)
    title, subject, alternative = table.table("title"), table.table("subject"), table.table("alternative-names")
    years = table.numbers("validity-years", 1, 30)
    found = Profile(
        name=name,
        titles={language: title.text(language) for language in ("en", "ko")},
        validity_days=DAYS_A_YEAR * years[0] if years else table.number("validity-days", 1, _LONGEST_DAYS),
        validity_years=years,
        korean_days=table.switch("korean-days"),
        renewal_window_days=table.number("renewal-window-days", 0, _LONGEST_DAYS, 30),
        early_renewal_allowed=table.switch("early-renewal", usual=True),
        renewal_changes=table.words("may-change", RENEWAL_CHANGES, usual=("key", "algorithm")),
        keep_key_allowed=table.switch("keep-key"),
        key_reuse_allowed=table.switch("key-reuse", usual=True),
        several_allowed=table.switch("several"),
        algorithms=table.words("algorithms", KEY_ALGORITHMS, some=True),
        key_usage=table.words("key-usage", KEY_USAGES, some=True),
        extended_key_usage=tuple(table.oid(word, EXTENDED_KEY_USAGES) for word in table.words("extended-key-usage")),
        policies=tuple(table.oid(word, {}) for word in table.words("policies")),
        policies_critical=table.switch("policies-critical"),
        notice=_notice(table),
        cps=_address(table, "cps") if "cps" in table else None,
        is_ca=table.switch("authority"),
        path_length=table.number("path-length", 0, 10) if "path-length" in table else None,
        crl_days=table.number("crl-days", 1, _LONGEST_DAYS, 30),
        signer_role=table.one_of("signer", SIGNER_ROLES),
        ocsp_no_check=table.switch("ocsp-no-check"),
        vid=str(table.one_of("vid", VID_RULES, "none")),
        addresses=_addresses(table.table("addresses")),
        fee=_fee(table.table("fee")) if "fee" in table else None,
        identity_checks=table.words("identity-checks", IDENTITY_CHECKS),
        subject_required=_attribute_types(subject, "required"),
        subject_allowed=_attribute_types(subject, "allowed"),
        alternative_names_allowed=alternative.words("allowed", ALTERNATIVE_NAME_KINDS),
        alternative_names_required=alternative.switch("required"),
        subject_rules=_rules(subject, _known_types()),
        alternative_name_rules=_rules(alternative, frozenset(ALTERNATIVE_NAME_KINDS)),
        factors=rule_in(table.anything("factors"), "factors"),
    )
    for part in (table, title, subject, alternative):
        part.refuse_unread()
    _check_sense(found, table)
    return found


def _known_types() -> frozenset[str]:
    from dojang.x509.name import ATTRIBUTE_TYPES

    return ATTRIBUTE_TYPES


def _attribute_types(subject: Table, key: str) -> tuple[str, ...]:
    known = _known_types()
    found = subject.words(key)
    for word in found:
        if word not in known:
            subject.oid(word, {})
    return found


def _notice(table: Table) -> str | None:
    text = table.maybe_text("notice")
    if text is not None and len(text) > _LONGEST_NOTICE:
        raise ValueError(Phrase("'{key}' is longer than {limit} characters", key="notice", limit=_LONGEST_NOTICE))
    return text


def _address(table: Table, key: str) -> str:
    text = table.text(key)
    if not _ADDRESS.fullmatch(text) or not _is_filled(text):
        raise ValueError(
            Phrase("'{key}' must be an address: http://…, or one below the authority's own", key=table.called(key))
        )
    return text


def _is_filled(text: str) -> bool:
    try:
        return "{" not in text.format(signer="root-1")
    except (ValueError, LookupError, AttributeError):
        return False


def _addresses(table: Table) -> dict[str, str]:
    found = {}
    for kind in ADDRESS_KINDS:
        if not table.off(kind):
            found[kind] = _address(table, kind) if kind in table else USUAL_ADDRESSES[kind]
    table.refuse_unread()
    return found


def _fee(table: Table) -> Fee:
    currency = table.text("currency")
    if not re.fullmatch("[A-Z]{3}", currency):
        raise ValueError(
            Phrase("'{key}' must be a currency code of three letters such as KRW", key=table.called("currency"))
        )
    fee = Fee(currency, table.number("amount", 0, _LONGEST_FEE))
    table.refuse_unread()
    return fee


def _rules(table: Table, known: frozenset[str]) -> tuple[ValueRule, ...]:
    rules = []
    for kind, one in table.tables(known).items():
        rule = ValueRule(
            kind=kind,
            values=one.words("values"),
            pattern=_pattern(one),
            shortest=one.number("shortest", 0, _LONGEST_VALUE, 0),
            longest=one.number("longest", 1, _LONGEST_VALUE, _LONGEST_VALUE),
        )
        one.refuse_unread()
        rules.append(rule)
    return tuple(rules)


def _pattern(table: Table) -> str | None:
    pattern = table.maybe_text("pattern")
    if pattern is not None:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            problem = Phrase(
                "'{key}' is not a regular expression ({detail})", key=table.called("pattern"), detail=error
            )
            raise ValueError(problem) from error
    return pattern


def _check_sense(found: Profile, table: Table) -> None:
    for broken, problem in _RULES_OF_SENSE:
        if broken(found):
            raise ValueError(problem)
    if "validity-days" in table and "validity-years" in table:
        raise ValueError(Phrase("a profile has 'validity-days' or 'validity-years', not both"))
    for rule in found.subject_rules:
        if found.subject_allowed and rule.kind not in found.subject_allowed:
            raise ValueError(Phrase("'{key}' has a rule and is not allowed", key=f"subject.{rule.kind}"))
    for rule in found.alternative_name_rules:
        if rule.kind not in found.alternative_names_allowed:
            raise ValueError(Phrase("'{key}' has a rule and is not allowed", key=f"alternative-names.{rule.kind}"))


_RULES_OF_SENSE: Final[tuple[tuple[Callable[[Profile], bool], Phrase], ...]] = (
    (
        lambda one: one.is_ca != ("key-cert-sign" in one.key_usage),
        Phrase("'authority = true' and the key usage 'key-cert-sign' go together"),
    ),
    (lambda one: one.path_length is not None and not one.is_ca, Phrase("'path-length' is for authorities only")),
    (
        lambda one: one.renewal_window_days >= one.validity_days,
        Phrase("'renewal-window-days' must be shorter than 'validity-days'"),
    ),
    (
        lambda one: one.alternative_names_required and not one.alternative_names_allowed,
        Phrase("alternative names are required but none is allowed"),
    ),
    (
        lambda one: bool(one.subject_allowed) and not set(one.subject_required) <= set(one.subject_allowed),
        Phrase("the subject requires what it does not allow"),
    ),
    (lambda one: bool(one.signer_role) and one.is_ca, Phrase("'signer' is not for authorities")),
    (
        lambda one: one.factors is not None and not one.is_for_subscribers,
        Phrase("'factors' are for what subscribers ask for"),
    ),
    (
        lambda one: (_OCSP_SIGNING in one.extended_key_usage) != (one.signer_role == "ocsp"),
        Phrase("'signer = \"ocsp\"' and the extended key usage 'ocsp-signing' go together"),
    ),
    (
        lambda one: one.ocsp_no_check and one.signer_role != "ocsp",
        Phrase("'ocsp-no-check' is for 'signer = \"ocsp\"' only"),
    ),
    (
        lambda one: "key" not in one.renewal_changes and not one.keep_key_allowed,
        Phrase("a renewal that may not change the key needs 'keep-key = true'"),
    ),
    (
        lambda one: one.several_allowed and (one.vid != "none" or not one.is_for_subscribers),
        Phrase("'several' is for what subscribers ask for, and for certificates without a VID"),
    ),
    (lambda one: bool(one.notice or one.cps) and not one.policies, Phrase("'notice' and 'cps' belong to 'policies'")),
)
