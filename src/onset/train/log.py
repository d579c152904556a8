"""A run's log.jsonl: one line a step, appended while training and cut back to the checkpoint on a resume."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from onset import reading
from onset.errors import OnsetError
from onset.store.parts import write_text
from onset.train.trackers import Mirror

RECENT = 100
"""Lines before a resume that are at hand."""


class Log:
    """The log of one run, open for appending. Lines reach the disk at ``flush`` and at ``close``."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the log with the lines up to ``step`` kept; later ones, and one torn by a kill, are dropped."""
        self.path = path
        kept = lines_to(path, step)
        self.before = [json.loads(line) for line in kept[-RECENT:]]
        """The last lines that were kept."""
        write_text(path, "".join(kept))
        self.mirrors: list[Mirror] = []
        """Where lines are shown too."""
        self._stream: TextIO = open(path, "a", encoding="utf-8", buffering=1 << 16)  # noqa: SIM115 - held by the object

    def add(self, line: Mapping[str, object]) -> None:
        """Append a line."""
        self._guarded(lambda: self._stream.write(json.dumps(dict(line), allow_nan=False) + "\n"))
        for mirror in self.mirrors:
            mirror.add(line)

    def lines(self) -> list[dict[str, Any]]:
        """All lines so far."""
        self.flush()
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def flush(self) -> None:
        """Hand all lines to the operating system."""
        self._guarded(self._stream.flush)

    def close(self) -> None:
        """Flush and close."""
        for mirror in self.mirrors:
            mirror.close()
        self._guarded(self._stream.close)

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            raise OnsetError(
                f"cannot write the log: {error.strerror or error}",
                where=self.path,
                advice="free some space, then run the same command again: it resumes",
            ) from error


def lines_to(path: Path, step: int) -> list[str]:
    """The whole lines of a log up to a step, in order; none where there is no log."""
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            found = reading.json_dict(line, where=path)["step"]
        except (OnsetError, KeyError):
            break  # torn by a kill: it is of a step that is done again
        if not isinstance(found, int) or found > step or not line.endswith("\n"):
            break
        kept.append(line)
    return kept


class Speed:
    """Tokens per second over the last steps, by a clock that cannot jump."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.seconds: float | None = None
        self.before = time.perf_counter()

    def tick(self) -> float:
        """Note that a step is done; the rate so far, recent steps weighing most."""
        now = time.perf_counter()
        took, self.before = now - self.before, now
        self.seconds = took if self.seconds is None else 0.9 * self.seconds + 0.1 * took
        return self.tokens / max(self.seconds, 1e-9)

    def restart(self) -> None:
        """Leave out what passed since the last step."""
        self.before = time.perf_counter()
