"""What a door of the centre is given: the authorities, threads to work in, counters and the clock.

    def routes(state: Centre) -> list[Route]:
        async def answer(request: Request) -> Response:
            authority = state.authority(request.path_params["name"])
            note(request, transaction=…)
            return Response(await state.run(work, authority, await request.body()))

The body has been held to its limits when it arrives. A ``DojangError`` that is raised becomes the answer with the
right status (``problems``); a door that answers in a form of its own catches it.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from dojang.centre.desk import Desk
from dojang.errors import NotFound, Phrase

if TYPE_CHECKING:
    from starlette.requests import Request

    from dojang.authority.local import LocalAuthority
    from dojang.centre.metrics import Metrics

T = TypeVar("T")


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Centre:
    """One process of a centre. ``authorities`` are open, by name, and shared by all threads."""

    authorities: "Mapping[str, LocalAuthority]"
    metrics: "Metrics"
    desk: Desk = field(default_factory=Desk)
    clock: Callable[[], datetime] = utc_now

    def authority(self, name: str | None = None) -> "LocalAuthority":
        """The authority of that name; without one, that whose addresses have none. Raises ``NotFound``."""
        found = self._nameless() if name is None else self.authorities.get(name)
        if found is None:
            what = Phrase("authority {name}", name=(name or "")[:64])
            raise NotFound(what=what, where=Phrase("this centre"), command="dojang ca show")
        return found

    def astray(self) -> "list[LocalAuthority]":
        """Those whose certificates tell of addresses that do not lead to them here, unless something in front does."""
        found = []
        for name, one in list(self.authorities.items()):
            path = _path_of(one)
            if path is not None and path != name and (path or self._nameless() is not one):
                found.append(one)
        return found

    def _nameless(self) -> "LocalAuthority | None":
        """The only one; of several, the only one whose address is that of the centre.

        So what was issued and remembered while it was alone goes on leading to it when others join.
        """
        known = list(self.authorities.values())
        if len(known) > 1:
            known = [one for one in known if _path_of(one) == ""]
        return known[0] if len(known) == 1 else None

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do it in a thread. Raises what it raises, and ``CentreBusy`` when too much is under way."""
        return await self.desk.run(work, *arguments)


def _path_of(authority: "LocalAuthority") -> str | None:
    """What its address has behind the host; ``None`` where it has no address."""
    address = authority.settings.address
    return None if address is None else urlsplit(address).path.strip("/")


def source_of(request: "Request") -> str:
    """Where a request comes from: the peer's address, or what a trusted proxy says of its own."""
    return source_in(request.scope)


def source_in(scope: "MutableMapping[str, Any]") -> str:
    """The same, as ``note_in`` is."""
    return str(scope.get("dojang.source") or (scope["client"][0] if scope.get("client") else "-"))


def note(request: "Request", **facts: str) -> None:
    """Say more of this request in its line of the log: ``transaction``, ``authority``, ``outcome``. Never a secret."""
    note_in(request.scope, **facts)


def note_in(scope: "MutableMapping[str, Any]", **facts: str) -> None:
    """The same for a door that has no more of a request than ASGI gives."""
    scope.setdefault("dojang.facts", {}).update(facts)
