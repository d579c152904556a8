"""A run's directory: made once, written by rename, never overwritten.

::

    runs/<slug>-<digest8>/
      run.json  log.jsonl  DONE  FAILED
      steps/<step>/{model.safetensors, config.json, tokenizer.json, ...}
      loss/<step>.parquet  documents/<step>.parquet
      items/<step>/<task>-<digest4>.parquet
      items/<step>/<task>-<digest4>.chunks/<number>.parquet     while a task is under way
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onset import reading
from onset.errors import OnsetError
from onset.store.parts import write_text
from onset.study.files import written

STEP_DIGITS = 8
"""Steps are written with leading zeros, so that folders sort by step."""


@dataclass(frozen=True)
class RunDir:
    """The places of one run's parts. Nothing here is read at construction."""

    path: Path

    @property
    def name(self) -> str:
        """The directory's name, which is the ``run`` column of every row."""
        return self.path.name

    @property
    def meta_path(self) -> Path:
        return self.path / "run.json"

    @property
    def log_path(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def done_path(self) -> Path:
        return self.path / "DONE"

    @property
    def failed_path(self) -> Path:
        """Holds why a run was given up (a loss that is not finite); it is then reported, never scored on."""
        return self.path / "FAILED"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint at that step, in the Hugging Face format, tokenizer included."""
        return self.path / "steps" / f"{step:0{STEP_DIGITS}d}"

    def loss(self, step: int) -> Path:
        """Part with the held-out losses at that step."""
        return self.path / "loss" / f"{step:0{STEP_DIGITS}d}.parquet"

    def documents(self, step: int) -> Path:
        """Part with the held-out losses at that step, document by document."""
        return self.path / "documents" / f"{step:0{STEP_DIGITS}d}.parquet"

    def item_folder(self, step: int) -> Path:
        """Folder of the item rows at that step, one part a task."""
        return self.path / "items" / f"{step:0{STEP_DIGITS}d}"

    def items(self, step: int, task: str, digest: str) -> Path:
        """Part with the item rows of a task (its digest's first four digits in the name)."""
        return self.item_folder(step) / f"{task}-{digest[:4]}.parquet"

    def chunks(self, step: int, task: str, digest: str) -> Path:
        """Folder of the chunks of a task's rows that is under way; it goes when the part is whole."""
        return self.items(step, task, digest).with_suffix(".chunks")

    def steps(self) -> list[int]:
        """Steps whose checkpoint is complete, ascending."""
        folder = self.path / "steps"
        if not folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isascii() and entry.name.isdigit())

    @property
    def begun(self) -> bool:
        """Whether a training can go on here: a resume state is there, its own or one handed on by another run."""
        folder = self.path / "resume"
        return folder.is_dir() and any(entry.name.isdigit() for entry in folder.iterdir())

    @property
    def done(self) -> bool:
        """Whether training has reached its end."""
        return self.done_path.exists()

    @property
    def failed(self) -> str | None:
        """Why the run was given up, or None."""
        return reading.text(self.failed_path).strip() if self.failed_path.exists() else None

    def create(self, meta: Mapping[str, Any]) -> None:
        """Make the directory with its run.json, or check that the one there is of the same digest."""
        if self.meta_path.exists():
            found = self.meta()
            if found.get("digest") != meta.get("digest"):
                raise OnsetError(
                    "this run directory belongs to another specification",
                    where=self.path,
                    advice="move it away or choose another folder with --out; it is left as it is",
                )
            return
        self.rewrite(meta)

    def rewrite(self, meta: Mapping[str, Any]) -> None:
        """Write run.json anew: for what becomes known later of a model that was brought from elsewhere."""
        write_text(self.meta_path, json.dumps(dict(meta), indent=2, ensure_ascii=False) + "\n")

    def meta(self) -> dict[str, Any]:
        """The run.json: see ``RUN_KEYS``."""
        found = reading.json_object(self.meta_path, advice=RESTORE)
        for name, kinds in KINDS.items():
            value = found.get(name)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                raise OnsetError(f"the run's '{name}' is {reading.shown(value)}", where=self.meta_path, advice=RESTORE)
            if isinstance(value, int | float):
                reading.count(value, name, where=self.meta_path)
        for step, tokens in (found.get("tokens_at") or {}).items():
            reading.count(step, "a step of tokens_at", where=self.meta_path)
            reading.count(tokens, f"tokens_at {step}", where=self.meta_path)
        return found


RESTORE = "restore this file, or move the run's folder away and run again"
"""What to do about a damaged run.json."""

KINDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("run", "digest", "study", "family", "group"), str),
    **dict.fromkeys(("params", "flops_per_token", "tokens_per_step", "steps"), (int, float)),
    **dict.fromkeys(("params_by_part", "tokens_at", "chosen", "spec"), dict),
    **dict.fromkeys(("checkpoints", "skipped"), list),
}
"""Types of what is in run.json."""

RUN_KEYS = (
    "run",  # the run's slug in the study
    "digest",  # of its specification, 64 digits
    "study",
    "family",  # runs that share corpus, tokenizer and architecture
    "group",  # 'trajectory', 'grid' or ''
    "params",  # count, embeddings included
    "params_by_part",
    "flops_per_token",  # training: forward and backward, attention included
    "tokens_per_step",
    "tokens_at",  # models brought from elsewhere: training tokens by step, where they are stated
    "steps",
    "checkpoints",  # declared steps
    "chosen",  # rate, batch and initialisation, each with where it is from
    "stage",  # 'base' where weights were drawn, 'tuned' (or its own name) where the run started from a checkpoint
    "start",  # a tuning: run, step and tokens of the checkpoint that it started from, and its series
    "trunk",  # a branch: the run that trained its first steps, and how many
    "skipped",  # steps whose batch broke the run and was left out
    "spec",  # the run's specification
)
"""Keys of run.json. ``tokens`` of a checkpoint is what ``tokens_at`` states, else step x tokens_per_step."""


def run_dirs(study: Path) -> list[RunDir]:
    """The run directories that belong to a study's folder as its study.toml stands, by name.

    Directories of an earlier form of the study (a run that was edited has a new digest) stay on disk and are
    left out; models that were brought from elsewhere and evaluated here belong to no study and are kept.
    """
    folder = study / "runs"
    if not folder.is_dir():
        return []
    found = [RunDir(entry) for entry in sorted(folder.iterdir()) if (entry / "run.json").exists()]
    specification = study / "study.toml"
    if not specification.exists():
        return found
    present = written(specification)
    current = {f"{run.name}-{present.digest(run)[:8]}" for run in present.runs}
    return [rundir for rundir in found if rundir.name in current or not rundir.meta().get("study")]
