"""Without these tuned scores would be read as the base's, or a shift told where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.results import LossInterval, StageEffect, Threshold
from onset.stats.stage_effects import foretelling, is_base, stage_effect


def rows(shift: float, seed: int = 0) -> pd.DataFrame:
    """A task of four choices that sets in at a loss of 2.6, after tuning at ``shift`` more."""
    rng = np.random.default_rng(seed)
    made = []
    for run in range(2):
        for place, loss in enumerate(np.linspace(4.0, 1.5, 24)):
            for stage, moved in (("base", 0.0), ("tuned", shift)):
                share = 0.25 + 0.7 * np.clip((2.6 + moved - loss - 0.01 * run) / 0.4, 0, 1)
                made.append(
                    (f"{stage}{run}", 10.0 ** (6 + run), place + 1.0, loss, rng.binomial(400, share) / 400, stage)
                )
    frame = pd.DataFrame(made, columns=["run", "params", "tokens", "loss", "score", "stage"])
    return frame.assign(task="t", metric="accuracy", chance=0.25, n_examples=400)


def fitted(onset: tuple[float, float, float] | None, verdict: str = "smooth") -> Threshold:
    found = None if onset is None else LossInterval(loss=onset[0], low=onset[1], high=onset[2])
    return Threshold.model_validate({"task": "t", "metric": "accuracy", "verdict": verdict, "why": "", "onset": found})


def test_what_says_nothing_of_stages_is_all_base() -> None:
    frame = pd.DataFrame({"stage": ["tuned", None, "", "base"]})
    assert is_base(frame).tolist() == [False, True, True, True]
    assert is_base(frame.drop(columns="stage")).all()
    assert is_base(frame[:1]).all()


def test_a_shift_of_onset_is_found_with_its_interval() -> None:
    from onset.stats.threshold import threshold

    both = rows(0.5)
    base, tuned = (threshold(part) for _, part in both.groupby("stage"))
    found = stage_effect(both, base, tuned, "tuned")
    assert found.verdict == "earlier"
    assert found.nats == pytest.approx(0.5, abs=0.1)
    assert found.low is not None
    assert found.high is not None
    assert 0.3 < found.low < found.nats < found.high < 0.8  # type: ignore[operator]
    assert found.at_equal_loss is not None
    assert found.at_equal_loss.pp is not None
    assert found.at_equal_loss.pp > 0


def test_a_stage_that_lowers_scores_is_told_with_its_sign() -> None:
    fit = fitted((2.6, 2.58, 2.62))
    found = stage_effect(rows(-0.5), fit, fitted((2.1, 2.08, 2.12)), "tuned")
    assert found.verdict == "later"
    assert found.at_equal_loss is not None
    assert found.at_equal_loss.pp is not None
    assert found.at_equal_loss.pp < 0
    assert "'tuned' in place of 'base' changes the score by -" in found.at_equal_loss.why


def test_no_difference_is_called_none_only_with_a_margin() -> None:
    both, fit = rows(0.0), fitted((2.6, 2.58, 2.62))
    paired = stage_effect(both, fit, fit, "tuned")
    assert (paired.verdict, paired.n_pairs) == ("inconclusive", 48)
    assert stage_effect(both, fit, fit, "tuned", loss_margin=0.1).verdict == "same"


def test_without_pairs_the_shift_is_the_difference_of_the_onset_losses() -> None:
    both, fit = rows(0.0), fitted((2.6, 2.58, 2.62))
    apart = both.assign(loss=both["loss"] + 1e-3 * (both["stage"] == "tuned"))
    found = stage_effect(apart, fit, fit, "tuned", loss_margin=0.1)
    assert (found.verdict, found.nats, found.n_pairs) == ("same", 0.0, 0)
    assert found.high == pytest.approx(0.02 * 2**0.5)


def test_where_one_stage_stays_at_chance_one_end_of_the_shift_is_told() -> None:
    both, here, nowhere = rows(0.0), fitted((2.6, 2.5, 2.7)), fitted(None, "at_chance")
    only_tuned = stage_effect(both, nowhere, here, "tuned")
    assert (only_tuned.verdict, only_tuned.nats, only_tuned.high) == ("earlier", None, None)
    assert only_tuned.low == pytest.approx(1.0)
    only_base = stage_effect(both, here, nowhere, "tuned")
    assert (only_base.verdict, only_base.high) == ("later", pytest.approx(-1.0))
    unclear = stage_effect(both, fitted(None, "inconclusive"), here, "tuned")
    assert (unclear.verdict, unclear.low) == ("inconclusive", None)


def effects(pairs: list[tuple[float, float]]) -> list[StageEffect]:
    made = []
    for place, (base, tuned) in enumerate(pairs):
        first, second = (LossInterval(loss=loss, low=loss, high=loss) for loss in (base, tuned))
        made.append(StageEffect(task=f"t{place}", metric="accuracy", loss_name="x", verdict="earlier", onset_base=first,
                                onset_tuned=second))  # fmt: skip
    return made


def test_tuned_onsets_foretell_the_base_where_all_tasks_move_alike() -> None:
    base = [3.0, 2.6, 2.2, 1.8, 1.4]
    (alike,) = foretelling(effects([(one, one + 0.3) for one in base]))
    assert alike.verdict == "foretells"
    assert alike.error == pytest.approx(0.0, abs=1e-9)
    (apart,) = foretelling(effects(list(zip(base, [3.0, 4.6, 1.0, 3.8, 1.4], strict=True))))
    assert apart.verdict in ("inconclusive", "misleads")
    (few,) = foretelling(effects([(2.0, 2.5)] * 3))
    assert few.verdict == "not_asked"
