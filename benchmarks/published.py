"""Two published tables read again: what is known of them must come out.

    python benchmarks/published.py DIR

``DIR`` holds ``gadre2024.csv.gz`` and ``gemstones.csv.gz`` with the tables of losses beside them, as observations.
Gadre et al. 2024: verdicts; then one curve or several, within a corpus and across the three, every family on a loss
of its own and all on one shared text. Gemstones: what foresees a shape that was left out. Prints Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import onset
from markdown import table
from onset.errors import OnsetError
from onset.results.text import interval
from onset.stats.factor_effects import factor_effects
from onset.stats.loss_scores import foresight, worth
from onset.stats.predictors import PREDICTORS, predictors

CORPORA = {
    "open_lm-c4_original": "paloma_c4_en", "open_lm-rpj": "paloma_redpajama",
    "open_lm-rw_original": "paloma_falcon-refinedweb",
}  # fmt: skip
"""Each corpus and the validation text that is of its kind."""
AXES = {
    "each its own": ",".join(f"{family}={loss}" for family, loss in CORPORA.items()),
    "openlm (shared)": "openlm",
    "c4_val (shared)": "c4_val",
    "paloma_falcon-refinedweb (shared)": "paloma_falcon-refinedweb",
}
KNOWN_AT_CHANCE = ("mmlu", "agi_eval", "arithmetic")


def corpora(path: Path) -> pd.DataFrame:
    """A row an axis: within and across corpora, in R², and the effect of the corpus at equal loss, in points."""
    pairs = worth(onset.read(path, "c4_val"))
    told = []
    for name, axis in AXES.items():
        obs = onset.read(path, axis)
        across = foresight(obs, pairs, "family")
        if across is None:
            raise OnsetError("no score of two corpora", where=path)
        within = [predictors(rows)["loss"] for _, rows in _each(obs, pairs, ["family"])]
        apart = [fit for _, rows in _each(obs, pairs, []) for fit in factor_effects(rows, names=["family"])]
        points = [abs(fit.pp) for fit in apart if fit.pp is not None]
        told.append({
            "loss": name, "tasks": len(pairs), "within a corpus, R²": _median(within, "r2_held_out"),
            "points off": _median(within, "error_pp"),
            "another corpus, R² (median)": float(np.median(list(across.by_task.values()))),
            "R² (mean)": across.r2, "off by": across.error_points,
            "corpora apart, points (median)": float(np.median(points)) if points else np.nan,
            "beyond 1 point": sum(fit.verdict == "differs" for fit in apart),
            "within it": sum(fit.verdict == "equivalent" for fit in apart),
        })  # fmt: skip
    return pd.DataFrame(told)


def _each(obs: pd.DataFrame, pairs: list[tuple[str, str]], keys: list[str]) -> list[tuple[object, pd.DataFrame]]:
    """The rows of every wanted task and metric, apart by ``keys`` as well."""
    return [
        (key, rows) for key, rows in obs.groupby(["task", "metric", *keys], sort=True) if tuple(key[:2]) in set(pairs)
    ]


def _median(found: list[dict[str, float | None]], name: str) -> float:
    return float(np.median([value for one in found if (value := one[name]) is not None]))


def shapes(path: Path) -> pd.DataFrame:
    """A row a task: R² and error of every predictor for a shape that was left out."""
    obs = onset.read(path)
    rows = []
    for (task, metric), part in obs.groupby(["task", "metric"], sort=True):
        if metric != "acc":
            continue
        found = predictors(part)
        r2 = {f"R², {name}": found[name]["r2_held_out"] for name in PREDICTORS}
        off = {f"off by, {name}": found[name]["error_pp"] for name in ("loss", "flops")}
        size = onset.size_effect(part)
        rows.append({
            "task": task, **r2, **off,
            "a decade of parameters": interval(size.pp_per_decade, size.low, size.high, 1),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Prints the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    folder = options.parse_args().folder
    gadre = folder / "gadre2024.csv.gz"
    found = onset.analyze(onset.read(gadre)).summary()
    print("Verdicts, gadre2024 on c4_val:", found["verdict"].value_counts().to_dict(), "\n")
    chance = found[found["task"].str.contains("|".join(KNOWN_AT_CHANCE))]
    print(table(chance[["task", "verdict"]]), "\n")
    print(table(corpora(gadre), digits=2), "\n")
    print("gemstones, on fineweb_edu_val\n")
    print(table(shapes(folder / "gemstones.csv.gz"), digits=2))


if __name__ == "__main__":
    main()
