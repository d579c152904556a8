"""What an evaluation gave, checkpoint by checkpoint and task by task, with all that could not be asked or was cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from onset.metrics import measures as metrics
from onset.store.coverage import COUNTS, asked, sentence
from onset.store.parts import read_part, write_text
from onset.study.python_file import absolute
from onset.tables.study import METRICS_FILE, constant_answers, metrics_of
from onset.work.jobs.foreign import ModelsLedger
from onset.work.text_tables import text as text_cell

SAMPLED = ("pass@1", "coverage")
"""Metrics of sampled answers, shown wherever there are any."""


@dataclass(frozen=True)
class Results:
    """Scores and losses of the models of one call, as they stand on disk."""

    scores: pd.DataFrame
    """``run, step, task, metric, score, stderr, chance, n_examples, left_out`` and the columns of ``store.asked``."""
    losses: pd.DataFrame
    """Rows of the losses table."""
    headlines: dict[str, str]
    """The published metric of each task."""
    named: tuple[str, ...]
    """Metrics that were asked for beside it."""
    notes: tuple[str, ...]


def results(ledger: ModelsLedger) -> Results:
    """Read what the ledger's models have on disk for its tasks and texts; absent parts have no rows."""
    scores, losses = [], []
    for subject in sorted(ledger.subjects, key=lambda one: (one.rundir.name, one.step)):
        files = [subject.rundir.items(subject.step, name, digest) for name, digest in ledger.task_digests.items()]
        parts = [file for file in files if file.exists()]
        if parts:
            rows = pd.concat([read_part(part) for part in parts], ignore_index=True)
            told = asked(parts).drop(columns="digest")
            known = {task: value for of in constant_answers(parts).values() for task, value in of.items()}
            wanted = [*metrics.USUAL, *ledger.metrics]
            measured = metrics.measure(rows.drop(columns="digest"), wanted, constant_answer=known)
            scores.append(measured.merge(told, on=["run", "step", "task"], how="right"))
        if ledger.texts and (part := subject.rundir.loss(subject.step)).exists():
            rows = read_part(part)
            losses.append(rows[rows["text"].isin(list(ledger.texts))])
    headlines = {name: task.metric for name, task in ledger.tasks.items()}
    found = pd.concat(scores, ignore_index=True) if scores else pd.DataFrame()
    return Results(found, pd.concat(losses) if losses else pd.DataFrame(), headlines, ledger.measured, _notes(ledger))


def with_metrics(out: Path, named: Sequence[str]) -> tuple[str, ...]:
    """The metrics that are measured below ``out`` beside the usual ones: those named now, and those named before.

    They are kept there with the full paths of their files, so that ``onset analyze`` and ``onset compare`` measure them
    too. Raises OnsetError for a metric that is not known, before a model is loaded.
    """
    found = []
    for name in named:
        metrics.lookup(name)
        found.append(absolute(name))
    before = [name for name in metrics_of(out) if name not in metrics.USUAL]
    wanted = tuple(dict.fromkeys([*before, *found]))
    if found:
        write_text(out / METRICS_FILE, json.dumps(wanted, indent=2) + "\n")
    return wanted


def _notes(ledger: ModelsLedger) -> tuple[str, ...]:
    """Models whose scores cannot be placed against tokens."""
    blind = []
    for subject in ledger.subjects:
        if subject.meta is not None and subject.rundir.meta_path.exists():
            meta = subject.rundir.meta()
            if not meta.get("tokens_per_step") and str(subject.step) not in (meta.get("tokens_at") or {}):
                blind.append(subject.ref)
    if not blind:
        return ()
    more = "" if len(blind) < 2 else f" and {len(blind) - 1} more"
    return (
        f"training tokens are not known of {blind[0]}{more}: 'onset analyze' leaves them out; "
        "give --tokens-per-step N or --tokens FILE (nothing is asked twice)",
    )


def results_table(found: Results) -> Table:
    """The headline scores, one row a checkpoint and task, or the losses, with what befell the questions."""
    table = Table(box=box.SIMPLE_HEAD)
    if found.scores.empty:
        names = ("run", "step", "text", "language", "nats/token", "bits/byte", "bits/char", "unigram-normalised")
        for name in (*names, "documents", "told"):
            table.add_column(name, overflow="fold")
        for row in found.losses.to_dict("records"):
            table.add_row(
                text_cell(row["run"]), str(row["step"]), text_cell(row["text"]), text_cell(row["language"]),
                _loss(row, "nats_per_token"), _loss(row, "bits_per_byte"), _loss(row, "bits_per_character"),
                _loss(row, "unigram_normalised"), "" if pd.isna(row.get("documents")) else f"{row['documents']:.0f}",
                text_cell(_told_of_text(row)),
            )  # fmt: skip
        return table
    for name in ("run", "step", "task", "metric", "score", "chance", "questions", "told"):
        table.add_column(name, overflow="fold")
    for row in headline(found).to_dict("records"):
        table.add_row(
            text_cell(row["run"]), str(row["step"]), text_cell(row["task"]), text_cell(row["metric"]), _score(row),
            "" if pd.isna(row["chance"]) else f"{row['chance']:.3f}", str(row["questions"]), text_cell(_told(row)),
        )  # fmt: skip
    return table


def _loss(row: dict[Any, Any], name: str) -> str:
    """A loss with its standard error from documents; empty where it was not measured."""
    if pd.isna(row.get(name)):
        return ""
    error = row.get(f"{name}_stderr")
    return f"{row[name]:.4f}" + ("" if error is None or pd.isna(error) else f" ± {error:.4f}")


def _told_of_text(row: dict[Any, Any]) -> str:
    told = []
    if not pd.isna(row.get("changed")) and row["changed"]:
        told.append(f"{row['changed']:.0f} of {row['bytes']} bytes dropped or changed")
    if not pd.isna(row.get("overlap_ngrams")):
        told.append(
            f"in the training data: {row['overlap_ngrams']:.1%} of n-grams, {row['overlap_documents']:.1%} of documents"
        )
    return "; ".join(told)


def headline(found: Results) -> pd.DataFrame:
    """Rows of each task's published metric and of those named beside it; a task without any number keeps one row."""
    metric = found.scores["metric"]
    return found.scores[
        (metric == found.scores["task"].map(found.headlines)) | metric.isin((*found.named, *SAMPLED)) | metric.isna()
    ]


def _score(row: dict[Any, Any]) -> str:
    if pd.isna(row["score"]):
        return "none"
    return f"{row['score']:.3f}" + ("" if pd.isna(row["stderr"]) else f" ± {row['stderr']:.3f}")


def _told(row: dict[Any, Any]) -> str:
    left = "" if pd.isna(row["left_out"]) or not row["left_out"] else f"{int(row['left_out'])} left out of the score"
    return "; ".join(part for part in (left, sentence(row)) if part)


def json_rows(found: Results) -> list[dict[str, Any]]:
    """All metrics with all counts, or the losses, as JSON values; what is missing is null."""
    frame = found.losses if found.scores.empty else found.scores
    whole = [name for name in ("questions", "n_examples", "left_out", *COUNTS) if name in frame]
    frame = frame.astype(dict.fromkeys(whole, "Int64")).astype(object)
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]
