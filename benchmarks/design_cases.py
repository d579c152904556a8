"""Ten planned families, and tables that are planted after their power was predicted (``design.py``)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onset.stats.design import belief, power
from onset.stats.design.belief import LAWS, Belief, BelievedCurve
from onset.stats.design.family import Family, of_sizes
from onset.stats.design.simulation import Simulated, checkpoints
from onset.stats.noise import Components
from planted_scores import Array, Curve, measured
from planting import Design as Plan

LAW = replace(LAWS["hoffmann2022"], spread=2e-3)
NOISE = Components(items=1.0, run=0.006, shift=0.002, drift=0.005, memory=0.7, loss=0.0005)
QUESTIONS = ("threshold", "size_effect", "same_curve", "forecast")


@dataclass(frozen=True)
class Case:
    """A planned family and what is believed of it."""

    name: str
    family: Family
    where: float
    kind: str = "emergent"
    chance: float = 0.25
    pace: float = 0.3

    @property
    def believed(self) -> Belief:
        """The curve and the law; what is believed is true here."""
        told = belief.stated(LAW, self.where, kind=self.kind, chance=self.chance, pace=self.pace)
        return replace(told, curves=(replace(told.curves[0], noise=NOISE),))


def cases() -> list[Case]:
    """Ten designs: few and many runs, checkpoints and items, early and late onsets, emergent and smooth."""
    small, middle, large = [1e8, 4e8, 1.6e9], [1e8, 2e8, 4e8, 8e8, 1.6e9], [1e8, 3e8, 1e9, 3e9]
    return [
        Case("three sizes, onset in the middle", of_sizes(small, [2e10], checkpoints=10, items=1000), 3.0),
        Case("three sizes twice", of_sizes(small, [2e10], checkpoints=10, seeds=2, items=1000), 3.0),
        Case("five sizes", of_sizes(middle, [2e10], checkpoints=10, items=1000), 3.0),
        Case("five sizes, 200 items", of_sizes(middle, [2e10], checkpoints=10, items=200), 3.0),
        Case("five sizes, 5,000 items", of_sizes(middle, [2e10], checkpoints=10, items=5000), 3.0),
        Case("five sizes, late onset", of_sizes(middle, [2e10], checkpoints=10, items=1000), 2.7),
        Case("five sizes, slow rise", of_sizes(middle, [2e10], checkpoints=10, items=1000), 3.2, pace=1.0),
        Case("four sizes of ten times, smooth", of_sizes(large, [3e10], checkpoints=10, items=2000), 2.8, "smooth"),
        Case("four sizes, free answers", of_sizes(large, [3e10], checkpoints=10, items=2000), 2.9, chance=0.0),
        Case("four sizes, three budgets", of_sizes(large, [1e10, 3e10], checkpoints=6, items=2000), 2.9),
    ]


def planted(job: power._Job) -> list[power.Answer]:
    """The answers of a table that the other generator planted, in the order of ``QUESTIONS``."""
    rows = checkpoints(job.family, job.law, job.seed)
    rows = rows.assign(family="planted", step=np.arange(len(rows)), loss_name="planted", loss_unit="nats/token")
    made = []
    for effect in (0.0, job.asked.effect):
        plan = Plan(
            sizes=rows["params"].nunique(), checkpoints=len(job.family.runs[0].shares), items=int(job.family.items),
            high=float(rows["loss"].max()), low=float(rows["loss"].min()), chance=job.curve.chance,
            run_noise=job.curve.noise.run, drift=job.curve.noise.drift, loss_noise=0.0, effect=effect, spacing="log",
            run_shift=job.curve.noise.shift * float(rows["loss"].min()),
        )  # fmt: skip
        made.append(measured(rows, plan, _score(job.curve), np.random.default_rng(job.seed), "believed"))
    tables = Simulated(*made)
    first, edge = power._threshold(tables, job)
    return [first, *power._size(tables, edge, job), power._foretold(tables, job)]


def _score(curve: BelievedCurve) -> Curve:
    def at(loss: Array) -> Array:
        return np.asarray(curve.chance + curve.at(loss))

    return at
