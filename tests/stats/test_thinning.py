"""Curves of very many checkpoints are fitted to some of them, evenly along each run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.stats import pipeline, thinning
from onset.stats.thinning import note, thinned


def _rows(runs: int, checkpoints: int) -> pd.DataFrame:
    run, place = np.meshgrid(np.arange(runs), np.arange(checkpoints), indexing="ij")
    tokens = 1e9 * (1 + place.ravel())
    params = 1e7 * 2.0 ** run.ravel()
    loss = 1.7 + 400 / tokens**0.3 + 30 / params**0.3
    score = 0.25 + 0.5 / (1 + np.exp((loss - 2.6) / 0.05))
    return pd.DataFrame({
        "run": [f"r{number}" for number in run.ravel()], "params": params, "tokens": tokens, "loss": loss,
        "task": "t", "metric": "acc", "score": score.round(3), "chance": 0.25, "n_examples": 1000,
    })  # fmt: skip


def test_a_curve_of_few_rows_is_fitted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: findings on ordinary tables that rest on a part of them."""
    monkeypatch.setattr(thinning, "MOST", 60)
    rows = _rows(3, 20)
    assert thinned(rows) is rows
    assert note([60, 10]) == ()


def test_every_kth_checkpoint_of_each_run_is_kept_and_its_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: runs, or the lowest losses, which decide most."""
    monkeypatch.setattr(thinning, "MOST", 25)
    rows = _rows(3, 20).assign(step=np.nan).sample(frac=1.0, random_state=1)
    kept = thinned(rows)
    assert kept.groupby("run").size().tolist() == [7, 7, 7]
    assert (kept.groupby("run").tokens.max() == 20e9).all()
    assert sorted(kept.tokens[kept.run == "r1"] / 1e9) == [2, 5, 8, 11, 14, 17, 20]
    assert kept.index.tolist() == [row for row in rows.index if row in set(kept.index)]


def test_the_analysis_says_what_it_was_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: a finding on 5,000 points of 50,000 that looks like one on all."""
    monkeypatch.setattr(thinning, "MOST", 30)
    found = pipeline.analyze(_rows(3, 20), jobs=1)
    assert found.findings[0].n_points == 30
    assert len(found.observations) == 60
    assert "curves of more than 30 points, fitted to one checkpoint in 2 of each run: 1" in found.notes
