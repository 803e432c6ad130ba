"""Errors on their way through the socket: the same leaf arrives that was raised, with its facts."""

import json
from typing import Any

from dojang import errors
from dojang.errors import DojangError, Phrase


def failure_bytes(error: DojangError) -> bytes:
    """The error as bytes; a fact that is neither text nor number becomes its text."""
    facts = {name: _packed(value) for name, value in error.facts.items()}
    return json.dumps({"code": error.code, "facts": facts, "next": _packed(error.next_step)}).encode()


def failure_from(data: bytes) -> DojangError:
    """The error that the bytes describe. Bytes that describe none are ``AgentUnavailable``."""
    try:
        told = json.loads(data)
        leaf = _leaves(DojangError)[told["code"]]
        facts = {str(name): _unpacked(value) for name, value in told["facts"].items()}
        return leaf(next_step=_unpacked(told["next"]), **facts)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return errors.AgentUnavailable(problem=Phrase("it answered nonsense"))


def _leaves(family: type[DojangError]) -> dict[str, type[DojangError]]:
    found = {family.code: family} if family.code else {}
    for kind in family.__subclasses__():
        found |= _leaves(kind)
    return found


def _packed(value: object) -> object:
    if isinstance(value, Phrase):
        return {"phrase": value.template, "facts": {name: _packed(fact) for name, fact in value.facts.items()}}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_packed(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        template, facts = value["phrase"], value["facts"]
        return Phrase(template, **{name: _unpacked(fact) for name, fact in facts.items()})
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    return value
