"""How often collapse and forecast are right: planted size effects and held-out sizes whose truth is known.

    python benchmarks/collapse_forecast.py [--curves 500] [--forecasts 200] [--seed 1] [--processes 2] [--out FILE]

Size effects of 0, 1, 3 and 5 points a decade are planted on curves of every kind, and ``collapse`` is asked
about them with the planted threshold. Beside what it finds stands the ceiling: how often a reader would find it who
knows the size of every noise and only has to fit a curve. "The data could tell" means that this reader has a
standard error of at most 0.75 points a decade. Forecasts are of a size that was left out because it is the largest:
by its loss, and by its size and tokens. Prints tables; nothing is read from elsewhere.
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
from scipy.special import ndtr, ndtri

from onset.analysis.collapse import MARGIN, collapse
from onset.analysis.forecast import forecast
from onset.analysis.result import Interval
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
    return {
        "kind": kind, "effect": effect, "verdict": found.verdict, "value": points.value, "low": points.low,
        "high": points.high, "seconds": seconds, "known_error": error, "ceiling_beyond": ceiling(effect, error, MARGIN),
        "ceiling_not_zero": ceiling(effect, error, 0.0),
        **{name: planted.facts[name] for name in ("sizes", "checkpoints", "items")},
    }  # fmt: skip


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
    table = family(sizes, checkpoints, rng)
    known = (table["params"] < table["params"].max()).to_numpy()
    kind = KINDS[seed % len(KINDS)]
    plan = design(
        rng, bad_run="", sizes=sizes, checkpoints=checkpoints, high=table["loss"].max(), low=table["loss"].min(),
        items=int(np.exp(rng.uniform(np.log(200), np.log(5000)))),
    )  # fmt: skip
    curve, _, _ = law(kind, plan, np.sort(table["loss"].to_numpy()[known]), rng)
    scored = measured(table, curve, plan.chance, plan.items, plan.run_noise, rng)
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
    table: pd.DataFrame, curve: Callable[[Any], Any], chance: float, items: int, run_noise: float,
    rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """Scores on the curve, with runs that differ where there is an ability and the noise of items."""
    clean = curve(table["loss"].to_numpy())
    there = np.clip((clean - chance) / 0.02, 0, 1)
    runs = dict.fromkeys(table["run"])
    moved = table["run"].map({run: run_noise * rng.standard_normal() for run in runs}).to_numpy(float)
    score = rng.binomial(items, np.clip(clean + there * moved, 0, 1)) / items
    return table.assign(task="planted", metric="accuracy", score=score, chance=chance, n_examples=items)


def collapse_tables(found: pd.DataFrame) -> str:
    """Verdicts and coverage by planted effect, for all curves and where the data could tell."""
    found = found.assign(
        claimed=found["verdict"] == "size_matters",
        not_zero=(found["low"] > 0) | (found["high"] < 0),
        one_curve=found["verdict"] == "collapses",
        covered=((found["low"] <= found["effect"]) & (found["effect"] <= found["high"])).where(found["low"].notna()),
        width=found["high"] - found["low"],
        can_tell=found["known_error"] <= CAN_TELL,
    )

    def table(rows: pd.DataFrame, keys: list[str]) -> str:
        told = rows.groupby(keys).agg(
            curves=("effect", "size"), size_matters=("claimed", "mean"), ceiling=("ceiling_beyond", "mean"),
            not_zero=("not_zero", "mean"), ceiling_=("ceiling_not_zero", "mean"), collapses=("one_curve", "mean"),
            covered=("covered", "mean"), width=("width", "median"),
        )  # fmt: skip
        return told.astype({"covered": float}).round(3).to_string()

    return "\n\n".join([
        "collapse, all curves\n" + table(found, ["effect"]),
        f"where the data could tell\n{table(found[found['can_tell']], ['effect'])}",
        "by sizes\n" + table(found, ["sizes", "effect"]),
        f"seconds a curve: {found['seconds'].mean():.3f} (median {found['seconds'].median():.3f})",
    ])  # fmt: skip


def forecast_tables(found: pd.DataFrame) -> str:
    """Coverage, error and width by level and stage, within and beyond the losses seen."""
    refused = found["refused"].mean()
    rows = found[~found["refused"]]
    rows = rows.assign(where=np.where(rows["beyond"] > 0, "beyond the losses seen", "within"))
    names = {"covered": ("covered", "mean"), "error": ("error", "mean"), "width": ("width", "mean")}
    whole = rows.groupby(["level", "stage"]).agg(forecasts=("error", "size"), **names).round(3).to_string()
    split = rows.groupby(["level", "stage", "where"]).agg(forecasts=("error", "size"), **names).round(3).to_string()
    return f"forecast (points; {refused:.1%} refused as at chance)\n{whole}\n\n{split}"


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
