"""A thin server around a sandbox's `handle(request)`, on the loopback, for routes to be tried against.

    with serve(sandbox.handle) as address:
        ...

Real time and real sockets; the conformance suite needs neither.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from comptoir.sdk import HttpRequest, HttpResponse

__all__ = ["serve", "serve_until_interrupted"]


@contextmanager
def serve(handle: Callable[[HttpRequest], HttpResponse], port: int = 0) -> Iterator[str]:
    """Serves on 127.0.0.1 (0: a free port) and gives the address. Requests are handled one at a time.

    OSError when the port is taken.
    """
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def _serve(self) -> None:
            length = self.headers.get("Content-Length") or "0"
            body = self.rfile.read(int(length)) if length.isdigit() else b""
            url = f"http://{self.headers.get('Host', '')}{self.path}"
            with one_at_a_time:
                answer = handle(HttpRequest(self.command, url, dict(self.headers.items()), body or None))
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: addresses may hold keys."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve_until_interrupted(handle: Callable[[HttpRequest], HttpResponse], port: int, words: str) -> None:
    """Serves until Ctrl-C; `words` is printed behind the address, once the server answers."""
    with serve(handle, port) as address:
        sys.stdout.write(f"{address}  {words}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
