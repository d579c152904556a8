"""How often collapse and forecast are right: planted size effects and held-out sizes whose truth is known.

    python benchmarks/collapse_forecast.py [--curves 500] [--forecasts 200] [--seed 1] [--processes 2] [--out FILE]

Size effects of 0, 1, 3 and 5 points a decade are planted on curves of every kind, and ``collapse`` is asked
about them with the planted threshold. Beside what it finds stands the ceiling: how often a reader would find it who
knows the size of every noise and only has to fit a curve. "The data could tell" means that this reader has a
standard error of at most 0.75 points a decade. The obvious way stands beside: a cubic in the loss and the logarithm
of size by least squares, its t-interval over checkpoints. Forecasts are of a size that was left out because it is the
largest: by its loss, and by its size and tokens; beside them a logistic curve in the loss with its residual band.
Prints Markdown; nothing is read from elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtrit

from markdown import table
from onset.results import Interval
from onset.stats.backtest import logistic
from onset.stats.forecast import forecast
from onset.stats.size_effect import MARGIN, collapse
from planting import EMERGENT, SMOOTH, Planted, design, law, plant

EFFECTS = (0.0, 1.0, 3.0, 5.0)
KINDS = EMERGENT + SMOOTH
CAN_TELL = 0.75
"""Points a decade: the standard error, with all noise known, up to which an effect of 3 can be told."""

LEVELS = (0.95, 0.8)


def judged(task: tuple[int, float]) -> dict[str, Any]:
    """One planted effect and what ``collapse`` makes of it."""
    seed, effect = task
    kind = KINDS[seed // len(EFFECTS) % len(KINDS)]
    planted = plant(kind, seed, effect=effect, bad_run="", lower_is_better=False)
    eta = None if planted.eta is None else Interval(planted.eta, planted.eta, planted.eta)
    begin = time.process_time()
    found = collapse(planted.observations, threshold=eta)
    seconds = time.process_time() - begin
    points = found.points or Interval(np.nan, np.nan, np.nan)
    error = known_error(planted)
    easy = obvious(planted)
    return {
        "kind": kind, "effect": effect, "verdict": found.verdict, "value": points.value, "low": points.low,
        "high": points.high, "seconds": seconds, "known_error": error, "ceiling_beyond": ceiling(effect, error, MARGIN),
        "ceiling_not_zero": ceiling(effect, error, 0.0), "obvious_low": easy[0], "obvious_high": easy[1],
        **{name: planted.facts[name] for name in ("sizes", "checkpoints", "items")},
    }  # fmt: skip


def obvious(planted: Planted) -> tuple[float, float]:
    """The obvious way: score on a cubic in the loss and log10 of size, checkpoints taken for independent; points."""
    obs = planted.observations
    rows = obs if planted.eta is None else obs[obs["loss"] < planted.eta]
    size, loss = np.log10(rows["params"].to_numpy(float)), rows["loss"].to_numpy(float)
    if len(rows) < 8 or np.ptp(size) <= 0:
        return np.nan, np.nan
    unit = (loss - loss.min()) / max(float(np.ptp(loss)), 1e-9)
    columns = np.column_stack([unit[:, None] ** np.arange(4), size])
    found, *_ = np.linalg.lstsq(columns, rows["score"].to_numpy(float), rcond=None)
    left, free = rows["score"].to_numpy(float) - columns @ found, len(rows) - columns.shape[1]
    error = np.sqrt(left @ left / free * np.linalg.pinv(columns.T @ columns)[-1, -1])
    reach = stdtrit(free, 0.975) * error
    return 100 * float(found[-1] - reach), 100 * float(found[-1] + reach)


def known_error(planted: Planted) -> float:
    """Standard error of the effect for a reader who knows every variance but has to fit a curve (five knots)."""
    facts, obs, curve = planted.facts, planted.observations, planted.curve
    rows = obs if planted.eta is None else obs[obs["loss"] < planted.eta]
    if rows["params"].nunique() < 2 or len(rows) < 8:
        return np.inf
    loss = rows["loss"].to_numpy(float)
    unit = (loss - loss.min()) / max(float(np.ptp(loss)), 1e-9)
    knots = np.quantile(unit, [0.2, 0.4, 0.6, 0.8])
    clean = np.clip(curve(loss), 0.01, 0.99)
    there = np.clip((curve(loss) - facts["chance"]) / 0.02, 0.0, 1.0)  # as planted
    size = np.log10(rows["params"].to_numpy(float))
    size = there * (size - size.mean())
    if np.ptp(size) <= 0:
        return np.inf
    fixed = np.column_stack([np.ones(len(rows)), unit, *(np.maximum(unit - knot, 0) for knot in knots), size])
    same = rows["run"].to_numpy()[:, None] == rows["run"].to_numpy()[None, :]
    gap = np.abs(rows["step"].to_numpy()[:, None] - rows["step"].to_numpy()[None, :])
    share = 0.25 + 0.75 * there
    slope = (curve(loss + 1e-3) - curve(loss - 1e-3)) / 2e-3
    noise = same * np.outer(share, share) * (facts["run_noise"] ** 2 + facts["drift"] ** 2 * 0.7**gap)
    noise = noise + np.diag(clean * (1 - clean) / facts["items"] + (slope * facts["loss_noise"]) ** 2)
    inverse = np.linalg.pinv(fixed.T @ np.linalg.solve(noise, fixed))
    return 100.0 * float(np.sqrt(inverse[-1, -1]))


def ceiling(effect: float, error: float, margin: float) -> float:
    """How often an effect is found beyond a margin (and not zero), at a known standard error: all in points."""
    if not np.isfinite(error):
        return 0.0
    least = max(margin + ndtri(0.95) * error, ndtri(0.975) * error)
    return float(ndtr((effect - least) / max(error, 1e-9)))


def foreseen(seed: int) -> list[dict[str, Any]]:
    """Forecasts of the largest size of one planted family, by loss and by size and tokens."""
    rng = np.random.default_rng([seed, 77])
    sizes, checkpoints = int(rng.integers(3, 6)) + 1, int(rng.integers(8, 31))
    trained = family(sizes, checkpoints, rng)
    known = (trained["params"] < trained["params"].max()).to_numpy()
    kind = KINDS[seed % len(KINDS)]
    plan = design(
        rng, bad_run="", sizes=sizes, checkpoints=checkpoints, high=trained["loss"].max(), low=trained["loss"].min(),
        items=int(np.exp(rng.uniform(np.log(200), np.log(5000)))),
    )  # fmt: skip
    curve, _, _ = law(kind, plan, np.sort(trained["loss"].to_numpy()[known]), rng)
    scored = measured(trained, curve, plan.chance, plan.items, plan.run_noise, rng)
    unseen = scored[~known].iloc[[checkpoints // 3, 2 * checkpoints // 3, checkpoints - 1]].reset_index(drop=True)
    lowest, width = scored["loss"][known].min(), float(np.ptp(scored["loss"][known]))
    told = []
    for stage, names in (("loss", ["loss", "params"]), ("size and tokens", ["params", "tokens"])):
        for level in LEVELS:
            found = forecast(scored[known], unseen[names], thresholds={}, level=level, seed=seed).scores
            told += [
                {"kind": kind, "stage": stage, "level": level, "refused": row.verdict == "refused",
                 "covered": row.low <= seen <= row.high, "error": 100 * abs(row.score - seen),
                 "width": 100 * (row.high - row.low), "beyond": (lowest - loss) / width}
                for row, seen, loss in zip(found.itertuples(), unseen["score"], unseen["loss"], strict=True)
            ]  # fmt: skip
    for level in LEVELS:
        learnt = scored[known]
        score, low, high = logistic(
            -learnt["loss"].to_numpy(), learnt["score"].to_numpy(), -unseen["loss"].to_numpy(), plan.chance, True, level
        )
        told += [
            {"kind": kind, "stage": "logistic in loss", "level": level, "refused": told[0]["refused"],
             "covered": low[place] <= seen <= high[place], "error": 100 * abs(score[place] - seen),
             "width": 100 * (high[place] - low[place]), "beyond": (lowest - unseen["loss"][place]) / width}
            for place, seen in enumerate(unseen["score"])
        ]  # fmt: skip
    return told


def family(sizes: int, checkpoints: int, rng: np.random.Generator) -> pd.DataFrame:
    """Runs under L = 1.7 + 406 / N^0.34 + 411 / D^0.28 that differ by up to 0.3 % of their loss."""
    step = 10 ** rng.uniform(0.3, 0.7)
    spread = float(rng.choice([0.0, 0.001, 0.003]))
    frames = []
    for number, params in enumerate(1e8 * step ** np.arange(sizes)):
        tokens = np.geomspace(2e9, 2e11, checkpoints)
        loss = (1.7 + 406 / params**0.34 + 411 / tokens**0.28) * np.exp(spread * rng.standard_normal())
        frames.append(pd.DataFrame({"run": f"run-{number}", "params": params, "tokens": tokens, "loss": loss}))
    return pd.concat(frames, ignore_index=True)


def measured(
    seen: pd.DataFrame, curve: Callable[[Any], Any], chance: float, items: int, run_noise: float,
    rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """Scores on the curve, with runs that differ where there is an ability and the noise of items."""
    clean = curve(seen["loss"].to_numpy())
    there = np.clip((clean - chance) / 0.02, 0, 1)
    runs = dict.fromkeys(seen["run"])
    moved = seen["run"].map({run: run_noise * rng.standard_normal() for run in runs}).to_numpy(float)
    score = rng.binomial(items, np.clip(clean + there * moved, 0, 1)) / items
    return seen.assign(task="planted", metric="accuracy", score=score, chance=chance, n_examples=items)


def collapse_tables(found: pd.DataFrame) -> str:
    """Verdicts and coverage by planted effect, for all curves and where the data could tell."""
    found = found.assign(
        claimed=found["verdict"] == "size_matters",
        not_zero=(found["low"] > 0) | (found["high"] < 0),
        one_curve=found["verdict"] == "collapses",
        covered=_covered(found, "low", "high"),
        width=found["high"] - found["low"],
        can_tell=found["known_error"] <= CAN_TELL,
        obvious=(found["obvious_low"] > 0) | (found["obvious_high"] < 0),
        obvious_covered=_covered(found, "obvious_low", "obvious_high"),
    )
    names = {
        "effect": "planted", "curves": "curves", "claimed": "size_matters", "ceiling_beyond": "ceiling",
        "not_zero": "not zero", "ceiling_not_zero": "ceiling of it", "one_curve": "collapses", "covered": "covered",
        "width": "median width", "obvious": "obvious way: not zero", "obvious_covered": "covered by it",
    }  # fmt: skip

    def told(rows: pd.DataFrame, keys: list[str]) -> str:
        columns = [name for name in names if name not in ("effect", "curves", "width")]
        found = rows.groupby(keys)
        means = found[columns].mean().assign(curves=found.size(), width=found["width"].median()).reset_index()
        means["effect"] = means["effect"].map("{:g}".format)
        order = [*keys[:-1], *names]
        return table(means[order].rename(columns=names))

    return "\n\n".join([
        "Size effects, all curves\n\n" + told(found, ["effect"]),
        f"where the data could tell\n\n{told(found[found['can_tell']], ['effect'])}",
        "by the number of sizes\n\n" + told(found, ["sizes", "effect"]),
        f"{found['seconds'].mean():.3f} seconds a curve (median {found['seconds'].median():.3f})",
    ])  # fmt: skip


def _covered(found: pd.DataFrame, low: str, high: str) -> pd.Series:
    """Whether the interval holds the planted effect, one or zero; missing where there is no interval."""
    inside = (found[low] <= found["effect"]) & (found["effect"] <= found[high])
    return inside.astype(float).where(found[low].notna())


def forecast_tables(found: pd.DataFrame) -> str:
    """Coverage, error and width by level and stage, within and beyond the losses seen."""
    refused = found["refused"].mean()
    rows = found[~found["refused"]]
    rows = rows.assign(target=np.where(rows["beyond"] > 0, "beyond the losses seen", "within"))
    names = {"covered": ("covered", "mean"), "error": ("error", "mean"), "width": ("width", "mean")}
    whole = rows.groupby(["level", "stage"]).agg(forecasts=("error", "size"), **names).reset_index()
    split = rows.groupby(["level", "stage", "target"]).agg(forecasts=("error", "size"), **names).reset_index()
    return f"Forecasts, in points; {refused:.1%} refused as at chance\n\n{table(whole)}\n\n{table(split)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=500)
    parser.add_argument("--forecasts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    first = given.seed * 1_000_003
    tasks = [(first + index, EFFECTS[index % len(EFFECTS)]) for index in range(given.curves)]
    with multiprocessing.Pool(given.processes) as pool:
        effects = pd.DataFrame(pool.map(judged, tasks, chunksize=4))
        told = pool.map(foreseen, [first + index for index in range(given.forecasts)], chunksize=2)
    text = collapse_tables(effects)
    if told:
        text += "\n\n" + forecast_tables(pd.DataFrame([row for rows in told for row in rows]))
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
