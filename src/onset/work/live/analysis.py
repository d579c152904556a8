"""The page made anew in a process of its own, so that the server answers meanwhile and trainings come first."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from onset.errors import OnsetError

NICE = 10
"""Added to the niceness of the process: trainings and evaluations on the same cores come first."""

REST = 2.0
"""After an analysis no other begins for so many times as long as it took, while more is pending: at most a third of
the time goes into findings that the next checkpoint will change."""

SHORTEST_REST = 3.0
"""Seconds between two analyses, however quick they are."""


@dataclass(frozen=True)
class Made:
    """What an analysis gave: a page, or the reason why there is none."""

    page: bytes | None
    problem: str


class Maker:
    """Makes a page at a time."""

    def __init__(self, source: Path, chosen: str, niceness: int = NICE) -> None:
        self.source, self.chosen, self.niceness = source, chosen, niceness
        self._child: subprocess.Popen[bytes] | None = None
        self._out = Path(tempfile.mkdtemp(prefix="onset-live-"))
        self._began = 0.0
        self._due = 0.0

    @property
    def working(self) -> bool:
        """Whether a page is being made."""
        return self._child is not None

    def may_begin(self, *, still: bool) -> bool:
        """Whether another page may be made now; where the folder is ``still``, nothing else needs the cores."""
        return not self.working and (still or time.monotonic() >= self._due)

    def begin(self, events: str) -> None:
        """Begin to make a page that asks the address ``events`` for news."""
        assert self._child is None, "one page at a time"
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
        words = [str(self.source), str(self._out / "page.html"), events, self.chosen, str(self.niceness)]
        self._began = time.monotonic()
        with open(self._out / "said", "w") as said:
            self._child = subprocess.Popen(
                [sys.executable, "-c", code, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=said, start_new_session=True,
            )  # fmt: skip

    def made(self) -> Made | None:
        """What the analysis that was begun has given; None while it goes on, or where there is none."""
        if self._child is None or self._child.poll() is None:
            return None
        child, self._child = self._child, None
        took = time.monotonic() - self._began
        self._due = time.monotonic() + max(SHORTEST_REST, REST * took)
        if child.returncode == 0:
            return Made((self._out / "page.html").read_bytes(), "")
        lines = (self._out / "said").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return Made(None, lines[-1] if lines else f"the analysis ended with exit code {child.returncode}")

    def close(self) -> None:
        """End what is being made and remove what was."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        for path in self._out.glob("*"):
            path.unlink()
        self._out.rmdir()


def main() -> None:
    """The process: analyse, and write the page beside its place. An OnsetError is told in one line."""
    source, out, events, chosen, niceness = sys.argv[1:]
    modest(int(niceness))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    from onset import language
    from onset.work.findings import live_page

    try:
        with language.use(chosen):
            text = live_page(Path(source), events)
    except OnsetError as error:
        print(error.what.splitlines()[0], file=sys.stderr)
        sys.exit(1)
    Path(out).write_text(text, encoding="utf-8")


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, however that came: nobody is left to show the page."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def modest(niceness: int) -> None:
    """Give way to trainings: a higher niceness, and half of the cores where the system lets a process choose."""
    os.nice(niceness)
    if hasattr(os, "sched_getaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, mine[: max(1, len(mine) // 2)])
