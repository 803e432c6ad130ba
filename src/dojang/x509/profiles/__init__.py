"""Certificate profiles: what an authority puts into which certificate, as data; one TOML file beside this one each.

    title = { en = "TLS server", ko = "TLS 서버" }
    validity-days = 90                     # counted from issue
    renewal-window-days = 30               # renewal may begin this long before expiry; 30 unless said
    early-renewal = false                  # renewal before that window is refused; it is possible unless said
    keep-key = true                        # renewal may keep the key; false unless said
    algorithms = ["rsa-2048", "ec-p256"]
    key-usage = ["digital-signature"]      # RFC 5280 section 4.2.1.3, in kebab-case
    extended-key-usage = ["server-auth"]   # a name or a dotted OID
    policies = ["1.2.410.200004.2.1"]      # dotted OIDs
    authority = false                      # true for the certificate of an authority, then also:
    path-length = 0
    crl-days = 30                          # how long a revocation list of this authority holds

    [subject]
    required = ["CN"]                      # attribute types that must occur
    allowed = ["CN", "O", "C"]             # nothing else may occur; everything may unless said

    [alternative-names]
    allowed = ["dns", "ip"]                # kinds; none unless said
    required = true                        # at least one

A folder of one's own may add profiles or replace these.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dojang.errors import InvalidSetting, NotFound, Phrase
from dojang.x509.profiles.reading import Table

KEY_USAGES = (
    "digital-signature",
    "non-repudiation",
    "key-encipherment",
    "data-encipherment",
    "key-agreement",
    "key-cert-sign",
    "crl-sign",
)
EXTENDED_KEY_USAGES = {
    "server-auth": "1.3.6.1.5.5.7.3.1",
    "client-auth": "1.3.6.1.5.5.7.3.2",
    "code-signing": "1.3.6.1.5.5.7.3.3",
    "email-protection": "1.3.6.1.5.5.7.3.4",
    "time-stamping": "1.3.6.1.5.5.7.3.8",
    "ocsp-signing": "1.3.6.1.5.5.7.3.9",
    "document-signing": "1.3.6.1.5.5.7.3.36",
}
KEY_ALGORITHMS = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "ed25519")
ALTERNATIVE_NAME_KINDS = ("dns", "ip", "email", "uri")
_LONGEST_DAYS = 36500


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate. Extended key usages and policies are dotted OIDs; ``titles`` has ``en`` and ``ko``."""

    name: str
    titles: dict[str, str]
    validity_days: int
    renewal_window_days: int
    early_renewal_allowed: bool
    keep_key_allowed: bool
    algorithms: tuple[str, ...]
    key_usage: tuple[str, ...]
    extended_key_usage: tuple[str, ...]
    policies: tuple[str, ...]
    is_ca: bool
    path_length: int | None
    crl_days: int
    subject_required: tuple[str, ...]
    subject_allowed: tuple[str, ...]
    alternative_names_allowed: tuple[str, ...]
    alternative_names_required: bool


def profiles(folder: Path | None = None) -> list[Profile]:
    """Every profile in the order of names, those in ``folder`` replacing ours. Raises ``InvalidSetting``."""
    return [known for _, known in sorted(_all(folder).items())]


def profile(name: str, folder: Path | None = None) -> Profile:
    """The profile of that name. Raises ``NotFound``, and ``InvalidSetting`` for a bad file."""
    known = _all(folder).get(name)
    if known is None:
        where = Phrase("the certificate profiles")
        raise NotFound(what=Phrase("profile '{name}'", name=name[:80]), where=where, command="dojang ca profiles")
    return known


def read_profile(path: Path) -> Profile:
    """One profile from its file, named after it. Raises ``InvalidSetting``."""
    import tomllib

    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidSetting(path=path, problem=error.strerror or Phrase("it cannot be read")) from error
    except (ValueError, RecursionError) as error:
        raise InvalidSetting(path=path, problem=Phrase("it is not valid TOML ({detail})", detail=error)) from error
    try:
        return _from_table(path.stem, table)
    except ValueError as error:
        raise InvalidSetting(path=path, problem=error.args[0]) from error


def _all(folder: Path | None) -> dict[str, Profile]:
    own = _in_folder(folder) if folder is not None and folder.is_dir() else {}
    return {**_shipped(), **own}


@cache
def _shipped() -> dict[str, Profile]:
    return _in_folder(Path(__file__).parent)


def _in_folder(folder: Path) -> dict[str, Profile]:
    return {path.stem: read_profile(path) for path in sorted(folder.glob("*.toml"))}


def _from_table(name: str, data: dict[str, Any]) -> Profile:
    table = Table(data)
    title, subject, alternative = table.table("title"), table.table("subject"), table.table("alternative-names")
    found = Profile(
        name=name,
        titles={language: title.text(language) for language in ("en", "ko")},
        validity_days=table.number("validity-days", 1, _LONGEST_DAYS),
        renewal_window_days=table.number("renewal-window-days", 0, _LONGEST_DAYS, 30),
        early_renewal_allowed=table.switch("early-renewal", usual=True),
        keep_key_allowed=table.switch("keep-key"),
        algorithms=table.words("algorithms", KEY_ALGORITHMS, some=True),
        key_usage=table.words("key-usage", KEY_USAGES, some=True),
        extended_key_usage=tuple(table.oid(word, EXTENDED_KEY_USAGES) for word in table.words("extended-key-usage")),
        policies=tuple(table.oid(word, {}) for word in table.words("policies")),
        is_ca=table.switch("authority"),
        path_length=table.number("path-length", 0, 10) if "path-length" in data else None,
        crl_days=table.number("crl-days", 1, _LONGEST_DAYS, 30),
        subject_required=subject.words("required"),
        subject_allowed=subject.words("allowed"),
        alternative_names_allowed=alternative.words("allowed", ALTERNATIVE_NAME_KINDS),
        alternative_names_required=alternative.switch("required"),
    )
    for part in (table, title, subject, alternative):
        part.refuse_unread()
    _check_sense(found)
    return found


def _check_sense(found: Profile) -> None:
    if found.is_ca != ("key-cert-sign" in found.key_usage):
        raise ValueError(Phrase("'authority = true' and the key usage 'key-cert-sign' go together"))
    if found.path_length is not None and not found.is_ca:
        raise ValueError(Phrase("'path-length' is for authorities only"))
    if found.renewal_window_days >= found.validity_days:
        raise ValueError(Phrase("'renewal-window-days' must be shorter than 'validity-days'"))
    if found.alternative_names_required and not found.alternative_names_allowed:
        raise ValueError(Phrase("alternative names are required but none is allowed"))
