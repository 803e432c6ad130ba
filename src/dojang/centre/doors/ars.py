"""Where a gateway that calls people tells what came of a call: ``POST /ars/{authority}``, signed (``otp.messages``).

What is not signed with the authority's key just now is refused with 403, and no reason; an outcome that was told before
with 409. Of a call that was never made, and of one that is over, the answer is the same: ``over``.
"""

from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dojang.centre.problems import CONTENT_TYPE, problem
from dojang.centre.state import note

if TYPE_CHECKING:
    from starlette.requests import Request

    from dojang.centre.state import Centre

_MOST_BYTES: Final = 4096


def routes(state: "Centre") -> list[Route]:
    """Of the only authority, or with the name of one."""
    from dojang.otp.messages.signature import Unsigned

    async def answer(request: "Request") -> Response:
        authority = state.authority(request.path_params.get("name"))
        note(request, authority=authority.name)
        body = await request.body()
        if len(body) > _MOST_BYTES:
            return Response(problem(413), 413, media_type=CONTENT_TYPE.decode())
        try:
            result = await state.run(authority.messages.told, request.headers, body, state.clock())
        except Unsigned:
            note(request, outcome="unsigned")
            return Response(problem(403), 403, media_type=CONTENT_TYPE.decode())
        note(request, outcome=result)
        return JSONResponse({"result": result}, headers={"cache-control": "no-store"})

    return [Route(path, answer, methods=["POST"]) for path in ("/ars", "/ars/{name}")]
