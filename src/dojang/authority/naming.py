"""What a profile says of the names in its certificates: why some may not stand there.

Whoever makes a code asks this, and whoever issues by it, so that no code is given out in vain.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dojang.errors import Phrase
from dojang.x509.alternative_names import is_well_formed, kind_of

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName

    from dojang.x509.profiles import Profile, ValueRule


def problem_of_subject(attributes: Sequence[tuple[str, str]], profile: "Profile") -> Phrase | None:
    """Of a subject, by its types and values; ``None`` where it may stand there."""
    found = {kind for kind, _value in attributes}
    if missing := [kind for kind in profile.subject_required if kind not in found]:
        return Phrase(
            "the profile '{profile}' wants {type} in the subject", profile=profile.name, type=", ".join(missing)
        )
    if wrong := sorted(found.difference(profile.subject_allowed)) if profile.subject_allowed else []:
        return Phrase(
            "the profile '{profile}' does not allow {type} in the subject", profile=profile.name, type=", ".join(wrong)
        )
    return _problem_of_values(attributes, profile.subject_rules, profile)


def problem_of_alternative_names(names: Sequence["GeneralName"], profile: "Profile") -> Phrase | None:
    """Of all of them but a VID, with the addresses that stand in the subject, too."""
    if any(kind_of(name) not in profile.alternative_names_allowed or not is_well_formed(name) for name in names):
        return Phrase("the profile '{profile}' does not allow the alternative name", profile=profile.name)
    if profile.alternative_names_required and not names:
        kinds = ", ".join(profile.alternative_names_allowed)
        return Phrase("the profile '{profile}' wants an alternative name ({kinds})", profile=profile.name, kinds=kinds)
    values = [(kind_of(name), str(name.value)) for name in names]
    return _problem_of_values(values, profile.alternative_name_rules, profile)


def _problem_of_values(
    found: Sequence[tuple[str, str]], rules: "Iterable[ValueRule]", profile: "Profile"
) -> Phrase | None:
    for rule in rules:
        for kind, value in found:
            if kind == rule.kind and not rule.allows(value):
                return Phrase(
                    "the profile '{profile}' does not allow {type} to be '{value}'",
                    profile=profile.name,
                    type=kind,
                    value=value[:64],
                )
    return None
