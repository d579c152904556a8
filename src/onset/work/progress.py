"""What is shown while work goes on: each piece in hand, its loss and rate, what is done and pending, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from onset.errors import printable
from onset.results.text import duration
from onset.work.piece import Event, Piece

QUIET_SECONDS = 10.0
"""Where the output is not a terminal, a line is printed at most so often."""


@dataclass
class _InHand:
    piece: Piece
    since: float
    data: dict[str, float | int | str] = field(default_factory=dict)

    def line(self) -> str:
        data = self.data
        if self.piece.kind == "overlap":
            return f"overlap {self.piece.run}: {data.get('doing', 'starting')}"
        if self.piece.kind != "train":
            return f"evaluate {self.piece.run} step {self.piece.step}: {data.get('doing', 'loading')}"
        if "loss" not in data:
            return f"train {self.piece.run}: starting"
        left = duration(self.seconds_left()) or "?"
        return (
            f"train {self.piece.run}: step {data['step']}/{data['steps']}, loss {data['loss']:.3f}, "
            f"{float(data['tokens_per_second']):,.0f} tokens/s, {left} left"
        )

    def seconds_left(self) -> float | None:
        """Seconds to the run's end at its present rate."""
        rate = float(self.data.get("tokens_per_second") or 0)
        step = int(self.data.get("step") or 0)
        if rate <= 0 or step <= 0:
            return None
        tokens_per_step = float(self.data["tokens"]) / step
        return (int(self.data["steps"]) - step) * tokens_per_step / rate

    def share(self) -> float:
        """Share of the piece that is done, 0 to 1; 0 where it cannot be told."""
        return int(self.data.get("step") or 0) / int(self.data.get("steps") or 1)


class Display:
    """A live table in a terminal, a line now and then elsewhere; a context manager and an engine's listener."""

    def __init__(self, console: Console, done: int, pending: int) -> None:
        self.console = console
        self.done = done
        self.total = done + pending
        self.over: set[str] = set()
        self.started = time.monotonic()
        self.in_hand: dict[str, _InHand] = {}
        self.live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self.picture)
        self.last_line = 0.0

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def __call__(self, event: Event) -> None:
        key = event.piece.key
        if event.kind == "start":
            self.in_hand[key] = _InHand(event.piece, time.monotonic())
        elif event.kind == "progress":
            data = {name: value for name, value in event.data.items() if name != "checkpoint"}
            if notice := data.pop("notice", None):
                self.say(f"notice: {notice}")
            self.in_hand[key].data.update(data)
        else:
            self.in_hand.pop(key, None)
            if (
                event.kind == "done" and not event.piece.task and event.piece.kind != "loss" and key not in self.over
            ):  # made anew, a piece is done twice
                self.over.add(key)
                self.done += 1
            if event.kind == "failed":
                self.say(f"FAILED {event.piece}: {event.data['error'].what}")
            elif event.piece.kind == "train":
                self.say(f"{'trained' if event.kind == 'done' else 'stopped'} {event.piece.run}")
        if not self.console.is_terminal and time.monotonic() - self.last_line > QUIET_SECONDS:
            self.last_line = time.monotonic()
            lines = "; ".join(one.line() for one in self.in_hand.values())
            self.say(f"{self.summary()}; {lines}")

    def say(self, line: str) -> None:
        """Print a line above the live view, as it is."""
        self.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)

    def summary(self) -> str:
        """Done and pending, in words."""
        return f"{self.done} done, {self.total - self.done} pending, {duration(time.monotonic() - self.started)}"

    def picture(self) -> RenderableType:
        """The live view."""
        table = Table.grid(padding=(0, 1))
        for one in self.in_hand.values():
            bar = ProgressBar(total=1.0, completed=one.share(), width=24)
            table.add_row(bar if one.piece.kind == "train" else "", one.line())
        whole = ProgressBar(total=max(self.total, 1), completed=self.done, width=24)
        table.add_row(whole, self.summary())
        return Group(table)
