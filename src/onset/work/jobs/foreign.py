"""Anyone's models on any tasks and texts: what is pending of them, and how one piece of it is done.

Each model gets a run directory below the results' folder (see ``onset.work.names``), so that a published series becomes
a study's table. Parts that are there are not made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onset.data.heldout_text import Text, read
from onset.errors import OnsetError
from onset.metrics.measures import lookup
from onset.store.parts import read_about
from onset.store.rundir import RunDir
from onset.study.spec import WorldSpec
from onset.tasks.catalogue import find
from onset.tasks.task import Sampling, Task
from onset.work.chosen_items import with_most_informative
from onset.work.evaluations import EvaluationLedger
from onset.work.jobs.evaluate import write_chunk, write_items
from onset.work.jobs.losses import PLAIN, Measuring, Record, measure, owed
from onset.work.names import Subject, describe, is_server, split_revision
from onset.work.piece import Control, Piece
from onset.work.resources import Need, Packer, Slot, this_machine

if TYPE_CHECKING:
    from onset.score.causal import CausalLM
    from onset.score.scorer import Scorer
    from onset.score.server import ServedModel, ServerScorer


@dataclass(frozen=True)
class Loading:
    """How foreign weights are read."""

    dtype: str = "float32"
    device: str = "cpu"
    allow_bin: bool = False
    trust_remote_code: bool = False


class ModelsLedger(EvaluationLedger):
    """What is pending of models that are asked tasks and measured on texts."""

    def __init__(
        self,
        subjects: tuple[Subject, ...],
        names: tuple[str, ...] = (),
        *,
        metrics: tuple[str, ...] = (),
        texts: Mapping[str, Mapping[str, Text]] | None = None,
        measuring: Measuring = PLAIN,
        data: Path | None = None,
        shots: int | None = None,
        limit: int | None = None,
        ranked: Path | None = None,
        sampling: Sampling | None = None,
        world: WorldSpec | None = None,
        loading: Loading | None = None,
    ) -> None:
        """``names`` are tasks, ``metrics`` those beside the usual ones; ``texts`` are by name and language.

        ``ranked`` is a table of questions by information (results/items.parquet) by which ``limit`` chooses.
        """
        super().__init__()
        self.subjects, self.names, self.texts, self.measuring = subjects, names, texts or {}, measuring
        self.data, self.shots, self.limit, self.sampling, self.world = data, shots, limit, sampling, world
        self.ranked = ranked
        self.loading, self.metrics = loading or Loading(), metrics
        self._folders: dict[str, RunDir] = {}

    def __getstate__(self) -> dict[str, Any]:
        _ = self.task_digests, self.chunk_counts, self.record  # small; they spare every worker the prompts of all tasks
        return super().__getstate__()

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks as they are asked."""
        found = find(self.names, data=self.data, world=self.world)
        if self.sampling is not None and not any(task.open for task in found):
            raise OnsetError("none of the tasks has free answers to sample", advice="leave --samples out")
        first = self.limit if self.ranked is None else None
        asked = [task.with_use(shots=self.shots, limit=first, sampling=self.sampling) for task in found]
        if self.ranked is not None:
            asked = [with_most_informative(task, self.ranked, self.limit) for task in asked]
        return {task.name: task for task in asked}

    @property
    def dtype(self) -> str:
        """See ``EvaluationLedger``."""
        served = bool(self.subjects) and all(is_server(subject.ref) for subject in self.subjects)
        return "auto" if served else self.loading.dtype  # what a server computes in is its own affair

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """The names of the metrics beside the usual ones, as they stand in tables."""
        return tuple(lookup(name).name for name in self.metrics)

    @cached_property
    def record(self) -> Record:
        """What the texts are and how they are measured; read once, in the first process."""
        found = self.measuring.record(self.texts) if self.texts else {}
        return {name: {**entry, "dtype": self.loading.dtype} for name, entry in found.items()}

    def checkpoints(self) -> Iterable[tuple[str, int]]:
        """All sets of weights: run and step."""
        return ((subject.rundir.name, subject.step) for subject in self.subjects)

    def folder(self, run: str) -> RunDir:
        """Where a run's rows go."""
        if run not in self._folders:
            self._folders = {subject.rundir.name: subject.rundir for subject in self.subjects}
        return self._folders[run]

    def subject(self, piece: Piece) -> Subject:
        """The set of weights of a piece."""
        return next(one for one in self.subjects if (one.rundir.name, one.step) == (piece.run, piece.step))

    def missing_texts(self, run: str, step: int) -> list[str]:
        """Texts that are asked for and not measured, or not as they are now."""
        return owed(self.folder(run), step, self.record)

    def loss_missing(self, run: str, step: int) -> bool:
        """Whether any text is not measured."""
        return bool(self.missing_texts(run, step))

    def need(self, piece: Piece, threads: int) -> Need:
        """Twice the files of weights, eight times a quantised one; unknown where they are not here yet."""
        folder = Path(self.subject(piece).ref)
        if folder.is_file():  # .gguf: four bits a weight become 32
            size = folder.stat().st_size
            return Need(each=8 * size, host=8 * size)
        if not folder.is_dir():
            return Need(unknown=not is_server(self.subject(piece).ref))
        weights = sum(file.stat().st_size for kind in ("*.safetensors", "*.bin") for file in folder.glob(kind))
        return Need(shared=2 * weights, host=weights)

    def check_dtypes(self) -> None:
        """Raise OnsetError where rows are there of weights read in another dtype: they would be taken for these."""
        asked = self.loading.dtype
        for subject in self.subjects:
            if is_server(subject.ref):
                continue
            for name, digest in self.task_digests.items():
                part = subject.rundir.items(subject.step, name, digest)
                found = read_about(part).get("dtype", asked) if part.exists() else asked
                if asked not in ("auto", found):
                    raise OnsetError(
                        f"task '{name}' was scored in {found}, and is asked for in {asked}",
                        where=part,
                        advice=f"give another --out, or --dtype {found}",
                    )


def run_piece(ledger: ModelsLedger, piece: Piece, slot: Slot, control: Control) -> None:
    """Ask one set of weights all that is absent, or the part that the piece names."""
    subject = ledger.subject(piece)
    lm, scorer = _scorer(subject, ledger.loading, _devices(ledger, piece, slot))
    if piece.task:
        assert piece.chunk is not None
        control.report({"doing": f"{piece.task} {piece.chunk + 1}/{ledger.chunk_counts[piece.task]}"})
        task, digest = ledger.tasks[piece.task], ledger.task_digests[piece.task]
        write_chunk(scorer, task, digest, subject.rundir, subject.step, piece.chunk)
        return
    if absent := ledger.missing_texts(piece.run, piece.step):
        control.report({"doing": "held-out loss"})
        texts = {name: read(ledger.texts[name]) for name in absent}
        measure(lm, texts, subject.rundir, subject.step, ledger.measuring, ledger.record)
    for name in ledger.missing(piece.run, piece.step).tasks if piece.kind == "evaluate" else ():

        def say(number: int, count: int, name: str = name) -> None:
            control.check()
            control.report({"doing": name if count == 1 else f"{name} {number}/{count}"})

        write_items(scorer, ledger.tasks[name], ledger.task_digests[name], subject.rundir, subject.step, say)


def _devices(ledger: ModelsLedger, piece: Piece, slot: Slot) -> tuple[str, ...]:
    """Where a piece's model goes: a device that was named, else the slot's GPUs, else the fewest that hold it."""
    if ledger.loading.device != "cuda":
        return (ledger.loading.device,)
    if slot.device != "cpu":
        return slot.devices
    alone = Packer(this_machine(), 1, slot.threads).allocate(piece.key, ledger.need(piece, slot.threads), single=True)
    return ("cuda",) if alone is None or alone.device == "cpu" else alone.devices


def _scorer(
    subject: Subject, loading: Loading, devices: tuple[str, ...]
) -> tuple[CausalLM | ServedModel, Scorer | ServerScorer]:
    """The model itself, or the server that has it, and what scores it; its run.json is written."""
    if is_server(subject.ref):
        from onset.score.server import ServedModel, ServerScorer

        served = ServedModel.of(subject.ref)
        describe(subject)
        return served, ServerScorer(served)
    from onset.score.scorer import Scorer

    lm = _opened(subject.ref, loading, devices)
    describe(subject, lm.params)
    return lm, Scorer(lm)


_last: dict[tuple[str, Loading, tuple[str, ...]], CausalLM] = {}


def release_model() -> None:
    """Let go of the model that is kept for the next piece."""
    _last.clear()


def _opened(ref: str, loading: Loading, devices: tuple[str, ...]) -> CausalLM:
    """A model; the last one is kept, for a worker that is given one chunk of it after another."""
    from onset.score.huggingface import load

    key = (ref, loading, devices)
    if key not in _last:
        release_model()  # first: two models may not fit
        name, revision = split_revision(ref)
        _last[key] = load(
            name,
            revision=revision,
            dtype=loading.dtype,  # type: ignore[arg-type]
            device=devices,
            allow_bin=loading.allow_bin,
            trust_remote_code=loading.trust_remote_code,
        )
    return _last[key]
