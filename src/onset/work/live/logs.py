"""Training losses as they fall: logs are read from where they were left, and kept as means over stretches of tokens."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from onset import reading
from onset.errors import OnsetError

PER_DECADE = 24
"""Means in each tenfold of training tokens: a line on a logarithmic axis needs no more."""


@dataclass
class LossLog:
    """The training loss of one run by tokens, read on from where it was left."""

    path: Path
    place: int = 0
    """Bytes that were read."""
    file: int = 0
    """The file that they were read of: a training that goes on writes its log anew."""
    sums: dict[int, tuple[float, int, float]] = field(default_factory=dict)
    """By stretch of tokens: the sum of the losses, their number, and the tokens of the last."""

    def read(self) -> None:
        """Take up the whole lines that are new; none where there is no log."""
        try:
            with open(self.path, "rb") as stream:
                found = os.fstat(stream.fileno())
                if found.st_ino != self.file or found.st_size < self.place:
                    self.place, self.file, self.sums = 0, found.st_ino, {}
                stream.seek(self.place)
                text = stream.read()
        except FileNotFoundError:
            return
        whole = text.rfind(b"\n") + 1
        self.place += whole
        for line in text[:whole].splitlines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            told = reading.json_dict(line, where=self.path)
            tokens, loss = float(told["tokens"]), float(told["loss"])
        except (OnsetError, ValueError, KeyError, TypeError, OverflowError):
            return  # a notice, or a line that a kill tore
        if not 1 <= tokens < math.inf or not 0 < loss < math.inf:
            return
        stretch = int(PER_DECADE * math.log10(tokens))
        total, count, _ = self.sums.get(stretch, (0.0, 0, 0.0))
        self.sums[stretch] = total + loss, count + 1, tokens

    def means(self) -> list[tuple[float, float]]:
        """Tokens and mean loss of each stretch, in order."""
        return [(tokens, total / count) for _, (total, count, tokens) in sorted(self.sums.items())]
