"""The six claims: each verdict follows planted truths, and what cannot be told is undecided."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.results import Analysis, Interval
from onset.stats import paper_claims as claims
from onset.stats.pipeline import analyze
from onset.stats.prediction import extrapolation as beforehand

SIZES = (1e6, 4e6, 16e6, 64e6)


def planted(tasks: dict[str, tuple[float, float]], size: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Two runs of each size; ``tasks`` gives threshold and slope, ``size`` the points that a decade moves a score."""
    draw = np.random.default_rng(seed)
    rows = []
    for params in SIZES:
        for run in range(2):
            for place in np.geomspace(0.02, 1, 14):
                tokens = 1e9 * place * (1 + run)
                loss = 1.6 + 40 * params**-0.34 + 3e3 * tokens**-0.42
                for task, (eta, slope) in tasks.items():
                    gain = slope * max(0.0, eta - loss) + (size / 100 * np.log10(params / 8e6) if loss < eta else 0)
                    p = float(np.clip(0.25 + gain, 0.02, 0.98))
                    rows.append((f"r{params:.0f}-{run}", params, tokens, loss, task, "accuracy",
                                 draw.binomial(4000, p) / 4000, 0.25, 4000))  # fmt: skip
    columns = ["run", "params", "tokens", "loss", "task", "metric", "score", "chance", "n_examples"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def one_curve() -> Analysis:
    tasks = {"late": (2.3, 0.9), "later": (2.4, 0.9), "early": (9.0, 0.08), "first": (9.0, 0.07), "more": (9.0, 0.06)}
    return analyze(planted(tasks), jobs=1, margin=2.0)


def verdicts(analysis: Analysis) -> dict[int, str]:
    return {claim.number: claim.verdict for claim in claims.claims(analysis)}


def test_one_curve_with_thresholds_holds_what_the_paper_says(one_curve: Analysis) -> None:
    """A family that follows the paper's laws must not be called a failure of them."""
    found = verdicts(one_curve)
    assert found[1] != "fails"
    assert found[2] == "holds"
    assert found[3] == "holds"
    assert found[4] == "inconclusive", "there is one metric only"
    assert found[6] == "inconclusive", "there is one loss only"


def test_a_size_effect_at_equal_loss_makes_the_first_claim_fail() -> None:
    made = analyze(planted({"a": (2.9, 0.8), "b": (2.7, 0.8), "c": (2.6, 0.9)}, size=-12.0), jobs=1)
    first = claims.claims(made)[0]
    assert first.verdict == "fails"
    assert "differ" in first.why
    assert "pp [" in first.why, "the size of the effect stands beside the counts"


def test_two_tasks_say_nothing_of_tasks(one_curve: Analysis) -> None:
    """Lost: a claim about abilities in general that "holds" on two of them."""
    two = one_curve.with_changes(findings=tuple(one for one in one_curve.findings if one.task in ("late", "early")))
    found = verdicts(two)
    assert found[3] == "inconclusive"
    assert found[5] == "inconclusive"
    assert "fewer than 5" in claims.claims(two)[2].why


def test_every_claim_says_why_and_stands_in_findings_json(one_curve: Analysis) -> None:
    told = claims.with_claims(one_curve).to_json()["claims"]
    assert [claim["number"] for claim in told] == [1, 2, 3, 4, 5, 6]
    assert all(claim["why"] for claim in told)


def test_an_analysis_without_findings_claims_nothing(one_curve: Analysis) -> None:
    assert claims.claims(one_curve.with_changes(findings=())) == ()


def curve(turned: bool, seed: int) -> pd.DataFrame:
    """A turn at a loss of 2, or a straight line that nothing sets off."""
    draw = np.random.default_rng(seed)
    loss = np.linspace(3, 1.5, 31)
    gain = 1.4 * np.clip(2 - loss, 0, None) if turned else 0.3 * (3 - loss)
    score = 0.25 + gain + draw.normal(0, 0.005, 31)
    return pd.DataFrame({"loss": loss, "score": score, "chance": 0.25, "direction": "higher"})


def test_turns_are_not_foreseen_and_straight_rises_are() -> None:
    """An interval that is too narrow would call every ability unforeseeable."""
    where = Interval(2.0, 1.95, 2.05)
    turned = [beforehand.foretell(curve(True, seed), where, 0.95) for seed in range(40)]
    straight = [beforehand.foretell(curve(False, seed), where, 0.95) for seed in range(40)]
    assert all(told is not None and told.missed for told in turned)
    assert sum(told is not None and told.missed for told in straight) <= 3


def test_nothing_is_foretold_from_a_handful_of_checkpoints() -> None:
    assert beforehand.foretell(curve(True, 0).iloc[:5], Interval(2.9, 2.89, 2.95), 0.95) is None
    assert beforehand.foretell(curve(True, 0).iloc[:12], Interval(2.0, 1.9, 2.1), 0.95) is None, "none below it"
