"""Which checkpoints a loss law is learnt from. Lost if they fail: a finished run predicted from runs that were not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.stats import loss_law
from onset.stats.forecast import forecast
from onset.stats.loss_rows import choose

ANNEALING = 0.06


def finished(params: float, tokens: np.ndarray | float) -> np.ndarray:
    return np.asarray(1.7 + 406 / params**0.34 + 411 / np.asarray(tokens) ** 0.28)


def cosine_runs(lengths: int = 3, sizes: int = 4, seed: int = 0) -> pd.DataFrame:
    """Runs of several lengths at each size under a cosine: in the middle, the loss lies above that of a shorter run."""
    rng = np.random.default_rng(seed)
    frames = []
    for params in 1e8 * 3.0 ** np.arange(sizes):
        for length in 1e10 * 2.5 ** np.arange(lengths):
            progress = np.linspace(0.1, 1.0, 10)
            rate = 0.5 * (1 + np.cos(np.pi * progress))
            loss = finished(params, progress * length) * np.exp(ANNEALING * rate + 0.002 * rng.standard_normal())
            frames.append(pd.DataFrame({
                "run": f"{params:.0f}-{length:.0f}", "params": params, "tokens": progress * length, "loss": loss,
                "learning_rate": 3e-4 * rate,
            }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


TARGET = (1.6e10, 4e11)


def test_ends_are_taken_where_they_suffice() -> None:
    """Lost: 2.69 nats predicted where 2.48 came, from checkpoints whose rate had not decayed."""
    runs = cosine_runs()
    rows = choose(runs)
    assert rows.basis == "ends"
    assert len(rows.loss) == runs["run"].nunique()
    law = loss_law.fit(runs)
    found = law.predict(*TARGET).iloc[0]
    truth = float(finished(*TARGET))
    assert found["loss"] == pytest.approx(truth, rel=0.02)
    assert found["low"] < truth < found["high"]
    assert "last checkpoints" in law.note


def test_a_known_rate_corrects_checkpoints_of_one_length() -> None:
    """Lost: a table of one run a size, whose ends cannot tell size from tokens."""
    runs = cosine_runs(lengths=1)
    rows = choose(runs)
    assert rows.basis == "rate_known"
    truth = float(finished(*TARGET))
    known, taken_as_ended = loss_law.fit(runs), loss_law.fit(runs, schedule="constant")
    error = abs(known.predict(*TARGET)["loss"][0] / truth - 1)
    assert error < 0.02
    assert error < abs(taken_as_ended.predict(*TARGET)["loss"][0] / truth - 1)


def test_an_unknown_schedule_is_told_and_covered() -> None:
    """Lost: a confident loss from a table that cannot say what its rate was."""
    runs = cosine_runs(lengths=1).drop(columns="learning_rate")
    unknown, known = loss_law.fit(runs), loss_law.fit(runs, schedule="cosine")
    assert "schedule is unknown" in unknown.note
    assert "schedule is unknown" not in known.note
    wide, narrow = (law.predict(*TARGET).iloc[0] for law in (unknown, known))
    assert wide["low"] < finished(*TARGET) < wide["high"]
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]


def test_a_constant_rate_makes_all_checkpoints_alike() -> None:
    """Lost: a hundred checkpoints of a constant rate thrown away but for the last."""
    runs = cosine_runs().assign(schedule="constant").drop(columns="learning_rate")
    assert choose(runs).basis == "constant"
    assert len(choose(runs).loss) > runs["run"].nunique()
    with pytest.raises(OnsetError, match="schedule 'square' is unknown"):
        choose(runs, "square")


def test_families_have_offsets() -> None:
    """Lost: a corpus of lower loss taken for a larger model."""
    first, second = cosine_runs(seed=0).assign(family="f0"), cosine_runs(seed=1).assign(family="f1")
    second["run"], second["loss"] = "b-" + second["run"], second["loss"] * np.exp(0.1)
    runs = pd.concat([first, second])
    law = loss_law.fit(runs)
    lower, higher = (law.predict(*TARGET, family=name)["loss"][0] for name in ("f0", "f1"))
    assert np.log(higher / lower) == pytest.approx(0.1, abs=0.02)
    unknown = law.predict(*TARGET, family="another").iloc[0]
    assert unknown["low"] < lower < higher < unknown["high"]


def test_a_loss_above_one_already_reached_is_told() -> None:
    """Lost: a forecast for a larger run that is worse than a run in the table."""
    runs = cosine_runs().assign(task="a", metric="accuracy", score=0.5, chance=0.25, n_examples=1000)
    lucky = runs.iloc[[5]].assign(run="lucky", loss=2.0)
    targets = pd.DataFrame({"params": [3e9], "tokens": [7e10]})
    plain = forecast(runs, targets, thresholds={})
    told = forecast(pd.concat([runs, lucky]), targets, thresholds={})
    assert not any("contradiction" in note for note in plain.notes)
    assert any("contradiction" in note and "'lucky' reached 2.000" in note for note in told.notes)
