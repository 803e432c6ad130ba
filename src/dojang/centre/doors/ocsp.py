"""OCSP over HTTP: ``POST /ocsp``, and ``GET /ocsp/{request in base64}`` for what others may keep (RFC 6960 appendix A).

Every answer of the responder comes with status 200, errors among them, as the RFC has it.
"""

from base64 import b64decode
from binascii import Error as NoBase64
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from dojang.centre.doors.caching import kept_a_while, kept_by_nobody
from dojang.centre.state import note

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from dojang.centre.state import Centre

_LONGEST: Final = 4096  # RFC 5019 section 5 has clients post what is longer than 255


def routes(state: "Centre") -> list[Route]:
    """Of the only authority, or with the name of one in front."""

    async def post(request: "Request") -> "Response":
        return await _answer(state, request, await request.body())

    async def get(request: "Request") -> "Response":
        return await _answer(state, request, _decoded(request.path_params["asked"]))

    found = []
    for place in ("/ocsp", "/{name}/ocsp"):
        found.append(Route(place, post, methods=["POST"]))
        found.append(Route(f"{place}/{{asked:path}}", get, methods=["GET"]))
    return found


async def _answer(state: "Centre", request: "Request", request_der: bytes) -> "Response":
    responder = state.authority(request.path_params.get("name")).status.responder
    answer = responder.answer_at_once(request_der)
    if answer is None:
        answer = await state.run(responder.answer, request_der)
    note(request, outcome=answer.outcome)
    if answer.term is None or not answer.is_cacheable:
        return kept_by_nobody(answer.der, answer.media_type)
    # RFC 5019 section 6.2 wants this tag.
    tag = sha1(answer.der, usedforsecurity=False).hexdigest()
    term = answer.term
    begin_at, end_at, at = term.this_update_at, term.next_update_at, state.clock()
    return kept_a_while(request, answer.der, answer.media_type, tag=tag, begin_at=begin_at, end_at=end_at, at=at)


def _decoded(text: str) -> bytes:
    """The request; nothing, which is none, where it is not in base64."""
    try:
        return b64decode(text[:_LONGEST], validate=True)
    except (NoBase64, ValueError):
        return b""
