"""How long a whole table takes, and how much memory: 60 tasks with 5,000 observations, and 300,000 rows.

    python benchmarks/analysis.py [--jobs 2] [--only small|large] [--way]
    python benchmarks/analysis.py --huge import|analyze

Each table is planted (an onset, a smooth curve or chance by turns), written as CSV and analysed from the file in a
process of its own; printed are wall-clock seconds, processor seconds and the largest memory of any process. With
``--way`` the obvious way runs beside on the small table: a SciPy hinge refitted in a bootstrap over checkpoints,
which gives a threshold with an interval and nothing else. ``--huge`` runs the command itself on 3 million rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeWarning, curve_fit

TABLES = {
    # tasks x sizes x checkpoints: rows
    "small": (60, 4, 21),  # 5,040
    "large": (60, 25, 200),  # 300,000
}
HUGE = (60, 100, 500, 1.08)
"""3,000,000 rows; sizes grow 1.08-fold, so that the largest of a hundred is a model."""
LIMITS = {"small": (30.0, None), "large": (120.0, 1.0)}
"""Seconds on two cores and GB that were asked for."""


def planted(tasks: int, sizes: int, checkpoints: int, growth: float = 1.5, seed: int = 1) -> pd.DataFrame:
    """A table of accuracies with 1,000 items a score; thresholds spread over the losses."""
    draw = np.random.default_rng(seed)
    size, place = np.meshgrid(np.arange(sizes), np.arange(checkpoints), indexing="ij")
    params = (2e7 * growth**size).ravel()
    tokens = (1e9 * (1 + place)).ravel()
    loss = 1.7 + 60 / params**0.25 + 400 / tokens**0.3 + draw.normal(0, 0.003, params.size)
    span = loss.max() - loss.min()
    parts = []
    for task in range(tasks):
        eta = loss.min() + span * (0.2 + 0.5 * draw.random())
        depth = np.maximum(0.0, eta - loss)
        ability = (0.6 * depth / span, 0.7 / (1 + np.exp((loss - eta) / (0.15 * span))), 0.0 * loss)[task % 3]
        chance = (0.25, 0.0, 0.5)[task % 3]
        score = draw.binomial(1000, np.clip(chance + (1 - chance) * ability, 0, 1)) / 1000
        parts.append(pd.DataFrame({
            "family": "planted", "run": [f"size{s}" for s in size.ravel()], "params": params.round(),
            "tokens": tokens.round(), "loss_name": "valid", "loss": loss.round(5), "task": f"task{task:02d}",
            "metric": "acc", "score": score, "chance": chance, "n_examples": 1000,
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def analysed(path: Path, jobs: int) -> dict[str, float]:
    """What one analysis of the file costs, in this process and its workers."""
    import onset

    begin = time.perf_counter()
    found = onset.analyze(onset.read(path), jobs=jobs)
    seconds = time.perf_counter() - begin
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    verdicts = pd.Series([finding.verdict for finding in found.findings]).value_counts()
    return {
        "seconds": seconds,
        "processor_seconds": sum(use.ru_utime + use.ru_stime for use in used),
        "largest_gb": max(use.ru_maxrss for use in used) / 1e6,
        **{name: int(count) for name, count in verdicts.items()},
    }


def whole_command(verb: str) -> str:
    """What ``onset import`` or ``onset analyze`` costs on 3 million rows, as a process of its own with its workers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv.gz"
        planted(*HUGE).to_csv(path, index=False, compression={"method": "gzip", "compresslevel": 3})
        out = Path(folder) / ("out.csv" if verb == "import" else "out")
        begin = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", "onset", verb, str(path), "--out", str(out)])
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
    return (
        f"onset {verb}: 3,000,000 rows: exit {os.waitstatus_to_exitcode(status)}, wall {seconds:.1f} s, processor "
        f"{used.ru_utime + used.ru_stime:.1f} s, largest process {used.ru_maxrss / 1e6:.2f} GB"
    )


def obvious_way(frame: pd.DataFrame, draws: int = 200) -> float:
    """Seconds of a hinge fitted by least squares to every task, and again to resampled checkpoints."""

    def hinge(loss: np.ndarray, eta: float, slope: float, base: float) -> np.ndarray:
        return base + slope * np.maximum(0.0, eta - loss)

    begin = time.perf_counter()
    draw = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        for _, rows in frame.groupby("task"):
            loss, score = rows.loss.to_numpy(), rows.score.to_numpy()
            for _ in range(draws):
                pick = draw.integers(0, len(rows), len(rows))
                try:
                    curve_fit(hinge, loss[pick], score[pick], p0=(np.median(loss), 0.3, score.min()), maxfev=2000)
                except RuntimeError:
                    continue
    return time.perf_counter() - begin


def main() -> None:
    """Print one line a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--only", choices=TABLES)
    options.add_argument("--huge", choices=("import", "analyze"), help="the command on 3 million rows")
    options.add_argument("--way", action="store_true", help="the obvious way beside")
    options.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.file:  # a process of its own, so that memory is that of the analysis alone
        print(json.dumps(analysed(given.file, given.jobs)))
        return
    if given.huge:
        print(whole_command(given.huge))
        return
    for name, shape in TABLES.items():
        if given.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv.gz"
            frame = planted(*shape)
            frame.to_csv(path, index=False)
            command = [sys.executable, __file__, "--file", str(path), "--jobs", str(given.jobs)]
            told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        seconds, memory = LIMITS[name]
        asked = f"asked: {seconds:.0f} s" + (f", {memory:g} GB" if memory else "")
        values = ", ".join(f"{key} {value:.4g}" for key, value in told.items())
        print(f"{name}: {len(frame)} rows, {shape[0]} tasks, {given.jobs} processes: {values} ({asked})")
        if given.way and name == "small":
            print(f"{name}: the obvious way, 200 bootstrap draws a task, one process: {obvious_way(frame):.1f} s")


if __name__ == "__main__":
    main()
