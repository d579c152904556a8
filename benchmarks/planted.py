"""How often the verdicts, onset losses and thresholds are right: planted curves whose truth is known.

    python benchmarks/planted.py [--curves 600] [--seed 1] [--processes 2] [--against 60] [--out FILE]

Prints, as Markdown, the verdicts against the truth, false claims, coverage and error of the intervals, by kind of
curve, by onset width and by design; and the first curves under the obvious way, a SciPy hinge refitted in a bootstrap
over checkpoints. "Could be told" is the oracle's word (``oracle.py``): a reader who knew the planted curve and all of
its noise would find it at least three standard deviations from every curve of the other class. The truth of a verdict
is stated in ``planting.py``; the true onset loss is the highest loss seen at which the planted curve exceeds chance by
two points.
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
from onset.stats.threshold import threshold
from oracle import could_tell, one_run
from planting import chosen, plant

FACTS = (
    "sizes", "checkpoints", "items", "run_noise", "run_shift", "drift", "loss_noise", "effect", "families", "bad_run",
    "spacing", "chance",
)  # fmt: skip
CORNERS = (0.0, 0.03, 0.06, 0.12, 0.3)
"""Widths of rounded corners, in rise spans, between which error rates are told; up to the second it is emergent."""
WIDTHS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.01)
"""Onset widths, as shares of the losses seen, between which error rates are told."""


def judged(name: tuple[str, int]) -> dict[str, object]:
    """One curve's truth and what `threshold` makes of it."""
    planted = plant(*name)
    begin = time.process_time()
    found = threshold(planted.observations)
    seconds = time.process_time() - begin
    factor = found.log_bayes_factor
    seen = planted.observations["loss"]
    truth = planted.onset()
    return {
        "kind": planted.kind, "seed": name[1], "truth": planted.verdict, "verdict": found.verdict, "why": found.why,
        "eta": planted.eta, **_parts("eta", found.threshold), "onset": truth[0] if truth else math.nan,
        "width": truth[1] / (seen.max() - seen.min()) if truth else math.nan, **_parts("onset", found.onset),
        "ability_factor": factor.ability if factor else math.nan, "factor": factor.threshold if factor else math.nan,
        "seconds": seconds, "points": len(planted.observations), "span": float(seen.max() - seen.min()),
        "corner": planted.facts["corner"], "can_tell": could_tell(planted),
        "one_run": one_run(planted), **{name: planted.facts[name] for name in FACTS},
    }  # fmt: skip


def _parts(name: str, found: object) -> dict[str, float]:
    return {f"{name}_{part}": getattr(found, part, math.nan) for part in ("loss", "low", "high")}


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
        "kind": planted.kind, "truth": planted.verdict, "eta": planted.eta, "verdict": verdict, "eta_loss": eta,
        "eta_low": low, "eta_high": high, "onset": math.nan, "onset_loss": math.nan, "onset_low": math.nan,
        "onset_high": math.nan, "seconds": time.process_time() - begin, "one_run": one_run(planted),
    }  # fmt: skip


def scores(judgements: pd.DataFrame) -> dict[str, float]:
    """Shares of verdicts right, wrong and inconclusive and of false claims; coverage and error of both losses."""
    right = judgements["verdict"] == judgements["truth"]
    open_ = judgements["verdict"] == "inconclusive"
    no_threshold = judgements[judgements["truth"] != "emergent"]
    found = judgements[(judgements["truth"] == "emergent") & (judgements["verdict"] == "emergent")]
    onset = judgements[judgements["onset"].notna() & judgements["onset_loss"].notna()]
    return {
        "curves": len(judgements),
        "could be told": judgements["can_tell"].mean() if "can_tell" in judgements else math.nan,
        "right": right.mean(),
        "inconclusive": open_.mean(),
        "wrong": (~right & ~open_).mean(),
        "falsely emergent": (no_threshold["verdict"] == "emergent").mean() if len(no_threshold) else math.nan,
        "onset covered": _covered(onset, "onset"),
        "onset error, nats": (onset["onset_loss"] - onset["onset"]).abs().median() if len(onset) else math.nan,
        "threshold covered": _covered(found, "eta"),
        "threshold error, nats": (found["eta_loss"] - found["eta"]).abs().median() if len(found) else math.nan,
        "seconds": judgements["seconds"].mean(),
    }


def _covered(rows: pd.DataFrame, name: str) -> float:
    # Truths are found on a grid of losses: a difference within it is none.
    slack = 1e-4 * (rows[f"{name}_high"] - rows[f"{name}_low"]).abs() + 1e-4
    inside = (rows[f"{name}_low"] - slack <= rows[name]) & (rows[name] <= rows[f"{name}_high"] + slack)
    return float(inside.mean()) if len(rows) else math.nan


def strata(judgements: pd.DataFrame) -> pd.DataFrame:
    """`scores` by kind, by onset width and by each fact of the design."""
    cut = judgements.assign(
        items=pd.cut(judgements["items"], [0, 300, 1000, 5000], labels=["100-300", "300-1000", "1000-5000"]),
        checkpoints=pd.cut(judgements["checkpoints"], [0, 10, 20, 40], labels=["5-10", "11-20", "21-40"]),
        loss_noise=np.where(judgements["loss_noise"] > 0, "yes", "no"),
        run_shift=np.where(judgements["run_shift"] > 0, "yes", "no"),
        bad_run=judgements["bad_run"].replace("", "none"),
        corner=pd.cut(judgements["corner"].astype(float), CORNERS),
        width=pd.cut(judgements["width"], WIDTHS, include_lowest=True).astype(str) + " " + judgements["truth"],
    )
    rows = []
    for fact in ("kind", "width", "corner", *FACTS):
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
    print(side_by_side({"all": ours, "could be told": ours[ours["can_tell"]]}), "\n")
    print(table(pd.crosstab(ours["truth"], ours["verdict"]).reset_index()), "\n")
    if not theirs.empty:
        same = ours.iloc[: options.against]
        print(side_by_side({"the same curves": same, "hinge and bootstrap": theirs}))
        print(f"\nseconds a curve, ours by theirs: {same['seconds'].sum() / theirs['seconds'].sum():.3g}\n")
    print(table(strata(ours).drop(columns="seconds"), digits=2))


if __name__ == "__main__":
    main()
