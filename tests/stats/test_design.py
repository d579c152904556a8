"""What a planned family would tell: simulated tables are what is believed, and shares of answers are counted right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from onset.errors import OnsetError
from onset.plots import plot
from onset.plots.files import specification, svg
from onset.stats.design import belief, family, power, simulation
from onset.stats.noise import Components
from onset.study import cost
from onset.study.presets import preset

QUIET = Components(items=1.0, run=0.0, shift=0.0, drift=0.0, memory=0.0, loss=0.0)
LAW = belief.LAWS["hoffmann2022"]
FEW = family.of_sizes([1e8, 4e8, 1.6e9], [], checkpoints=6, items=2000)


def believed(noise: Components = QUIET) -> belief.Belief:
    told = belief.stated(replace(LAW, spread=0.0), 3.2)
    return replace(told, curves=(replace(told.curves[0], noise=noise),))


def test_shares_of_answers_have_wilson_s_interval() -> None:
    """Lost: a power of 0 of 20 that is told as certain."""
    for hits, draws in ((0, 20), (7, 20), (20, 20)):
        reference = stats.binomtest(hits, draws).proportion_ci(0.95, method="wilson")
        assert power.wilson(hits, draws, 0.95) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_a_family_of_a_study_costs_what_the_plan_says() -> None:
    """Lost: a design whose cost is not that of the study that is then trained."""
    study = preset("tiny")
    made = family.of_study(study, {"main": 640}, 60.0)
    assert made.flops == sum(cost.flops(run, 640) for run in study.runs)
    assert [run.params for run in made.runs] == [cost.total_parameters(run.shape, 640) for run in study.runs]
    assert all(len(run.shares) == 6 and run.shares[-1] == 1.0 for run in made.runs)


def test_families_of_a_budget_cost_as_much() -> None:
    """Lost: a choice between families of which one is simply dearer."""
    made = list(family.of_budget(3e20))
    assert len(made) == len({one.name for one in made}) == 6
    assert [one.flops for one in made] == pytest.approx([3e20] * 6)


def test_without_noise_scores_are_those_of_the_believed_curve() -> None:
    """Lost: a power that is of another curve, or of another effect, than was asked for."""
    told = believed()
    curve = told.curves[0]
    many = replace(FEW, items=1e9)
    tables = simulation.simulate(many, told.law, curve, 4.0, seed=3)
    loss = tables.none["loss"].to_numpy()
    assert tables.none["score"].to_numpy() == pytest.approx(curve.chance + curve.at(loss), abs=2e-4)
    above = loss > 3.2
    assert 0 < above.sum() < len(loss)
    assert (tables.none["score"][above] - 0.25).abs().max() < 2e-4
    moved = (tables.effect["score"] - tables.none["score"]).to_numpy()
    clear = curve.at(loss) > 0.05
    decades = np.log10(tables.none["params"]) - np.log10([1e8, 4e8, 1.6e9]).mean()
    assert moved[clear] == pytest.approx(0.04 * decades[clear], abs=2e-3)
    assert moved[above] == pytest.approx(0.0, abs=2e-4)


def test_the_luck_of_items_is_as_large_as_that_of_so_many_items() -> None:
    """Lost: powers of families with few questions, which would look as good as with many."""
    told = believed()
    small = replace(FEW, items=400.0, runs=FEW.runs[:1])
    off = []
    for seed in range(100):
        table = simulation.simulate(small, told.law, told.curves[0], 0.0, seed).none
        off.append(float(table["score"].iloc[0]) - 0.25)
    expected = np.sqrt(0.25 * 0.75 / 400)
    assert np.std(off) == pytest.approx(expected, rel=0.25)
    assert abs(np.mean(off)) < 4 * expected / np.sqrt(100)


def test_a_run_has_the_same_luck_in_every_family() -> None:
    """Lost: what one run more would add, drowned in other luck of all runs."""
    told = believed(belief.USUAL_NOISE)
    more = dict(family.changes(FEW))["a run of twice the largest size and tokens"]
    one, two = (simulation.simulate(each, told.law, told.curves[0], 0.0, 7).none for each in (FEW, more))
    shared = two[two["run"].isin(one["run"])]
    assert shared["loss"].to_numpy() == pytest.approx(one["loss"].to_numpy())
    assert shared["score"].to_numpy() == pytest.approx(one["score"].to_numpy(), abs=0.02)


def test_a_belief_is_learnt_from_a_table_of_smaller_runs() -> None:
    """Lost: a design from one's own runs that is of another law or another curve than theirs."""
    told = believed()
    grid = family.of_sizes([5e7, 1e8, 2e8, 4e8], [4e9, 1e10, 2.5e10], checkpoints=6, items=4000)
    table = simulation.simulate(grid, told.law, told.curves[0], 0.0, seed=1).none
    found = belief.of_table(table)
    (curve,) = found.curves
    assert curve.threshold == pytest.approx(3.2, abs=0.05)
    assert curve.items == 4000
    seen = np.linspace(table["loss"].min(), 3.1, 10)
    assert curve.at(seen) == pytest.approx(told.curves[0].at(seen), abs=0.03)
    tokens = np.array([1e9, 1e10])
    assert found.law.loss(2e8, tokens) == pytest.approx(told.law.loss(2e8, tokens), rel=0.02)


def test_of_a_table_at_chance_nothing_is_believed() -> None:
    told = believed()
    flat = replace(told.curves[0], ability=np.zeros_like(told.curves[0].ability))
    table = simulation.simulate(FEW, told.law, flat, 0.0, seed=1).none
    with pytest.raises(OnsetError, match="no task of the table tells a curve"):
        belief.of_table(table, LAW)


def fake(job: power._Job) -> list[power.Answer]:
    """Answers whose widths go by items, and that come in every second draw."""
    hit = job.seed % 2 == 0
    width = 1.0 / np.sqrt(job.family.items)
    names = ("threshold", "size_effect", "same_curve", "forecast")
    return [power.Answer(name, hit, width, "" if hit else "wide") for name in names]


def test_power_cost_and_what_adds_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost: shares, intervals or costs that are not those of the draws, and the thing that adds most not first."""
    monkeypatch.setattr(power, "answer", fake)
    steps: list[tuple[int, int]] = []
    found = power.design(FEW, believed(), draws=10, rate=1e14, jobs=1, progress=lambda *two: steps.append(two))
    assert steps[-1][0] == steps[-1][1] == len(steps)
    assert set(found.power["power"]) == {0.5}
    assert found.power["low"].iloc[0] == pytest.approx(power.wilson(5, 10, 0.95)[0])
    assert set(found.power["unanswered"]) == {"wide"}
    assert found.additions["change"].iloc[0] == "1,000 more items"
    assert found.additions["narrower"].iloc[0] == pytest.approx(100 * (1 - np.sqrt(2000 / 3000)))
    assert sorted(found.families["flops"].unique()) == pytest.approx(
        [factor * FEW.flops for factor in (0.25, 0.5, 1, 2)]
    )
    assert found.runs["gpu_hours"].sum() == pytest.approx(FEW.flops / 1e14 / 3600)
    assert type(found).from_json(found.to_json()) == found
    assert len(found.conf_int()) == 4
    assert "<svg" in svg(specification(plot(found)))


def test_a_budget_takes_the_family_that_answers_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost: the choice that --budget is for."""

    def many_sizes(job: power._Job) -> list[power.Answer]:
        return [replace(one, answered=len(job.family.runs) == 8) for one in fake(job)]

    monkeypatch.setattr(power, "answer", many_sizes)
    found = power.design(FEW, believed(), draws=4, budget=list(family.of_budget(1e20)), additions=False, jobs=1)
    assert found.chosen is not None
    assert found.chosen.startswith("8 sizes")
    assert len(found.runs) == 8
    assert "<svg" in svg(specification(plot(found)))


def test_one_draw_goes_through_the_statistics() -> None:
    """Lost: a design whose answers are not those that analyze and forecast would give."""
    told = believed(belief.USUAL_NOISE)
    rich = family.of_sizes([1e8, 3e8, 8e8], [2e10], checkpoints=7, seeds=2, items=3000)
    job = power._Job(rich, told.law, told.curves[0], power.ten_times(rich), power.Asked(width=0.2, error=20.0), 5)
    answers = {one.question: one for one in power.answer(job)}
    assert answers["threshold"].answered, answers
    assert answers["forecast"].answered, answers
    assert all(np.isfinite(one.width) for one in answers.values())
    poor = replace(job, family=replace(rich, runs=rich.runs[:1]))
    tables = simulation.simulate(poor.family, poor.law, poor.curve, 3.0, 5)
    told_of_one = [*power._size(tables, 3.2, poor), power._foretold(tables, poor)]
    assert not any(one.answered for one in told_of_one)
    assert all(one.why for one in told_of_one)


@pytest.mark.parametrize(
    "wrong",
    [lambda: power.Asked(width=0).checked(), lambda: power.design(FEW, believed(), draws=2),
     lambda: family.of_sizes([], []), lambda: belief.stated(LAW, 1.0), lambda: belief.stated(LAW, 3.0, kind="odd")],
)  # fmt: skip
def test_what_cannot_be_designed_is_one_error(wrong: object) -> None:
    with pytest.raises(OnsetError):
        wrong()  # type: ignore[operator]


def test_a_table_without_shares_is_refused() -> None:
    falling = {"loss": np.linspace(3, 2, 20), "score": np.linspace(2, 1, 20)}
    frame = pd.DataFrame({"run": "a", "params": 1e8, "tokens": 1e9, "task": "t", "metric": "brier", **falling})
    with pytest.raises(OnsetError, match="no task of the table tells a curve"):
        belief.of_table(frame, LAW)
