"""How often the thresholds are right: planted curves whose truth is known, and the obvious way beside.

    python benchmarks/planted.py [--curves 600] [--seed 1] [--processes 2] [--against 60] [--out FILE]

Prints, as Markdown, the verdicts against the truth, false claims, coverage and error of the intervals, by kind of
curve and by design; and the first curves under the obvious way, a SciPy hinge refitted in a bootstrap over
checkpoints, with the time that both took. "The data could tell" means that a reader who knew the planted curve and all
of its noise would find it at least three standard deviations from the nearest smooth law, and two checkpoints of each
of two runs beyond the threshold. "One run alone": fewer than two runs have two checkpoints below the planted threshold,
or fewer than two have one above it; such a threshold must not be reported, and `unresolved` is then as it should be.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from markdown import table
from onset.stats.curve_priors import smooths
from onset.stats.marginal_likelihood import Solver
from onset.stats.point_noise import Noise
from onset.stats.points import points
from onset.stats.threshold import threshold
from planting import CHANCE, SMOOTH, Planted, chosen, plant

FACTS = ("sizes", "checkpoints", "items", "run_noise", "drift", "loss_noise", "effect", "bad_run", "spacing", "chance")
COMMON = ("straight", "bent_up", "bent_down", "soft", "soft_bent", *SMOOTH, *CHANCE)
"""Straight, bent and soft onsets, smooth curves and chance: without the kinds planted to be awkward."""
LEAST_DISTANCE = 3.0
"""Standard deviations from the nearest smooth law from which the data could tell a turn."""


def judged(name: tuple[str, int]) -> dict[str, object]:
    """One curve's truth and what `threshold` makes of it."""
    planted = plant(*name)
    begin = time.process_time()
    found = threshold(planted.observations)
    seconds = time.process_time() - begin
    where = found.threshold
    return {
        "kind": planted.kind, "truth": planted.verdict, "eta": planted.eta, "verdict": found.verdict, "why": found.why,
        "value": where.value if where else math.nan, "low": where.low if where else math.nan,
        "high": where.high if where else math.nan, "turns": found.turns, "leaves_chance": found.leaves_chance,
        "p_value": found.p_value, "seconds": seconds, "points": len(planted.observations),
        "can_tell": could_tell(planted), "one_run": one_run(planted), **{name: planted.facts[name] for name in FACTS},
    }  # fmt: skip


def one_run(planted: Planted) -> bool:
    """Whether fewer than two runs are there to show the threshold on either side."""
    if planted.eta is None:
        return False
    seen = planted.observations
    below = seen[seen["loss"] < planted.eta].groupby("run").size()
    return bool((below >= 2).sum() < 2 or seen[seen["loss"] > planted.eta]["run"].nunique() < 2)


def could_tell(planted: Planted) -> bool:
    """Whether an ability with a turn is far enough from every smooth law, given all of the noise that was planted."""
    if planted.eta is None:
        return True
    seen = points(planted.observations)
    clean = np.abs(planted.curve(seen.loss) - planted.facts["chance"])
    beyond = (seen.loss < planted.eta) & (clean > 2 * np.sqrt(0.25 / planted.facts["items"]))
    if (np.bincount(seen.run[beyond], minlength=len(seen.names)) >= 2).sum() < 2:
        return False
    noise = Noise(
        run_ability=planted.facts["run_noise"], drift_ability=planted.facts["drift"], memory=0.7,
        loss=planted.facts["loss_noise"],
    )  # fmt: skip
    solver = Solver(seen, noise, clean)
    low, nearest = float(seen.loss.min()), math.inf
    for family in smooths(seen):
        values = family.values(family.natural(family.grid()), seen.loss, low)
        nearest = min(nearest, solver.distances(values, clean).min())
    return bool(nearest >= LEAST_DISTANCE**2)


def obvious(name: tuple[str, int], resamples: int = 200, seed: int = 0) -> dict[str, object]:
    """The obvious way: a hinge or a line by least squares, and a bootstrap over checkpoints."""
    planted = plant(*name)
    begin = time.process_time()
    seen = planted.observations
    loss, score = seen["loss"].to_numpy(), seen["score"].to_numpy()
    chance = planted.observations["chance"].iloc[0]
    rng = np.random.default_rng(seed)

    def hinge(at: np.ndarray, eta: float, slope: float) -> np.ndarray:
        return chance + slope * np.maximum(eta - at, 0)

    def fitted(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        values, _ = curve_fit(hinge, x, y, p0=[float(np.median(x)), 0.1], maxfev=5000)
        return float(values[0]), float(np.sum((hinge(x, *values) - y) ** 2))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            eta, left = fitted(loss, score)
            straight = np.polyfit(loss, score, 1)
            other = float(np.sum((np.polyval(straight, loss) - score) ** 2))
            drawn = []
            for _ in range(resamples):
                pick = rng.integers(len(loss), size=len(loss))
                drawn.append(fitted(loss[pick], score[pick])[0])
        except RuntimeError:
            eta, left, other, drawn = math.nan, 1.0, 0.0, [math.nan]
    low, high = np.quantile(drawn, [0.025, 0.975])
    inside = loss.min() < eta < loss.max()
    rises = abs(np.corrcoef(loss, score)[0, 1]) > 0.3 if np.ptp(score) > 0 else False
    verdict = "emergent" if inside and left < other and rises else ("smooth" if rises else "at_chance")
    return {
        "kind": planted.kind, "truth": planted.verdict, "eta": planted.eta, "verdict": verdict, "value": eta,
        "low": low, "high": high, "seconds": time.process_time() - begin, "one_run": one_run(planted),
    }  # fmt: skip


def scores(judgements: pd.DataFrame) -> dict[str, float]:
    """Verdicts right, wrong and unresolved, emergence claimed falsely, coverage, and error, in shares and nats."""
    right = judgements["verdict"] == judgements["truth"]
    unresolved = judgements["verdict"] == "unresolved"
    not_emergent = judgements[judgements["truth"] != "emergent"]
    found = judgements[(judgements["truth"] == "emergent") & (judgements["verdict"] == "emergent")]
    covers = (found["low"] <= found["eta"]) & (found["eta"] <= found["high"])
    return {
        "curves": len(judgements),
        "right": right.mean(),
        "right or one run alone": (right | (unresolved & judgements["one_run"])).mean(),
        "unresolved": unresolved.mean(),
        "wrong": (~right & ~unresolved).mean(),
        "falsely emergent": (not_emergent["verdict"] == "emergent").mean() if len(not_emergent) else math.nan,
        "covered": covers.mean() if len(found) else math.nan,
        "median error, nats": (found["value"] - found["eta"]).abs().median() if len(found) else math.nan,
        "seconds": judgements["seconds"].mean(),
    }


def strata(judgements: pd.DataFrame) -> pd.DataFrame:
    """`scores` by kind and by each fact of the design."""
    cut = judgements.assign(
        items=pd.cut(judgements["items"], [0, 300, 1000, 5000], labels=["100-300", "300-1000", "1000-5000"]),
        checkpoints=pd.cut(judgements["checkpoints"], [0, 10, 20, 40], labels=["5-10", "11-20", "21-40"]),
        loss_noise=np.where(judgements["loss_noise"] > 0, "yes", "no"),
        bad_run=judgements["bad_run"].replace("", "none"),
    )
    rows = []
    for fact in ("kind", *FACTS):
        for value, part in cut.groupby(fact, observed=True):
            named = f"{value:g}" if isinstance(value, float) else value
            rows.append({"by": fact, "value": named, **scores(part)})
    return pd.DataFrame(rows)


def side_by_side(parts: dict[str, pd.DataFrame]) -> str:
    """`scores` of several sets of curves, one column each."""
    columns = pd.DataFrame({name: scores(part) for name, part in parts.items()})
    return table(columns.rename_axis("").reset_index())


def main() -> None:
    """Runs the benchmark and prints its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--against", type=int, default=60, help="curves that the obvious way is run on as well")
    parser.add_argument("--out", type=Path, help="where to write every curve's row, as CSV")
    options = parser.parse_args()
    curves = chosen(options.curves, options.seed)
    with multiprocessing.Pool(options.processes) as pool:
        ours = pd.DataFrame(pool.map(judged, curves, chunksize=8))
        theirs = pd.DataFrame(pool.map(obvious, curves[: options.against], chunksize=4))
    if options.out:
        ours.to_csv(options.out, index=False)
    common = ours[ours["kind"].isin(COMMON)]
    parts = {"all": ours, "data could tell": ours[ours["can_tell"]], "common kinds": common}
    print(side_by_side(parts | {"common, data could tell": common[common["can_tell"]]}), "\n")
    print(table(pd.crosstab(ours["truth"], ours["verdict"]).reset_index()), "\n")
    if not theirs.empty:
        same = ours.iloc[: options.against]
        print(side_by_side({"the same curves": same, "hinge and bootstrap": theirs}))
        print(f"\ntime ratio {theirs['seconds'].sum() / same['seconds'].sum():.1f}\n")
    print(table(strata(ours).drop(columns="seconds"), digits=2))


if __name__ == "__main__":
    main()
