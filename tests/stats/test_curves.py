"""Laws are plain functions; were they wrong, every threshold would be."""

from __future__ import annotations

import numpy as np
import pytest

from onset.errors import OnsetError
from onset.stats.curve import curves as laws


def test_parameter_names_come_from_the_signature() -> None:
    """A user's own law could not name its parameters otherwise."""
    assert laws.parameters(laws.hinge) == ("eta", "slope")
    assert laws.defaults(laws.soft_hinge) == {"softness": 0.05}


def test_law_without_parameters_is_refused() -> None:
    def fixed(loss: float) -> float:
        return 1 - loss

    with pytest.raises(OnsetError, match="no parameters"):
        laws.parameters(fixed)


def test_turn_laws_are_zero_above_the_threshold() -> None:
    """A law that leaks above its threshold would claim ability where there is none."""
    above = np.array([2.2, 3.0, 4.0])
    for found in (
        laws.hinge(above, 2.2, 1.0),
        laws.bent_hinge(above, 2.2, 1.0, 0.5),
        laws.onset(above, 2.2, 0.5, 0.3, 1.5),
        laws.step(above, 2.2, 0.5, 0.3),
    ):
        assert np.all(found == 0)


def test_soft_corner_tends_to_the_sharp_one() -> None:
    loss = np.linspace(1, 3, 50)
    assert np.allclose(laws.depth(loss, 2.0, 1e-6), laws.depth(loss, 2.0), atol=1e-5)
    assert laws.depth(2.0, 2.0, 0.1) == pytest.approx(0.1 * np.log(2))
    # Far from the corner nothing overflows.
    assert np.isfinite(laws.depth(np.array([-1e6, 1e6]), 2.0, 1e-3)).all()


def test_saturating_laws_reach_their_height() -> None:
    assert laws.onset(-50.0, 2.0, 0.6, 0.5) == pytest.approx(0.6)
    assert laws.step(1.0, 2.0, 0.6, 0.5) == pytest.approx(0.6)
    assert laws.logistic(-50.0, 0.6, 2.0, 0.3) == pytest.approx(0.6)
    assert laws.gompertz(-50.0, 0.6, 2.0, 0.3) == pytest.approx(0.6)


def test_all_laws_fall_with_loss() -> None:
    """Ability grows as loss falls, in every law that the threshold weighs."""
    loss = np.linspace(1.5, 4, 80)
    for found in (
        laws.hinge(loss, 2.5, 0.3),
        laws.soft_hinge(loss, 2.5, 0.3),
        laws.logistic(loss, 0.7, 2.2, 0.3, 2.0),
        laws.gompertz(loss, 0.7, 2.2, 0.3),
        laws.exponential(loss, 0.7, 0.4, 1.5),
        laws.power(loss, 0.7, 3.0, 1.5),
        laws.line(loss, 1.0, 0.2),
    ):
        assert np.all(np.diff(found) <= 1e-12)


def test_laws_broadcast() -> None:
    """Thousands of shapes are weighed at once: a law must take columns of losses and rows of parameters."""
    found = laws.onset(np.ones((7, 1)), np.linspace(1, 3, 5), 1.0, 0.3, 1.0, 0.01)
    assert found.shape == (7, 5)
