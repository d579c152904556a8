"""Anyone's models on any tasks and texts: what ``onset eval`` and ``onset loss`` do.

A model is one of our checkpoints, one of our runs (all its checkpoints), a Hugging Face folder, or a hub id with
``@revision``. Each gets a run directory below the results' folder, so that a published series becomes a study's
table. Parts that are there are not made again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from onset.errors import OnsetError
from onset.store.rundir import RunDir
from onset.store.text import documents
from onset.study.spec import WorldSpec
from onset.tasks.catalogue import find
from onset.tasks.task import Task
from onset.work.engine import LocalEngine
from onset.work.pieces import Owing, Piece, Report
from onset.work.plan import cores
from onset.work.progress import Display
from onset.work.run import only_one
from onset.work.seats import Need, Seat


@dataclass(frozen=True)
class Subject:
    """One set of weights and where its rows go."""

    ref: str
    rundir: RunDir
    step: int
    meta: Mapping[str, Any] | None = None
    """The run.json of a model brought from elsewhere without one; None where the weights must be loaded first."""


@dataclass(frozen=True)
class Loading:
    """How foreign weights are read."""

    dtype: str = "float32"
    device: str = "cpu"
    allow_bin: bool = False
    trust_remote_code: bool = False


@dataclass
class Bench:
    """Models to be asked tasks and measured on texts: a place of work for an engine."""

    subjects: tuple[Subject, ...]
    names: tuple[str, ...] = ()
    """Tasks of the catalogue."""
    texts: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    """Validation texts: name to language to file."""
    data: Path | None = None
    shots: int | None = None
    limit: int | None = None
    world: WorldSpec | None = None
    loading: Loading = Loading()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in {"tasks", "digests"}}

    @cached_property
    def tasks(self) -> dict[str, Task]:
        found = find(self.names, data=self.data, world=self.world)
        return {task.name: task.with_use(shots=self.shots, limit=self.limit) for task in found}

    @cached_property
    def digests(self) -> dict[str, str]:
        return {name: task.digest() for name, task in self.tasks.items()}

    def missing(self, subject: Subject) -> list[str]:
        """Tasks whose rows are absent."""
        return [
            name
            for name, digest in self.digests.items()
            if not subject.rundir.items(subject.step, name, digest).exists()
        ]

    def missing_loss(self, subject: Subject) -> bool:
        """Whether held-out losses are asked for and absent."""
        return bool(self.texts) and not subject.rundir.loss(subject.step).exists()

    def owing(self) -> Owing:
        """One piece a set of weights."""
        pieces = []
        for subject in self.subjects:
            if self.missing(subject) or self.missing_loss(subject):
                pieces.append(Piece("evaluate", subject.rundir.name, subject.step, 1.0))
        return Owing(len(self.subjects) - len(pieces), tuple(pieces))

    def ready(self, piece: Piece) -> bool:
        return True

    def need(self, piece: Piece, threads: int) -> Need:
        """Not told: the size of foreign weights is known once they are loaded."""
        return Need()

    def carry_out(self, piece: Piece, seat: Seat, report: Report) -> None:
        """Ask one set of weights all that is absent."""
        from onset.lm.hub import load
        from onset.lm.scorer import Scorer
        from onset.work.evaluate import write_items, write_losses

        subject = next(one for one in self.subjects if (one.rundir.name, one.step) == (piece.run, piece.step))
        ref, revision = split_revision(subject.ref)
        lm = load(
            ref,
            revision=revision,
            dtype=self.loading.dtype,  # type: ignore[arg-type]
            device=self.loading.device,
            allow_bin=self.loading.allow_bin,
            trust_remote_code=self.loading.trust_remote_code,
        )
        if subject.meta is not None:
            subject.rundir.create({**subject.meta, "params": lm.params})
        if self.missing_loss(subject):
            report({"doing": "held-out loss"})
            texts = {name: _read(by_language) for name, by_language in self.texts.items()}
            write_losses(lm, texts, subject.rundir, subject.step)
        scorer = Scorer(lm)
        for name in self.missing(subject):
            report({"doing": name})
            write_items(scorer, self.tasks[name], self.digests[name], subject.rundir, subject.step)


def subjects(models: Sequence[str], out: Path, tokens: Mapping[str, int] | None = None) -> tuple[Subject, ...]:
    """The sets of weights that the given names mean, each with its place below ``out``.

    ``tokens`` gives the training tokens of foreign models by name: without them a model can be scored, but its
    rows cannot be placed against compute or tokens. Raises OnsetError for a name that is nothing known.
    """
    found: list[Subject] = []
    for model in models:
        found += _of(model, Path(out), (tokens or {}).get(model))
    keys = [(subject.rundir.name, subject.step) for subject in found]
    doubled = next((key for key in keys if keys.count(key) > 1), None)
    if doubled is not None:
        raise OnsetError(f"'{doubled[0]}' at step {doubled[1]} is named twice", advice="name each model once")
    return tuple(found)


def carry_out(bench: Bench, workers: int, console: Console) -> tuple[int, list[str]]:
    """Do all that the bench owes; returns the sets of weights that are done and what went wrong."""
    with only_one(bench.subjects[0].rundir.path.parent.parent):
        _ = bench.digests  # unknown tasks and unreadable rows are told before a model is loaded
        before = bench.owing()
        problems: dict[str, OnsetError] = {}
        if before.pieces:
            with Display(console, before.done, len(before.pieces)) as display:
                problems = LocalEngine(workers, max(1, cores() // workers)).carry_out(bench, display)
        return bench.owing().done, [str(error) for error in problems.values()]


def tokens_of(table: Path | None) -> dict[str, int]:
    """Training tokens by model from a CSV file with columns ``model,tokens``."""
    if table is None:
        return {}
    try:
        frame = pd.read_csv(table, dtype={"model": str})
        return {str(model): int(tokens) for model, tokens in zip(frame["model"], frame["tokens"], strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise OnsetError(
            f"cannot read the table of tokens: {error}", where=table, advice="give a CSV with columns model,tokens"
        ) from error


def texts_of(given: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Validation texts from ``FILE`` or ``LANGUAGE:FILE``; files that share a first name form one text."""
    texts: dict[str, dict[str, Path]] = {}
    for one in given:
        language, _, rest = one.partition(":")
        if language not in {"en", "zh"}:
            language, rest = "en", one
        path = Path(rest)
        if not path.exists():
            raise OnsetError("no such text", where=path, advice="check the path; a language stands before it: zh:FILE")
        name = re.sub(r"^(en|zh)[._-]|(\.jsonl|\.txt|\.md|\.gz|\.parquet)+$", "", path.name) or path.name
        by_language = texts.setdefault(name, {})
        if language in by_language:
            raise OnsetError(f"two texts named '{name}' in '{language}'", where=path, advice="rename one of the files")
        by_language[language] = path
    return texts


def split_revision(ref: str) -> tuple[str, str | None]:
    """A hub id and its revision; a path that exists is never split."""
    if Path(ref).exists() or "@" not in ref:
        return ref, None
    name, _, revision = ref.rpartition("@")
    return name, revision


def _of(model: str, out: Path, tokens: int | None) -> list[Subject]:
    path = Path(model)
    if (path / "run.json").exists():
        return _of_run(RunDir(path.resolve()), out)
    if path.resolve().parent.name == "steps" and (path.resolve().parent.parent / "run.json").exists():
        step = int(path.resolve().name)
        return [one for one in _of_run(RunDir(path.resolve().parent.parent), out) if one.step == step]
    name, revision = split_revision(model)
    label, step = _series(name, revision)
    identity = _identity(path) if path.is_dir() else f"{name}@{revision}"
    digest = hashlib.sha256(identity.encode()).hexdigest()
    if step:  # checkpoints of one training share a run
        digest = hashlib.sha256(name.encode()).hexdigest()
    rundir = RunDir(out / "runs" / f"{label}-{digest[:8]}")
    per_step = None if tokens is None else tokens / step if step else tokens
    meta = {"run": label, "digest": digest, "study": "", "family": label, "group": "", "tokens_per_step": per_step}
    return [Subject(model, rundir, step or 1, meta)]


def _of_run(source: RunDir, out: Path) -> list[Subject]:
    """All checkpoints of one of our runs; rows go to the run itself when ``out`` is its own study's folder."""
    steps = source.steps()
    if not steps:
        raise OnsetError("this run has no checkpoint yet", where=source.path, advice="train it first: onset run")
    target = RunDir(out.resolve() / "runs" / source.name)
    target.create(source.meta())
    return [Subject(str(source.checkpoint(step)), target, step) for step in steps]


def _series(name: str, revision: str | None) -> tuple[str, int]:
    """A slug and the step that a revision such as 'step1000' names (0 where it names none)."""
    label = re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(name).name if Path(name).exists() else name).strip("-.") or "model"
    found = re.search(r"step[-_]?(\d+)", revision or "")
    if found:
        return label, int(found.group(1))
    return (label if revision is None else f"{label}-{revision}"), 0


def _identity(folder: Path) -> str:
    """Digest of a model folder: names, sizes and the first MiB of each file (weights are large)."""
    made = hashlib.sha256()
    for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        made.update(f"{file.relative_to(folder).as_posix()} {file.stat().st_size}\n".encode())
        with open(file, "rb") as handle:
            made.update(handle.read(1 << 20))
    return made.hexdigest()


def _read(by_language: Mapping[str, Path]) -> dict[str, list[str]]:
    return {language: list(documents(path)) for language, path in by_language.items()}
