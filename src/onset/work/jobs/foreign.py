"""Anyone's models on any tasks and texts: what ``onset eval`` and ``onset loss`` do.

Each model gets a run directory below the results' folder (see ``naming``), so that a published series becomes a
study's table. Parts that are there are not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from onset.data.heldout_text import Text, read
from onset.errors import OnsetError
from onset.store.parts import read_about
from onset.study.spec import WorldSpec
from onset.tasks.catalogue import find
from onset.tasks.task import Task
from onset.work.engines.inline import Here
from onset.work.engines.local import Engine, Event, LocalEngine
from onset.work.jobs.evaluate import chunk_file, chunks, settle, write_chunk, write_items
from onset.work.jobs.losses import PLAIN, Measuring, Record, measure, owed
from onset.work.ledger import Owing, Piece, Report
from onset.work.names import Subject, describe, split_revision
from onset.work.progress import Display
from onset.work.resources import Need, Seat, cores
from onset.work.study import only_one

if TYPE_CHECKING:
    from onset.score.causal import CausalLM


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
    texts: Mapping[str, Mapping[str, Text]] = field(default_factory=dict)
    """Validation texts: name to language to file or public text."""
    measuring: Measuring = PLAIN
    data: Path | None = None
    shots: int | None = None
    limit: int | None = None
    world: WorldSpec | None = None
    loading: Loading = Loading()

    spread: bool = False
    """Whether a model's chunks are shared among workers, or it is one piece of work."""

    def __getstate__(self) -> dict[str, Any]:
        _ = self.digests, self.counts, self.record  # small, and they spare every worker the prompts of all tasks
        return {key: value for key, value in self.__dict__.items() if key != "tasks"}

    @cached_property
    def tasks(self) -> dict[str, Task]:
        found = find(self.names, data=self.data, world=self.world)
        return {task.name: task.with_use(shots=self.shots, limit=self.limit) for task in found}

    @cached_property
    def digests(self) -> dict[str, str]:
        return {name: task.digest() for name, task in self.tasks.items()}

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many chunks each task has."""
        return {name: len(chunks(task)) for name, task in self.tasks.items()}

    def missing(self, subject: Subject) -> list[str]:
        """Tasks whose rows are absent."""
        return [
            name
            for name, digest in self.digests.items()
            if not subject.rundir.items(subject.step, name, digest).exists()
        ]

    @cached_property
    def record(self) -> Record:
        """What the texts are and how they are measured; read once, in the first process."""
        found = self.measuring.record(self.texts) if self.texts else {}
        return {name: {**entry, "dtype": self.loading.dtype} for name, entry in found.items()}

    def check_dtypes(self) -> None:
        """Raise OnsetError where rows are there of weights read in another dtype: they would be taken for these."""
        asked = self.loading.dtype
        for subject in self.subjects:
            for name, digest in self.digests.items():
                part = subject.rundir.items(subject.step, name, digest)
                found = read_about(part).get("dtype", asked) if part.exists() else asked
                if asked not in ("auto", found):
                    raise OnsetError(
                        f"task '{name}' was scored in {found}, and is asked for in {asked}",
                        where=part,
                        advice=f"give another --out, or --dtype {found}",
                    )

    def missing_loss(self, subject: Subject) -> list[str]:
        """Texts that are asked for and not measured, or not as they are now."""
        return owed(subject.rundir, subject.step, self.record)

    def owing(self) -> Owing:
        """One piece a set of weights, or one a chunk of a task."""
        owed = [one for one in self.subjects if self.missing(one) or self.missing_loss(one)]
        pieces = [piece for subject in owed for piece in self._pieces(subject)]
        return Owing(len(self.subjects) - len(owed), tuple(pieces))

    def _pieces(self, subject: Subject) -> list[Piece]:
        whole = Piece("evaluate", subject.rundir.name, subject.step, 1.0)
        if not self.spread:
            return [whole]
        pieces = [whole] if self.missing_loss(subject) else []
        for name in self.missing(subject):
            place = subject.rundir, subject.step, name, self.digests[name]
            owed = [number for number in range(self.counts[name]) if not chunk_file(*place, number).exists()]
            pieces += [Piece("evaluate", subject.rundir.name, subject.step, 1.0, name, number) for number in owed]
        return pieces

    def ready(self, piece: Piece) -> bool:
        return True

    def need(self, piece: Piece, threads: int) -> Need:
        """Not told: the size of foreign weights is known once they are loaded."""
        return Need()

    def carry_out(self, piece: Piece, seat: Seat, report: Report) -> None:
        """Ask one set of weights all that is absent, or the chunk that the piece names."""
        from onset.score.scorer import Scorer

        subject = next(one for one in self.subjects if (one.rundir.name, one.step) == (piece.run, piece.step))
        # A device with a number was asked for by name; several share out the seats.
        device = seat.device if self.loading.device == "cuda" and seat.device != "cpu" else self.loading.device
        lm = _opened(subject.ref, self.loading, device)
        describe(subject, lm.params)
        scorer = Scorer(lm)
        if piece.task:
            assert piece.chunk is not None
            report({"doing": f"{piece.task} {piece.chunk + 1}/{self.counts[piece.task]}"})
            task, digest = self.tasks[piece.task], self.digests[piece.task]
            write_chunk(scorer, task, digest, subject.rundir, subject.step, piece.chunk)
            return
        if no_loss := self.missing_loss(subject):
            report({"doing": "held-out loss"})
            texts = {name: read(self.texts[name]) for name in no_loss}
            measure(lm, texts, subject.rundir, subject.step, self.measuring, self.record)
        for name in [] if self.spread else self.missing(subject):

            def say(number: int, count: int, name: str = name) -> None:
                report({"doing": name if count == 1 else f"{name} {number}/{count}"})

            write_items(scorer, self.tasks[name], self.digests[name], subject.rundir, subject.step, say)

    def settle(self) -> None:
        """Make the parts whose chunks are all there, and tidy away chunks of those that are whole."""
        for subject in self.subjects:
            for name, digest in self.digests.items():
                if subject.rundir.chunks(subject.step, name, digest).is_dir():
                    settle(self.tasks[name], digest, subject.rundir, subject.step)


_last: dict[tuple[str, Loading, str], CausalLM] = {}


def _opened(ref: str, loading: Loading, device: str) -> CausalLM:
    """A model; the last one is kept, for a worker that is given one chunk of it after another."""
    from onset.score.huggingface import load

    key = (ref, loading, device)
    if key not in _last:
        _last.clear()  # first: two models may not fit
        name, revision = split_revision(ref)
        _last[key] = load(
            name,
            revision=revision,
            dtype=loading.dtype,  # type: ignore[arg-type]
            device=device,
            allow_bin=loading.allow_bin,
            trust_remote_code=loading.trust_remote_code,
        )
    return _last[key]


def carry_out(bench: Bench, workers: int, console: Console) -> tuple[int, list[str]]:
    """Do all that the bench owes; returns the sets of weights that are done and what went wrong.

    One worker is this process; several share the chunks of every model.
    """
    bench.spread = workers > 1
    with only_one(bench.subjects[0].rundir.path.parent.parent):
        bench.check_dtypes()
        _ = bench.digests, bench.record  # what is unknown or unreadable is told before a model is loaded
        for subject in bench.subjects:
            describe(subject)  # tokens may be told only now
        bench.settle()
        before = bench.owing()
        problems: dict[str, OnsetError] = {}
        if before.pieces:
            engine: Engine = LocalEngine(workers, max(1, cores() // workers)) if bench.spread else Here()
            with Display(console, before.done, len(before.pieces)) as display:
                problems = engine.carry_out(bench, _settling(bench, display))
        _last.clear()
        return bench.owing().done, list(dict.fromkeys(str(error) for error in problems.values()))


def _settling(bench: Bench, listen: Callable[[Event], None]) -> Callable[[Event], None]:
    """A listener that also makes parts of chunks: in this process only, so that no two do it at once."""

    def hear(event: Event) -> None:
        if event.kind == "done" and event.piece.task:
            bench.settle()
        listen(event)

    return hear
