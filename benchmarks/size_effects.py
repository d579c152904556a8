"""Size effects in planted tables by runs, families, noise between runs and autocorrelation; and two peers.

    python benchmarks/size_effects.py [--tables 40] [--seed 1] [--processes 2] [--peers 20] [--out FILE]

Effects of 0 and 3 points a decade are planted on five curves (a hinge, two bent ones, two logistic ones). Families have
offsets of their own (standard deviation 4 points), runs differ by 0, 0.6 or 2 points, the drift within a run (0.4
points) has a correlation of 0 or 0.9 from checkpoint to checkpoint. Two oracles stand beside: one knows the curve and
the whole covariance, the other all but the variance between runs, so that it needs a t test on runs less families less
one. The second is the best that any interval with the stated coverage can do. ``--peers`` fits so many tables by mgcv
(penalised spline, random intercept a run; REML) and by MixedLM of statsmodels (B-spline) too, where they are installed.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from markdown import table
from onset.stats.size_effect import size_effect

Array = NDArray[np.float64]

CHANCE, ITEMS, CHECKPOINTS = 0.25, 1000, 20
DRIFT, OFFSET, MARGIN = 0.4, 4.0, 1.0
"""Points."""
CURVES: dict[str, Callable[[Array], Array]] = {
    "logistic": lambda loss: 0.50 / (1.0 + np.exp((loss - 2.6) / 0.15)),
    "sharp": lambda loss: 0.45 / (1.0 + np.exp((loss - 2.5) / 0.04)),
    "hinge": lambda loss: 0.45 * np.clip(2.8 - loss, 0.0, 1.0),
    "bent up": lambda loss: 0.40 * np.clip((2.9 - loss) / 0.9, 0.0, 1.2) ** 2,
    "bent down": lambda loss: 0.40 * np.clip((2.9 - loss) / 0.9, 0.0, 1.2) ** 0.5,
}


class Cell(NamedTuple):
    """What a table is planted with."""

    runs: int
    families: int
    between: float
    """Standard deviation between runs, in points."""
    memory: float


CELLS = [
    Cell(runs, families, between, memory)
    for runs, families, between, memory in itertools.product((3, 4, 6, 8, 12), (1, 2, 3), (0.0, 0.6, 2.0), (0.0, 0.9))
    if runs >= families + 2
]


def planted(seed: int, cell: Cell, effect: float) -> tuple[pd.DataFrame, str, float]:
    """A table, the name of its curve, and the oracle's standard error in points a decade."""
    rng = np.random.default_rng([seed, 11])
    kind = list(CURVES)[seed % len(CURVES)]
    run = np.arange(cell.runs)
    family, place = run % cell.families, run // cell.families
    size = 8.0 + 1.7 * place / max(int(place.max()), 1) + 0.1 * family
    tokens = np.geomspace(4e9, 3e11, CHECKPOINTS) * (0.7 + 0.6 * rng.random((cell.runs, 1)))
    loss = 1.5 + 180.0 / 10.0 ** (0.3 * size[:, None]) + 411.0 / tokens**0.28
    clean = CURVES[kind](loss)
    visible = np.clip(clean / 0.02, 0.0, 1.0)
    offset = OFFSET * rng.standard_normal(cell.families) * (cell.families > 1)
    moved = offset[family] + effect * (size - 8.85) + cell.between * rng.standard_normal(cell.runs)
    share = CHANCE + clean + visible * (moved[:, None] + DRIFT * _drift(rng, cell)) / 100.0
    score = rng.binomial(ITEMS, np.clip(share, 0.0, 1.0)) / ITEMS
    made = pd.DataFrame(
        {"run": [f"r{one}" for one in run.repeat(CHECKPOINTS)], "family": [f"f{one}" for one in
         family.repeat(CHECKPOINTS)], "params": 10.0 ** size.repeat(CHECKPOINTS), "tokens": tokens.ravel(),
         "loss": loss.ravel(), "score": score.ravel(), "chance": CHANCE, "n_examples": ITEMS, "task": kind,
         "metric": "accuracy"}
    )  # fmt: skip
    return made, kind, _oracle(cell, CHANCE + clean, visible, size, family)


def _drift(rng: np.random.Generator, cell: Cell) -> Array:
    """(runs, checkpoints) first-order autoregression of variance one."""
    made = rng.standard_normal((cell.runs, CHECKPOINTS))
    for place in range(1, CHECKPOINTS):
        made[:, place] = cell.memory * made[:, place - 1] + np.sqrt(1.0 - cell.memory**2) * made[:, place]
    return made


def _oracle(cell: Cell, share: Array, visible: Array, size: Array, family: NDArray[np.int64]) -> float:
    """Standard error of the effect by generalised least squares with the true curve and covariance, in points."""
    apart = np.abs(np.subtract.outer(np.arange(CHECKPOINTS), np.arange(CHECKPOINTS)))
    same = cell.between**2 + DRIFT**2 * cell.memory ** apart.astype(float)
    information = np.zeros((1 + cell.families, 1 + cell.families))
    for run in range(cell.runs):
        covariance = np.outer(visible[run], visible[run]) * same
        covariance += np.diag(1e4 * share[run] * (1.0 - share[run]) / ITEMS)
        level = (family[run] == np.arange(cell.families)) * float(cell.families > 1)
        columns = np.outer(visible[run], np.r_[size[run] - 8.85, level])
        information += columns.T @ np.linalg.solve(covariance, columns)
    return float(np.sqrt(np.linalg.pinv(information)[0, 0]))


def judged(task: tuple[int, Cell, float]) -> dict[str, Any]:
    """One planted table, the interval found, and what two oracles would find."""
    seed, cell, effect = task
    obs, kind, error = planted(seed, cell, effect)
    found = size_effect(obs, margin=MARGIN)
    freedom = cell.runs - cell.families - 1
    beyond, known_but_runs = stats.t(freedom).ppf(0.975), stats.nct(freedom, effect / error)
    low, high = (np.nan if end is None else end for end in (found.low, found.high))
    return {
        **cell._asdict(), "kind": kind, "effect": effect, "value": found.pp_per_decade, "low": low, "high": high,
        "covered": float(low <= effect <= high) if np.isfinite(low) else np.nan, "not_zero": low > 0 or high < 0,
        "differs": found.verdict == "differs", "width": high - low,
        "oracle": float(stats.norm.sf(1.96 - effect / error) + stats.norm.cdf(-1.96 - effect / error)),
        "oracle_t": float(known_but_runs.sf(beyond) + known_but_runs.cdf(-beyond)),
    }  # fmt: skip


def tables(found: pd.DataFrame) -> str:
    """Coverage and power by runs and families, by noise, by curve and by cell."""
    found = found.assign(bias=found["value"] - found["effect"])

    def coverage(keys: list[str]) -> pd.DataFrame:
        groups = found.groupby(keys)
        made = groups.agg(tables=("value", "size"), covered=("covered", "mean"), bias=("bias", "mean"),
                          width=("width", "median"))  # fmt: skip
        return made.reset_index()

    three = found[found["effect"] > 0].groupby(["runs", "families", "between"])
    power = three.agg(tables=("value", "size"), not_zero=("not_zero", "mean"), oracle_t=("oracle_t", "mean"),
                      oracle=("oracle", "mean"), differs=("differs", "mean")).reset_index()  # fmt: skip
    none = found[found["effect"] == 0]
    cells = coverage(["runs", "families", "between", "memory"])
    error = float(np.sqrt(0.95 * 0.05 / cells["tables"].median()))
    return "\n\n".join([
        "Coverage of 95 % intervals, by runs and families (bias and median width in points)",
        table(coverage(["runs", "families"])), "By standard deviation between runs (points)",
        table(coverage(["between"])), "By autocorrelation", table(coverage(["memory"])), "By curve",
        table(coverage(["kind"])), f"By cell (a share of 0.95 has a standard error of {error:.3f} there)", table(cells),
        f"Of {len(none)} tables without an effect {none['not_zero'].mean():.3f} have an interval without zero, "
        f"{none['differs'].mean():.3f} are called different",
        "Power for 3 points a decade: shares whose interval excludes zero", table(power),
    ])  # fmt: skip


def peers(seeds: list[int], rscript: str) -> str:
    """The same effect by mgcv and by MixedLM of statsmodels: estimates, and how far apart in widths of our interval."""
    rows = []
    for number, seed in enumerate(seeds):
        cell = Cell((6, 8, 12)[number % 3], 1 + number % 2, (0.3, 0.6)[number // 2 % 2], 0.0)
        obs, kind, _ = planted(seed, cell, 3.0)
        ours = size_effect(obs)
        if ours.pp_per_decade is None or ours.low is None or ours.high is None:
            continue
        # The peers know neither where effects show nor that guessing runs do not differ: rows with the ability only.
        known = obs[obs["score"] > CHANCE + 0.04]
        told = {"curve": kind, "runs": cell.runs, "families": cell.families, "onset": ours.pp_per_decade,
                "low": ours.low, "high": ours.high}  # fmt: skip
        for name, value in (("mgcv", _mgcv(known, rscript)), ("MixedLM", _mixedlm(known))):
            told |= {name: value, f"{name} apart": abs(value - ours.pp_per_decade) / (ours.high - ours.low)}
        rows.append(told)
    frame = pd.DataFrame(rows)
    near = [f"{name}: {int((frame[f'{name} apart'] <= 0.2).sum())} of {int(frame[name].notna().sum())}"
            for name in ("mgcv", "MixedLM")]  # fmt: skip
    return f"Peers within a fifth of an interval: {', '.join(near)}\n\n{table(frame)}"


MGCV = """
library(mgcv)
d <- read.csv("{path}"); d$run <- factor(d$run); d$family <- factor(d$family); d$size <- log10(d$params)
f <- if (nlevels(d$family) > 1) score ~ s(loss, k = 12) + size + family + s(run, bs = "re") else
  score ~ s(loss, k = 12) + size + s(run, bs = "re")
cat(100 * coef(gam(f, data = d, method = "REML"))["size"])
"""


def _mgcv(obs: pd.DataFrame, rscript: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        obs.to_csv(path, index=False)
        try:
            done = subprocess.run([rscript, "-e", MGCV.format(path=path)], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return np.nan
        return float(done.stdout.split()[-1])


def _mixedlm(obs: pd.DataFrame) -> float:
    try:
        from patsy import dmatrix
        from statsmodels.regression.mixed_linear_model import MixedLM
    except ImportError:
        return np.nan
    size = np.log10(obs["params"].to_numpy(float))
    families = pd.get_dummies(obs["family"], drop_first=True).to_numpy(float)
    design = np.column_stack([size, np.asarray(dmatrix("bs(loss, df=8)", {"loss": obs["loss"]})), families])
    try:
        made = MixedLM(obs["score"].to_numpy(float), design, groups=obs["run"].to_numpy()).fit(reml=True)
    except np.linalg.LinAlgError:  # its own fit breaks down on some tables; it is counted out there
        return np.nan
    return 100.0 * float(made.params[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=40, help="a cell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--peers", type=int, default=0)
    parser.add_argument("--rscript", default="Rscript")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    first = given.seed * 1_000_003
    tasks = [
        (first + given.tables * place + number, cell, 3.0 * (number % 2))
        for place, cell in enumerate(CELLS)
        for number in range(given.tables)
    ]
    if given.processes > 1:
        with multiprocessing.Pool(given.processes) as pool:
            found = pool.map(judged, tasks, chunksize=8)
    else:
        found = [judged(task) for task in tasks]
    text = tables(pd.DataFrame(found))
    if given.peers:
        text += "\n\n" + peers([first - 1 - number for number in range(given.peers)], given.rscript)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
