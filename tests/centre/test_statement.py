"""The practice statement that certificates point to."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dojang.centre.app import build
from dojang.centre.health import Pulse
from dojang.centre.limits import Limits
from dojang.centre.metrics import Metrics
from dojang.centre.state import Centre


def fetch(folder: Path, path: str, **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request to the application, without a socket."""
    state = Centre({"office": SimpleNamespace(folder=folder)}, Metrics())  # type: ignore[dict-item]
    application, sent = build(state, Limits(rate=0), Pulse({}), ("statement",)), []
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": given,
        "query_string": b"",
        "http_version": "1.1",
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope |= {"scheme": "http", "server": ("ca", 80), "client": ("127.0.0.1", 1), "root_path": "", "raw_path": b""}
    asyncio.run(application(scope, receive, send))
    state.desk.close()
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(one.get("body", b"") for one in sent[1:])


def test_the_statement_is_a_file_beside_the_settings(tmp_path: Path) -> None:
    """By its kind; with the authority's name or without; 304 for who has it; without a file there is nothing."""
    assert fetch(tmp_path, "/cps")[0] == 404
    (tmp_path / "cps.txt").write_text("우리는 이렇게 합니다.\n")
    status, headers, content = fetch(tmp_path, "/cps")
    assert (status, headers[b"content-type"], content.decode()) == (
        200,
        b"text/plain; charset=utf-8",
        "우리는 이렇게 합니다.\n",
    )
    assert fetch(tmp_path, "/office/cps")[2] == content
    assert fetch(tmp_path, "/cps", if_none_match=headers[b"etag"].decode())[0] == 304
    (tmp_path / "cps.html").write_text("<p>…</p>")
    assert fetch(tmp_path, "/cps")[1][b"content-type"] == b"text/html; charset=utf-8"
