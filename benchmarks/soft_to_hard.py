"""Two steps through a continuous metric against one: does the cross-entropy of right answers help to foretell scores?

    ONSET_SHARED=DIR python benchmarks/soft_to_hard.py [--out FILE]

Held-out sizes of the tables that have both metrics of the same items. One step: the score given the loss. Two steps:
the cross-entropy given the loss by the same method, then the score by a logistic curve of the known rows' score in
their cross-entropy (floor: chance), or by the local curve of forecasts. Two bounds say what could be gained: ``soft
metric known`` takes the cross-entropy that came, ``second curve known`` learns the second step from the held-out runs
too, as if other makers' models had told the curve. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from markdown import table
from onset.errors import OnsetError
from onset.stats.forecast import forecast
from onset.stats.prediction.least_squares import logistic
from published_runs import Case, cases

SOFT, HARD = "gold_answer_ce", "acc"


def of_case(case: Case) -> Iterator[dict[str, object]]:
    """Errors of each task's held-out runs by each way, in points."""
    for task in sorted(set(case.known["task"])):
        of_task = [rows[rows["task"] == task] for rows in (case.known, case.held.sort_values("tokens"))]
        known, held = ({name: rows[rows["metric"] == name] for name in (SOFT, HARD)} for rows in of_task)
        ends = {name: held[name].groupby("run").tail(1).set_index("run") for name in (SOFT, HARD)}
        targets = ends[HARD][["loss", "params"]].reset_index()
        try:
            one = forecast(known[HARD], targets, thresholds={}).scores
            soft = forecast(known[SOFT], targets, thresholds={}).scores
        except OnsetError:
            continue
        if (one["verdict"] == "refused").any() or (soft["verdict"] == "refused").any():
            continue
        seen = ends[HARD].loc[targets["run"], "score"].to_numpy(float)
        came = ends[SOFT].loc[targets["run"], "score"].to_numpy(float)
        ways = {
            "one step": one["score"].to_numpy(float),
            "two steps": second_step(known, soft["score"].to_numpy(float)),
            "soft metric known": second_step(known, came),
            "second curve known": second_step(
                {name: pd.concat([known[name], held[name]]) for name in known}, soft["score"].to_numpy(float)
            ),
        }
        ways["two steps, local curve"] = local_step(known, soft["score"].to_numpy(float))
        yield {"case": case.name, "task": task} | {
            way: 100 * float(np.mean(np.abs(values - seen))) for way, values in ways.items()
        }


def second_step(known: dict[str, pd.DataFrame], soft: np.ndarray) -> np.ndarray:
    """Scores at cross-entropies, by a logistic curve of the known rows."""
    pairs = known[HARD].merge(known[SOFT][["run", "tokens", "score"]], on=["run", "tokens"], suffixes=("", "_soft"))
    floor = float(pairs["chance"].mean()) if pairs["chance"].notna().all() else None
    found = logistic(-pairs["score_soft"].to_numpy(float), pairs["score"].to_numpy(float), -soft, floor, True, 0.95)
    return np.asarray(found[0], dtype=float)


def local_step(known: dict[str, pd.DataFrame], soft: np.ndarray) -> np.ndarray:
    """The same by the method of forecasts, with the cross-entropy in the place of the loss; NaN where it refuses."""
    softer = known[SOFT][["run", "tokens", "score"]].rename(columns={"score": "soft"})
    pairs = known[HARD].merge(softer, on=["run", "tokens"])
    pairs = pairs.assign(loss=pairs["soft"])
    made = forecast(pairs, pd.DataFrame({"loss": soft, "params": pairs["params"].max()}), thresholds={}).scores
    return made["score"].to_numpy(float)


def report(folder: Path) -> str:
    """The whole page."""
    rows = pd.DataFrame([
        row
        for case in cases(folder)
        if case.kind == "size" and {SOFT, HARD} <= set(case.known["metric"])
        for row in of_case(case)
    ])  # fmt: skip
    ways = ["one step", "two steps", "two steps, local curve", "soft metric known", "second curve known"]
    means = rows.groupby("case", sort=False)[ways].mean().reset_index()
    counts = f"{len(rows)} tasks of {rows['case'].nunique()} splits; two steps are nearer in "
    nearer = f"{int((rows['two steps'] < rows['one step']).sum())} of them.\n"
    parts = [counts + nearer, table(rows[ways].agg(["mean", "median"]).reset_index(names=""), 2)]
    return "\n".join([*parts, "\n## Mean error by split, pp\n", table(means, 2)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    shared = os.environ.get("ONSET_SHARED")
    if not shared:
        parser.error("ONSET_SHARED does not name the folder with data/results and data/atlas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        text = report(Path(shared) / "data")
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
