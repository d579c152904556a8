"""A format of one's own: onset import examples/own_format.py:FORMAT:RESULTS.txt --out TABLE.

RESULTS.txt has one line a checkpoint, such as ``ladder-70M/1000 loss=3.21 arc_easy=0.412/2376``: run and step, the
validation loss in nats per token, then each task's accuracy and its number of questions.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters.source import Format, Reading, Results, head
from onset.errors import OnsetError


def looks_like(path: Path) -> bool:
    """Told by its first line: a run, a slash, a step, and a loss."""
    first = head(path).partition("\n")[0].split()
    return len(first) > 1 and "/" in first[0] and first[1].startswith("loss=")


def read(path: Path, reading: Reading) -> Results:
    """Scores and losses of all lines; joining, checks and chance levels are left to ``onset import``."""
    scores: list[dict[str, Any]] = []
    losses: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            name, loss, *tasks = line.split()
            run, step = name.split("/")
            place = {"run": run, "step": int(step)}
            value = float(loss.removeprefix("loss="))
            losses.append({**place, "loss_name": "validation", "loss_unit": "nats_per_token", "loss": value})
            for task, score in (part.split("=") for part in tasks):
                right, asked = score.split("/")
                row = {"task": task, "metric": "accuracy", "score": float(right), "n_examples": int(asked)}
                scores.append({**place, **row})
        except ValueError as error:
            raise OnsetError(f"line {number} is not of this format: {error}", where=path) from error
    return Results(scores=pd.DataFrame(scores), losses=pd.DataFrame(losses))


FORMAT = Format("run-lines", "Our group's result lines", looks_like, read)
