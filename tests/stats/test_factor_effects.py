"""Factors at equal loss. Lost if they fail: a corpus that breaks the link goes unnamed, or is named for another."""

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import FactorEffect
from onset.stats.factor_effects import factor_effects
from onset.stats.mixed.factors import grouped, parse_groups


def table(runs: int = 12, per: int = 15, *, corpus: float = 0.0, progress: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng, frames = np.random.default_rng(seed), []
    for run in range(runs):
        tokens = np.geomspace(2e9, 2e11, per)
        loss = 1.7 + 1.6 * (tokens / 2e9) ** -0.25 + 0.05 * (run // 4) + 0.02 * rng.standard_normal()
        share = 0.3 + 0.4 / (1 + np.exp((loss - 2.5) / 0.2))
        share = share + corpus * (run % 2) + progress * tokens / 2e11 + 0.004 * rng.standard_normal()
        frames.append(
            pd.DataFrame(
                {"run": f"r{run:02d}", "params": 1e8 * 4.0 ** (run // 4), "tokens": tokens, "loss": loss,
                 "score": rng.binomial(2000, share) / 2000, "n_examples": 2000.0, "chance": 0.2, "task": "t",
                 "metric": "accuracy", "corpus": ["pile", "web"][run % 2], "optimizer": ["adam", "muon"][run % 2],
                 "seed": run, "machine": f"m{run}", "same": "x", "schedule": ["wsd", "cosine", None][run % 3]}
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def by_name(obs: pd.DataFrame) -> dict[str, FactorEffect]:
    return {one.factor: one for one in factor_effects(obs)}


def test_a_corpus_that_moves_scores_is_found_and_named_with_what_goes_with_it() -> None:
    found = by_name(table(corpus=0.04))
    assert found["corpus"].verdict == "differs", found["corpus"].why
    assert found["corpus"].levels == ("web", "pile")
    assert found["corpus"].pp == pytest.approx(4.0, abs=1.0)
    assert found["corpus"].confounded_with == ("optimizer",)
    assert "goes with optimizer" in found["corpus"].why


def test_what_moves_nothing_is_equivalent() -> None:
    found = by_name(table(seed=1))
    assert found["corpus"].verdict == "equivalent", found["corpus"].why


def test_a_factor_that_cannot_be_asked_is_named_with_the_reason() -> None:
    found = by_name(table())
    assert found["schedule"].verdict == "not_asked"
    assert "missing in" in found["schedule"].why
    assert "one run a level" in found["machine"].why
    assert not {"same", "seed", "params"} & set(found)


def test_progress_in_the_run_is_asked() -> None:
    found = by_name(table(progress=0.06, seed=2))
    assert found["progress"].unit == "run"
    assert found["progress"].low is not None
    assert found["progress"].low > 0


def test_a_number_that_restates_size_is_not_asked() -> None:
    obs = table()
    found = by_name(obs.assign(params_no_embed=obs["params"] * 0.8 - 1e6 * (obs["params"] % 7)))
    assert found["params_no_embed"].confounded_with == ("params",) or "params" in found["params_no_embed"].why


def test_levels_may_be_grouped_and_unknown_ones_are_refused() -> None:
    assert parse_groups("corpus=web:c4,rw;other:pile") == ("corpus", {"web": ["c4", "rw"], "other": ["pile"]})
    assert parse_groups("corpus") == ("corpus", {})
    made = grouped(table(), "machine=old:m0,m1,m2,m3,m4,m5;new:m6,m7,m8,m9,m10,m11")
    assert set(made["machine"]) == {"old", "new"}
    assert by_name(made)["machine"].verdict != "not_asked"
    with pytest.raises(OnsetError, match="no level 'm99'"):
        grouped(table(), "machine=old:m99")
    with pytest.raises(OnsetError, match="no column 'corpse'"):
        grouped(table(), "corpse=a:b")
    with pytest.raises(OnsetError, match="no group of levels"):
        parse_groups("corpus=web")


def test_too_few_runs_are_a_reason_and_no_error() -> None:
    """Lost: an interval from a prior, or a crash, where two runs are all that there is."""
    made = table()
    (found,) = factor_effects(made[made["run"].isin(["r00", "r05"])], names=["progress"])
    assert found.verdict == "not_asked"
    assert "too few runs" in found.why


def test_few_rows_are_a_reason_and_no_error() -> None:
    found = factor_effects(table().groupby("run").head(1).iloc[:4])
    assert {one.verdict for one in found} == {"not_asked"}
