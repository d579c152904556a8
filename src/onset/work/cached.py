"""Findings that still stand: a second call on a study that owes nothing need not analyse it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onset
from onset.errors import OnsetError
from onset.results import Analysis, load
from onset.store.generation import changed


def standing(folder: Path) -> tuple[Analysis, Path] | None:
    """A study's findings and its page, where both are newer than all that they are made from.

    That is every row and description of its runs, the study itself, and onset's own code. None where anything is
    newer or missing, or findings.json is not one of this version: then the study is to be analysed.
    """
    findings, page = folder / "findings.json", folder / "report.html"
    try:
        made = min(findings.stat().st_mtime_ns, page.stat().st_mtime_ns)
        # A folder is as new as the newest name in it, so parts that were taken away count too.
        if max(path.stat().st_mtime_ns for path in _made_from(folder)) >= made:
            return None
        analysis = load(folder)
        if changed(folder, ("report.html",)):  # of another analysis
            return None
    except (OSError, OnsetError):
        return None
    return analysis, page


def _made_from(folder: Path) -> Iterator[Path]:
    yield folder / "study.toml"
    yield folder / "runs"
    for run in (folder / "runs").iterdir():
        yield run
        yield run / "run.json"
        for kind in ("items", "loss"):
            yield from (run / kind).rglob("*")
    yield from Path(onset.__file__).parent.rglob("*.py")
