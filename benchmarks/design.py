"""Designs against what then came: predicted power of ten planned families, and tables that were planted afterwards.

    python benchmarks/design.py [--draws 20] [--seed 7001] [--out FILE]

Each design has a family, a curve and noise. The power is predicted as ``onset design`` does; then as many tables are
planted by another generator (``planted_scores``, as for the benchmark of thresholds), whose items are drawn anew for
every checkpoint, and go through the same statistics. Prints shares of answers of both, and how often they differ by
more than sampling explains (Fisher's exact test, 5 %). Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from design_cases import QUESTIONS, Case, cases, planted
from markdown import table
from onset.stats.design import power
from onset.stats.parallel import Workers, cores


def compared(case: Case, draws: int, seed: int, workers: Workers) -> Iterator[dict[str, object]]:
    """One row a question: predicted and planted shares, and the p-value of their difference."""
    told, asked = case.believed, power.Asked()
    target = power.ten_times(case.family)
    jobs = [power._Job(case.family, told.law, told.curves[0], target, asked, seed + draw) for draw in range(2 * draws)]
    predicted = workers.map(power.answer, jobs[:draws])
    came = workers.map(planted, jobs[draws:])
    for place, question in enumerate(QUESTIONS):
        counts = [sum(one[place].answered for one in side) for side in (predicted, came)]
        widths = [np.nanmedian([*(one[place].width for one in side), np.nan]) for side in (predicted, came)]
        p = stats.fisher_exact([[count, draws - count] for count in counts]).pvalue
        yield {
            "design": case.name, "question": question, "predicted": counts[0] / draws, "came": counts[1] / draws,
            "p": float(p), "width predicted": float(widths[0]), "width that came": float(widths[1]),
        }  # fmt: skip


def report(draws: int, seed: int) -> str:
    """The whole page."""
    began = time.process_time()
    with Workers(cores()) as workers:
        rows = pd.DataFrame([row for case in cases() for row in compared(case, draws, seed, workers)])
    by_question = rows.groupby("question", sort=False).agg(
        designs=("p", "size"), predicted=("predicted", "mean"), came=("came", "mean"),
        differ=("p", lambda values: int((values < 0.05).sum())),
    ).reset_index()  # fmt: skip
    apart = int((rows["p"] < 0.05).sum())
    return "\n".join([
        f"{len(rows)} pairs of shares, each of {draws} and {draws} tables; {apart} differ at 5 %.\n",
        table(by_question, 2), "\n## By design\n", table(rows, 2),
        f"\nProcessor time of this process: {time.process_time() - began:.0f} s.",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7001)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = report(given.draws, given.seed)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
