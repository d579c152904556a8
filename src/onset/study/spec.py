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
    field_validator,
    model_serializer,
    model_validator,
)

from onset.study import tunings
from onset.study.base import Spec as Spec
from onset.study.base import unique, without_defaults
from onset.study.run import Run as Run
from onset.study.shapes import AnyShape as AnyShape
from onset.study.shapes import HuggingFaceShape as HuggingFaceShape
from onset.study.shapes import Shape as Shape
from onset.study.starting import Start as Start
from onset.study.texts import Language as Language
from onset.study.texts import Mix as Mix
from onset.study.texts import Slug as Slug
from onset.study.texts import Source as Source
from onset.study.texts import TokenizerSpec as TokenizerSpec
from onset.study.texts import Validation as Validation
from onset.study.texts import WorldSpec as WorldSpec
from onset.study.texts import slug
from onset.study.training import Optimizer as Optimizer
from onset.study.training import Schedule as Schedule

SPEC_VERSION = 1
"""Part of every digest: raised when the same specification would give other results."""

OWN_FILE = re.compile(r"(?P<file>.+(?:\.toml|\.jsonl|\.jsonl\.gz|\.py))(?P<name>:[A-Za-z_][A-Za-z0-9_.]*)?")
"""A file of one's own: a task in TOML, JSON lines with a head, or FILE.py:NAME; a metric as FILE.py:NAME."""
HARNESS = re.compile(r"harness:(?:(?P<folder>.+)/)?(?P<name>[^/]+)")
"""A task of lm-evaluation-harness, with the folder of its YAML files where it is not one of the harness's own."""


def _task_name(text: str) -> str:
    return text if OWN_FILE.fullmatch(text) or HARNESS.fullmatch(text) else slug(text)


class TaskUse(Spec):
    """A task of the catalogue, or one's own, as this study asks it."""

    name: Annotated[str, AfterValidator(_task_name)]
    """A name of the catalogue, a file (my_task.toml, rows.jsonl, my_task.py:task), or harness:NAME."""
    limit: int | None = Field(default=None, gt=0)
    """At most so many items: the first ones of the source, or those that ``choose`` says."""
    choose: Literal["first", "information"] = "first"
    """Which items ``limit`` takes; ``information`` takes the most informative ones by ``items``."""
    items: str = ""
    """A study's results/items.parquet, for ``choose = "information"``."""
    shots: int | None = Field(default=None, ge=0)
    """Examples in the prompt, where it should differ from the catalogue's."""
    samples: int = Field(default=0, ge=0)
    """Free answers are sampled so often beside the greedy answer, for pass@k."""
    temperature: float = Field(default=0.8, gt=0)
    """Of the samples."""
    sample_seed: int = Field(default=0, ge=0, lt=2**63)

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        usual = {"samples": 0, "temperature": 0.8, "sample_seed": 0, "choose": "first", "items": ""}
        return without_defaults(handler(self), usual)

    @model_validator(mode="after")
    def _ranked(self) -> Self:
        if self.choose == "information" and not (self.items and self.limit):
            raise ValueError('choose = "information" needs limit and items (a study\'s results/items.parquet)')
        if self.choose == "first" and self.items:
            raise ValueError('items is read where choose = "information"')
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

    @model_validator(mode="before")
    @classmethod
    def _inherited(cls, given: Any) -> Any:
        """Runs that start from another one have its shape and tokenizer."""
        runs = given.get("runs") if isinstance(given, dict) else None
        if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
            return given
        return {**given, "runs": [tunings.inherited(run, runs) for run in runs]}

    @field_validator("runs", mode="after")
    @classmethod
    def _every(cls, runs: tuple[Run, ...]) -> tuple[Run, ...]:
        return tunings.expanded(runs)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        unique("run", [run.name for run in self.runs])
        unique("validation text", [text.name for text in self.validation])
        unique("task", [task.name for task in self.tasks])
        for run in self.runs:
            _known("mix", run.mix, self.mixes, f"run '{run.name}'")
            _known("tokenizer", run.tokenizer, self.tokenizers, f"run '{run.name}'")
        for name, tokenizer in self.tokenizers.items():
            if tokenizer.path is None:
                _known("mix", tokenizer.mix, self.mixes, f"tokenizer '{name}'")
        tunings.check_texts(self.validation, self.tokenizers, self.mixes, self.runs)
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

    def base(self, run: Run) -> Run:
        """The run that was trained from drawn weights: the one that this one starts from, or itself."""
        return run if run.start is None else self.run(run.start.run)

    def identity(self, run: Run) -> dict[str, Any]:
        """All that the run's checkpoints and losses depend on, free of paths: what its digest is of."""
        tokenizer = self.tokenizers[run.tokenizer]
        mixes = {run.mix: self.mixes[run.mix]}
        if tokenizer.path is None:
            mixes[tokenizer.mix] = self.mixes[tokenizer.mix]
        uses_world = any(source.path == "world" for mix in mixes.values() for source in mix.sources)
        identity = {
            "version": SPEC_VERSION,
            "run": _run_content(run, exclude={"name", "group", "tuning", "start", "stage"}),
            "mixes": {name: _content(mix) for name, mix in mixes.items()},
            "tokenizer": tokenizer.model_dump(mode="json", exclude={"path"}),
            "precision": self.precision,
        }
        if self.deterministic:
            identity["deterministic"] = True
        if run.start is not None:
            identity["start"] = {"run": self.digest(self.base(run)), "at": run.start.at}
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


def _known(kind: str, name: str, options: dict[str, Any], who: str) -> None:
    if name not in options:
        raise ValueError(f"{who} names {kind} '{name}', which the study does not have (it has: {', '.join(options)})")
