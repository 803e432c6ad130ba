"""What an officer is answered: the envelope that ``--json`` prints, so that an error is the same near and far."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from dojang.centre.problems import status_of
from dojang.errors import AuthorityRefused, AuthorityUnreachable, DojangError
from dojang.secret import Secret

SCHEMA: Final = 1


def good(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "ok": True, "data": data}


def bad(error: DojangError) -> dict[str, Any]:
    """The error with its facts; of one that is not the officer's to mend, no more than its code."""
    if status_of(error) >= 500:
        return {"schema": SCHEMA, "ok": False, "error": {"code": error.code}}
    facts = {name: _plain(value) for name, value in error.facts.items() if not isinstance(value, Secret)}
    report = {"code": error.code, "message": error.message(), "next": error.advice(), "details": facts}
    return {"schema": SCHEMA, "ok": False, "error": report}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, bool | int):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def error_from(report: object, centre: str) -> DojangError:
    """The error that stands in an answer of ``centre``; one that is not known here is a refusal."""
    said: Mapping[str, Any] = report if isinstance(report, dict) else {}
    code, message, advice = (_shown(said.get(name)) for name in ("code", "message", "next"))
    leaf = next((leaf for leaf in _leaves(DojangError) if leaf.code == code), None)
    if not message:
        return AuthorityUnreachable(authority=centre, problem=code or "?")
    details = said.get("details")
    if leaf is not None and isinstance(details, dict):
        facts = {str(name): _shown(value) for name, value in details.items() if name != "next_step"}
        try:
            return leaf(next_step=_literal(advice) or None, **facts)
        except TypeError:  # other facts than ours
            pass
    return AuthorityRefused(authority=centre, problem=message, next_step=_literal(advice) or None)


def _leaves(family: type[DojangError]) -> Iterator[type[DojangError]]:
    for kind in family.__subclasses__():
        if kind.code:
            yield kind
        yield from _leaves(kind)


def _shown(value: object) -> str:
    """What the other side wrote, short and without what would move a terminal's cursor."""
    return "".join(one for one in str("" if value is None else value)[:1000] if one.isprintable())


def _literal(text: str) -> str:
    """Words that are no template."""
    return text.replace("{", "{{").replace("}", "}}")
