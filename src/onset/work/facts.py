"""What a study's page tells beside its findings, gathered from the study's folder. Runs without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from onset.data.tokenize import Materials
from onset.errors import OnsetError
from onset.plots.facts import FAILED_COLUMNS, ITEM_COLUMNS, RUN_COLUMNS, TRAINING_COLUMNS, StudyFacts
from onset.store.parts import read_part, with_whole
from onset.store.rundir import RunDir, run_dirs
from onset.study.files import written
from onset.study.spec import Study
from onset.tasks.task import Request, Task
from onset.work.evaluations import rows_digest
from onset.work.ledger import dtype_of, study_tasks

SAMPLES = 2
"""Questions shown of each task."""


def gather(folder: Path) -> StudyFacts | None:
    """The facts of a study's folder; None for a folder without a study (models brought from elsewhere)."""
    specification = folder / "study.toml"
    if not specification.exists():
        return None
    study = written(specification)
    runs = run_dirs(folder)
    losses = _losses(runs, study.validation[0].name)
    table = _run_table(runs, losses)
    small, large = _ends(table)
    return StudyFacts(
        name=study.name,
        runs=table,
        training=_training(runs, losses),
        floor=_floor(study, folder),
        items=_samples(study, runs, small, large),
        failed=pd.DataFrame(
            [{"run": run.name, "why": run.failed} for run in runs if run.failed], columns=list(FAILED_COLUMNS)
        ),
        counts=_counts(runs),
        digest=study.digest()[:8],
        smallest=small or "",
        largest=large or "",
    )


def _losses(runs: Sequence[RunDir], text: str) -> pd.DataFrame:
    parts = [read_part(part) for run in runs for part in sorted((run.path / "loss").glob("*.parquet"))]
    if not parts:
        return pd.DataFrame(columns=["run", "step", "text", "language", "nats_per_token"])
    losses = pd.concat(parts, ignore_index=True)
    return with_whole(losses[losses["text"] == text])


def _run_table(runs: Sequence[RunDir], losses: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for run in runs:
        meta = run.meta()
        of_run = losses[(losses["run"] == run.name) & (losses["language"] == "all")].sort_values("step")
        steps = run.steps()
        rows.append(
            {
                "run": run.name,
                "family": meta.get("family") or "",
                "group": meta.get("group") or "",
                "params": meta.get("params"),
                "tokens": (steps[-1] if steps else 0) * (meta.get("tokens_per_step") or 0),
                "steps": steps[-1] if steps else 0,
                "loss": of_run["nats_per_token"].iloc[-1] if len(of_run) else None,
                "status": "failed" if run.failed else "trained" if run.done else "not finished",
            }
        )
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def _training(runs: Sequence[RunDir], losses: pd.DataFrame) -> pd.DataFrame:
    frames = []
    for run in runs:
        meta = run.meta()
        frame = losses[losses["run"] == run.name]
        frames.append(
            pd.DataFrame(
                {
                    "run": run.name,
                    "params": meta.get("params"),
                    "tokens": frame["step"] * (meta.get("tokens_per_step") or 0),
                    "loss": frame["nats_per_token"],
                    "language": frame["language"],
                }
            )
        )
    if not frames:
        return pd.DataFrame(columns=list(TRAINING_COLUMNS))
    return pd.concat(frames, ignore_index=True)


def _floor(study: Study, folder: Path) -> dict[str, float | None]:
    """The world's entropy, where all runs share one tokenizer: it is in that tokenizer's tokens."""
    names = {run.tokenizer for run in study.runs}
    if len(names) != 1:
        return {}
    return dict(Materials(study, folder).floor(names.pop()) or {})


def _ends(table: pd.DataFrame) -> tuple[str | None, str | None]:
    """The smallest and the largest model that were trained to their end."""
    trained = table[table["status"] == "trained"].sort_values(["params", "tokens"])
    if trained.empty:
        return None, None
    return str(trained["run"].iloc[0]), str(trained["run"].iloc[-1])


def _counts(runs: Sequence[RunDir]) -> dict[str, int | float | str]:
    """Questions put to all checkpoints together, by the rows that are kept."""
    asked = sum(pq.read_metadata(part).num_rows for run in runs for part in (run.path / "items").glob("*/*.parquet"))
    return {"answers scored": asked}


def _samples(study: Study, runs: Sequence[RunDir], small: str | None, large: str | None) -> pd.DataFrame:
    """The first questions of every task with what the smallest and the largest model said at their end."""
    by_name = {run.name: run for run in runs}
    rows: list[dict[str, Any]] = []
    if small is None or large is None:
        return pd.DataFrame(columns=list(ITEM_COLUMNS))
    try:
        tasks = study_tasks(study)
    except OnsetError:
        return pd.DataFrame(columns=list(ITEM_COLUMNS))  # its task files lie elsewhere now: the page does without
    for name, task in tasks.items():
        digest = rows_digest(task, dtype_of(study))
        answers = [_answers(by_name[run], task, digest) for run in (small, large)]
        rows += _task_samples(name, task, answers)
    return pd.DataFrame(rows, columns=list(ITEM_COLUMNS))


def _answers(run: RunDir, task: Task, digest: str) -> pd.DataFrame | None:
    steps = run.steps()
    part = run.items(steps[-1], task.name, digest) if steps else None
    return read_part(part) if part is not None and part.exists() else None


def _task_samples(name: str, task: Task, answers: Sequence[pd.DataFrame | None]) -> list[dict[str, Any]]:
    by_item: dict[str, list[Request]] = {}
    for request in task.requests():
        by_item.setdefault(request.item, []).append(request)
        if len(by_item) > SAMPLES:
            break
    rows = []
    for item, requests in list(by_item.items())[:SAMPLES]:
        said = [_said(frame, item, requests) for frame in answers]
        gold = next((request for request in requests if request.gold), None)
        if gold is None:
            continue
        rows.append(
            {
                "task": name,
                "item": item,
                "prompt": gold.prompt,
                "gold": gold.continuation.strip(),
                "smallest": said[0][0],
                "largest": said[1][0],
                "smallest_right": said[0][1],
                "largest_right": said[1][1],
            }
        )
    return rows


def _said(frame: pd.DataFrame | None, item: str, requests: Sequence[Request]) -> tuple[str | None, bool | None]:
    """What a model answered to an item: its text, or its likeliest choice."""
    rows = None if frame is None else frame[frame["item"] == item]
    if rows is None or rows.empty:
        return None, None
    if rows["text"].notna().any():
        first = rows.iloc[0]
        return str(first["text"]).strip(), bool(first["correct"])
    if rows["logprob"].isna().any():
        return None, None
    best = rows.sort_values("logprob").iloc[-1]
    chosen = next(request for request in requests if request.choice == best["choice"])
    shown = chosen.continuation if len({one.continuation for one in requests}) > 1 else chosen.prompt
    return shown.strip(), bool(best["gold"])
