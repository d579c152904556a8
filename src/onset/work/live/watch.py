"""What is watched: a study's folder, a folder of evaluations or of findings, or a table. Files are read only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onset import language
from onset.errors import OnsetError
from onset.language import _, noted, plural
from onset.work import status
from onset.work.ledger import StudyLedger
from onset.work.live.logs import LossLog

STATES = {
    "pending": noted("pending"), "begun": noted("in training"), "trained": noted("trained"),
    "failed": noted("failed"), "evaluated": noted("evaluated"),
}  # fmt: skip
"""States of runs as a reader is told them."""

Told = dict[str, Any]


class Watch:
    """How far a folder is, asked again and again."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._ledger: tuple[int, StudyLedger] | None = None
        self._logs: dict[Path, LossLog] = {}

    def fingerprint(self) -> tuple[int, int]:
        """What findings are made from: the number of its files and the time of the newest, in nanoseconds."""
        times = [path.stat().st_mtime_ns for path in self._rows() if path.exists()]
        return len(times), max(times, default=0)

    def ready(self) -> bool:
        """Whether there is anything to analyse: a table, findings, or scores and losses of checkpoints."""
        kinds = {path.parent.name if path.parent.name == "loss" else "items" for path in self._rows()}
        return len(kinds) > 1 or (not self._has_runs() and bool(self._rows()))

    def _has_runs(self) -> bool:
        return (self.source / "runs").is_dir() or (self.source / "study.toml").exists()

    def _rows(self) -> list[Path]:
        if self.source.is_file():
            return [self.source]
        if not self._has_runs():
            return [path for path in [self.source / "findings.json"] if path.exists()]
        runs = self.source / "runs"
        found = [*runs.glob("*/items/*/*.parquet"), *runs.glob("*/loss/*.parquet")]
        return [path for path in found if not path.name.startswith(".")]

    def told(self) -> Told:
        """How far each run is, the losses of the trainings, a sentence on it in each language, and whether nothing is
        pending (``still``)."""
        try:
            rows = self._runs()
        except OnsetError as error:  # its task files lie elsewhere, or the study is being written
            nothing = dict.fromkeys(language.LANGUAGES, "")
            return {"summary": nothing, "runs": [], "losses": [], "still": False, "problem": error.what}
        return {
            "summary": _each(lambda: summary(rows)), "runs": [_shown(row) for row in rows],
            "losses": self._losses(rows), "still": not any(pending(rows)[:2]), "problem": "",
        }  # fmt: skip

    def _runs(self) -> list[status.Row]:
        specification = self.source / "study.toml"
        if not specification.exists():
            return status.evaluation_rows(self.source) if self._has_runs() else []
        stamp = specification.stat().st_mtime_ns
        if self._ledger is None or self._ledger[0] != stamp:
            found = status.ledger_of(self.source)
            assert found is not None, "the study.toml is there"
            self._ledger = stamp, found
        return status.status_rows(self._ledger[1])

    def _losses(self, rows: Sequence[status.Row]) -> list[Told]:
        points = []
        for row in rows:
            path = self.source / "runs" / str(row["folder"]) / "log.jsonl"
            log = self._logs.setdefault(path, LossLog(path))
            log.read()
            points += [{"run": row["run"], "tokens": tokens, "loss": round(loss, 5)} for tokens, loss in log.means()]
        return points


def pending(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """Trainings and evaluations that are pending, and evaluations that are done."""
    states = Counter(str(row["state"]) for row in rows)
    undone = sum(
        (row["checkpoints"] if row["state"] == "failed" else row["declared"]) - row["evaluated"] for row in rows
    )
    return states["begun"] + (states["pending"] if _trains(rows) else 0), undone, sum(row["evaluated"] for row in rows)


def _trains(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the runs are trained here: models from elsewhere are evaluated only."""
    return any(row["checkpoints"] < row["declared"] or row["state"] == "trained" for row in rows)


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """What is done and pending, in the language in use; empty where there are no runs."""
    if not rows:
        return ""
    trainings, undone, done = pending(rows)
    told = [plural("{count} checkpoint is evaluated.", "{count} checkpoints are evaluated.", done)]
    if not trainings and not undone:
        return _joined([*told, _("Nothing is pending.")])
    parts = [
        plural("{count} training", "{count} trainings", trainings) if trainings else "",
        plural("{count} evaluation", "{count} evaluations", undone) if undone else "",
    ]
    listed = language.listed([part for part in parts if part])
    return _joined([*told, _("Pending: {pieces}.", pieces=listed)])


def _joined(parts: Sequence[str]) -> str:
    return ("" if language.current() == "zh" else " ").join(parts)


def _shown(row: Mapping[str, Any]) -> Told:
    state = STATES[str(row["state"])]
    kept = {name: row[name] for name in ("run", "checkpoints", "declared", "evaluated", "last_loss")}
    return kept | {"state": _each(lambda: _(state))}


def _each(make: Any) -> dict[str, str]:
    """A text in every language."""
    texts = {}
    for code in language.LANGUAGES:
        with language.use(code):
            texts[code] = make()
    return texts
