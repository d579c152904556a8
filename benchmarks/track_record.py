"""A track record: the largest runs of a study foretold from the others under seal, and opened against what came.

    python benchmarks/track_record.py STUDY [--largest 3] [--given size|loss] [--folder DIR] [--out FILE]

``STUDY`` is the folder of a finished study, or a table. Each of its largest runs has a forecast of its own, learnt from
the rows of all runs but these; ``given size`` says only its family, parameters and tokens, ``given loss`` also the loss
that it reached. A forecast is sealed (and signed, where ``ssh-keygen`` is installed) before the scores are read, kept
in a ledger, and opened with its published digest. Beside it stands the guess that a run scores what the best one of
the others did. Prints Markdown; ``DIR/ledger/track_record.html`` is the page.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import onset
from markdown import table
from onset.results import OpenedForecast
from onset.results.sealed import calibration
from onset.stats import sealing
from onset.stats.forecast import forecast
from onset.work import sealed as files

SHARES = ("accuracy", "acc", "acc_norm", "len_norm", "exact_match")


def largest(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """``run, family, params, tokens, loss`` of the last checkpoints of the largest runs, by parameters, then tokens."""
    ends = rows.sort_values("tokens").groupby("run", sort=False).tail(1)
    first = ends.sort_values(["params", "tokens"], ascending=False).head(count)
    return first[["run", "family", "params", "tokens", "loss"]]


def sealed_and_opened(
    known: pd.DataFrame, results: Path, target: pd.DataFrame, source: str, folder: Path, key: Path | None
) -> OpenedForecast:
    """One run's forecast: sealed from the known rows, then opened against the results."""
    path = folder / f"{target['run'].iloc[0]}.json"
    made = forecast(known, target, thresholds={})
    digest = files.write(made, source, path, key=key, ledger=folder / "ledger")
    stated = json.loads(path.read_text())["forecast"]["data_sha256"]
    assert stated == sealing.digest(known), "the sealed file was learnt from other rows"
    return files.open_sealed(path, results, sha256=digest, ledger=folder / "ledger")


def told(opened: OpenedForecast, known: pd.DataFrame, target: pd.DataFrame) -> dict[str, object]:
    """Error in points, coverage and CRPS of one forecast, beside the best score of the known runs."""
    rows = opened.scores
    best = known.groupby(["task", "metric"])["score"].max()
    guess = np.array([best[task, metric] for task, metric in zip(rows["task"], rows["metric"], strict=True)])
    inside = {
        level: ((rows[f"low_{level}"] <= rows["seen"]) & (rows["seen"] <= rows[f"high_{level}"])).mean()
        for level in ("80", "95")
    }
    return {
        "run": target["run"].iloc[0], "parameters": f"{target['params'].iloc[0]:.3g}",
        "tokens": f"{target['tokens'].iloc[0]:.3g}", "scores": len(rows),
        "mean error, pp": 100 * rows["error"].abs().mean(), "median": 100 * rows["error"].abs().median(),
        "bias": 100 * rows["error"].mean(), "best of the others, pp": 100 * np.abs(guess - rows["seen"]).mean(),
        "within 80 %": inside["80"], "within 95 %": inside["95"], "CRPS, pp": 100 * rows["crps"].mean(),
        "as sealed": "yes" if opened.as_sealed else "NO",
        "signature": "good" if opened.signature.startswith("Good") else opened.signature or "none",
    }  # fmt: skip


def tampered(folder: Path, results: Path, run: str) -> bool:
    """Whether a copy with one quantile moved by 0.01 is told as not the file that was sealed."""
    path = folder / f"{run}.json"
    content = json.loads(path.read_text())
    digest = content["sha256"]
    content["forecast"]["predictions"][0]["quantiles"][10] += 0.01
    copy = folder / "changed.json"
    copy.write_text(json.dumps(content))
    return not files.open_sealed(copy, results, sha256=digest).as_sealed


def report(source: Path, count: int, given: str, folder: Path) -> str:
    """The whole page."""
    rows = onset.read(source)
    rows = rows[rows["metric"].isin(SHARES) & (rows["loss_name"] == rows["loss_name"].iloc[0])]
    asked = largest(rows, count)
    known = rows[~rows["run"].isin(asked["run"])]
    names = ["run", "family", "params", "tokens", *(["loss"] if given == "loss" else [])]
    results = folder / "results.csv"
    rows.to_csv(results, index=False)
    key = _key(folder)
    lines, scores = [], []
    for place in range(len(asked)):
        target = asked.iloc[[place]].reset_index(drop=True)
        opened = sealed_and_opened(known, results, target[names], source.name, folder, key)
        lines.append(told(opened, known, target))
        scores.append(opened.scores)
    every = pd.concat(scores, ignore_index=True)
    by_task = every.assign(missed=100 * every["error"].abs(), error=100 * every["error"]).groupby("task")
    of_task = by_task.agg(scores=("seen", "size"), error_pp=("missed", "mean"), bias_pp=("error", "mean"))
    shown = calibration(every).iloc[[1, 4, 9, 14, 17]]
    changed = tampered(folder, results, str(asked["run"].iloc[0]))
    return "\n".join([
        f"{known['run'].nunique()} runs of {known['params'].min():.3g} to {known['params'].max():.3g} parameters were "
        f"known. A copy of a sealed file with one number changed is {'refused' if changed else 'NOT refused'}.\n",
        table(pd.DataFrame(lines), 2),
        "\n## By task\n",
        table(of_task.reset_index(), 2),
        "\n## Calibration\n",
        "The share of scores below the quantile of their forecast at each probability.\n", table(shown, 2),
    ])  # fmt: skip


def _key(folder: Path) -> Path | None:
    """A key made for this record; None without ssh-keygen."""
    if shutil.which("ssh-keygen") is None:
        return None
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--largest", type=int, default=3)
    parser.add_argument("--given", choices=["size", "loss"], default="size")
    parser.add_argument("--folder", type=Path, help="where the sealed files go; by default a folder that is let go")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        text = report(given.study, given.largest, given.given, folder)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
