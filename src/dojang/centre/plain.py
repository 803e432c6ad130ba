"""Requests and answers as ASGI has them, for doors that are asked so often that objects around them would be felt.

Such a door is an object that is called with ``scope``, ``receive`` and ``send``, and stands in a ``Route`` like others.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

Headers = tuple[tuple[bytes, bytes], ...]


def header_of(scope: "Scope", name: bytes) -> bytes:
    """The first of that name, which is written small; nothing where there is none."""
    return next((value for one, value in scope["headers"] if one == name), b"")


async def body_of(receive: "Receive") -> bytes:
    """The whole body, which the gate has read already."""
    message = await receive()
    return bytes(message["body"])


async def reply(send: "Send", status: int, body: bytes, headers: Headers) -> None:
    """The whole answer."""
    full = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": full})
    await send({"type": "http.response.body", "body": body})
