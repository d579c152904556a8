"""Lost without: a task of forty questions is forecast as surely as one of ten thousand, where a table does not say."""

from __future__ import annotations

import numpy as np

from onset.stats.prediction.item_counts import items_of


def test_the_number_of_questions_is_read_off_the_scores() -> None:
    assert items_of(np.array([7, 17, 18, 20, 25, 31]) / 42) == 42
    assert items_of(np.round(np.array([7, 17, 18, 20, 25, 31]) / 42, 4)) == 42


def test_nothing_is_read_off_rounded_or_few_scores() -> None:
    """Lost otherwise: scores with three decimals would be of a thousand questions, two scores of any number."""
    assert np.isnan(items_of(np.round(np.random.default_rng(0).random(30), 3)))
    assert np.isnan(items_of(np.array([0.25, 0.5])))
    assert np.isnan(items_of(np.random.default_rng(1).random(30)))
