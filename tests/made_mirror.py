"""A server on this machine that plays the mirrors of data sets."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves files by path, with ranges.

    `cut` breaks a path's next answer off in the middle, `errors` answers with an HTTP status.
    """

    files: dict[str, bytes]
    cut: set[str]
    errors: dict[str, int]
    asked: list[tuple[str, str, str | None]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path, self.headers["Range"]))
        body = self.files.get(self.path)
        if body is None or self.path in self.errors:
            self.send_error(self.errors.get(self.path, 404))
            return
        wanted = self.headers["Range"]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.path in self.cut:
            self.cut.discard(self.path)
            body = body[: (start + len(body)) // 2]
            self.close_connection = True
        self.wfile.write(body[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serving() -> Iterator[str]:
    """Serve `Mirror.files`, none at first; gives the address. Set no_proxy=127.0.0.1 for it."""
    Mirror.files, Mirror.cut, Mirror.errors, Mirror.asked = {}, set(), {}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
