"""A study in one call: text, trainings, evaluations, findings and the page. Resumes by itself."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from onset import reading
from onset.errors import OnsetError
from onset.store.lock import lock_study
from onset.store.object_store import is_url, study_folder
from onset.store.parts import sweep, write_text
from onset.study import cost as sizing
from onset.study.files import dump
from onset.study.spec import Study
from onset.work.engines import Engine, Options, choose_engine
from onset.work.jobs import study as jobs
from onset.work.ledger import StudyLedger, dtype_of
from onset.work.piece import Runner
from onset.work.progress import Display
from onset.work.signals import stop_signals


@dataclass(frozen=True)
class Outcome:
    """What a call of ``run_study`` came to."""

    done: int
    pending: int
    problems: tuple[str, ...]
    """One message a piece that was given up and a run that failed."""
    folder: Path
    """The study's folder on this machine: a copy, where the study is kept in a store."""
    left: str = ""
    """What is pending, in words."""


def run_study(
    study: Study,
    out: Path | str,
    *,
    workers: int | None = None,
    engine: str | Engine = "local",
    logs: tuple[str, ...] = (),
    evaluations_first: bool = False,
    console: Console | None = None,
) -> Outcome:
    """Do all that is pending of the study below ``out``, a folder or a store's URL; run again, it goes on.

    ``engine`` is a name, or one that ``choose_engine`` made; ``logs`` are where trainings are shown too ('tensorboard',
    'wandb', 'wandb-offline'); ``evaluations_first`` scores a checkpoint before the next training is begun.

    Raises OnsetError before anything is done for a study that cannot work here, and ``Stopped`` where SIGTERM or
    Ctrl-C ended it in good order; a piece that fails later is told in the outcome and leaves the others going.
    """
    console = console or Console(stderr=True)
    chosen = choose_engine(engine, workers, len(study.runs), out=out) if isinstance(engine, str) else engine
    ledger, run, held = _ledger(study, out)
    with held:
        study = with_precision(study, ledger, chosen)
        if study != ledger.study:
            ledger, run, _ = _ledger(study, out)
        ledger.logs = logs
        sweep(ledger.out)
        _check(ledger)
        _keep(ledger.out / "study.toml", dump(study))
        with console.status("preparing text") as status:
            ledger.materials.prepare(lambda line: status.update(f"preparing {line}"))
            ledger.publish()
        ledger.join_chunks()
        before = ledger.pending(fresh=True)
        problems = {}
        if before.pieces:
            console.print(f"{before.done} done, pending: {before}", highlight=False)
            with Display(console, before.done, len(before.pieces)) as display, stop_signals() as stop:
                problems = chosen.run(ledger, run, display, Options(evaluations_first, stop))
            stop.check(out)
        ledger.update(logs=True)
        after = ledger.pending(fresh=True)
    told = [str(error) for key, error in problems.items() if key.split()[1] not in after.failed]
    told += [f"run '{name}' was given up: {why}" for name, why in after.failed.items()]
    return Outcome(after.done, len(after.pieces), tuple(told), ledger.out, str(after))


def with_precision(study: Study, ledger: StudyLedger, engine: Engine) -> Study:
    """The study with the precision of its evaluations decided: as it was begun, else bfloat16 on GPUs.

    Raises OnsetError where it asks for another one than its checkpoints were evaluated in: their losses would be mixed.
    """
    text, asked = ledger.begun_with(), study.evaluation_precision
    if text is None:
        first = "bfloat16" if asked == "auto" and engine.has_gpus() else asked
        return study.model_copy(update={"evaluation_precision": first})
    before = reading.toml_text(text, where=ledger.out / "study.toml").get("evaluation_precision", "auto")
    decided = study.model_copy(update={"evaluation_precision": before if asked == "auto" else asked})
    was = dtype_of(study.model_copy(update={"evaluation_precision": before}))
    if was != dtype_of(decided) and any(ledger.out.glob("runs/*/loss/*.parquet")):
        raise OnsetError(
            f"the study's checkpoints were evaluated in {was}, and {dtype_of(decided)} is asked for",
            where=ledger.out / "study.toml",
            advice=f'give another --out, or evaluation_precision = "{was}"',
        )
    return decided


def _ledger(study: Study, out: Path | str) -> tuple[StudyLedger, Runner, AbstractContextManager[None]]:
    """The study where it is kept, a folder or a store; what does a piece of it; and what holds it for this command."""
    if not is_url(out):
        ledger = StudyLedger(study, study_folder(out))
        return ledger, jobs.run_piece, lock_study(ledger.out)
    from onset.work import sync

    stored = sync.StoredLedger(study, out)
    return stored, sync.run_piece, stored.held()


def publish(study: Study, out: Path | str) -> None:
    """Let a study that is kept in a store have the findings and the page that this machine made."""
    if is_url(out):
        _ledger(study, out)[0].publish()


def kept(out: Path | str, *, logs: bool = False) -> Path:
    """The folder of this machine in which a study's files can be read: its own, or a fresh copy of a store's.

    Raises OnsetError for a store without a study.
    """
    if not is_url(out):
        return study_folder(out)
    from onset.work.sync import copied

    return copied(out, logs=logs)


def _keep(path: Path, text: str) -> None:
    """Write the text unless it stands there already: the page is as new as what it is made from."""
    if not (path.is_file() and reading.text(path) == text):
        write_text(path, text)


def _check(ledger: StudyLedger) -> None:
    """Refuse early what would fail late: unknown tasks, unreadable rows, too little disk."""
    _ = ledger.task_digests
    ledger.check_starts()
    ledger.materials.check_templates()
    if ledger.logs:
        from onset.train.trackers import check

        check(ledger.logs)
    need = sum(
        sum(sizing.disk(run, ledger.study.tokenizers[run.tokenizer].vocab or 32_000).values())
        for run in ledger.study.runs
        if not ledger.rundir(run).done
    )
    free = shutil.disk_usage(ledger.out).free
    if need > free:
        raise OnsetError(
            f"the study needs about {need / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free",
            where=ledger.out,
            advice="choose another folder with --out, or declare fewer checkpoints",
        )
