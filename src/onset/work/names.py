"""What the names of models mean: which run and step a set of weights is, and how many tokens it was trained on.

A name is one of our studies, runs or checkpoints, a Hugging Face folder, a folder of several that name their step, a
``.gguf`` file, a hub id with ``@revision``, or several at once: ``id@step*`` and ``series:pythia`` (see ``work.hub``).
Files, folders and revisions that name a step (``step1000``, ``step-1000``, ``step1000-tokens4B``, ``checkpoint-1000``
as the Trainer writes them) are checkpoints of one run.
"""

from __future__ import annotations

import csv
import filecmp
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onset import reading
from onset.errors import OnsetError
from onset.store.rundir import RunDir, run_dirs
from onset.store.step_names import STEP
from onset.work.hub import expanded

SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
"""A part of a model that llama.cpp has split."""
SIZES = {"M": 10**6, "B": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Subject:
    """One set of weights and where its rows go."""

    ref: str
    rundir: RunDir
    step: int
    meta: Mapping[str, Any] | None = None
    """The run.json of a model brought from elsewhere; None for one of our runs, which has its own."""


@dataclass(frozen=True)
class Known:
    """What a table says of one model."""

    tokens: int | None = None
    run: str = ""
    step: int | None = None
    params: int | None = None
    """Of a model that cannot be counted: one behind a server."""


def known(table: Path | None) -> dict[str, Known]:
    """What a CSV file says of models: columns ``model,tokens``, and where wanted ``run,step,params``.

    ``tokens`` are the training tokens; models with one ``run`` are its checkpoints, at their ``step``; ``params`` are
    the parameters of a model behind a server.
    """
    if table is None:
        return {}
    advice = "give a CSV with columns model,tokens (whole numbers) and, where wanted, run,step"
    try:
        rows = list(csv.DictReader(io.StringIO(reading.text(table, advice=advice), newline="")))
        return {
            row["model"]: Known(
                _count(row["tokens"]), row.get("run") or "", _count(row.get("step")), _count(row.get("params"))
            )
            for row in rows
        }
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise OnsetError(f"cannot read the table of tokens: {error}", where=table, advice=advice) from error


def _count(text: str | None) -> int | None:
    """A whole number, also as 2e9; None for an empty cell."""
    if text is None or not text.strip():
        return None
    value = float(text)
    if value != int(value) or value < 0:
        raise ValueError(f"'{text}' is no whole number")
    return int(value)


def subjects(
    models: Sequence[str],
    out: Path,
    table: Mapping[str, Known] | None = None,
    tokens_per_step: int | None = None,
    *,
    waiting: bool = False,
) -> tuple[Subject, ...]:
    """The sets of weights that the given names mean, each with its place below ``out``.

    Training tokens of foreign models come from the table, from ``num_input_tokens_seen`` of trainer_state.json, from
    the revision's name (``tokens4B``) or from ``tokens_per_step``: without them a model can be scored, but its scores
    cannot be placed against compute or tokens.
    ``waiting`` takes a run or a folder that has no checkpoint yet for none, instead of an error.
    Raises OnsetError for a name that is nothing known, and for a row of the table that names none of the models.
    """
    told = dict(table or {})
    named: list[str] = []
    for model in models:
        on_hub = expanded(model)
        named += on_hub or _within(model, waiting)
        told = {**{name: Known(tokens) for name, tokens in on_hub.items() if tokens is not None}, **told}
    models = named
    stray = [name for name in told if name not in models]
    if stray:
        raise OnsetError(
            f"the table of tokens names '{stray[0]}', which is none of the models",
            advice="write its first column as the models are given: " + ", ".join(models[:3]),
        )
    found: list[Subject] = []
    for model in models:
        found += _of(model, Path(out), told.get(model, Known()), tokens_per_step, waiting)
    keys = [(subject.rundir.name, subject.step) for subject in found]
    doubled = next((key for key in keys if keys.count(key) > 1), None)
    if doubled is not None:
        raise OnsetError(f"'{doubled[0]}' at step {doubled[1]} is named twice", advice="name each model once")
    return tuple(found)


def _within(model: str, waiting: bool) -> list[str]:
    """What a folder of models means: a study's runs, or the checkpoints side by side in it; any other name itself."""
    folder = Path(model)
    if not folder.is_dir() or (folder / "run.json").exists():
        return [model]
    if (folder / "config.json").exists():
        return _with_checkpoints(folder) or [model]
    if runs := [str(run.path) for run in run_dirs(folder) if run.steps()]:
        return runs
    checkpoints = [str(entry) for _, entry in _checkpoints(folder)]
    return checkpoints or _gguf_files(folder) or [model] * (not waiting)


def _gguf_files(folder: Path) -> list[str]:
    """The .gguf files of a folder: one model, or checkpoints that name their step, by step.

    Raises OnsetError for several files that name none: they may be one model in several quantisations.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".gguf" and file.is_file())
    steps = {file: found for file in files if (found := STEP.search(file.stem))}
    if len(files) > 1 and len(steps) < len(files) and not all(SHARD.search(file.name) for file in files):
        raise OnsetError(
            f"the folder holds {len(files)} .gguf files, and not all of them name a step", where=folder,
            advice=f"name the one that is meant: {files[0]}",
        )  # fmt: skip
    if files and SHARD.search(files[0].name):
        return [str(files[0])]
    return [str(file) for file in sorted(files, key=lambda file: int(steps[file][1]) if file in steps else 0)]


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Step and folder of the models in a folder that name their step, by step."""
    found = [(int(step[1]), entry) for entry in folder.iterdir() if (step := STEP.search(entry.name))]
    return sorted((step, entry) for step, entry in found if _holds_model(entry))


def _with_checkpoints(folder: Path) -> list[str]:
    """A model's folder with checkpoints in it, as a trainer leaves it: the checkpoints, and its own weights.

    Its own weights are left out where they are those of a checkpoint. Raises OnsetError where nothing says their step.
    """
    checkpoints = _checkpoints(folder)
    names = [str(entry) for _, entry in checkpoints]
    if not checkpoints or not _holds_model(folder):
        return names
    step = _trainer_state(folder).get("global_step")
    if step in {at for at, _ in checkpoints} or any(_same_weights(folder, entry) for _, entry in checkpoints):
        return names
    if not isinstance(step, int):
        raise OnsetError(
            "a folder holds weights of its own beside checkpoints, and nothing says their step", where=folder,
            advice=f"name the checkpoints: {folder}/{checkpoints[-1][1].name} ..., or put trainer_state.json there",
        )  # fmt: skip
    return [*names, str(folder)]


def _same_weights(one: Path, other: Path) -> bool:
    names = sorted(file.name for kind in ("*.safetensors", "*.bin") for file in one.glob(kind))
    alike = filecmp.cmpfiles(one, other, [name for name in names if name != "training_args.bin"], shallow=False)
    return not alike[1] and not alike[2]


def _trainer_state(folder: Path) -> dict[str, Any]:
    """What the Trainer of transformers says of a checkpoint, where it does."""
    file = folder / "trainer_state.json"
    if not file.exists():
        return {}
    return reading.json_object(file, advice="remove it, or fetch it again")


def _holds_model(folder: Path) -> bool:
    weights = (file for kind in ("*.safetensors", "*.bin") for file in folder.glob(kind))
    return (folder / "config.json").exists() and any(weights)


def is_server(reference: str) -> bool:
    """Whether a model's name is the address of a completions server, ``http://HOST:PORT/v1#NAME``."""
    return reference.startswith(("http://", "https://"))


def split_revision(ref: str) -> tuple[str, str | None]:
    """A hub id and its revision; a path that exists is never split."""
    if Path(ref).exists() or "@" not in ref:
        return ref, None
    name, _, revision = ref.rpartition("@")
    return name, revision


def describe(subject: Subject, params: int | None = None) -> None:
    """Write the run.json of a model brought from elsewhere, or add to it what is known now.

    ``params`` are known once the weights are loaded; without them only a run.json that is there is added to, but for a
    model behind a server, whose weights are never loaded.
    """
    there = subject.rundir.meta_path.exists()
    if subject.meta is None or (params is None and not there and not is_server(subject.ref)):
        return
    made: dict[str, Any] = {**subject.meta} if params is None else {**subject.meta, "params": params}
    if there:
        before = subject.rundir.meta()
        subject.rundir.create(made)  # another model's directory is refused
        made["tokens_at"] = {**(before.get("tokens_at") or {}), **made["tokens_at"]}
        made["tokens_per_step"] = made["tokens_per_step"] or before.get("tokens_per_step")
        made = {**before, **made}
        if made == before:
            return
    subject.rundir.rewrite(made)


def _of(model: str, out: Path, known: Known, tokens_per_step: int | None, waiting: bool) -> list[Subject]:
    path = Path(model)
    if reading.there(path) and (path / "run.json").exists():
        run = RunDir(path.resolve())
        return [] if waiting and not run.steps() else _of_run(run, out)
    if path.resolve().parent.name == "steps" and (path.resolve().parent.parent / "run.json").exists():
        step = int(path.resolve().name)
        return [one for one in _of_run(RunDir(path.resolve().parent.parent), out) if one.step == step]
    return [_foreign(model, out, known, tokens_per_step)]


def _of_run(source: RunDir, out: Path) -> list[Subject]:
    """All checkpoints of one of our runs; rows go to the run itself when ``out`` is its own study's folder."""
    steps = source.steps()
    if not steps:
        raise OnsetError("this run has no checkpoint yet", where=source.path, advice="train it first: onset run")
    target = RunDir(out.resolve() / "runs" / source.name)
    target.create(source.meta())
    return [Subject(str(source.checkpoint(step)), target, step) for step in steps]


def _foreign(model: str, out: Path, known: Known, tokens_per_step: int | None) -> Subject:
    """A folder or a hub id: checkpoints of one training share a run."""
    path = Path(model)
    name, revision = (model.rpartition("#")[2], None) if is_server(model) else split_revision(model)
    state = _trainer_state(path) if path.is_dir() else {}
    here = path.exists()
    place = path.resolve().with_suffix("") if path.suffix.lower() == ".gguf" else path.resolve()
    tokens = known.tokens if known.tokens is not None else state.get("num_input_tokens_seen") or None
    if known.run:
        label, identity, step = known.run, f"run {known.run}", known.step
    elif (found := STEP.search(place.name if here else revision or "")) is not None:
        label, identity = _series(place, found) if here else _hub_series(name, revision or "", found)
        step = int(found[1])
        if tokens is None and found[2]:
            tokens = round(float(found[2]) * SIZES[found[3].upper()])
    elif path.is_dir() and _checkpoints(path):  # the last weights of the run whose checkpoints lie in the folder
        label, identity, step = path.resolve().name, f"{path.resolve()} {path.resolve().name}", state["global_step"]
    else:
        label = place.name if here else name if revision is None else f"{name}-{revision}"
        step = known.step
        identity = _identity(path) if here else model if is_server(model) else f"{name}@{revision}"
    if tokens is None and tokens_per_step is not None and step is not None:
        tokens = tokens_per_step * step
    digest = hashlib.sha256(identity.encode()).hexdigest()
    label = re.sub(r"[^A-Za-z0-9._+-]+", "-", label).strip("-.") or "model"
    at = 1 if step is None else step  # a model without steps stands at the end of its run
    meta = {
        "run": label, "digest": digest, "study": "", "family": label, "group": "",
        "tokens_per_step": None if step is None else tokens_per_step,
        "tokens_at": {} if tokens is None else {str(at): tokens},
    }  # fmt: skip
    if known.params is not None:
        meta["params"] = known.params
    return Subject(model, RunDir(out / "runs" / f"{label}-{digest[:8]}"), at, meta)


def _hub_series(name: str, revision: str, step: re.Match[str]) -> tuple[str, str]:
    """Name and identity of the run that revisions belong to: what else they say than the step tells runs apart.

    The first stage of a training begins it, so it bears the model's own name.
    """
    parts = (revision[: step.start()], step["rest"].strip("-_"))
    rest = "-".join(part for part in parts if part and part.lower() != "stage1")
    return (f"{name}-{rest}", f"{name} {rest}") if rest else (name, name)


def _series(folder: Path, step: re.Match[str]) -> tuple[str, str]:
    """Name and identity of the run that folders belong to: ``name-step1000`` side by side, or ``name/step1000``."""
    name = folder.name[: step.start()] or folder.parent.name
    return name, f"{folder.parent} {name}"


def _identity(folder: Path) -> str:
    """Digest of a model's folder or file: names, sizes and the first MiB of each file (weights are large)."""
    made = hashlib.sha256()
    files = [folder] if folder.is_file() else sorted(entry for entry in folder.rglob("*") if entry.is_file())
    for file in files:
        made.update(
            f"{file.name if file == folder else file.relative_to(folder).as_posix()} {file.stat().st_size}\n".encode()
        )
        with open(file, "rb") as handle:
            made.update(handle.read(1 << 20))
    return made.hexdigest()
