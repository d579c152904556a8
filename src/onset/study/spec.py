"""Frozen specifications of a study: what is trained, on what, and what it is asked.

Every value that changes a result is here and in the digest; nothing is read later from globals or
from the environment. ``onset.study.files`` reads and writes the TOML form.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from onset.study import rules
from onset.study.base import Spec as Spec
from onset.study.base import without_defaults
from onset.study.checkpoints import checkpoint_steps
from onset.study.shapes import AnyShape as AnyShape
from onset.study.shapes import HuggingFaceShape as HuggingFaceShape
from onset.study.shapes import Shape as Shape
from onset.study.training import Optimizer as Optimizer
from onset.study.training import Schedule as Schedule

SPEC_VERSION = 1
"""Part of every digest: raised when the same specification would give other results."""

Language = Literal["en", "zh"]


def _slug(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", text):
        raise ValueError("use letters, digits, '.', '_', '+' and '-' only, starting with a letter or digit")
    return text


Slug = Annotated[str, AfterValidator(_slug)]

OWN_FILE = re.compile(r"(?P<file>.+(?:\.toml|\.jsonl|\.jsonl\.gz|\.py))(?P<name>:[A-Za-z_][A-Za-z0-9_.]*)?")
"""A file of one's own: a task in TOML, JSON lines with a head, or FILE.py:NAME; a metric as FILE.py:NAME."""
HARNESS = re.compile(r"harness:(?:(?P<folder>.+)/)?(?P<name>[^/]+)")
"""A task of lm-evaluation-harness, with the folder of its YAML files where it is not one of the harness's own."""


def _task_name(text: str) -> str:
    return text if OWN_FILE.fullmatch(text) or HARNESS.fullmatch(text) else _slug(text)


class WorldSpec(Spec):
    """The embedded bilingual world: everything that its text and questions depend on."""

    seed: int = Field(default=1, ge=0, lt=2**63)
    documents: int = Field(default=200_000, gt=0)
    """Training documents, over both languages."""
    valid_documents: int = Field(default=1_000, gt=0)
    """Held-out documents, over both languages."""
    places: int = Field(default=48, ge=8)
    """Places with closed-book facts, from the most to the least spoken of."""
    exam_places: int = Field(default=16, ge=1)
    """The first so many places are asked about in exams."""
    items: int = Field(default=200, gt=0)
    """Questions per task."""


class Source(Spec):
    """One source of text in a mix: files of a language, or the embedded world's."""

    name: Slug
    path: str
    """A file, a folder, or 'world' for the embedded world. Not part of the digest: ``sha256`` is."""
    language: Language
    weight: float = Field(default=1.0, gt=0)
    """Relative share of the mix's tokens."""
    column: str = "text"
    """Text column of JSON lines and Parquet."""
    sha256: str | None = None
    """Digest of the files' names and contents; filled in when the study is loaded."""


class Mix(Spec):
    """Weighted sources that a run is trained on."""

    sources: tuple[Source, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        _unique("source", [source.name for source in self.sources])
        return self


class TokenizerSpec(Spec):
    """A byte-level BPE to be trained on a mix, or a given tokenizer's folder or file."""

    vocab: int | None = Field(default=None, ge=260)
    """Entries of a trained tokenizer, the 256 bytes and the special token included."""
    mix: str = "main"
    """The mix that it is trained on."""
    split_digits: bool = True
    """Whether each digit is a token of its own."""
    sample_bytes: int = Field(default=50_000_000, gt=0)
    """Bytes of the mix that training reads, shared out by weight."""
    path: str | None = None
    """A given tokenizer: a folder with tokenizer.json, or that file."""
    sha256: str | None = None
    """Digest of the given tokenizer; filled in when the study is loaded."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.vocab is None) == (self.path is None):
            raise ValueError("give either vocab (to train one) or path (to use one), not both")
        return self


class Validation(Spec):
    """A held-out text on which losses are measured."""

    name: Slug
    sources: tuple[Source, ...] = Field(min_length=1)
    """Held-out files, one or more per language; 'world' is the world's own held-out documents."""


class TaskUse(Spec):
    """A task of the catalogue, or one's own, as this study asks it."""

    name: Annotated[str, AfterValidator(_task_name)]
    """A name of the catalogue, a file (my_task.toml, rows.jsonl, my_task.py:task), or harness:NAME."""
    limit: int | None = Field(default=None, gt=0)
    """At most so many items, the first ones of the source."""
    shots: int | None = Field(default=None, ge=0)
    """Examples in the prompt, where it should differ from the catalogue's."""
    samples: int = Field(default=0, ge=0)
    """Free answers are sampled so often beside the greedy answer, for pass@k."""
    temperature: float = Field(default=0.8, gt=0)
    """Of the samples."""
    sample_seed: int = Field(default=0, ge=0, lt=2**63)

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(handler(self), {"samples": 0, "temperature": 0.8, "sample_seed": 0})


class Run(Spec):
    """One training of one model."""

    name: Slug
    shape: AnyShape
    tokens: int = Field(gt=0)
    """Tokens to train on."""
    batch: int = Field(gt=0)
    """Sequences per step."""
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    seed: int = Field(default=0, ge=0, lt=2**63)
    checkpoints: int | tuple[int, ...] = 12
    """How many checkpoints, log-spaced over the tokens, or the token counts themselves."""
    mix: str = "main"
    tokenizer: str = "main"
    group: str = ""
    """Label of the design that the run belongs to, such as 'trajectory' or 'grid'."""
    tuning: Literal["given", "rule"] = "given"
    """With 'rule', a batch and a peak rate that are not stated come from ``onset.study.rules``."""
    initialisation: float = Field(default=1.0, gt=0)
    """Factor on the deviations that the weights are drawn with."""
    skip: int = Field(default=0, ge=0)
    """At most so many batches that break the run (its loss or gradient is not finite) are left out, and counted."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens in one batch."""
        return self.batch * self.shape.context

    @property
    def steps(self) -> int:
        """Whole batches within the budget."""
        return self.tokens // self.tokens_per_step

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """Steps at which a checkpoint is written."""
        return checkpoint_steps(self.checkpoints, self.steps, self.tokens_per_step)

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, given: Any) -> Any:
        """``schedule = "wsd"`` in full, and what the rule sets."""
        if not isinstance(given, dict):
            return given
        if isinstance(given.get("schedule"), str):
            optimizer = given.get("optimizer", {})
            beta2 = optimizer.get("beta2", 0.95) if isinstance(optimizer, dict) else optimizer.beta2
            stated = {"kind": given["schedule"]}
            if stated["kind"] == "wsd" and isinstance(beta2, float) and beta2 < 1:
                stated["warmup_steps"] = rules.warmup_steps(beta2)
            given = {**given, "schedule": stated}
        return rules.fill(given) if given.get("tuning") == "rule" else given

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(handler(self), {"tuning": "given", "initialisation": 1.0, "skip": 0})

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        if self.steps < 1:
            raise ValueError(
                f"tokens {self.tokens} is less than one batch of "
                f"{self.batch} x {self.shape.context} = {self.tokens_per_step} tokens"
            )
        if self.schedule.warmup_steps is not None:
            falling = round(self.schedule.decay * self.steps) if self.schedule.kind == "wsd" else 1
            if self.schedule.warmup_steps + falling > self.steps:
                raise ValueError(
                    f"{self.schedule.warmup_steps} steps of warm-up leave no room in a run of {self.steps} steps"
                )
        if isinstance(self.checkpoints, int):
            if self.checkpoints < 1:
                raise ValueError("checkpoints must be at least 1")
        elif not self.checkpoints or min(self.checkpoints) < 1:
            raise ValueError("checkpoints must be token counts above zero")
        elif max(self.checkpoints) > self.tokens:
            raise ValueError(f"a checkpoint at {max(self.checkpoints)} tokens is past the budget of {self.tokens}")
        return self


class FindingsSpec(Spec):
    """What the study's findings are judged by; ``onset analyze`` can say otherwise."""

    margin: float = Field(default=1.0, gt=0)
    """Points (0.01 of a score) that ten times the parameters may move a score and count as none."""
    loss_margin: float | None = Field(default=None, gt=0)
    """The same along the loss, in nats; without it points alone count. For scores that leap within few nats."""


class Study(Spec):
    """A set of runs, tasks and validation texts."""

    name: Slug
    world: WorldSpec | None = None
    mixes: dict[str, Mix]
    tokenizers: dict[str, TokenizerSpec]
    validation: tuple[Validation, ...] = Field(min_length=1)
    runs: tuple[Run, ...] = Field(min_length=1)
    tasks: tuple[TaskUse, ...] = ()
    metrics: tuple[str, ...] = ()
    """Metrics beside the usual ones: names such as 'accuracy_per_byte', or one's own as 'my_metrics.py:NAME'."""
    data: str | None = None
    """Folder of local task files, ``<task>.eval.jsonl.gz``."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of training: bfloat16 where the machine is faster in it, or as said."""
    evaluation_precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of evaluation: 'auto' is bfloat16 where the study is begun on GPUs, and float32 on processors."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Gigabytes that one training may hold: how much of a batch is in hand at once is chosen to fit."""
    deterministic: bool = False
    """Deterministic algorithms only: training on GPUs is then bitwise repeatable, and slower."""
    state_minutes: float = Field(default=10.0, gt=0)
    """At most so many minutes of training are lost where it is stopped. Not part of the digest."""
    findings: FindingsSpec = FindingsSpec()

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(
            handler(self),
            {
                "evaluation_precision": "auto",
                "memory_gb": None,
                "deterministic": False,
                "state_minutes": 10.0,
                "findings": FindingsSpec().model_dump(mode="json"),
            },
        )

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        _unique("run", [run.name for run in self.runs])
        _unique("validation text", [text.name for text in self.validation])
        _unique("task", [task.name for task in self.tasks])
        for run in self.runs:
            _known("mix", run.mix, self.mixes, f"run '{run.name}'")
            _known("tokenizer", run.tokenizer, self.tokenizers, f"run '{run.name}'")
        for name, tokenizer in self.tokenizers.items():
            if tokenizer.path is None:
                _known("mix", tokenizer.mix, self.mixes, f"tokenizer '{name}'")
        if self.world is None and any(source.path == "world" for source in self.sources()):
            raise ValueError("a source has path 'world' but the study has no [world] section")
        return self

    def sources(self) -> list[Source]:
        """All sources of all mixes and validation texts."""
        mixes = [source for mix in self.mixes.values() for source in mix.sources]
        return mixes + [source for text in self.validation for source in text.sources]

    def run(self, name: str) -> Run:
        """The run of that name."""
        return next(run for run in self.runs if run.name == name)

    def identity(self, run: Run) -> dict[str, Any]:
        """All that the run's checkpoints and losses depend on, free of paths: what its digest is of."""
        tokenizer = self.tokenizers[run.tokenizer]
        mixes = {run.mix: self.mixes[run.mix]}
        if tokenizer.path is None:
            mixes[tokenizer.mix] = self.mixes[tokenizer.mix]
        uses_world = any(source.path == "world" for mix in mixes.values() for source in mix.sources)
        identity = {
            "version": SPEC_VERSION,
            "run": _run_content(run, exclude={"name", "group", "tuning"}),
            "mixes": {name: _content(mix) for name, mix in mixes.items()},
            "tokenizer": tokenizer.model_dump(mode="json", exclude={"path"}),
            "precision": self.precision,
        }
        if self.deterministic:
            identity["deterministic"] = True
        if uses_world and self.world is not None:
            identity["world"] = self.world.model_dump(mode="json", exclude={"items", "valid_documents"})
        return identity

    def digest(self, run: Run | None = None) -> str:
        """Sixty-four hexadecimal digits that change with anything that changes a result."""
        if run is not None:
            return _digest(self.identity(run))
        whole = self.model_dump(mode="json", exclude={"mixes", "validation", "tokenizers", "data", "state_minutes"})
        whole["version"] = SPEC_VERSION
        whole["runs"] = [_run_content(run) for run in self.runs]
        whole["mixes"] = {name: _content(mix) for name, mix in self.mixes.items()}
        whole["tokenizers"] = {k: v.model_dump(mode="json", exclude={"path"}) for k, v in self.tokenizers.items()}
        whole["validation"] = [{"name": text.name, "sources": _content(text)} for text in self.validation]
        return _digest(whole)


def digest_of(value: object) -> str:
    """SHA-256 of a JSON value in canonical form, as 64 hexadecimal digits."""
    return _digest(value)


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _run_content(run: Run, exclude: set[str] | None = None) -> dict[str, Any]:
    found = run.model_dump(mode="json", exclude=exclude)
    return found | ({"shape": run.shape.content()} if isinstance(run.shape, HuggingFaceShape) else {})


def _content(mix: Mix | Validation) -> list[dict[str, Any]]:
    """A mix's sources by their contents: where a file lies does not change a result."""
    return [
        {**source.model_dump(mode="json", exclude={"path"}), "world": source.path == "world"} for source in mix.sources
    ]


def _unique(kind: str, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"{kind} '{doubled[0]}' is named twice")


def _known(kind: str, name: str, options: dict[str, Any], who: str) -> None:
    if name not in options:
        raise ValueError(f"{who} names {kind} '{name}', which the study does not have (it has: {', '.join(options)})")
