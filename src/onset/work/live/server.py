"""A small server for one page: the page at ``/``, news of it at ``/events`` (server-sent events), nothing else.

It shows what a study found to whoever can reach it, and takes nothing: two addresses, GET and HEAD, no file of the
machine is looked up by name. Requests whose Host is not this server's are refused, so that a page of another site
cannot read it through the reader's own browser (DNS rebinding).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from onset.errors import OnsetError

KEEP_ALIVE_SECONDS = 15.0
"""A comment is sent so often where there is no news, so that a reader who left is noticed."""

MOST_READERS = 32
"""So many pages may be open at once: each holds a thread."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class Board:
    """What is shown now: written by the watch, read by the threads of the server."""

    page: bytes = b""
    number: str = ""
    """Of the page that is shown; a reader's page that has another is old."""
    told: str = ""
    """How far the study is, as JSON; empty before it was looked at."""
    changes: int = 0
    closed: bool = False
    readers: int = 0
    news: threading.Condition = field(default_factory=threading.Condition)

    def show(self, page: bytes, number: str) -> None:
        """Show another page."""
        with self.news:
            self.page, self.number = page, number
            self._changed()

    def tell(self, told: Any) -> None:
        """Tell how far the study is, where that is new."""
        text = json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        with self.news:
            if text != self.told:
                self.told = text
                self._changed()

    def close(self) -> None:
        """Let all readers go."""
        with self.news:
            self.closed = True
            self._changed()

    def _changed(self) -> None:
        self.changes += 1
        self.news.notify_all()

    def events(self, number: str) -> Iterator[str]:
        """Events for a reader whose page has that number, as they come, until the board is closed."""
        seen, told = -1, ""
        while True:
            with self.news:
                if self.changes == seen and not self.closed:
                    self.news.wait(KEEP_ALIVE_SECONDS)
                if self.closed:
                    return
                new, seen = self.changes != seen, self.changes
                now, page = self.told, self.number
            if not new:
                yield ": still here\n\n"
            if now != told:
                told = now
                yield f"event: progress\ndata: {now}\n\n"
            if page != number:
                number = page
                yield "event: page\ndata: new\n\n"


class Server(ThreadingHTTPServer):
    """The server of one board. Raises OnsetError where the port is taken."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, board: Board, host: str, port: int, *, any_name: bool) -> None:
        self.board, self.any_name = board, any_name
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            raise OnsetError(
                f"cannot serve: {error.strerror or error}", where=f"{host}:{port}", advice="give another --port"
            ) from error

    def names(self) -> set[str]:
        """What the Host of a request may be."""
        port = self.server_address[1]
        return {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader who left is no error."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    server_version = "onset"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        """The page, or its events."""
        address = urlsplit(self.path)
        if not self.server.any_name and self.headers.get("Host", "").lower() not in self.server.names():
            self._refuse(HTTPStatus.FORBIDDEN, "this page is served under 127.0.0.1 and localhost only")
        elif address.path == "/":
            self._page()
        elif address.path == "/events" and self.command == "GET":
            self._events(parse_qs(address.query).get("page", [""])[0])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is one page here: /")

    do_HEAD = do_GET

    def _page(self) -> None:
        self._begin(HTTPStatus.OK, "text/html; charset=utf-8", self.server.board.page)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._begin(status, "text/plain; charset=utf-8", f"{why}\n".encode())

    def _begin(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in (HEADERS | {"Content-Type": kind, "Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _events(self, number: str) -> None:
        board = self.server.board
        with board.news:
            full = board.readers >= MOST_READERS
            board.readers += not full
        if full:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_READERS} pages are open")
            return
        try:
            self.send_response(HTTPStatus.OK)
            for name, value in (HEADERS | {"Content-Type": "text/event-stream"}).items():
                self.send_header(name, value)
            self.end_headers()
            for event in board.events(number):
                self.wfile.write(event.encode())
                self.wfile.flush()
        except OSError:
            pass  # the reader has left
        finally:
            with board.news:
                board.readers -= 1

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not told: the terminal is the study's."""
