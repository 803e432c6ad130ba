"""The whole ASGI application: the doors behind the gate, and the two questions of whoever balances the load."""

from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from dojang.centre.gate import Gate

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from dojang.centre.health import Pulse
    from dojang.centre.limits import Limits
    from dojang.centre.state import Centre

DOORS: Final = ("cmp", "ocsp", "lists", "statement", "ars", "admin")


def build(state: "Centre", limits: "Limits", pulse: "Pulse", doors: Iterable[str] = DOORS) -> Gate:
    """The application of one process."""
    routes: list[Route] = _health(pulse)
    for name in doors:
        home = f"dojang.centre.doors.{name}"
        if find_spec(home) is not None:
            routes += [_named(route, name) for route in import_module(home).routes(state)]
    return Gate(Router(routes), limits, state.metrics)


def _health(pulse: "Pulse") -> list[Route]:
    """What a load balancer sees: yes or no, and no reasons."""
    return [
        _named(Route("/health", _answer(lambda: True), methods=["GET"]), "health"),
        _named(Route("/ready", _answer(lambda: pulse.readiness().ok), methods=["GET"]), "health"),
    ]


def _answer(yes: Callable[[], bool]) -> "Callable[[Request], Awaitable[Response]]":
    async def answer(_request: "Request") -> Response:
        good = yes()
        headers = {"cache-control": "no-store"}
        return PlainTextResponse("ok\n" if good else "not ready\n", 200 if good else 503, headers)

    return answer


def _named(route: Route, door: str) -> Route:
    """The same route, whose requests are counted under the name of its door."""
    inner: ASGIApp = route.app

    async def through(scope: "Scope", receive: "Receive", send: "Send") -> None:
        scope["dojang.door"] = door
        await inner(scope, receive, send)

    route.app = through
    return route
