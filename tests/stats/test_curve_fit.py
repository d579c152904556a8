"""A fit of any law: named parameters, intervals by run, and the admission of failure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.plots import plot
from onset.stats.curve import curves as laws
from onset.stats.prediction.curve_fit import fit
from onset.study.python_file import attribute


def table(direction: str = "higher", runs: int = 4, noise: float = 0.004) -> pd.DataFrame:
    """Runs of a task that sets in at 2.5 with 0.3 a nat, chance 0.25."""
    rng = np.random.default_rng(5)
    loss = np.concatenate([np.linspace(4.0, 1.8 + 0.1 * run, 20) for run in range(runs)])
    ability = laws.hinge(loss, 2.5, 0.3) + noise * rng.standard_normal(len(loss))
    score = 0.25 + ability if direction == "higher" else 0.75 - ability
    return pd.DataFrame(
        {
            "run": np.repeat([f"r{run}" for run in range(runs)], 20), "tokens": np.tile(np.arange(20), runs),
            "loss": loss, "task": "t", "metric": "m", "score": score, "direction": direction,
            "chance": 0.25 if direction == "higher" else 0.75,
        }
    )  # fmt: skip


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_hinge_is_recovered(direction: str) -> None:
    """Whoever draws a hinge must get its threshold back, whichever way is better."""
    found = fit(laws.hinge, table(direction))
    assert found.converged
    eta, slope = found.parameters["eta"], found.parameters["slope"]
    assert eta.low <= 2.5 <= eta.high
    assert abs(eta.value - 2.5) < 0.03
    assert abs(slope.value - 0.3) < 0.03
    assert list(found.summary()["parameter"]) == ["eta", "slope"]


def test_own_law_in_a_few_lines() -> None:
    """A law of one's own needs a function and nothing else."""

    def shifted_line(loss: np.ndarray, level: float, slope: float = 0.2) -> np.ndarray:
        return level - slope * loss

    found = fit(shifted_line, table(), on="score")
    assert tuple(found.parameters) == ("level", "slope")
    band = found.predict([2.0, 3.0])
    assert list(band.columns) == ["loss", "score", "low", "high"]
    assert (band["low"] <= band["score"]).all()
    assert (band["score"] <= band["high"]).all()


def test_bounds_and_doubts() -> None:
    """A parameter that ends at its bound is not fixed by the points, and the fit must say so."""
    found = fit(laws.hinge, table(), bounds={"eta": (3.0, 3.5)})
    assert "bound" in found.why
    assert "bound" in repr(found)


def test_failure_is_admitted() -> None:
    """A law that cannot be computed anywhere must not come back as a fit."""

    def broken(loss: np.ndarray, height: float) -> np.ndarray:
        return np.full_like(loss, np.nan) * height

    found = fit(broken, table())
    assert not found.converged
    assert "DID NOT CONVERGE" in repr(found)


def test_a_fit_draws_its_law_through_the_points() -> None:
    """Lost: the picture would show other scores than the table's, or a law where no loss was seen."""
    drawn = plot(fit(laws.hinge, table("lower"))).to_dict()
    assert len(drawn["layer"]) == 3
    data = drawn["datasets"]
    sets = [data[layer["data"]["name"]] for layer in drawn["layer"]]
    scores = sorted(row["score"] for row in sets[2])
    assert np.allclose(scores, np.sort(table("lower")["score"]))
    seen = [row["loss"] for row in sets[1]]
    assert min(seen) >= table()["loss"].min() - 1e-9
    assert max(seen) <= table()["loss"].max() + 1e-9


def test_few_runs_are_said() -> None:
    assert "fewer than three runs" in fit(laws.hinge, table(runs=2)).why


def test_same_seed_same_fit() -> None:
    assert fit(laws.hinge, table(), seed=3).parameters == fit(laws.hinge, table(), seed=3).parameters


def test_bad_requests_are_named() -> None:
    with pytest.raises(OnsetError, match="no parameter 'etta'") as caught:
        fit(laws.hinge, table(), bounds={"etta": (1, 2)})
    assert "eta" in str(caught.value)
    with pytest.raises(OnsetError, match="cannot fix"):
        fit(laws.hinge, table().head(2))
    with pytest.raises(OnsetError, match="chance is unknown"):
        fit(laws.hinge, table().assign(chance=np.nan))


def test_the_example_of_a_law_of_ones_own(tmp_path: Path) -> None:
    """Lost otherwise: the example that users copy from does not run, or does not find the law that made the scores."""
    example = Path(__file__).parents[2] / "examples" / "own_curve.py"
    _, drawn = attribute(f"{example}:drawn", default="drawn")
    made = table()
    ability = 0.6 * (1 - np.exp(-np.maximum(2.5 - made["loss"], 0) / 0.4))
    made["params"] = 1_000_000
    made["score"] = 0.25 + ability + 0.002 * np.random.default_rng(1).standard_normal(len(made))
    made.to_csv(tmp_path / "obs.csv", index=False)
    found = drawn(str(tmp_path / "obs.csv"), "t", "m")
    assert found.converged
    for name, value in {"eta": 2.5, "height": 0.6, "width": 0.4}.items():
        one = found.parameters[name]
        assert one.low - 0.02 <= value <= one.high + 0.02, name
        assert one.value == pytest.approx(value, rel=0.1)
