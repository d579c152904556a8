"""Item values of scored models, ready to be paired: from results' folders, runs and single checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.metrics.measures import item_values, lookup, measure
from onset.store.parts import read_part
from onset.store.rundir import RunDir, run_dirs
from onset.tables.study import metrics_of


@dataclass(frozen=True)
class Scored:
    """One checkpoint of one run that has item rows."""

    rundir: RunDir
    step: int

    @property
    def label(self) -> str:
        return f"{self.rundir.name}@{self.step}"

    def parts(self) -> list[Path]:
        """The files of item rows, one a task."""
        return sorted(self.rundir.path.glob(f"items/{self.step:08d}/*.parquet"))


def scored(references: Sequence[str | Path]) -> list[Scored]:
    """The checkpoints that references name.

    A reference is a folder of results or a study (the last scored checkpoint of each run), a run's folder (its last
    scored checkpoint), a checkpoint's folder, or either with ``@STEP``. Raises OnsetError for one that names none.
    """
    found = [one for reference in references for one in _scored(str(reference))]
    names = [one.label for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OnsetError(f"'{twice}' is named twice", advice="name each checkpoint once")
    return found


def paired_values(models: Sequence[Scored], metrics: Sequence[str] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Values of each item under each metric that applies, and notes on tasks that cannot be paired.

    Columns ``model, task, metric, item, value, cluster``. ``metrics`` are references as for ``onset eval``; by default
    those of the models' folders. A task is paired in one form only: rows under other prompts are left out and told.
    """
    labels = _short(models)
    named = metrics or list(dict.fromkeys(name for one in models for name in metrics_of(_folder(one))))
    values: list[pd.DataFrame] = []
    forms: dict[str, dict[str, set[str]]] = {}
    for one, label in zip(models, labels, strict=True):
        for part in one.parts():
            rows = read_part(part)
            task, digest = str(rows["task"].iloc[0]), str(rows["digest"].iloc[0])
            forms.setdefault(task, {}).setdefault(digest, set()).add(label)
            values += [found.assign(model=label, digest=digest) for found in _values(rows, named)]
    if not values:
        raise OnsetError("the models have no item rows", advice="score them first: onset eval MODEL --tasks T --out O")
    frame = pd.concat(values, ignore_index=True)
    kept, notes = _one_form(forms, len(models))
    frame = frame[frame["digest"].eq(frame["task"].map(kept))]
    return frame[["model", "task", "metric", "item", "value", "cluster"]].reset_index(drop=True), notes


def answers(folder: Path) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Credits of each item at each checkpoint of a study, a task at a time: its name, metric and ``run, step, item,
    value``.

    The metric is accuracy of choices and exact match of free answers. A task asked in two forms has two names, as in
    the observations. Runs that failed, and tunings, are left out.
    """
    parts: dict[tuple[str, str], list[Path]] = {}
    for run in run_dirs(folder):
        counts = run.failed is None and not run.meta().get("start")
        for part in sorted(run.path.glob("items/[0-9]*/*.parquet")) if counts else ():
            task, _, digest = part.stem.rpartition("-")
            parts.setdefault((task, digest), []).append(part)
    names = [task for task, _ in parts]
    for (_, digest), files in parts.items():
        rows = pd.concat([read_part(file) for file in files], ignore_index=True)
        task = str(rows["task"].iloc[0])
        several = names.count(files[0].stem.rpartition("-")[0]) > 1
        metric = "exact_match" if rows["correct"].notna().any() else "accuracy"
        yield f"{task}@{digest}" if several else task, metric, item_values(rows, metric).dropna(subset=["value"])


def _values(rows: pd.DataFrame, metrics: Sequence[str]) -> list[pd.DataFrame]:
    """Item values of one part under each metric that has any."""
    clusters = rows.drop_duplicates("item").set_index("item")["cluster"] if "cluster" in rows else None
    applicable = set(measure(rows, list(metrics))["metric"])
    found = []
    for reference in metrics:
        name = lookup(reference).name
        if name in applicable:
            values = item_values(rows, reference)
            cluster = None if clusters is None else values["item"].map(clusters)
            found.append(values[["task", "item", "value"]].assign(metric=name, cluster=cluster))
    return found


def _one_form(forms: dict[str, dict[str, set[str]]], count: int) -> tuple[dict[str, str], list[str]]:
    """The digest of each task under which most models were asked, at least two, and what is left out."""
    kept: dict[str, str] = {}
    notes = []
    for task, by_digest in forms.items():
        digest, models = max(by_digest.items(), key=lambda form: len(form[1]))
        if len(models) < 2:
            why = "in different forms" if len(by_digest) > 1 else "of one model only"
            notes.append(f"{task}: asked {why}, so it is not compared")
            continue
        kept[task] = digest
        if len(models) < count:
            notes.append(f"{task}: compared among {len(models)} of {count} models, which were asked the same prompts")
    return kept, notes


def _scored(reference: str) -> list[Scored]:
    path, at, tail = Path(reference), None, ""
    if not path.exists() and "@" in reference:
        name, _, tail = reference.rpartition("@")
        path = Path(name)
        if not tail.isdecimal():
            raise OnsetError(f"'{tail}' is no step", where=reference, advice="write RUN_FOLDER@STEP")
        at = int(tail)
    if not path.is_dir():
        raise OnsetError(
            "there is no such folder",
            where=path,
            advice="give a folder of onset eval or run, a run of it, or RUN@STEP",
        )
    path = path.resolve()
    if path.parent.name == "steps" and (path.parent.parent / "run.json").exists():
        return [_at(RunDir(path.parent.parent), int(path.name))]
    runs = [RunDir(path)] if (path / "run.json").exists() else run_dirs(path)
    if not runs:
        raise OnsetError("this folder holds no runs", where=path, advice="give the --out of onset eval or onset run")
    return [_at(run, at) for run in runs if at is not None or len(runs) == 1 or _steps(run)]


def _at(run: RunDir, step: int | None) -> Scored:
    steps = _steps(run)
    if not steps or (step is not None and step not in steps):
        what = "this run has no item rows" if not steps else f"this run has no item rows at step {step}"
        advice = did_you_mean(str(step), map(str, steps)) if steps else "score it first: onset eval"
        raise OnsetError(what, where=run.path, advice=advice)
    return Scored(run, steps[-1] if step is None else step)


def _steps(run: RunDir) -> list[int]:
    """Steps with item rows."""
    return sorted({int(part.parent.name) for part in run.path.glob("items/[0-9]*/*.parquet")})


def _short(models: Sequence[Scored]) -> list[str]:
    """Labels of models: the run, and its step where a run stands there twice."""
    names = [one.rundir.name for one in models]
    return [one.label if names.count(one.rundir.name) > 1 else one.rundir.name for one in models]


def _folder(one: Scored) -> Path:
    return one.rundir.path.parent.parent
