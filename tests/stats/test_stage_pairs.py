"""Without these the shift by tuning would hold what sets runs apart, or be told where nothing tells it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.stats.stage_effects import is_base
from onset.stats.stage_pairs import paired_shift


def pairs(shift: float, *, runs: int = 2, apart: float = 0.15, items: int = 100, seed: int = 0) -> pd.DataFrame:
    """Runs that set in ``apart`` nats from each other, and each checkpoint tuned: it sets in ``shift`` earlier."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(runs):
        for place, loss in enumerate(1.5 - 1.1 * np.linspace(0, 1, 10) ** 0.6 + 0.01 * run):
            luck = rng.random(items)
            for stage, moved in (("base", 0.0), ("tuned", shift)):
                share = 0.25 + 0.6 / (1 + np.exp((loss + apart * run - moved - 0.9) / 0.08))
                rows.append((f"{stage}{run}", 1e5 * 2.0**run, place + 1.0, loss, (luck < share).mean(), stage))
    frame = pd.DataFrame(rows, columns=["run", "params", "tokens", "loss", "score", "stage"])
    return frame.assign(task="t", metric="accuracy", chance=0.25, n_examples=items)


@pytest.mark.parametrize("shift", [0.1, -0.1])
def test_runs_that_differ_do_not_widen_the_shift_within_runs(shift: float) -> None:
    rows = pairs(shift)
    found = paired_shift(rows, is_base(rows), 0.95)
    assert found is not None
    assert found.count == 20
    assert found.nats == pytest.approx(shift, abs=0.05)
    assert 0.01 < found.high - found.low < 0.15


def test_the_unit_of_scores_and_the_order_of_rows_change_nothing() -> None:
    rows = pairs(0.1)
    percent = rows.assign(score=100 * rows["score"], chance=25.0).sample(frac=1.0, random_state=1)
    one, other = paired_shift(rows, is_base(rows), 0.95), paired_shift(percent, is_base(percent), 0.95)
    assert one is not None
    assert other is not None
    assert other.nats == pytest.approx(one.nats, abs=1e-4)
    assert other.high == pytest.approx(one.high, abs=1e-3)


def test_what_is_not_paired_gives_no_shift_and_guessing_a_wide_one() -> None:
    rows = pairs(0.1)
    moved = rows.assign(loss=rows["loss"] + 1e-3 * (rows["stage"] == "tuned"))
    assert paired_shift(moved, is_base(moved), 0.95) is None
    guessing = rows.assign(score=0.25 + 0.02 * np.random.default_rng(0).standard_normal(len(rows)))
    found = paired_shift(guessing, is_base(guessing), 0.95)
    assert found is None or (found.low < 0 < found.high and found.high - found.low > 0.5)


def test_runs_whose_shifts_differ_have_a_wider_interval() -> None:
    alike = pairs(0.1, items=1000)
    other = pairs(-0.1, items=1000)
    mixed = pd.concat([alike[alike["params"] < 1.5e5], other[other["params"] > 1.5e5]])
    one, two = paired_shift(alike, is_base(alike), 0.95), paired_shift(mixed, is_base(mixed), 0.95)
    assert one is not None
    assert two is None or two.high - two.low > 3 * (one.high - one.low)
