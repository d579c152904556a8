"""Without these a forecast of the base would be learnt from tuned scores that nobody has shown to help."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.stats.tuned_rows import choose, with_moved


def table(sizes: int, tasks: int = 4, shift: float = 0.3, seed: int = 0) -> pd.DataFrame:
    """Larger sizes reach lower losses; each task sets in at its own loss, after tuning ``shift`` earlier."""
    rng = np.random.default_rng(seed)
    rows = []
    for size in range(sizes):
        for place, loss in enumerate(np.linspace(3.0, 2.2 - 0.25 * size, 10)):
            for task in range(tasks):
                for stage in ("base", "tuned"):
                    moved = shift if stage == "tuned" else 0.0
                    share = 0.25 + 0.7 / (1 + np.exp((loss - moved - 2.3 + 0.1 * task) / 0.1))
                    rows.append((f"{stage}{size}", stage, 10.0 ** (6 + size), 1e7 * (place + 1), loss, f"t{task}",
                                 rng.binomial(300, share) / 300))  # fmt: skip
    frame = pd.DataFrame(rows, columns=["run", "stage", "params", "tokens", "loss", "task", "score"])
    return frame.assign(metric="accuracy", chance=0.25, n_examples=300)


def test_a_table_without_tunings_stays_as_it_is() -> None:
    rows = table(2).query("stage == 'base'")
    assert choose(rows).rows is rows
    assert choose(rows).note == ""


@pytest.mark.parametrize(("sizes", "tasks", "why"), [(2, 4, "2 sizes cannot show"), (3, 2, "2 tasks cannot show")])
def test_tuned_rows_are_left_out_where_nothing_can_be_held_out(sizes: int, tasks: int, why: str) -> None:
    found = choose(table(sizes, tasks))
    assert set(found.rows["stage"]) == {"base"}
    assert why in found.note


def test_what_is_decided_on_the_largest_size_is_told_with_its_interval() -> None:
    found = choose(table(3))
    assert ("are used" in found.note) == ("tuned" in set(found.rows["stage"]))
    assert "falls by" in found.note
    assert "over 4 tasks" in found.note


def test_moved_rows_stand_where_the_base_does_as_well() -> None:
    moved = with_moved(table(2, tasks=1)).query("stage == 'tuned'")
    plain = table(2, tasks=1).query("stage == 'tuned'")
    assert (plain["loss"].to_numpy() - moved["loss"].to_numpy()).mean() == pytest.approx(0.3, abs=0.05)
