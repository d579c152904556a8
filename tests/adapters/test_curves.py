"""Two digitised curves are joined on tokens, between their points and never beyond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset import adapters
from onset.errors import OnsetError


def write(folder: Path, scores: pd.DataFrame, losses: pd.DataFrame) -> tuple[Path, Path]:
    paths = folder / "scores.csv", folder / "losses.csv"
    scores.to_csv(paths[0], index=False)
    losses.to_csv(paths[1], index=False)
    return paths


def curves() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Losses fall by a tenth for each doubling of tokens; scores are read at other tokens."""
    tokens = 1e9 * 2.0 ** np.arange(6)
    losses = pd.DataFrame({"run": "7B", "params": 6.7e9, "tokens": tokens, "loss": 3 - 0.1 * np.arange(6)})
    at = np.array([0.5e9, 1e9, 1e9 * 2**0.5, 2e9 * 2**0.5, 32e9, 40e9])
    scores = pd.DataFrame({"run": "7B", "tokens": at, "task": "piqa", "metric": "acc", "score": 0.6})
    return scores, losses


def test_losses_are_interpolated_in_log_tokens_and_never_extrapolated(tmp_path: Path) -> None:
    """A score beyond the curve would be placed at a loss that nobody measured."""
    scores, losses = write(tmp_path, *curves())
    frame = adapters.import_("curves", scores, losses=losses)
    np.testing.assert_allclose(frame.loss, [3.0, 2.95, 2.85, 2.5])
    assert set(frame.params) == {6_700_000_000}
    assert frame.attrs["notes"] == ["scores outside their run's curve of losses, left out: 2"]


def test_what_cannot_be_joined_is_told(tmp_path: Path) -> None:
    scores, losses = curves()
    cases = [
        (scores.assign(run="13B"), losses, "no curve of losses for run 13B"),
        (scores.assign(tokens=1e15), losses, "no score lies within"),
        (scores, losses.assign(loss=-1.0), "loss is not a number above zero in line 2"),
        (scores, pd.concat([losses, losses.assign(loss=2.0)]), "two losses"),
        (scores.drop(columns="task"), losses, "lacks the column task"),
    ]
    for broken_scores, broken_losses, message in cases:
        one, other = write(tmp_path, broken_scores, broken_losses)
        with pytest.raises(OnsetError, match=message):
            adapters.import_("curves", one, losses=other)
    with pytest.raises(OnsetError, match="need curves of losses"):
        adapters.import_("curves", one)
