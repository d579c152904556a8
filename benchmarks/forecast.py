"""Forecasts of published runs: sizes and ends of runs that were held out, beside what is commonly done.

    ONSET_SHARED=DIR python benchmarks/forecast.py [--out FILE]

For each table the smaller sizes (or the first half of a run) are known and a larger size (the last tenth) is predicted:
given its loss, and given only its size and tokens. Beside the forecast stand a logistic curve in loss, one in log
compute, and the two steps of the OLMo ladder (Bhagia et al. 2024, arXiv 2412.04403): a law of a task's loss in size
and tokens, then a sigmoid of the score in that loss (the loss of the answers where the table has it, else the table's).
The same tasks for all: those that the forecast does not refuse. Prints Markdown. The tables: ``published_runs``.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, special

from markdown import table
from onset.errors import OnsetError
from onset.stats import loss_fit, loss_law
from onset.stats.forecast import forecast
from onset.stats.loss_rows import choose
from onset.stats.prediction.least_squares import logistic
from published_runs import Case, cases

LEVELS = (0.8, 0.95)
MOST = 3
"""Checkpoints of a held-out run that are predicted: the last ones."""


def of_case(case: Case) -> Iterator[dict[str, object]]:
    """One row a method, task, held-out checkpoint and level."""
    held = case.held[case.held["metric"].isin(_SHARES)].sort_values("tokens")
    held = held.groupby(["run", "task", "metric"], sort=False).tail(MOST).reset_index(drop=True)
    held["target"] = np.arange(len(held))
    known = case.known.merge(held[["task", "metric"]].drop_duplicates())
    steps = {"given the loss": ["loss"]}
    law = None
    if case.kind == "size":
        law = loss_law.fit(case.known)
        steps["given size and tokens"] = ["tokens"]
    for stage, names in steps.items():
        columns = [name for name in ("run", "family", "n_examples", "params", "task", "metric") if name in held]
        made = forecast(known, held[[*columns, "target", *names]], thresholds={}, law=law)
        predicted = held.loc[made.quantiles["target"]]
        for level in LEVELS:
            ends = [made.levels.index(round(end, 3)) for end in ((1 - level) / 2, (1 + level) / 2)]
            for row, quantiles in zip(predicted.itertuples(), made.quantiles["quantiles"], strict=True):
                low, middle, high = (quantiles[place] for place in (ends[0], made.levels.index(0.5), ends[1]))
                yield _row(
                    case, str(row.task), str(row.metric), stage, "onset", level, float(row.score), middle, low, high
                )
            yield from _baselines(case, known, predicted, stage, level)


def _row(
    case: Case, task: str, metric: str, stage: str, method: str, level: float, seen: float, score: float,
    low: float = np.nan, high: float = np.nan,
) -> dict[str, object]:  # fmt: skip
    return {
        "case": case.name, "kind": case.kind, "times": case.times, "task": task, "metric": metric, "stage": stage,
        "method": method, "level": level, "error": 100 * abs(score - seen), "bias": 100 * (score - seen),
        "covered": float(low <= seen <= high) if np.isfinite(low) else np.nan, "width": 100 * (high - low),
    }  # fmt: skip


def _baselines(
    case: Case, known: pd.DataFrame, held: pd.DataFrame, stage: str, level: float
) -> Iterator[dict[str, object]]:
    for (task, metric), rows in held.groupby(["task", "metric"], sort=False):
        before = known[(known["task"] == task) & (known["metric"] == metric)]
        floor = float(before["chance"].mean()) if before["chance"].notna().all() else None
        score, seen = before["score"].to_numpy(float), rows["score"].to_numpy(float)
        if stage == "given the loss":
            columns, name = [-frame["loss"].to_numpy(float) for frame in (before, rows)], "logistic in loss"
        else:
            columns, name = (
                [np.log(frame["params"].to_numpy(float) * frame["tokens"]) for frame in (before, rows)],
                "logistic in compute",
            )
        found = logistic(np.asarray(columns[0], float), score, np.asarray(columns[1], float), floor, True, level)
        for values in zip(seen, *found, strict=True):
            yield _row(case, str(task), str(metric), stage, name, level, *values)
        if stage != "given the loss":
            for values in zip(seen, _two_steps(case, str(task), before, rows), strict=True):
                yield _row(case, str(task), str(metric), stage, "two steps (OLMo ladder)", level, *values)


def _two_steps(case: Case, task: str, before: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Scores by a law of the task's loss in size and tokens, then a sigmoid with free floor and height in that loss."""
    answers = case.known[(case.known["task"] == task) & (case.known["metric"] == "gold_answer_ce")]
    if len(answers):
        answers = answers.assign(loss=answers["score"])
        pairs = before[["run", "tokens", "score"]].merge(answers[["run", "tokens", "loss"]])
    else:
        answers, pairs = before, before[["run", "tokens", "score", "loss"]]
    law_rows = choose(answers)
    law = loss_fit.natural(loss_fit.best(law_rows, np.ones(len(law_rows.loss))))
    losses = loss_fit.law(law[None, : loss_fit.LAW], rows["params"].to_numpy(float), rows["tokens"].to_numpy(float))[0]
    at, score = pairs["loss"].to_numpy(float), pairs["score"].to_numpy(float)
    middle, width = float(np.median(at)), max(float(np.ptp(at)), 1e-6)

    def sigmoid(theta: np.ndarray, loss: np.ndarray) -> np.ndarray:
        return np.asarray(theta[0] + theta[1] * special.expit(-(loss - middle) / width * np.exp(theta[2]) + theta[3]))

    starts = [
        [score.min(), np.ptp(score) * 1.2, steep, shift] for steep in (0.5, 1.5, 2.5) for shift in (-2.0, 0.0, 2.0)
    ]
    bounds = ([-0.2, 0.0, -3.0, -30.0], [1.0, 1.2, 6.0, 30.0])
    fits = [optimize.least_squares(lambda theta: sigmoid(theta, at) - score, start, bounds=bounds) for start in starts]
    return sigmoid(min(fits, key=lambda fit: fit.cost).x, losses)


def losses(case: Case) -> dict[str, object]:
    """Relative error of held-out losses by size and tokens, and coverage."""
    seen = case.held.sort_values("tokens").groupby("run", sort=False).tail(1)
    made: dict[str, object] = {"table": case.name, "times the size": case.times, "runs": len(seen)}
    for level in LEVELS:
        law = loss_law.fit(case.known, level=level)
        found = [
            law.predict(row.params, row.tokens, family=str(row.family)).iloc[0] for row in seen.itertuples(index=False)
        ]
        ratio = np.array([one["loss"] for one in found]) / seen["loss"].to_numpy(float)
        inside = [one["low"] <= value <= one["high"] for one, value in zip(found, seen["loss"], strict=True)]
        made |= {"error, %": float(np.mean(100 * np.abs(ratio - 1))), f"within {level:.0%}": float(np.mean(inside))}
    return made | {"learnt from": choose(case.known).basis}


def summary(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Error over tasks (a task counts once), coverage over checkpoints."""
    values = ["error", "bias", "covered", "width"]
    one = [*keys, *(name for name in ("case", "task", "metric", "level") if name not in keys)]
    tasks = rows.groupby(one, sort=False)[values].mean().reset_index()
    narrow, wide = (tasks[tasks["level"] == level].groupby(keys, sort=False) for level in LEVELS)
    return pd.DataFrame({
        "tasks": narrow.size(), "mean error, pp": narrow["error"].mean(), "median": narrow["error"].median(),
        "bias": narrow["bias"].mean(), "within 80 %": narrow["covered"].mean(), "within 95 %": wide["covered"].mean(),
        "width of 80 %, pp": narrow["width"].mean(),
    }).reset_index()  # fmt: skip


_SHARES = ("acc", "acc_norm", "accuracy", "len_norm", "exact_match")


def report(folder: Path) -> str:
    """The whole page."""
    told, by_loss, left_out = [], [], []
    for case in cases(folder):
        try:
            told += list(of_case(case))
            if case.kind == "size":
                by_loss.append(losses(case))
        except OnsetError as error:
            left_out.append(f"{case.name}: {error.what}")
    rows = pd.DataFrame(told)
    sizes, ends = rows[rows["kind"] == "size"], rows[rows["kind"] == "end"]
    parts = [
        "## Held-out sizes, all tables\n", table(summary(sizes, ["stage", "method"]), 2),
        "\n## Held-out ends of runs (first half known, last tenth predicted)\n",
        table(summary(ends, ["stage", "method"]), 2),
        "\n## By table\n", table(summary(sizes, ["case", "stage", "method"]), 2),
        "\n", table(summary(ends, ["case", "stage", "method"]), 2),
        "\n## Loss from size and tokens\n", table(pd.DataFrame(by_loss), 2),
    ]  # fmt: skip
    if left_out:
        parts += ["\nLeft out:\n", *(f"* {one}" for one in left_out)]
    return "\n".join(parts)


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
