"""Published runs as observations, for back-tests of forecasts: read through ``onset import`` from a folder of exports.

``DIR`` is the folder that ``ONSET_SHARED`` names with ``data`` added: results/{gadre2024,gemstones}.csv.gz and
atlas/{bigscience,colpret}. Nothing of it is kept here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import onset
from onset.adapters.collect import collect
from onset.adapters.command import options_of

RESTARTS = "{run}-run-{restart}"
MMLU_PARTS = (
    "medical", "math", "physics", "computer_science", "history_and_general", "phsychology", "legal_gov", "other",
    "economic_business", "chemistry", "sociology",
)  # fmt: skip
"""Groups of MMLU in Amber's export: four choices."""
K2_TOKENS, K2_CHECKPOINTS = 1.4e12, 360
"""Tokens of K2's first stage and its checkpoints, by the paper (arXiv 2501.07124); its evaluations are numbered by
checkpoint, its training losses by sample."""


@dataclass(frozen=True)
class Case:
    """Rows to learn from and rows held out."""

    name: str
    kind: str
    """``size``, ``end`` or ``loss``"""
    known: pd.DataFrame = field(repr=False)
    held: pd.DataFrame = field(repr=False)

    @property
    def times(self) -> float:
        """Largest held-out size over the largest known one; 1 where it is the same run."""
        return float(self.held["params"].max() / self.known["params"].max())


def cases(folder: Path) -> Iterator[Case]:
    """Held-out sizes, then held-out ends of runs."""
    gadre = onset.read(folder / "results/gadre2024.csv.gz")
    gems = onset.read(folder / "results/gemstones.csv.gz").assign(schedule="constant")
    # The parts of MMLU that were scored differ between checkpoints, and none is beyond chance.
    gems = gems[gems["task"] != "mmlu"]
    opt = _opt(folder)
    for table, name, edges in (
        (gadre, "gadre2024", [(2e8, 2e9), (5e8, 2e9), (5e8, 8e9), (2e9, 8e9)]),
        (gems, "gemstones", [(2e8, 9e8), (2e8, 1.5e9), (9e8, 3e9), (1.5e9, 3e9)]),
        (opt, "OPT", [(2e9, 2e10), (1e10, 4e10), (2e10, 2e11)]),
    ):
        yield from _by_size(table, name, edges)
    for table in (opt, _olmo(folder), _amber(folder), _bigscience(folder), _k2(folder)):
        yield from _ends(table)


def _by_size(table: pd.DataFrame, name: str, edges: list[tuple[float, float]]) -> Iterator[Case]:
    """Sizes up to the first edge are known, the largest below the second edge is held out (the end of its runs)."""
    for edge, top in edges:
        known, rest = table[table["params"] < edge], table[(table["params"] >= edge) & (table["params"] < top)]
        held = rest[rest["params"] > 0.8 * rest["params"].max()]
        label = f"{name}, at most {_billions(known)} to {_billions(held)}"
        yield Case(label, "size", known, _last_tenth(held))


def _ends(table: pd.DataFrame) -> Iterator[Case]:
    """The first half of each run is known, its last tenth held out."""
    for run, rows in table.groupby("run", sort=False):
        known = rows[rows["tokens"] <= 0.5 * rows["tokens"].max()]
        if known["tokens"].nunique() >= 8:
            yield Case(f"{run}, first half", "end", known, _last_tenth(rows))


def _last_tenth(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["tokens"] >= 0.9 * rows.groupby("run")["tokens"].transform("max")]


def _billions(rows: pd.DataFrame) -> str:
    return f"{rows['params'].max() / 1e9:.2g} B"


def _table(scores: list[str], losses: list[str] | None = None, **options: Any) -> pd.DataFrame:
    return collect(scores, losses or (), options_of(**options)).observations


def _olmo(folder: Path) -> pd.DataFrame:
    return _table(
        [str(folder / "atlas/colpret/olmo/*.csv")], restarts=RESTARTS, loss=["c4_en", "v2-small-c4_en"],
        params=["OLMo-1B=1.18B", "OLMo-7B*=6.89B"], tokens_per_step=["OLMo-1B=4194304", "OLMo-7B*=4423680"],
    )  # fmt: skip


def _amber(folder: Path) -> pd.DataFrame:
    rows = _table(
        [str(folder / "atlas/colpret/amber")], rename=["*=Amber"], metric="accuracy", tokens_per_step=["3.5B"],
        params=["6.74B"], loss=["average per doc"],
    )  # fmt: skip
    rows.loc[rows["task"].isin(MMLU_PARTS), "chance"] = 0.25
    return rows


def _opt(folder: Path) -> pd.DataFrame:
    where = folder / "atlas/colpret/opt"
    return _table(
        [str(where / "opt.csv")], [str(where / "opt_trajectories.csv")], score=["bigbench__*"], metric="accuracy"
    )  # fmt: skip


def _bigscience(folder: Path) -> pd.DataFrame:
    rows = _table([str(folder / "atlas/bigscience")], params=["1.3B"])
    # One run's LAMBADA is in bits for its second half; and a task cannot be predicted from its own perplexity.
    return rows[~rows["run"].str.startswith("tr12b") & (rows["task"] != "lambada")]


def _k2(folder: Path) -> pd.DataFrame:
    """K2-65B: evaluations by checkpoint, the training loss by sample, smoothed over a checkpoint."""
    parts, loss = [], pd.DataFrame()
    for path in sorted((folder / "atlas/colpret/k2").glob("*.csv")):
        table = pd.read_csv(path)
        for name in table:
            if name.startswith("k2 eval - ") and "__" not in name:
                task = name.removeprefix("k2 eval - ").partition("@")[0]
                parts.append(pd.DataFrame({"step": table["Step"], "task": task, "score": table[name] / 100}).dropna())
            elif name == "k2 training - lm loss":
                loss = table[["Step", name]].dropna().rename(columns={"Step": "samples", name: "loss"})
    rows = pd.concat(parts, ignore_index=True)
    rows["tokens"] = rows["step"] * K2_TOKENS / K2_CHECKPOINTS
    at = 2048.0 * loss["samples"].to_numpy(float)
    near = [np.abs(at - tokens) < 0.5 * K2_TOKENS / K2_CHECKPOINTS for tokens in rows["tokens"]]
    rows["loss"] = [float(loss["loss"].to_numpy()[here].mean()) if here.any() else np.nan for here in near]
    chance = {"medmcqa": 0.25, "race": 0.25, "openbookqa5": 0.25, "arc_easy": 0.25, "mbpp": 0.0}
    items = {"medmcqa": 4183, "race": 1045, "openbookqa5": 500, "arc_easy": 2376, "mbpp": 500}
    return rows.dropna(subset="loss").assign(
        run="K2-65B", params=65e9, metric="accuracy", loss_name="training", loss_unit="nats/token",
        chance=rows["task"].map(chance), n_examples=rows["task"].map(items).astype(float), family="K2",
    )  # fmt: skip
