"""Certificate policies of the Korean authorities: what a certificate is for and whose it is, from ``policies.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dojang.der import SEQUENCE, MalformedDer, children, expect, parse, parts, read_oid
from dojang.tbs import CERTIFICATE_POLICIES, extensions_in, tbs_of

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. ``purposes`` has ``en`` and ``ko``; ``holder`` is person, business or ``None`` where nobody says.

    ``doubt`` is ``conflict`` or ``unconfirmed`` where the sources are not sure, and ``remark`` says why. ``authority``
    is ``None`` for a policy of nobody we know.
    """

    oid: str
    purposes: Mapping[str, str]
    authority: str | None = None
    holder: str | None = None
    kind: str | None = None
    doubt: str | None = None
    remark: str | None = None
    source: str | None = None


UNKNOWN: Final = {"en": "unknown purpose", "ko": "알 수 없는 용도"}


def policy(oid: str) -> Policy:
    """What is known of a policy; one that is not in the table has an unknown purpose, and the authority of its arc."""
    found = _table().get(oid)
    return found or Policy(oid, UNKNOWN, authority=_authority_of(oid))


def policies() -> list[Policy]:
    """The whole table."""
    return list(_table().values())


def policies_of(certificate: "x509.Certificate") -> tuple[Policy, ...]:
    """The policies a certificate names; none where the extension is not there or cannot be read."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return policies_in(certificate.public_bytes(Encoding.DER))


def policies_in(certificate_der: bytes) -> tuple[Policy, ...]:
    """The same from a certificate's DER."""
    try:
        return policies_named(extensions_in(tbs_of(certificate_der).extensions_der).get(CERTIFICATE_POLICIES, b""))
    except MalformedDer:
        return ()


@lru_cache(maxsize=256)
def policies_named(extension_der: bytes) -> tuple[Policy, ...]:
    """The same from the extension alone; none where it is empty or damaged."""
    try:
        entries = children(parse(extension_der, SEQUENCE)) if extension_der else []
        return tuple(policy(read_oid(parts(expect(entry, SEQUENCE), 1, 2)[0])) for entry in entries)
    except MalformedDer:
        return ()


def is_korean(certificate: "x509.Certificate") -> bool:
    """Whether a Korean authority's policy, known or not, stands in it."""
    return any(one.authority for one in policies_of(certificate))


def _authority_of(oid: str) -> str | None:
    return next((name for name, arc in _arcs() if f"{oid}.".startswith(f"{arc}.")), None)


@cache
def _arcs() -> tuple[tuple[str, str], ...]:
    return tuple((entry["name"], entry["arc"]) for entry in _entries())


@cache
def _table() -> dict[str, Policy]:
    return {
        one["oid"]: Policy(
            oid=one["oid"],
            purposes=one["purpose"],
            authority=entry["name"],
            source=entry["source"],
            **{name: one.get(name) for name in ("holder", "kind", "doubt", "remark")},
        )
        for entry in _entries()
        for one in entry["policy"]
    }


@cache
def _entries() -> list[dict]:  # type: ignore[type-arg]
    import tomllib

    return list(tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))["authority"])
