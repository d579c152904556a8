"""Weights & Biases: a chart exported from the web page, ``wandb_export_<time>.csv``.

The x axis comes first; each line has three columns, ``<run> - <metric>`` and its ``__MIN`` and ``__MAX``, which are the
band of a sampling or of a group and are left out. Run names may hold ' - ' themselves: the last one before the metric
counts. A grouped chart (``Group: NAME - metric``) is the mean of the group's runs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from onset.adapters import source
from onset.adapters.columns import LossColumn, ScoreColumn, classify
from onset.adapters.formats.wide import made_losses, made_scores
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.tables import files

GROUP = "Group: "
_TOKENS = re.compile(r"(^|[/_ ])(total_)?tokens?(_seen)?$", re.IGNORECASE)
_TIME = re.compile(r"time|runtime|timestamp|epoch", re.IGNORECASE)


def looks_like(path: Path) -> bool:
    """A CSV file whose columns after the first have the band of the second."""
    columns = source.header(path)
    return len(columns) >= 4 and f"{columns[1]}__MIN" in columns and f"{columns[1]}__MAX" in columns


def read(path: Path, reading: Reading) -> Results:
    """Scores and losses of all lines of the chart, by the names of their metrics."""
    frame = files.read_table(path)
    axis = _axis(str(frame.columns[0]), path)
    places = pd.to_numeric(frame.iloc[:, 0], errors="coerce")
    losses, scores, unread, groups = [], [], [], set()
    for column in frame.columns[1:]:
        if str(column).endswith(("__MIN", "__MAX")):
            continue
        run, metric = _parts(str(column), path)
        if run.startswith(GROUP):
            run = run.removeprefix(GROUP)
            groups.add(run)
        values = pd.to_numeric(frame[column], errors="coerce")
        rows = pd.DataFrame({"run": run.strip(), axis: places, "value": values}).dropna(subset=["value"])
        match _kind(run, metric, reading):
            case LossColumn() as kind:
                losses.append(made_losses(rows, kind))
            case ScoreColumn() as kind if not kind.stderr:
                scores.append(made_scores(rows, kind))
            case _:
                unread.append(str(column))
    notes = [f"lines of charts that are neither a loss nor a score by their name, not read: {u}" for u in unread[:3]]
    notes += [f"'{group}' is the mean of a group of runs" for group in sorted(groups)]
    return Results(_all(scores), _all(losses), notes=tuple(notes))


def _axis(name: str, path: Path) -> str:
    """What the x axis counts. Raises OnsetError where it is a time."""
    if _TOKENS.search(name):
        return "tokens"
    if _TIME.search(name):
        raise OnsetError(
            f"the chart's x axis is '{name}'", where=path, advice="export it against Step or against the tokens seen"
        )
    return "step"


def _parts(column: str, path: Path) -> tuple[str, str]:
    run, dash, metric = column.rpartition(" - ")
    if not dash:
        raise OnsetError(f"'{column}' is no line of a chart ('<run> - <metric>')", where=path)
    return run, metric


def _kind(run: str, metric: str, reading: Reading) -> LossColumn | ScoreColumn | None:
    """By the metric's name; where that says nothing, by the panel that stands in the place of the run."""
    if reading.loss or reading.score:
        whole = classify(f"{run} - {metric}", Reading(reading.metric, reading.score, reading.loss))
        if whole is not None and whole != classify(f"{run} - {metric}", Reading(reading.metric)):
            # A pattern named it: the names are still those of the metric.
            if isinstance(whole, LossColumn):
                return LossColumn(metric, whole.unit, whole.perplexity)
            return ScoreColumn(metric, reading.metric or "score")
    kind = classify(metric, reading)
    if kind is not None:
        return kind
    if re.search(r"perplexity|(^|_)ppl(_|$)", run, re.IGNORECASE):
        return LossColumn(metric, perplexity=True)
    if reading.metric is not None and re.search(r"eval|downstream|task|benchmark", run, re.IGNORECASE):
        return ScoreColumn(metric, reading.metric)
    return None


def _all(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


FORMAT = Format("wandb-chart", "Weights & Biases, exported chart (CSV)", looks_like, read)
