"""What an officer may order about certificates, beside what the office does with applicants and codes.

The names and arguments are the same for everybody who asks; each does exactly what the command of that name does where
the authority is.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dojang.authority.audit import acting
from dojang.authority.enrolment.arguments import Arguments
from dojang.authority.enrolment.officers import Officer, Role

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority
    from dojang.authority.store import Record

Answer = dict[str, Any]
_MOST: Final = 1000
_USUAL: Final = 200


@dataclass(frozen=True, slots=True)
class Method:
    """``role`` is who may: a role, or any officer."""

    perform: "Callable[[LocalAuthority, Arguments], Answer]"
    role: Role | None = None
    changes: bool = True


def perform(
    authority: "LocalAuthority",
    name: str,
    arguments: Mapping[str, Any],
    officer: Officer,
    evidence: bytes | None = None,
) -> Answer:
    """Do what the officer orders and say what came of it. Raises ``NotPermitted``, ``Usage``, what the work raises."""
    method = METHODS.get(name)
    if method is None:
        answer: Answer = authority.counter.perform(name, arguments, officer=officer, evidence=evidence)
        return answer
    if method.role is not None:
        officer.check_role(method.role)
    with acting(officer.actor):
        return method.perform(authority, Arguments(arguments))


def _show(authority: "LocalAuthority", given: Arguments) -> Answer:
    given.finish()
    info = authority.info()
    chain = [der.hex() for der in authority.chain_der()]
    return {"authority": {"name": info.name, "chain": chain, "crl": {"number": info.crl_number}}}


def _list(authority: "LocalAuthority", given: Arguments) -> Answer:
    state, after = given.maybe_text("state"), given.maybe_text("after")
    limit, due = given.number("limit", 1, _MOST, _USUAL), given.switch("due")
    given.finish()
    page = authority.due(after=after, limit=limit) if due else authority.records(state=state, after=after, limit=limit)
    return {
        "certificates": [record_answer(one) for one in page],
        "next": page[-1].serial if len(page) == limit else None,
    }


def _revoke(authority: "LocalAuthority", given: Arguments) -> Answer:
    serial, reason = given.text("serial"), given.maybe_text("reason")
    given.finish()
    authority.revoke(serial, reason or "unspecified")
    return {"certificate": record_answer(authority.find(serial))}


def _changing(change: "Callable[[LocalAuthority, str], None]") -> "Callable[[LocalAuthority, Arguments], Answer]":
    """A change that takes a serial and nothing else."""

    def perform_it(authority: "LocalAuthority", given: Arguments) -> Answer:
        serial = given.text("serial")
        given.finish()
        change(authority, serial)
        return {"certificate": record_answer(authority.find(serial))}

    return perform_it


def _publish(authority: "LocalAuthority", given: Arguments) -> Answer:
    given.finish()
    der = authority.publish_crl().read_bytes()
    return {"crl": {"number": authority.info().crl_number, "der": der.hex()}}


def _tail(authority: "LocalAuthority", given: Arguments) -> Answer:
    """Rows of the record as they are stored, so that whoever reads them can hash them."""
    from dojang.authority.audit.reading import latest

    lines = given.number("lines", 0, _MOST, _USUAL)
    given.finish()
    return {"entries": [asdict(one) for one in latest(authority.database, lines)]}


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "authority.show": Method(_show, changes=False),
        "certificate.list": Method(_list, changes=False),
        "certificate.show": Method(_changing(lambda _authority, _serial: None), changes=False),
        "certificate.revoke": Method(_revoke, "revoker"),
        "certificate.suspend": Method(_changing(lambda authority, serial: authority.suspend(serial)), "revoker"),
        "certificate.restore": Method(_changing(lambda authority, serial: authority.restore(serial)), "revoker"),
        "audit.tail": Method(_tail, "auditor", changes=False),
        "crl.publish": Method(_publish, "revoker"),
    }
)


def record_answer(record: "Record") -> Answer:
    """A certificate as the authority has it on record, in the words of JSON."""
    return {
        "serial": record.serial,
        "subject": record.subject,
        "profile": record.profile,
        "state": record.state,
        "not_before": _moment(record.not_before_at),
        "not_after": _moment(record.not_after_at),
        "reason": record.reason,
        "revoked_at": _moment(record.revoked_at),
        "replaces": record.replaces,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
