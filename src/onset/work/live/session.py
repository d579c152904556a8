"""A live page from its beginning to its end: the server, the watch of the folder, and the page made anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from onset import language
from onset.errors import OnsetError
from onset.report import page
from onset.work.cached import standing
from onset.work.live.analysis import Maker
from onset.work.live.server import Board, Server
from onset.work.live.watch import Told, Watch

HOST = "127.0.0.1"
"""This machine alone."""

PORT = 8717
"""Taken where no port is asked for; where it is in use, the system chooses another."""

LOOK_SECONDS = 1.0
"""How often the folder is looked at, at most: a look takes at most a tenth of the time."""

FAREWELL_SECONDS = 15.0
"""So long do pages that are open get, at the end of a study, to fetch its last state."""


class LivePage:
    """Serves the page of a folder or table while the ``with`` lasts.

    ``source`` may come into being later. ``chosen`` is the language in which the page opens. ``of_command`` is for a
    command that writes the last findings itself: they are shown then, and not made twice. Raises OnsetError for a
    ``host`` other than this machine's unless ``public``, and where the ``port`` is taken.
    """

    def __init__(
        self, source: Path, *, host: str = HOST, port: int | None = None, public: bool = False, chosen: str = "en",
        of_command: bool = False,
    ) -> None:  # fmt: skip
        if host not in (HOST, "localhost") and not public:
            raise OnsetError(
                f"at {host} whoever reaches this machine could read the page", where="--host",
                advice="add --public if that is meant; or leave both out and forward the port, as with 'ssh -L'",
            )  # fmt: skip
        self.watch = Watch(source)
        self._last_is_made_elsewhere = of_command
        self.board = Board()
        self._shown = 0, 0
        self._problem = ""
        self._number = ""
        self._stop = threading.Event()
        with language.use(chosen):
            lead = page.MAKING if self.watch.ready() else page.WAITING
            name = source.name.split(".")[0] or "onset"
            self.board.show(page.waiting(name, _events("waiting"), lead).encode(), "waiting")
        self._server = _serve(self.board, host, port, any_name=public)
        self.maker = Maker(source, chosen)
        self.port = int(self._server.server_address[1])
        self.url = f"http://{host}:{self.port}/"
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._server.serve_forever, self._look)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.board.readers:
            self._farewell()
        self._stop.set()
        self._threads[1].join()
        self.maker.close()
        self.board.close()
        self._server.shutdown()
        self._server.server_close()

    def wait(self, should_stop: Callable[[], bool]) -> None:
        """Until ``should_stop``, which is asked a few times a second."""
        while not should_stop():
            time.sleep(0.2)

    def _farewell(self) -> None:
        """Let open pages have the last state."""
        until = time.monotonic() + FAREWELL_SECONDS
        while time.monotonic() < until and self.watch.ready() and not self._whole():
            time.sleep(0.1)
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))  # they load the page that was shown last

    def _whole(self) -> bool:
        """Whether the page that is shown is of all rows."""
        return self._shown == self.watch.fingerprint() and not self.maker.working

    def _look(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            told = self.watch.told()
            self._take()
            self._begin(told)
            told["working"], told["problem"] = self.maker.working, told["problem"] or self._problem
            self.board.tell(told)
            self._stop.wait(max(LOOK_SECONDS, 9 * (time.monotonic() - began)))

    def _take(self) -> None:
        """Show the page that was made, if one was."""
        made = self.maker.made()
        if made is None:
            return
        self._problem = made.problem
        if made.page is not None:
            self.board.show(made.page, self._number)

    def _begin(self, told: Told) -> None:
        """Have a page made where rows came since the last one."""
        found = self.watch.fingerprint()
        still = bool(told.pop("still"))
        if found == self._shown or not self.maker.may_begin(still=still) or not self.watch.ready():
            return
        if self._last_is_made_elsewhere and still and standing(self.watch.source) is None:
            return
        self._shown = found
        self._number = f"{time.time_ns():x}"
        self.maker.begin(_events(self._number))


def _events(number: str) -> str:
    """Where the page of that number asks for news."""
    return f"events?page={number}"


def _serve(board: Board, host: str, port: int | None, *, any_name: bool) -> Server:
    if port is not None:
        return Server(board, host, port, any_name=any_name)
    try:
        return Server(board, host, PORT, any_name=any_name)
    except OnsetError:  # another page is open there
        return Server(board, host, 0, any_name=any_name)
