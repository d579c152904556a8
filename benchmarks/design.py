"""Designs against what then came: predicted power of ten planned families, and tables that were planted afterwards.

    python benchmarks/design.py [--draws 20] [--seed 7001] [--out FILE]

Each design has a family, a curve and noise. The power is predicted as ``onset design`` does; then as many tables are
planted by another generator (``planted_scores``, as for the benchmark of thresholds), whose items are drawn anew for
every checkpoint, and go through the same statistics. Prints shares of answers of both, and how often they differ by
more than sampling explains (Fisher's exact test, 5 %). Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from markdown import table
from onset.stats.design import belief, power
from onset.stats.design.belief import LAWS, Belief, BelievedCurve
from onset.stats.design.family import Family, of_sizes
from onset.stats.design.simulation import Simulated, checkpoints
from onset.stats.noise import Components
from onset.stats.parallel import Workers, cores
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


def compared(case: Case, draws: int, seed: int, workers: Workers) -> Iterator[dict[str, object]]:
    """One row a question: predicted and planted shares, and the p-value of their difference."""
    told, asked = case.believed, power.Asked()
    target = power.ten_times(case.family)
    jobs = [power._Job(case.family, told.law, told.curves[0], target, asked, seed + draw) for draw in range(2 * draws)]
    predicted = workers.map(power.answer, jobs[:draws])
    came = workers.map(planted, jobs[draws:])
    for place, question in enumerate(QUESTIONS):
        counts = [sum(one[place].answered for one in side) for side in (predicted, came)]
        widths = [np.nanmedian([*(one[place].width for one in side), np.nan]) for side in (predicted, came)]
        p = stats.fisher_exact([[count, draws - count] for count in counts]).pvalue
        yield {
            "design": case.name, "question": question, "predicted": counts[0] / draws, "came": counts[1] / draws,
            "p": float(p), "width predicted": float(widths[0]), "width that came": float(widths[1]),
        }  # fmt: skip


def report(draws: int, seed: int) -> str:
    """The whole page."""
    began = time.process_time()
    with Workers(cores()) as workers:
        rows = pd.DataFrame([row for case in cases() for row in compared(case, draws, seed, workers)])
    by_question = rows.groupby("question", sort=False).agg(
        designs=("p", "size"), predicted=("predicted", "mean"), came=("came", "mean"),
        differ=("p", lambda values: int((values < 0.05).sum())),
    ).reset_index()  # fmt: skip
    apart = int((rows["p"] < 0.05).sum())
    return "\n".join([
        f"{len(rows)} pairs of shares, each of {draws} and {draws} tables; {apart} differ at 5 %.\n",
        table(by_question, 2), "\n## By design\n", table(rows, 2),
        f"\nProcessor time of this process: {time.process_time() - began:.0f} s.",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7001)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = report(given.draws, given.seed)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
