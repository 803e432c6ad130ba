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
    return Gate(_Doors(routes), limits, state.metrics)


class _Doors:
    """Starlette's router, and a short way to the doors whose path has no name in it."""

    def __init__(self, routes: list[Route]) -> None:
        self._router = Router(routes)
        self._plain = {
            (route.path, method): route.app
            for route in routes
            for method in route.methods or ()
            if not route.param_convertors and _first(routes, route.path, method) is route
        }

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        app = self._plain.get((scope["path"], scope["method"]))
        if app is None:
            await self._router(scope, receive, send)
        else:
            scope["path_params"] = {}
            await app(scope, receive, send)


def _first(routes: list[Route], path: str, method: str) -> Route | None:
    """The one that the router would take."""
    fit = (route for route in routes if method in (route.methods or ()) and route.path_regex.match(path))
    return next(fit, None)


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
