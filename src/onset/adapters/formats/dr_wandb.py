"""Weights & Biases: the folder that ``wandb-export`` of the package dr-wandb writes.

``runs.jsonl`` has each run as it stands (name, state, configuration, last values), ``history.jsonl``, where it was
asked for, a row a logged step: ``run_id, step, metrics``. Without a history each run is one point, its last one, and
runs that did not finish are left out. Names are not unique in Weights & Biases: runs that share one are told apart by
their id.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import source
from onset.adapters.formats import wide
from onset.adapters.source import Format, NothingReadError, Reading, Results
from onset.errors import OnsetError

RUNS, HISTORY = "runs.jsonl", "history.jsonl"


def looks_like(path: Path) -> bool:
    """A folder with a manifest and the runs, each line of them a run and when it was exported."""
    return (path / "manifest.json").is_file() and '"run_id"' in source.head(path / RUNS, 1 << 20)


def read(path: Path, reading: Reading) -> Results:
    """The scores and losses of the histories, or of the last values of runs that finished."""
    runs = _runs(path / RUNS)
    file = path / HISTORY
    if file.is_file() and file.stat().st_size:
        rows, notes = _histories(file, runs), []
    else:
        file = path / RUNS
        ended = {key: run for key, run in runs.items() if run.get("state") == "finished"}
        rows = [_row(run, (run.get("summary_metrics") or {}).get("_step"), run.get("summary_metrics") or {})
                for run in ended.values()]  # fmt: skip
        left = len(runs) - len(ended)
        notes = [f"{path.name}: runs that did not finish, left out: {left}"] if left else []
    if not rows:
        raise NothingReadError("the export has no run with values", where=path)
    results = wide.read_frame(pd.DataFrame(rows), file, reading)
    return Results(results.scores, results.losses, notes=(*notes, *results.notes))


def _runs(file: Path) -> dict[str, dict[str, Any]]:
    """The runs by id, under names that are theirs alone."""
    found: dict[str, dict[str, Any]] = {}
    for line in source.json_lines(file):
        run = line.get("run")
        if not isinstance(run, Mapping) or "run_id" not in run:
            raise OnsetError("a line is no run", where=file, advice="export again with wandb-export of dr-wandb 3")
        found[str(run["run_id"])] = dict(run)
    names = pd.Series({key: str(run.get("name") or key).strip() for key, run in found.items()}, dtype=str)
    shared = names.duplicated(keep=False)
    for key, run in found.items():
        run["name"] = f"{names[key]}-{key}" if shared[key] else names[key]
    return found


def _histories(file: Path, runs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a logged step; a step that stands there twice is filled up, the later value winning."""
    rows: dict[tuple[str, Any], dict[str, Any]] = {}
    for line in source.json_lines(file):
        key = str(line.get("run_id"))
        if key not in runs:
            raise OnsetError(f"the history has a run '{key}' that {RUNS} lacks", where=file, advice="export again")
        row = _row(runs[key], line.get("step"), line.get("metrics") or {})
        rows.setdefault((key, line.get("step")), {}).update(row)
    return list(rows.values())


def _row(run: Mapping[str, Any], step: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """A row as ``run.history()`` has it: plain values only, with the run's size where its configuration states it."""
    config = run.get("config") or {}
    size = next((config[name] for name in wide.ALIASES["params"] if isinstance(config.get(name), int | float)), None)
    plain = {name: one for name, one in values.items() if isinstance(one, int | float) and not name.startswith("_")}
    return {"run": run["name"], "_step": step, **({} if size is None else {"params": size}), **plain}


FORMAT = Format("dr-wandb", "Weights & Biases, folder of wandb-export (dr-wandb)", looks_like, read, folder=True)
