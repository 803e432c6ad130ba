"""The officers' door: orders signed with the key of a registered certificate, carried out once, with his roles.

An order is fresh for five minutes, and its id is never accepted twice; that it was accepted is durable before anything
is done. It names the authority's certificate; whoever sends nothing at all is told that. What an answer holds may be
secret (a new code), so nobody is answered over a wire that others can read: TLS, or this machine, or a proxy that is
trusted.
"""

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dojang.centre.answers import bad, good
from dojang.centre.methods import perform
from dojang.centre.orders import MEDIA_TYPE, SignedOrder, fingerprint_of, read_order
from dojang.centre.problems import retry_after, status_of
from dojang.centre.state import note, source_of
from dojang.errors import DojangError, NotPermitted, Phrase, UnsupportedFormat

if TYPE_CHECKING:
    from dojang.authority.enrolment.officers import Officer
    from dojang.authority.local import LocalAuthority
    from dojang.centre.state import Centre

FRESH: Final = timedelta(minutes=5)
KEPT: Final = timedelta(days=90)
"""How long the id of an order is kept, though it has long been too old to be accepted."""
_NOTED: Final = 64


def routes(state: "Centre") -> list[Route]:
    """``/admin`` and, where several authorities are served, ``/admin/NAME``."""

    async def answer(request: Request) -> Response:
        try:
            _check_wire(request)
            body = await request.body()
            data = await state.run(_carry_out, state, request.path_params.get("name"), body, request)
        except DojangError as error:
            return _response(status_of(error), bad(error), retry_after(error))
        return _response(200, good(data))

    return [Route("/admin", answer, methods=["POST"]), Route("/admin/{name}", answer, methods=["POST"])]


def _response(status: int, content: dict[str, Any], wait: int | None = None) -> Response:
    headers = {"cache-control": "no-store"} | ({} if wait is None else {"retry-after": str(wait)})
    return Response(json.dumps(content, ensure_ascii=False), status, headers, MEDIA_TYPE)


def _check_wire(request: Request) -> None:
    if not request.scope.get("dojang.private"):
        raise NotPermitted(
            problem=Phrase("an officer's order is not taken over a connection without TLS"),
            remedy=Phrase("Use https://, or give the order on the centre's own machine."),
        )
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        raise UnsupportedFormat(what=kind[:80] or "-", problem=Phrase("the media type is not {type}", type=MEDIA_TYPE))


def _carry_out(state: "Centre", name: str | None, body: bytes, request: Request) -> dict[str, Any]:
    if not body:
        authority = state.authority(name)
        return {"name": authority.name, "chain": [der.hex() for der in authority.chain_der()]}
    order = read_order(body)
    authority = state.authority(name)
    note(request, authority=authority.name, ordered=order.method[:_NOTED], order=order.id)
    officer = authority.counter.officers.officer_of(order.certificate_der)
    note(request, officer=officer.id)
    try:
        _accept(authority, order, officer, state.clock())
        return perform(authority, order.method, order.arguments, officer, order.der)
    except DojangError as error:
        if status_of(error) < 500:
            _record_refusal(authority, order, officer, error, source_of(request), state.clock())
        raise


def _accept(authority: "LocalAuthority", order: SignedOrder, officer: "Officer", at: datetime) -> None:
    """The order is for this authority, of now, and new; that it came is durable when this returns."""
    if order.authority != authority.name:
        raise _refused(Phrase("it is for the authority {name}", name=order.authority[:_NOTED]))
    if order.fingerprint != fingerprint_of(authority.certificate_der()):
        raise _refused(Phrase("it is for another authority of this name, or for an earlier certificate of this one"))
    if abs(at - order.at) > FRESH:
        raise _refused(Phrase("it was signed at {moment}, and it is {now} here", moment=order.at, now=at))
    from sqlalchemy import delete, insert
    from sqlalchemy.exc import IntegrityError

    from dojang.authority.tables import admin_request

    values = {"id": order.id, "officer": officer.id, "accepted_at": at}
    with authority.database.writing() as connection:
        connection.execute(delete(admin_request).where(admin_request.c.accepted_at < at - KEPT))
        try:
            with connection.begin_nested():
                connection.execute(insert(admin_request).values(**values))
        except IntegrityError as error:
            raise _refused(Phrase("it was given before")) from error


def _record_refusal(
    authority: "LocalAuthority",
    order: SignedOrder,
    officer: "Officer",
    error: DojangError,
    source: str,
    at: datetime,
) -> None:
    from dojang.authority import audit

    told = {"method": order.method[:_NOTED], "reason": error.code, "source": source}
    with audit.acting(officer.actor), authority.database.writing() as connection:
        audit.record(connection, event="order-refused", subject=order.id, at=at, **told)


def _refused(problem: Phrase) -> NotPermitted:
    return NotPermitted(
        problem=Phrase("the order is not carried out: {problem}", problem=problem),
        remedy=Phrase("Give it anew; check the clocks if that does not help."),
    )
