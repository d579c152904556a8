"""Everything a study owes, in one call: text, trainings, evaluations, findings and the page. Resumes by itself."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from onset.errors import OnsetError
from onset.store.object_store import is_url, study_folder
from onset.store.parts import write_text
from onset.study import cost as sizing
from onset.study.files import dump
from onset.study.spec import Study
from onset.work.engines.local import Engine, choose_engine
from onset.work.ledger import Workplace
from onset.work.progress import Display


@dataclass(frozen=True)
class Outcome:
    """What a call of ``run_study`` came to."""

    done: int
    owed: int
    problems: tuple[str, ...]
    """One message a piece that was given up and a run that failed."""
    folder: Path
    """The study's folder on this machine: a copy, where the study is kept in a store."""


def run_study(
    study: Study,
    out: Path | str,
    *,
    workers: int | None = None,
    engine: str | Engine = "local",
    logs: tuple[str, ...] = (),
    console: Console | None = None,
) -> Outcome:
    """Do all that the study owes below ``out``, a folder or a store's URL; run again, it goes on where it stopped.

    ``engine`` is a name, or one that ``choose_engine`` made; ``logs`` are where trainings are shown too ('tensorboard',
    'wandb', 'wandb-offline').

    Raises OnsetError before anything is done for a study that cannot work here; a piece that fails later is
    told in the outcome and leaves the others going.
    """
    console = console or Console(stderr=True)
    place, held = _place(study, out)
    place.logs = logs
    with held:
        _check(place)
        _keep(place.out / "study.toml", dump(study))
        with console.status("preparing text") as status:
            place.materials.prepare(lambda line: status.update(f"preparing {line}"))
            place.publish()
        before = place.owing()
        problems = {}
        if before.pieces:
            chosen = choose_engine(engine, workers, len(study.runs), out=out) if isinstance(engine, str) else engine
            with Display(console, before.done, len(before.pieces)) as display:
                problems = chosen.carry_out(place, display)
        place.look(logs=True)
        after = place.owing()
    told = [str(error) for key, error in problems.items() if key.split()[1] not in after.failed]
    told += [f"run '{name}' was given up: {why}" for name, why in after.failed.items()]
    return Outcome(after.done, len(after.pieces), tuple(told), place.out)


def _place(study: Study, out: Path | str) -> tuple[Workplace, AbstractContextManager[None]]:
    """The study where it is kept, a folder or a store, and what holds it for this command."""
    if not is_url(out):
        place = Workplace(study, study_folder(out))
        return place, only_one(place.out)
    from onset.work.sync import StoredPlace

    stored = StoredPlace(study, out)
    return stored, stored.held()


def publish(study: Study, out: Path | str) -> None:
    """Let a study that is kept in a store have the findings and the page that this machine made."""
    if is_url(out):
        _place(study, out)[0].publish()


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
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        write_text(path, text)


@contextmanager
def only_one(out: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a study's folder for this process; a second one is refused, after so many seconds, with whose it is."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OnsetError(
            f"cannot write to the study's folder: {error.strerror}", where=out, advice="choose another with --out"
        ) from error
    try:
        until = time.monotonic() + patience
        while not _locked(handle) and time.monotonic() < until:
            time.sleep(0.1)
        if not _locked(handle):
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise OnsetError(
                f"another process (number {holder}) is working on this study",
                where=out,
                advice="wait for it to end, or stop it; 'onset status' shows how far it is",
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Whether this process holds the file's lock now; asking again does no harm."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check(place: Workplace) -> None:
    """Refuse early what would fail late: unknown tasks, unreadable rows, too little disk."""
    _ = place.task_digests
    if place.logs:
        from onset.train.trackers import check

        check(place.logs)
    need = sum(
        sum(sizing.disk(run, place.study.tokenizers[run.tokenizer].vocab or 32_000).values())
        for run in place.study.runs
        if not place.rundir(run).done
    )
    free = shutil.disk_usage(place.out).free
    if need > free:
        raise OnsetError(
            f"the study needs about {need / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free",
            where=place.out,
            advice="choose another folder with --out, or declare fewer checkpoints",
        )


def status_rows(study: Study, out: Path) -> list[dict[str, object]]:
    """One row a run: its state, checkpoints and evaluations done and declared."""
    place = Workplace(study, Path(out))
    rows: list[dict[str, object]] = []
    for run in study.runs:
        rundir = place.rundir(run)
        declared = place.steps(run)
        whole = set(rundir.steps())
        evaluated = [s for s in declared if not place.missing_loss(run, s) and not place.missing_tasks(run, s)]
        failed = rundir.failed
        state = "failed" if failed else "trained" if rundir.done else "begun" if whole else "owed"
        rows.append(
            {
                "run": run.name,
                "folder": rundir.name,
                "state": state,
                "checkpoints": len(whole & set(declared)),
                "declared": len(declared),
                "evaluated": len(evaluated),
                "last_loss": last_loss(rundir.log_path),
                "why": failed,
            }
        )
    return rows


def last_loss(log: Path) -> float | None:
    """The training loss of a log's last line, or None."""
    if not log.exists():
        return None
    lines = log.read_text(encoding="utf-8").splitlines()
    for line in reversed(lines):
        try:
            value = json.loads(line).get("loss")
        except json.JSONDecodeError:
            continue  # the last line may be half-written by a process at work
        if isinstance(value, float):
            return value
    return None
