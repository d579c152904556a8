"""How far the runs of a folder are: a study's, or those of ``onset eval`` and ``onset loss``. Reads files only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onset import reading
from onset.errors import OnsetError
from onset.store.rundir import RunDir, run_dirs
from onset.study.files import written
from onset.work.ledger import StudyLedger

TAIL_BYTES = 1 << 14
"""The last lines of a log are within so many bytes of its end."""

Row = dict[str, Any]


def ledger_of(folder: Path) -> StudyLedger | None:
    """The study of a folder; None for a folder without one."""
    specification = folder / "study.toml"
    if not specification.exists():
        return None
    return StudyLedger(written(specification), folder)


def rows(folder: Path) -> list[Row]:
    """One row a run of a study, or of a folder of models that were brought from elsewhere; none where nothing is."""
    ledger = ledger_of(folder)
    return evaluation_rows(folder) if ledger is None else status_rows(ledger)


def status_rows(ledger: StudyLedger) -> list[Row]:
    """One row a run of a study: its state, checkpoints and evaluations done and declared."""
    rows: list[Row] = []
    for run in ledger.study.runs:
        rundir = ledger.rundir(run)
        declared = ledger.steps(run)
        whole = set(rundir.steps())
        failed = rundir.failed
        state = (
            "failed"
            if failed
            else "trained"
            if rundir.done
            else "begun"
            if whole or rundir.log_path.exists()
            else "pending"
        )
        rows.append(
            {
                "run": run.name,
                "folder": rundir.name,
                "state": state,
                "checkpoints": len(whole & set(declared)),
                "declared": len(declared),
                "evaluated": sum(not ledger.missing(run.name, step) for step in declared),
                "last_loss": last_loss(rundir.log_path),
                "why": failed,
            }
        )
    return rows


def evaluation_rows(folder: Path) -> list[Row]:
    """One row a run of a folder of ``onset eval`` or ``onset loss``: its checkpoints, and which lack a task or text.

    What counts as whole is every task and held-out text that any checkpoint of the folder has.
    """
    found = {rundir: _evaluated(rundir) for rundir in run_dirs(folder)}
    wanted = {part for steps in found.values() for parts in steps.values() for part in parts}
    rows: list[Row] = []
    for rundir, steps in found.items():
        absent = {part: sum(part not in parts for parts in steps.values()) for part in sorted(wanted)}
        lacking = [f"{part} at {count} of {len(steps)} checkpoints" for part, count in absent.items() if count]
        whole = sum(parts >= wanted for parts in steps.values())
        rows.append(
            {
                "run": str(rundir.meta().get("run", rundir.name)),
                "folder": rundir.name,
                "state": "evaluated" if steps and whole == len(steps) else "pending",
                "checkpoints": len(steps),
                "declared": len(steps),
                "evaluated": whole,
                "last_loss": None,
                "why": f"pending: {', '.join(lacking)}" if lacking else None,
            }
        )
    return rows


def _evaluated(rundir: RunDir) -> dict[int, set[str]]:
    """What each checkpoint of a run has of tasks (by the names of their parts) and of held-out losses."""
    steps: dict[int, set[str]] = {}
    for part in sorted(rundir.path.glob("items/[0-9]*/*")):
        has = steps.setdefault(int(part.parent.name), set())
        if part.suffix == ".parquet" and not part.name.startswith("."):
            has.add(part.stem)
    for part in sorted(rundir.path.glob("loss/[0-9]*.parquet")):
        steps.setdefault(int(part.stem), set()).add("held-out loss")
    return steps


def last_loss(log: Path) -> float | None:
    """The training loss of a log's last line, or None."""
    if not log.exists():
        return None
    with open(log, "rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = stream.read().decode("utf-8", errors="replace").splitlines()
    for line in reversed(lines):
        try:
            value = reading.json_dict(line, where=log)["loss"]
        except (OnsetError, KeyError):
            continue  # the last line may be half-written by a process at work, the first of these cut
        if isinstance(value, float):
            return value
    return None
