"""Questions by loss and by item response: planted truths, and girth's two-parameter model on the same answers.

    python benchmarks/items.py [--tables 20] [--seed 8101] [--out FILE]

Two parts: losses at which questions are learnt (planted, with neighbouring checkpoints that answer alike), coverage of
their 95 % intervals; difficulty and discrimination beside ``girth`` (``pip install girth``; left out where it is not
installed). Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from markdown import table
from onset.stats.data import Array
from onset.stats.items import response_model as response
from onset.stats.items.learning import SLIP, Responses, learnt_at

GUESS = 0.25


def learning(rng: np.random.Generator, alike: float, runs: int, checkpoints: int) -> dict[str, float]:
    """One table of 200 questions; a share ``alike`` of answers is that of the checkpoint before."""
    places = rng.uniform(1.9, 3.1, 200)
    slopes = np.exp(rng.normal(2.5, 0.5, 200))
    loss, run, value = [], [], []
    for number in range(runs):
        own = np.linspace(3.2, 2.0 + 0.6 * rng.random() * (number > 0), checkpoints)
        share = GUESS + (1 - SLIP - GUESS) / (1 + np.exp(-slopes * (places - own[:, None])))
        luck = rng.random(share.shape)
        for row in range(1, checkpoints):
            same = rng.random(200) < alike
            luck[row, same] = luck[row - 1, same]
        loss.append(own)
        run.append(np.full(checkpoints, number))
        value.append((luck < share).astype(float))
    asked = Responses(
        tuple(map(str, range(200))), np.concatenate(run), np.concatenate(loss), np.concatenate(value)
    )  # fmt: skip
    found = learnt_at(asked, GUESS)
    seen = places > asked.loss.min()
    told = (found["state"] == "learnt").to_numpy()
    inside = ((found["low"] <= places) & (places <= found["high"])).to_numpy()
    return {
        "covered": inside[told & seen].mean(), "error": float(np.median(np.abs(found["loss"] - places)[told & seen])),
        "width": float((found["high"] - found["low"])[told].median()), "state right": float((told == seen).mean()),
    }  # fmt: skip


def models(rng: np.random.Generator, checkpoints: int, items: int) -> Iterator[dict[str, object]]:
    """Ours and girth's errors on one table without guessing, which girth's model does not know."""
    ability, difficulty = rng.standard_normal(checkpoints), rng.normal(0, 1, items)
    slope = np.exp(rng.normal(0.2, 0.4, items))
    share = 1 / (1 + np.exp(-slope * (ability[:, None] - difficulty)))
    value = (rng.random(share.shape) < share).astype(float)
    began = time.process_time()
    ours = response.fit(value)
    yield _errors("onset", ours.difficulty, ours.discrimination, difficulty, slope, time.process_time() - began)
    if find_spec("girth") is not None:
        from girth import twopl_mml

        began = time.process_time()
        made = twopl_mml(value.T.astype(int))
        spent = time.process_time() - began
        yield _errors("girth", made["Difficulty"], made["Discrimination"], difficulty, slope, spent)


def _errors(
    name: str, difficulty: Array, slope: Array, truth: Array, steep: Array, seconds: float
) -> dict[str, object]:
    return {
        "model": name, "difficulty, rms error": float(np.sqrt(np.mean((difficulty - truth) ** 2))),
        "log discrimination, rms error": float(np.sqrt(np.mean(np.log(slope / steep) ** 2))),
        "rank correlation of difficulty": float(pd.Series(difficulty).corr(pd.Series(truth), method="spearman")),
        "seconds": seconds,
    }  # fmt: skip


def report(tables: int, seed: int) -> str:
    """The whole page."""
    rng = np.random.default_rng(seed)
    first = [
        {"runs": runs, "checkpoints": checkpoints, "answers alike": alike,
         **pd.DataFrame([learning(rng, alike, runs, checkpoints) for _ in range(tables)]).mean().to_dict()}
        for runs, checkpoints in ((4, 12), (4, 40), (20, 6))
        for alike in (0.0, 0.5)
    ]  # fmt: skip
    second = [
        {"checkpoints": checkpoints, "items": items, **row}
        for checkpoints, items in ((60, 100), (200, 200))
        for _ in range(max(2, tables // 10))
        for row in models(rng, checkpoints, items)
    ]
    means = pd.DataFrame(second).groupby(["checkpoints", "items", "model"], sort=False).mean().reset_index()
    return "\n".join([
        "## Losses at which questions are learnt\n", table(pd.DataFrame(first), 3),
        "\n## Difficulty and discrimination\n", table(means, 3),
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--seed", type=int, default=8101)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = report(given.tables, given.seed)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
