"""Certificate profiles: what an authority puts into which certificate, as data; one TOML file beside this one each.

    like = "personal"                      # everything as in that profile, but for what is said here
    title = { en = "TLS server", ko = "TLS 서버" }
    validity-days = 90                     # counted from issue; or else
    validity-years = [1, 2, 3]             # one is chosen at enrolment, the first unless said
    korean-days = true                     # from 00:00:00 to 23:59:59 in Korea; false unless said
    renewal-window-days = 30               # renewal may begin this long before expiry; 30 unless said
    early-renewal = false                  # renewal before that window is refused; it is possible unless said
    may-change = ["key", "algorithm"]      # on renewal, also "subject" and "alternative-names"; these unless said
    keep-key = true                        # renewal may keep the key; false unless said
    key-reuse = false                      # a key that was certified here before is refused; it is allowed unless said
    several = true                         # who has one gets another beside it by cr or p10cr (CMP) signed with its
                                           # key; unless said that is a reissue, and the first one is revoked
                                           # where factors are asked for, another needs a code
    algorithms = ["rsa-2048", "ec-p256"]
    key-usage = ["digital-signature"]      # RFC 5280 section 4.2.1.3, in kebab-case
    extended-key-usage = ["server-auth"]   # a name or a dotted OID
    policies = ["1.2.410.200004.2.1"]      # dotted OIDs; the notice and the address are those of the first
    policies-critical = true               # false unless said
    notice = "…"                           # up to 200 characters for whoever relies on the certificate
    cps = "https://www.example.kr/cps"     # the certification practice statement
    vid = "optional"                       # the Korean VID: "none" (unless said), "optional" or "required"
    identity-checks = ["in-person"]        # what must have been checked before a code is given out
    fee = { currency = "KRW", amount = 4400 }   # for a year, or for the term where it is counted in days
    signer = "ocsp"                        # for a key of the authority itself, "ocsp", "tsa", "cmp" or "audit"
    ocsp-no-check = true                   # RFC 6960 section 4.2.2.2.1
    authority = false                      # true for the certificate of an authority, then also:
    path-length = 0
    crl-days = 30                          # how long a revocation list of this authority holds

    [addresses]                            # whole, or below the authority's own; false leaves one out
    crl = "crl/{signer}.crl"               # {signer} is the key that signs, as in issuing-2
    ocsp = "ocsp"
    issuer = "ca/{signer}.cer"

    [subject]
    required = ["CN"]                      # attribute types that must occur
    allowed = ["CN", "O", "C"]             # nothing else may occur; everything may unless said
    C = { values = ["KR"] }                # which values one may have
    CN = { pattern = "[가-힣]+", shortest = 2, longest = 40 }

    [alternative-names]
    allowed = ["dns", "ip"]                # kinds; none unless said
    required = true                        # at least one
    dns = { pattern = ".*\\\\.example\\\\.kr" }

    [factors]                              # what a subscriber passes before it is issued; see ``factors``
    all = ["sms", { any = ["otp", "card"] }]
    for = ["issue", "reissue"]             # these unless said; also "renew"

A folder of one's own may add profiles or replace these; a profile there that is ``like`` its own name is like ours.

The policies of ours stand below 1.3.6.1.4.1.32473.410.1: 32473 is the enterprise number that RFC 5612 keeps for
examples, so nobody needs to register it and nobody takes it for a real authority's. (Arcs made of a UUID, below 2.25,
and the example arc 2.999 are refused by decoders that stop at 32 bits or at 2.39.) Who issues to the public has a
number of his own and says it in a file. Numbers below the arcs of Korean authorities are recognised
(``npki/policies.toml``), and never issued unless such a file says so.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from dojang.errors import InvalidSetting, NotFound, Phrase
from dojang.x509.profiles.building import from_table, merged
from dojang.x509.profiles.factors import FACTORS as FACTORS
from dojang.x509.profiles.factors import FactorRule as FactorRule
from dojang.x509.profiles.factors import Factors as Factors
from dojang.x509.profiles.model import IDENTITY_CHECKS as IDENTITY_CHECKS
from dojang.x509.profiles.model import KEY_ALGORITHMS as KEY_ALGORITHMS
from dojang.x509.profiles.model import KEY_USAGES as KEY_USAGES
from dojang.x509.profiles.model import Fee as Fee
from dojang.x509.profiles.model import Profile as Profile
from dojang.x509.profiles.model import ValueRule as ValueRule

_Stamp = tuple[tuple[str, int, int], ...]


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


def profile_names(folder: Path | None = None) -> frozenset[str]:
    """The names of all of them, also of those whose files cannot be read."""
    folders = (Path(__file__).parent, *([] if folder is None else [folder]))
    return frozenset(path.stem for one in folders for path in one.glob("*.toml"))


def read_profile(path: Path) -> Profile:
    """One profile from its file, named after it. Raises ``InvalidSetting``."""
    return _built(path, _tables(path.parent))


def _all(folder: Path | None) -> Mapping[str, Profile]:
    return {**_shipped(), **(_own(folder, _stamp(folder)) if folder is not None and folder.is_dir() else {})}


@cache
def _shipped() -> dict[str, Profile]:
    return _in_folder(Path(__file__).parent)


def _stamp(folder: Path) -> _Stamp:
    """Changes whenever a file does, so that nothing is read twice: an authority asks at every certificate."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        try:
            status = path.stat()
        except OSError as error:
            raise _invalid(path, error.strerror or Phrase("it cannot be read")) from error
        found.append((path.name, status.st_mtime_ns, status.st_size))
    return tuple(found)


@lru_cache(maxsize=16)
def _own(folder: Path, _as_it_is_now: _Stamp) -> dict[str, Profile]:
    return _in_folder(folder)


def _in_folder(folder: Path) -> dict[str, Profile]:
    tables = _tables(folder)
    return {path.stem: _built(path, tables) for path in tables}


def _tables(folder: Path) -> dict[Path, Mapping[str, Any]]:
    return {path: _read(path) for path in sorted(folder.glob("*.toml"))}


def _read(path: Path) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise _invalid(path, error.strerror or Phrase("it cannot be read")) from error
    except (ValueError, RecursionError) as error:
        raise _invalid(path, Phrase("it is not valid TOML ({detail})", detail=error)) from error


def _built(path: Path, tables: Mapping[Path, Mapping[str, Any]]) -> Profile:
    try:
        return from_table(path.stem, _whole(path, tables, ()))
    except ValueError as error:
        raise _invalid(path, error.args[0]) from error


def _invalid(path: Path, problem: object) -> InvalidSetting:
    return InvalidSetting(
        path=path, problem=problem, next_step="Correct the file; 'dojang ca profiles NAME' shows what one says."
    )


def _whole(path: Path, tables: Mapping[Path, Mapping[str, Any]], below: tuple[Path, ...]) -> Mapping[str, Any]:
    """The settings of a file over those of the profile it is like, which is looked for beside it and then here."""
    own = {key: value for key, value in tables[path].items() if key != "like"}
    like = tables[path].get("like")
    if like is None:
        return own
    if not isinstance(like, str) or Path(like).name != like:
        raise ValueError(Phrase("'{key}' is missing or has an unusable value", key="like"))
    ours = Path(__file__).parent
    beside = path.with_name(f"{like}.toml")
    if path in below:
        raise ValueError(Phrase("it is like itself in the end ('{name}')", name=like))
    if beside in tables and beside != path:
        return merged(_whole(beside, tables, (*below, path)), own)
    shipped = _tables_of_ours()
    if (ours / f"{like}.toml") not in shipped or path.parent == ours:
        raise ValueError(Phrase("it is like '{name}', which is no profile", name=like))
    return merged(_whole(ours / f"{like}.toml", shipped, ()), own)


@cache
def _tables_of_ours() -> Mapping[Path, Mapping[str, Any]]:
    return _tables(Path(__file__).parent)
