"""How often size effects are found, and none where none is, in planted families whose curves have other offsets.

    python benchmarks/size_effect.py [--curves 400] [--seed 1] [--processes 2] [--out FILE]

Effects of 0, 1, 3 and 5 points a decade are planted on curves of every kind; half of the tables have two or three
families, each with an offset of its own (standard deviation 4 points). Beside the size effect stand an oracle, who
knows the size of every noise and has to fit a curve (five knots) and the offsets only, and the obvious way: a cubic in
the loss and the logarithm of size by least squares, checkpoints taken for independent. "Clear" are tables where the
oracle's standard error is at most 0.75 points. ``size_effects.py`` has the coverage by runs and families, and peers.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import t as student

from markdown import table
from onset.stats.size_effect import size_effect
from planting import EMERGENT, SMOOTH, Curve, Design, design, law, runs

Array = NDArray[np.float64]

EFFECTS = (0.0, 1.0, 3.0, 5.0)
KINDS = EMERGENT + SMOOTH
CLEAR = 0.75
"""Points a decade: the oracle's standard error up to which an effect of 3 can be told."""
MARGIN = 1.0
OFFSET = 0.04
SHIFT = 0.002
"""Standard deviation of where the curve of a run lies, as a share of the lowest loss."""


def planted(seed: int, effect: float) -> tuple[pd.DataFrame, Design, Curve, str]:
    """A table of one to three families on one curve, with an effect of size in points a decade."""
    rng = np.random.default_rng([seed, 5])
    kind = KINDS[seed // len(EFFECTS) % len(KINDS)]
    plan = design(rng, bad_run="", lower_is_better=False, effect=effect, known_items=True)
    families = int(rng.choice([1, 1, 2, 3]))
    parts = [runs(plan, rng).assign(family=f"family-{number}") for number in range(families)]
    seen = pd.concat(parts, ignore_index=True)
    seen["run"] = seen["family"] + "-" + seen["run"]
    curve, _, _ = law(kind, plan, np.sort(seen["loss"].to_numpy()), rng)
    score = np.empty(len(seen))
    decades = np.log10(seen["params"].to_numpy(float) / 1e9)
    for family in seen["family"].unique():
        offset = OFFSET * rng.standard_normal() if families > 1 else 0.0
        for run in seen.loc[seen["family"] == family, "run"].unique():
            here = (seen["run"] == run).to_numpy()
            loss = seen["loss"].to_numpy()[here] + SHIFT * plan.low * rng.standard_normal()
            clean = curve(loss)
            there = np.clip((clean - plan.chance) / 0.02, 0, 1)
            moved = offset + effect / 100 * decades[here] + plan.run_noise * rng.standard_normal()
            drift = plan.drift * rng.standard_normal(here.sum())
            score[here] = rng.binomial(plan.items, np.clip(clean + there * (moved + drift), 0, 1)) / plan.items
    loss = seen["loss"] + plan.loss_noise * rng.standard_normal(len(seen))
    made = seen.assign(loss=loss, score=score, task=kind, metric="accuracy", chance=plan.chance, n_examples=plan.items)
    return made, plan, curve, kind


def judged(task: tuple[int, float]) -> dict[str, Any]:
    """One planted table and what each way makes of it."""
    seed, effect = task
    obs, plan, curve, kind = planted(seed, effect)
    begin = time.process_time()
    found = size_effect(obs, margin=MARGIN)
    seconds = time.process_time() - begin
    error = known_error(obs, plan, curve)
    easy = obvious(obs)
    return {
        "kind": kind, "effect": effect, "families": obs["family"].nunique(), "sizes": plan.sizes,
        "verdict": found.verdict, "value": _number(found.pp_per_decade), "low": _number(found.low),
        "high": _number(found.high), "seconds": seconds, "known_error": error,
        "oracle": float(ndtr((effect - MARGIN - 1.96 * error) / error)) if np.isfinite(error) else 0.0,
        "oracle_not_zero": float(ndtr(effect / error - 1.96) + ndtr(-effect / error - 1.96)),
        "obvious_low": easy[0], "obvious_high": easy[1],
    }  # fmt: skip


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _columns(obs: pd.DataFrame, there: Array) -> Array:
    """Size first, then a curve of five knots and the offsets of families."""
    loss = obs["loss"].to_numpy(float)
    unit = (loss - loss.min()) / max(float(np.ptp(loss)), 1e-9)
    knots = np.quantile(unit, [0.2, 0.4, 0.6, 0.8])
    size = np.log10(obs["params"].to_numpy(float))
    families = pd.get_dummies(obs["family"], drop_first=True).to_numpy(float)
    curve = [np.ones(len(obs)), unit, *(np.maximum(unit - knot, 0) for knot in knots)]
    return np.column_stack([there * (size - size.mean()), *curve, there[:, None] * families])


def known_error(obs: pd.DataFrame, plan: Design, curve: Curve) -> float:
    """Standard error of the effect, in points, for a reader who knows every variance but has to fit a curve."""
    loss = obs["loss"].to_numpy(float)
    clean = np.clip(curve(loss), 0.01, 0.99)
    there = np.clip((curve(loss) - plan.chance) / 0.02, 0.0, 1.0)
    columns = _columns(obs, there)
    if np.ptp(columns[:, 0]) <= 0 or len(obs) < 8:
        return np.inf
    same = obs["run"].to_numpy()[:, None] == obs["run"].to_numpy()[None, :]
    slope = (curve(loss + 1e-3) - curve(loss - 1e-3)) / 2e-3
    noise = same * (np.outer(there, there) * plan.run_noise**2 + np.outer(slope, slope) * (SHIFT * plan.low) ** 2)
    noise = noise + np.diag(
        clean * (1 - clean) / plan.items + (slope * plan.loss_noise) ** 2 + (there * plan.drift) ** 2
    )
    return 100.0 * float(np.sqrt(np.linalg.pinv(columns.T @ np.linalg.solve(noise, columns))[0, 0]))


def obvious(obs: pd.DataFrame) -> tuple[float, float]:
    """Score above chance on a cubic in the loss and log10 of size, by least squares over checkpoints; points."""
    rows = obs[obs["score"] > obs["chance"] + 0.02]
    if len(rows) < 8 or rows["params"].nunique() < 2:
        return np.nan, np.nan
    loss = rows["loss"].to_numpy(float)
    unit = (loss - loss.min()) / max(float(np.ptp(loss)), 1e-9)
    columns = np.column_stack([unit[:, None] ** np.arange(4), np.log10(rows["params"].to_numpy(float))])
    found, *_ = np.linalg.lstsq(columns, rows["score"].to_numpy(float), rcond=None)
    left, free = rows["score"].to_numpy(float) - columns @ found, len(rows) - columns.shape[1]
    reach = float(student.ppf(0.975, free) * np.sqrt(left @ left / free * np.linalg.pinv(columns.T @ columns)[-1, -1]))
    return 100 * (float(found[-1]) - reach), 100 * (float(found[-1]) + reach)


def tables(found: pd.DataFrame) -> str:
    """Verdicts and coverage by planted effect and families, for all tables and where the oracle could tell."""
    covered = (found["low"] <= found["effect"]) & (found["effect"] <= found["high"])
    easy = (found["obvious_low"] <= found["effect"]) & (found["effect"] <= found["obvious_high"])
    found = found.assign(
        differs=found["verdict"] == "differs", equivalent=found["verdict"] == "equivalent",
        not_zero=(found["low"] > 0) | (found["high"] < 0), covered=covered.where(found["low"].notna()).astype(float),
        width=found["high"] - found["low"], error=(found["value"] - found["effect"]).abs(),
        obvious_not_zero=(found["obvious_low"] > 0) | (found["obvious_high"] < 0),
        obvious_covered=easy.where(found["obvious_low"].notna()).astype(float),
        many=np.where(found["families"] > 1, "2 or 3", "1"),
    )  # fmt: skip
    columns = ["differs", "oracle", "not_zero", "oracle_not_zero", "equivalent", "covered", "error", "width",
               "obvious_not_zero", "obvious_covered"]  # fmt: skip

    def told(rows: pd.DataFrame, keys: list[str]) -> str:
        groups = rows.groupby(keys)
        means = groups[columns].mean().assign(width=groups["width"].median(), error=groups["error"].median())
        means.insert(0, "tables", groups.size())
        return table(means.reset_index().rename(columns={"many": "families", "error": "median error"}))

    clear = found[found["known_error"] <= CLEAR]
    return "\n\n".join([
        "All tables, by planted effect (points a decade)\n\n" + told(found, ["effect"]),
        f"Clear tables ({len(clear)})\n\n" + told(clear, ["effect"]),
        "Clear tables, by families\n\n" + told(clear, ["many", "effect"]),
        "None planted, by kind\n\n" + told(found[found["effect"] == 0], ["kind"]),
        f"{found['seconds'].mean():.2f} s a table (median {found['seconds'].median():.2f})",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    first = given.seed * 1_000_003
    tasks = [(first + index, EFFECTS[index % len(EFFECTS)]) for index in range(given.curves)]
    with multiprocessing.Pool(given.processes) as pool:
        text = tables(pd.DataFrame(pool.map(judged, tasks, chunksize=4)))
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
