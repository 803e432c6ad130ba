"""A web server on loopback that does what its pages say: answer, dawdle, lie about lengths, send in circles."""

import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

Page = Callable[[BaseHTTPRequestHandler, bytes], None]


class Web:
    """``pages`` maps paths to what happens there; ``asked`` lists the paths that were asked for."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.over = threading.Event()

    def put(self, path: str, page: Page | bytes) -> str:
        """Serve it, and say at which address."""
        self.pages[path] = answering(page) if isinstance(page, bytes) else page
        return self.base + path


def answering(content: bytes, status: int = 200, **headers: str) -> Page:
    def page(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        send(handler, content, status, **headers)

    return page


def send(handler: BaseHTTPRequestHandler, content: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    for key, value in {"Content-Length": str(len(content)), **named}.items():
        handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(content)


def direct() -> AbstractContextManager[object]:
    """No proxy stands between this machine and itself, whatever the environment says."""
    return patch.dict(os.environ, {"no_proxy": "127.0.0.1"})


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Runs in threads of this process until the block ends; with ``tls`` it speaks HTTPS."""
    web = Web("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            page = web.pages.get(self.path, answering(b"", 404))
            try:
                page(self, body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_POST = do_GET

        def log_message(self, *_words: object) -> None:
            """Nothing on the terminal."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_words: object) -> None:
            """A client that hung up is what some tests are about."""

    with direct(), Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        web.base = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield web
        finally:
            web.over.set()
            server.shutdown()
            thread.join()
