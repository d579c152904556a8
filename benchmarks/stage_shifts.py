"""Do intervals of a stage's shift hold the shift that was planted, and what does pairing take from their width?

    python benchmarks/stage_shifts.py [TABLES [TABLES_AS_INDEPENDENT [SEED]]]

Each table has a base and a tuned stage of the same runs. Scores of both follow one planted curve, the tuned one's moved
along the loss by a known shift; runs set in at losses of their own, and a question that a base checkpoint answers by
luck its tuned one answers likewise with a known probability. Shifts are told from pairs, and from the onset losses of
both stages as if these were independent (which takes ten times as long).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd

from markdown import table
from onset.stats.stage_effects import BASE, STAGE, is_base, stage_effect
from onset.stats.stage_pairs import paired_shift
from onset.stats.threshold import threshold
from planted_scores import Curve
from planting import Design, law

KINDS = ("straight", "bent_up", "saturating", "hard_ceiling", "rounded", "logistic", "probit", "gompertz")
HIGH, LOW = 1.5, 0.4
CHANCE = 0.25


@dataclass(frozen=True)
class Case:
    """What a table is like."""

    runs: int
    checkpoints: int
    items: int
    shift: float
    """Nats by which the tuned stage sets in at higher loss."""
    run_shift: float
    """Standard deviation between runs of where both stages set in, nats."""
    alike: float
    """Probability that a tuned checkpoint has the luck of its base checkpoint at a question."""
    own: float = 0.0
    """Standard deviation between runs of the shift itself, nats."""


CASES = {
    "runs alike": Case(2, 9, 100, 0.1, 0.0, 0.5),
    "runs differ": Case(2, 9, 100, 0.1, 0.05, 0.5),
    "no shift": Case(2, 9, 100, 0.0, 0.05, 0.5),
    "other luck": Case(2, 9, 100, 0.1, 0.05, 0.0),
    "four runs": Case(4, 9, 100, 0.1, 0.05, 0.5),
    "many checkpoints and items": Case(4, 20, 400, 0.1, 0.05, 0.5),
    "shift differs by run": Case(4, 9, 100, 0.1, 0.05, 0.5, own=0.03),
}


def planted(case: Case, seed: int) -> tuple[pd.DataFrame, Curve]:
    """A table of both stages, and the base's curve."""
    rng = np.random.default_rng([seed, 17])
    kind = KINDS[seed % len(KINDS)]
    plan = Design(case.runs, case.checkpoints, case.items, HIGH, LOW, CHANCE, 0.0, 0.0, 0.0, 0.0, "log")
    grid = np.sort(HIGH + (LOW - HIGH) * np.linspace(0, 1, 200) ** 0.6)
    curve, _, _ = law(kind, plan, grid, rng)
    rows = []
    for run in range(case.runs):
        own, shift = case.run_shift * rng.standard_normal(), case.shift + case.own * rng.standard_normal()
        end = LOW + 0.05 * rng.random()
        for place in np.linspace(0, 1, case.checkpoints):
            loss = float(HIGH + (end - HIGH) * place**0.6)
            luck = rng.random(case.items)
            again = np.where(rng.random(case.items) < case.alike, luck, rng.random(case.items))
            for stage, moved, drawn in ((BASE, 0.0, luck), ("tuned", shift, again)):
                share = float(curve(np.array([loss + own - moved]))[0])
                rows.append((f"{stage}{run}", 1e6 * 2.0**run, 1.0 + place, loss, (drawn < share).mean(), stage))
    frame = pd.DataFrame(rows, columns=["run", "params", "tokens", "loss", "score", STAGE])
    return frame.assign(task="t", metric="accuracy", chance=CHANCE, n_examples=case.items), curve


def by_pairs(given: tuple[str, int]) -> dict[str, object] | None:
    """One table's interval from its pairs; None where the curve leaves the shift open."""
    name, seed = given
    rows, _ = planted(CASES[name], seed)
    found = paired_shift(rows, is_base(rows), 0.95)
    return None if found is None else _told(name, found.nats, found.low, found.high)


def as_independent(given: tuple[str, int]) -> dict[str, object] | None:
    """One table's interval from the onset losses of both stages; None where one is not told, or lies at the edge."""
    name, seed = given
    rows, _ = planted(CASES[name], seed)
    base, tuned = (threshold(part.reset_index(drop=True), seed=seed) for _, part in rows.groupby(STAGE))
    if base.onset is None or tuned.onset is None or max(base.onset.high, tuned.onset.high) >= rows["loss"].max():
        return None
    unpaired = rows["loss"].where(rows[STAGE] == BASE, rows["loss"] + 1e-9)
    found = stage_effect(rows.assign(loss=unpaired), base, tuned, "tuned")
    assert found.nats is not None
    assert found.low is not None
    assert found.high is not None
    return _told(name, found.nats, found.low, found.high)


def _told(name: str, nats: float, low: float, high: float) -> dict[str, object]:
    shift = CASES[name].shift
    return {"case": name, "covered": low <= shift <= high, "width": high - low, "error": abs(nats - shift),
            "off_zero": low > 0 or high < 0}  # fmt: skip


def summary(found: list[dict[str, object] | None], way: str) -> pd.DataFrame:
    """Coverage, median width, mean error and share of intervals off 0, a case at a time."""
    told = pd.DataFrame([one for one in found if one is not None])
    return (
        told.groupby("case", sort=False)
        .agg(tables=("covered", "size"), coverage=("covered", "mean"), width=("width", "median"),
             error=("error", "mean"), off_zero=("off_zero", "mean"))
        .reset_index().assign(way=way)
    )  # fmt: skip


def main() -> None:
    """Write the table to standard output."""
    tables, apart, seed = (int(given) for given in (*sys.argv[1:], *("60", "6", "0")[len(sys.argv) - 1 :]))
    jobs = ((by_pairs, tables, "pairs"), (as_independent, apart, "as if independent"))
    parts = []
    for way, count, told in jobs:
        if count:
            found = [way((name, seed * 100_003 + index)) for name in CASES for index in range(count)]
            parts.append(summary(found, told))
    print(f"{tables} and {apart} tables a case, seed {seed}; intervals at 95 %, widths and errors in nats\n")
    print(table(pd.concat(parts, ignore_index=True)))


if __name__ == "__main__":
    main()
