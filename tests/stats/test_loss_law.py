"""Loss law: wrong parameters or narrow intervals send a training run to the wrong size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import Interval
from onset.stats import loss_law as losslaw


def losses(sizes: int = 5, noise: float = 0.002, seed: int = 0, same_tokens: bool = False) -> pd.DataFrame:
    """Checkpoints under L = 1.7 + 406 / N^0.34 + 411 / D^0.28, with runs that differ."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, params in enumerate(1e8 * 2.5 ** np.arange(sizes)):
        tokens = np.geomspace(2e9, 1e11, 12) * (1 if same_tokens else rng.uniform(0.7, 1.4))
        loss = (1.7 + 406 / params**0.34 + 411 / tokens**0.28) * np.exp(noise * rng.standard_normal())
        frames.append(pd.DataFrame({"run": f"r{number}", "params": params, "tokens": tokens, "loss": loss}))
    return pd.concat(frames, ignore_index=True)


def test_the_planted_law_is_found_without_noise() -> None:
    """Lost: the optimiser would stop at one of the law's many poor optima."""
    law = losslaw.fit(losses(noise=0.0), resamples=5)
    assert abs(law.E - 1.7) < 0.02
    assert law.alpha == pytest.approx(0.34, abs=0.01)
    assert law.beta == pytest.approx(0.28, abs=0.01)


def test_a_larger_run_lies_in_the_interval() -> None:
    """Lost: what a larger model would reach, with its uncertainty."""
    found = losslaw.fit(losses()).predict([1e10], [4e11]).iloc[0]
    truth = 1.7 + 406 / 1e10**0.34 + 411 / 4e11**0.28
    assert found["low"] < truth < found["high"]
    assert found["high"] - found["low"] < 0.4
    assert found["loss"] == pytest.approx(truth, abs=0.1)


def test_rows_repeated_over_tasks_change_nothing() -> None:
    """Lost: a table with more tasks would be surer of its losses."""
    once = losses()
    twice = pd.concat([once.assign(task="a"), once.assign(task="b")])
    assert losslaw.fit(twice, resamples=3).summary().equals(losslaw.fit(once, resamples=3).summary())


def test_two_sizes_are_refused() -> None:
    """Lost: five parameters from two sizes."""
    with pytest.raises(OnsetError, match="three sizes"):
        losslaw.fit(losses(sizes=2))


def test_the_papers_size_threshold() -> None:
    """Lost: N0 (eta - L_inf)^(-1/alpha), the size below which an ability does not show."""
    rows = losses(sizes=6, noise=0.0005, same_tokens=True)
    law = losslaw.fit_size(rows)
    floor = 1.7 + 411 / 1e11**0.28
    assert law.L_inf == pytest.approx(floor, abs=0.05)
    eta = floor + 406 / 1e9**0.34
    size = law.threshold(Interval(eta, eta - 0.01, eta + 0.01))
    assert size is not None
    assert size.low < 1e9 < size.high
    assert size.value == pytest.approx(1e9, rel=0.2)
    assert law.threshold(1.0) is None
    assert float(law.predict(1e9)) == pytest.approx(eta, abs=0.02)
    with pytest.raises(OnsetError, match="fixed number of tokens"):
        losslaw.fit_size(losses())
