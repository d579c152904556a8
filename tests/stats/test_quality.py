"""Quality of tasks: a clear task has more signal, a proxy that follows is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.results import Analysis, Finding
from onset.stats.quality import with_quality


def table(noise: float) -> pd.DataFrame:
    rng, frames = np.random.default_rng(0), []
    for run in range(3):
        loss = np.linspace(3.2, 2.0 + 0.1 * run, 20)
        score = 0.25 + 0.4 * np.clip(3.0 - loss, 0, None) + noise * rng.standard_normal(20)
        base = {"run": f"r{run}", "params": 1e8, "tokens": np.arange(1, 21) * 1e9, "step": np.arange(1, 21),
                "loss": loss, "task": "t", "loss_name": "c4", "n_examples": 1000}  # fmt: skip
        frames.append(pd.DataFrame({**base, "metric": "accuracy", "score": score, "chance": 0.25}))
        frames.append(pd.DataFrame({**base, "metric": "brier", "score": 1 - score, "chance": 0.75}))
        frames.append(
            pd.DataFrame({**base, "metric": "gold_bits_per_byte", "score": 1 + rng.random(20), "chance": np.nan})
        )
    return pd.concat(frames, ignore_index=True)


def found(noise: float) -> Finding:
    rows = table(noise)
    finding = Finding(task="t", metric="accuracy", loss_name="c4", verdict="smooth", why="")
    (made,) = with_quality([finding], [part for _, part in rows.groupby("metric")])
    return made


def test_quality_is_signal_over_noise_and_the_best_proxy() -> None:
    """Lost: which task and which metric tell models apart."""
    clear, dim = found(0.005).quality, found(0.05).quality
    assert clear is not None
    assert dim is not None
    assert clear.noise_pp == pytest.approx(0.5, rel=0.4)
    assert dim.noise_pp == pytest.approx(5.0, rel=0.4)
    assert clear.signal_to_noise > 5 * dim.signal_to_noise > 10
    assert clear.monotonicity is not None
    assert dim.monotonicity is not None
    assert clear.monotonicity > dim.monotonicity > 0.5
    assert (clear.proxy, clear.proxy_agreement) == ("brier", pytest.approx(1.0))


def test_quality_is_in_the_frames_and_the_json() -> None:
    analysis = Analysis(findings=(found(0.01),))
    frame = analysis.to_frame("quality")
    assert frame["proxy"].tolist() == ["brier"]
    assert Analysis.from_json(analysis.to_json()) == analysis
