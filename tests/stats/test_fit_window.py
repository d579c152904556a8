"""The scale of every prior: it follows the rise, and not how far up a table happens to reach."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.stats.curve.window import REACH, FitWindow, fit_window
from onset.stats.data import curve_data


def window(highest: float, *, level: float = 0.25, early: int = 0) -> FitWindow:
    loss = np.r_[np.linspace(highest, 4.1, early), np.linspace(4.0, 2.0, 41)]
    score = level + 0.5 * np.maximum(2.8 - loss, 0)
    table = pd.DataFrame({
        "run": "a", "loss": loss, "score": np.round(score, 4), "chance": 0.25, "n_examples": 4000, "metric": "accuracy",
    })  # fmt: skip
    data = curve_data(table)
    return fit_window(data, data.item_variance())


@pytest.mark.parametrize("highest", [5.0, 8.0, 12.0])
def test_early_checkpoints_change_no_scale(highest: float) -> None:
    """Otherwise 'emergent' is a property of the design."""
    plain, more = window(4.0), window(highest, early=30)
    assert more.span == pytest.approx(plain.span, rel=1e-6)
    assert plain.span == pytest.approx(0.8, abs=0.05)
    assert len(more.data) == len(plain.data)
    assert more.beyond == 30
    assert more.x.max() <= REACH + 1e-9


def test_a_level_that_is_not_chance_is_seen() -> None:
    """A score that stands at .30 where chance is .25 has not set in where it leaves .30."""
    assert window(4.0, level=0.31).floor == pytest.approx(0.06, abs=0.01)
    assert window(4.0, level=0.19).floor == pytest.approx(-0.06, abs=0.01)
    assert window(4.0).floor == 0.0
