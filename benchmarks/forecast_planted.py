"""How often forecasts of a size that was held out hold what it scored: by its loss, and by its size and tokens.

    python benchmarks/forecast_planted.py [--forecasts 200] [--seed 1] [--processes 2] [--out FILE]

The held-out size is the largest of a planted family; beside the forecast stands a logistic curve in the loss with its
residual band. Prints Markdown; nothing is read from elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from markdown import table
from onset.stats.forecast import forecast
from onset.stats.prediction.least_squares import logistic
from planting import EMERGENT, SMOOTH, design, law

KINDS = EMERGENT + SMOOTH
LEVELS = (0.95, 0.8)


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
    parser.add_argument("--forecasts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    first = given.seed * 1_000_003
    with multiprocessing.Pool(given.processes) as pool:
        told = pool.map(foreseen, [first + index for index in range(given.forecasts)], chunksize=2)
    text = forecast_tables(pd.DataFrame([row for rows in told for row in rows]))
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
