"""Observations of a study's folder: scores measured from its item rows, placed by its held-out losses.

Nothing is asked of a model again: the parts under ``runs/`` hold all that every metric needs. One run is read at a
time, so that memory is bounded by the largest run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from onset import reading
from onset.errors import OnsetError, did_you_mean
from onset.metrics import measures as metrics
from onset.store import coverage as asked
from onset.store.parts import ITEMS, LOSSES, read_about, read_part, with_whole
from onset.store.rundir import RunDir, run_dirs
from onset.study.files import written
from onset.tables import tuned
from onset.tables.units import NATS, UNITS, loss_unit
from onset.tasks.catalogue import catalogue

ITEM_COLUMNS = (
    "run", "step", "task", "digest", "item", "choice", "gold", "logprob", "logprob_uncond", "tokens", "bytes",
    "correct", "samples_correct",
)  # fmt: skip
LOSS_COLUMNS = {NATS: "nats_per_token", "bits/byte": "bits_per_byte", "unigram-normalised": "unigram_normalised"}
METRICS_FILE = "metrics.json"
"""Metrics beside the usual ones that an evaluation names: they are measured whenever the folder is read."""
DESIGN = ("architecture", "params_active", "optimizer", "stage")
"""What of a run's design is a factor where it varies."""

FACTORS = ("schedule", "peak_rate", "seed", "layers", "width", "batch")


@dataclass(frozen=True)
class LossChoice:
    """Which held-out loss places the checkpoints."""

    text: str
    language: str
    unit: str

    @property
    def name(self) -> str:
        """The loss_name of the observations: the text, and the language where it is not the whole text."""
        return self.text if self.language == "all" else f"{self.text}@{self.language}"


def from_study(folder: str | Path, loss: str | None = None) -> pd.DataFrame:
    """Observations of all that the folder's runs have been scored on.

    ``loss`` is ``TEXT[@LANGUAGE][:UNIT]``, by default the study's first validation text as a whole, in nats per
    token. Checkpoints without that loss cannot be placed, and failed runs are not scored: both are left out and
    told in ``.attrs["notes"]``. A task that was asked in two forms (two digests) counts as two,
    ``<task>@<digest4>``. Raises OnsetError for a folder without runs or scores, and for a part cut short.
    """
    folder = Path(folder)
    runs, notes = _sound_runs(folder)
    held_out = pd.concat([_losses(run) for run in runs], ignore_index=True)
    choice = _choice(folder, held_out, loss)
    wanted = metrics_of(folder)
    scores = pd.concat([_scores(run, wanted) for run in runs], ignore_index=True)
    if scores.empty:
        raise OnsetError(
            "no checkpoint of this study has been scored on a task yet",
            where=folder,
            advice="run 'onset status' to see what is owed, and 'onset run' or 'onset eval' to score",
        )
    scores = tuned.placed(_forms_apart(scores, notes), runs, notes)
    placed = _placed(scores, held_out, choice, notes, folder)
    described = placed.merge(pd.DataFrame(_descriptions(runs)), on="run", how="left")
    described = tuned.joined(_with_tokens(described, notes, folder), runs)
    if described.left_out.any():
        notes.append(f"items that could not be scored, left out of their scores: {int(described.left_out.sum())}")
    notes += _overlap_notes(runs) + _unknown_constants(runs)
    notes += asked.notes([part for run in runs for part in sorted(run.path.glob("items/[0-9]*/*.parquet"))])
    described = described.drop(columns=["left_out", "digest"]).assign(language=_languages(described.task, runs))
    described.attrs["notes"] = notes
    return described


def all_losses(folder: Path) -> pd.DataFrame:
    """Every held-out loss of every checkpoint but tuned ones: ``run, step, tokens, loss_name, loss_unit, loss``."""
    runs = [run for run in _sound_runs(folder)[0] if not run.meta().get("start")]
    held_out = pd.concat([_losses(run) for run in runs], ignore_index=True)
    several = held_out.groupby("text")["language"].transform("nunique") > 2  # 'all' and one other are one axis
    held_out, axes = held_out[several | (held_out["language"] == "all")], []
    for (text, language), rows in held_out.groupby(["text", "language"], sort=True):
        for unit, column in LOSS_COLUMNS.items():
            name = LossChoice(str(text), str(language), unit).name
            axes.append(
                rows[["run", "step"]].assign(tokens=float("nan"), loss_name=name, loss_unit=unit, loss=rows[column])
            )
    return pd.concat(axes, ignore_index=True).dropna(subset=["loss"])


def _sound_runs(folder: Path) -> tuple[list[RunDir], list[str]]:
    """The runs that did not fail, and a note on each that did."""
    runs = run_dirs(folder)
    if not runs:
        raise OnsetError(
            "this folder holds no runs",
            where=folder,
            advice="give the folder of a study (it has runs/<name>/run.json), or a table of observations",
        )
    reasons = {run.name: run.failed for run in runs}
    notes = [f"run {name} failed and was left out: {reason}" for name, reason in reasons.items() if reason is not None]
    sound = [run for run in runs if reasons[run.name] is None]
    if not sound:
        raise OnsetError("all runs of this study failed", where=folder, advice="; ".join(notes))
    return sound, notes


def _losses(run: RunDir) -> pd.DataFrame:
    parts = sorted((run.path / "loss").glob("[0-9]*.parquet"))
    return with_whole(
        _read(parts, "run, step, text, language, nats_per_token, bits_per_byte, unigram_normalised", LOSSES, run)
    )


def _overlap_notes(runs: list[RunDir]) -> list[str]:
    """How much of each validation text the runs' training text holds, where that was looked for."""
    parts = [parts[-1] for run in runs if (parts := sorted((run.path / "loss").glob("[0-9]*.parquet")))]
    if not parts:
        return []
    told = pd.concat([read_part(part) for part in parts], ignore_index=True)
    if "overlap_ngrams" not in told:
        return []
    notes = []
    for (text, language), rows in told.dropna(subset=["overlap_ngrams"]).groupby(["text", "language"], sort=True):
        grams, whole = rows["overlap_ngrams"], rows["overlap_documents"]
        notes.append(
            f"overlap with training text: of '{text}' ({language}), {_shares(grams)} of pieces of about fifty bytes "
            f"occur in it, and {_shares(whole)} of documents for the most part"
        )
    return notes


def _unknown_constants(runs: list[RunDir]) -> list[str]:
    """Tasks with free answers whose parts do not say what the best constant answer scores."""
    open_tasks: set[str] = set()
    seen: set[str] = set()
    for part in (part for run in runs for part in sorted(run.path.glob("items/[0-9]*/*.parquet"))):
        if part.stem not in seen:
            seen.add(part.stem)
            about = read_about(part)
            if about.get("metric") == "exact_match" and "constant_answer" not in about:
                open_tasks.add(part.stem.rpartition("-")[0])
    if not open_tasks:
        return []
    tasks = ", ".join(sorted(open_tasks))
    return [f"the best constant answer is not known of {tasks}: the chance of their exact match is taken as 0"]


def _shares(values: pd.Series[float]) -> str:
    """A share in percent, or a range of them where runs differ."""
    low, high = 100 * float(values.min()), 100 * float(values.max())
    return f"{low:.1f} %" if high - low < 0.05 else f"{low:.1f} to {high:.1f} %"


def metrics_of(folder: Path) -> list[str]:
    """What is measured of a folder's rows: the usual metrics, and those that its study or evaluation names."""
    named: list[str] = []
    if (study := folder / "study.toml").is_file():
        named += written(study).metrics
    if (file := folder / METRICS_FILE).is_file():
        listed = reading.json_file(file, advice="delete it")
        if not isinstance(listed, list):
            raise OnsetError("the list of metrics is no list", where=file, advice="delete it")
        named += [str(name) for name in listed]
    return list(dict.fromkeys([*metrics.USUAL, *named]))


def _scores(run: RunDir, wanted: list[str]) -> pd.DataFrame:
    """Every metric of every (step, task) of a run, with the digest of the task."""
    parts = sorted((run.path / "items").glob("[0-9]*/*.parquet"))
    rows = _read(parts, ", ".join(f'"{column}"' for column in ITEM_COLUMNS), ITEMS, run)
    if rows.empty:
        return pd.DataFrame()
    known = constant_answers(parts)
    measured = [
        metrics.measure(form, wanted, constant_answer=known.get(str(digest)[:4], {})).assign(digest=digest)
        for digest, form in rows.groupby("digest", sort=True)
    ]
    return pd.concat(measured, ignore_index=True)


def constant_answers(parts: Sequence[Path]) -> dict[str, dict[str, float]]:
    """By the first digits of a task's digest and its name: the score of the best constant answer, as its parts say."""
    found: dict[str, dict[str, float]] = {}
    for stem, part in {part.stem: part for part in parts}.items():  # the same in all parts of a task
        task, _, digest = stem.rpartition("-")
        if (value := read_about(part).get("constant_answer")) is not None:
            found.setdefault(digest, {})[task] = float(value)
    return found


def _read(parts: list[Path], columns: str, schema: pa.Schema, run: RunDir) -> pd.DataFrame:
    """All parts in one frame. A part cut short is one OnsetError that names it."""
    if not parts:
        return pd.DataFrame(columns=[name.strip(' "') for name in columns.split(",")])
    with duckdb.connect() as database:
        # By the schema, so that a column that a part of an earlier version lacks is empty.
        database.register("parts", ds.dataset([str(part) for part in parts], schema=schema, format="parquet"))
        try:
            frame: pd.DataFrame = database.sql(f"SELECT {columns} FROM parts").df()
        except duckdb.Error as error:
            raise _unreadable(parts, run, error) from error
    return frame.assign(run=run.name)


def _unreadable(parts: list[Path], run: RunDir, error: duckdb.Error) -> OnsetError:
    advice = "delete this file and run again: it is made anew"
    for part in parts:
        try:
            pq.ParquetFile(part).read()
        except (pa.ArrowException, OSError) as broken:
            return OnsetError(f"cannot read the part: {broken}", where=part, advice=advice)
    return OnsetError(f"cannot read the parts of the run: {error}", where=run.path, advice=advice)


def _choice(folder: Path, held_out: pd.DataFrame, loss: str | None) -> LossChoice:
    """The loss axis that was asked for, or the study's first validation text."""
    texts = list(dict.fromkeys(held_out.text))
    if not texts:
        raise OnsetError(
            "no checkpoint of this study has a held-out loss yet",
            where=folder,
            advice="run 'onset run' again, or 'onset loss' on the checkpoints",
        )
    if loss is None:
        text = _first_validation_text(folder)
        if text is None and len(texts) > 1:
            raise OnsetError(
                f"the study has losses on several texts: {', '.join(texts)}",
                where=folder,
                advice="choose one with --loss NAME",
            )
        return LossChoice(text if text is not None else texts[0], "all", NATS)
    named, _, last = loss.partition(":")
    text, _, language = named.partition("@")
    unit = loss_unit(last) if last else NATS
    if text not in texts:
        raise OnsetError(f"there is no held-out loss '{text}'", where=folder, advice=did_you_mean(text, texts))
    if unit not in LOSS_COLUMNS:
        words = [word for names in UNITS.values() for word in names]
        raise OnsetError(f"there is no unit of loss '{last}'", where=folder, advice=did_you_mean(last, words))
    languages = sorted(held_out.language[held_out.text == text].unique())
    if language and language not in languages:
        raise OnsetError(
            f"text '{text}' has no loss for language '{language}'",
            where=folder,
            advice=did_you_mean(language, languages),
        )
    return LossChoice(text, language or "all", unit)


def _first_validation_text(folder: Path) -> str | None:
    """Name of the first validation text in study.toml; None where the folder has no such file."""
    path = folder / "study.toml"
    return written(path).validation[0].name if path.exists() else None


def _languages(tasks: pd.Series[str], runs: list[RunDir]) -> pd.Series[str]:
    """The language of each task, as its parts or else the catalogue say; empty where neither does."""
    known: dict[str, str] = {name: task.language for name, task in catalogue().items()}
    parts = {part.stem.rpartition("-")[0]: part for run in runs for part in run.path.glob("items/[0-9]*/*.parquet")}
    known |= {task: said for task, part in parts.items() if (said := read_about(part).get("language"))}
    return tasks.str.partition("@")[0].map(known).fillna("").astype(str)


def _forms_apart(scores: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """A task whose questions or prompts changed is not one task: its forms get names of their own."""
    forms = scores.groupby("task").digest.transform("nunique") > 1
    if forms.any():
        tasks = ", ".join(sorted(scores.task[forms].unique()))
        notes.append(f"asked in more than one form, which are kept apart by digest: {tasks}")
        names = scores.task + "@" + scores.digest.str[:4]
        scores = scores.assign(task=scores.task.where(~forms, names))
    return scores


def _placed(
    scores: pd.DataFrame, held_out: pd.DataFrame, choice: LossChoice, notes: list[str], folder: Path
) -> pd.DataFrame:
    """Scores with the loss of their checkpoint; those without it are counted and left out."""
    axis = held_out[(held_out.text == choice.text) & (held_out.language == choice.language)]
    axis = axis[["run", "step"]].assign(loss=axis[LOSS_COLUMNS[choice.unit]]).dropna(subset=["loss"])
    axis = axis.rename(columns={"run": "place_run", "step": "place_step"}).drop_duplicates()
    placed = scores.merge(axis, on=["place_run", "place_step"], how="left")
    lost = placed.loss.isna()
    if lost.all():
        raise OnsetError(
            f"no scored checkpoint has a loss '{choice.name}' in {choice.unit}",
            where=folder,
            advice="choose another with --loss NAME, or measure it with 'onset loss'",
        )
    if lost.any():
        checkpoints = placed.loc[lost, ["run", "step"]].drop_duplicates()
        notes.append(
            f"{len(checkpoints)} scored checkpoints have no loss '{choice.name}' and cannot be placed: left out "
            f"(the first: {checkpoints.run.iloc[0]} at step {checkpoints.step.iloc[0]})"
        )
    return placed[~lost].assign(loss_name=choice.name, loss_unit=choice.unit)


def _descriptions(runs: Sequence[RunDir]) -> list[dict[str, Any]]:
    """A row a run; architecture, active parameters and optimizer are named where a study has several of them."""
    metas = [run.meta() for run in runs]
    named = [_design(meta) for meta in metas]
    varied = {key for key in DESIGN if len({str(one.get(key)) for one in named}) > 1}
    if all(one.get("params_active") == meta.get("params") for one, meta in zip(named, metas, strict=True)):
        varied.discard("params_active")
    return [
        _description(run, meta, {key: value for key, value in one.items() if key in varied and value is not None})
        for run, meta, one in zip(runs, metas, named, strict=True)
    ]


def _design(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run.json tells designs apart."""
    optimizer = (meta.get("spec") or {}).get("optimizer")
    kind = None if optimizer is None else optimizer.get("kind", "adamw")
    named = {key: meta.get(key) for key in ("architecture", "params_active", "stage")}
    return named | {"optimizer": kind}


def _description(run: RunDir, meta: Mapping[str, Any], design: Mapping[str, Any]) -> dict[str, Any]:
    """A run's columns from its run.json."""
    spec: dict[str, Any] = meta.get("spec") or {}
    schedule, shape = spec.get("schedule") or {}, spec.get("shape") or {}
    values = {**spec, **shape, "schedule": schedule.get("kind"), "peak_rate": schedule.get("peak_rate")}
    factors = {key: values[key] for key in FACTORS if isinstance(values.get(key), int | float | str)}
    factors |= design
    if meta.get("group"):
        factors["group"] = meta["group"]
    return {
        "run": run.name,
        "family": meta.get("family") or "",
        "params": meta.get("params"),
        "tokens_per_step": meta.get("tokens_per_step"),
        "tokens_at": json.dumps(tuned.tokens_at(dict(meta))),
        "flops_per_token": meta.get("flops_per_token"),
        "extra": json.dumps(factors, ensure_ascii=False),
    }


def _with_tokens(frame: pd.DataFrame, notes: list[str], folder: Path) -> pd.DataFrame:
    """Tokens and FLOPs of every checkpoint, as stated or by its step; one that says neither cannot be used."""
    per_step = pd.to_numeric(frame.pop("tokens_per_step"))
    per_token = pd.to_numeric(frame.pop("flops_per_token"))
    stated = [json.loads(at).get(str(step)) for at, step in zip(frame.pop("tokens_at"), frame.step, strict=True)]
    tokens = pd.Series(pd.to_numeric(pd.Series(stated, dtype=object)).to_numpy(dtype=float), frame.index)
    tokens = tokens.fillna(frame.step * per_step)
    frame = frame.assign(tokens=tokens, flops=tokens * per_token)
    unknown = frame.tokens.isna() | frame.params.isna()
    if unknown.any():
        names = ", ".join(frame.run[unknown].unique()[:3])
        notes.append(f"{int(unknown.sum())} scores are of runs whose run.json lacks params or training tokens: {names}")
    if unknown.all():
        advice = "run the same 'onset eval' again with --tokens-per-step N or --tokens FILE: nothing is asked twice"
        raise OnsetError("no run says how many tokens its checkpoints were trained on", where=folder, advice=advice)
    return frame[~unknown]
