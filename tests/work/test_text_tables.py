"""What a terminal says of findings: a verdict stands beside the number that it was judged by."""

from __future__ import annotations

import io
import math

import pandas as pd
from rich.console import Console

from onset.report import cells
from onset.stats.result import Interval
from onset.work.text_tables import findings_table

ROW = {
    "task": "t", "metric": "accuracy", "verdict": "emergent", "threshold": 0.5, "low": 0.4, "high": 0.6,
    "collapse": "collapses", "points_per_decade": 35.9, "nats_per_decade": 0.01,
}  # fmt: skip


def printed(row: dict[str, object]) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(findings_table(pd.DataFrame([row])))
    return out.getvalue()


def test_a_curve_that_is_one_along_the_loss_says_how_far_it_moves() -> None:
    """Lost otherwise: 36 points that 'collapse' read as a mistake."""
    assert "+35.9 or +0.010 nats: collapses" in printed(ROW)
    assert "+35.9 collapses" in printed({**ROW, "nats_per_decade": math.nan})
    assert "collapses" not in printed({**ROW, "points_per_decade": math.nan})


def test_the_page_says_it_too() -> None:
    effect = {"points": 35.9, "low": -10.7, "high": 82.6, "verdict": "collapses"}
    assert cells.moved(effect).note == "−10.7 to 82.6"
    moved = cells.moved({**effect, "shift": Interval(0.01, -0.05, 0.07)})
    assert moved.note.split("\n") == ["−10.7 to 82.6", "curve +0.01 nats, −0.05 to 0.07"]
