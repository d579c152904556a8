"""From a table or a study's folder to findings.json, figures and the page. Runs without torch."""

from __future__ import annotations

from pathlib import Path

from onset.analysis.analyze import analyze, write
from onset.analysis.axes import compare
from onset.analysis.findings import Analysis
from onset.analysis.observations import read, sift
from onset.report import page
from onset.store.tables import whole_file
from onset.work.facts import gather


def report(
    source: Path,
    out: Path,
    *,
    level: float = 0.95,
    loss: str | None = None,
    margin: float = 1.0,
    set_aside: bool = False,
) -> tuple[Analysis, Path]:
    """Analyse ``source`` and write findings.json, report.html and figures/ below ``out``.

    With ``set_aside`` rows that contradict themselves go to set_aside.csv; without it they are one OnsetError.
    Returns the analysis and the page's path.
    """
    if set_aside:
        observations, rejected = sift(source, loss)
        if len(rejected):
            with whole_file(out / "set_aside.csv") as beside:
                rejected.to_csv(beside, index=False)
    else:
        observations = read(source, loss)
    analysis = compare(analyze(observations, source=str(source), level=level, margin=margin), source)
    write(analysis, out)
    facts = gather(source) if source.is_dir() else None
    return analysis, page.write(out, analysis, facts)
