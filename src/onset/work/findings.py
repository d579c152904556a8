"""From a table or a study's folder to findings.json, results/, figures and the page. Runs without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from onset.errors import OnsetError
from onset.report import page
from onset.results import (
    FINDINGS,
    Analysis,
    Backtest,
    Forecast,
    Questions,
    check_level,
    load,
    load_forecast,
    load_questions,
    save_into,
    save_questions,
)
from onset.stats import loss_comparison
from onset.stats.backtest import backtest
from onset.stats.forecast import forecast, thresholds_of
from onset.stats.paper_claims import with_claims
from onset.stats.pipeline import DELTA, Progress, analyze
from onset.stats.stage_effects import is_base
from onset.stats.tuned_rows import choose
from onset.store.generation import generation, settle
from onset.store.parts import whole_file, write_text
from onset.study.files import written
from onset.study.spec import FindingsSpec
from onset.tables.files import read_table
from onset.tables.observations import read, sift
from onset.work.cached import standing
from onset.work.facts import gather
from onset.work.question_texts import with_texts
from onset.work.questions import learnt

AUTO = "auto"
"""In place of a loss measure: the one that the data shows to be best, else the default."""


DRAWN = ("report.html", "figures/")
"""What is drawn from findings, by the beginnings of its paths."""
FORECASTS = ("forecast.csv", "onsets.csv", "backtest.csv")


def report(
    source: Path,
    out: Path,
    *,
    level: float = 0.95,
    delta: float = DELTA,
    loss: str | None = None,
    margin: float | None = None,
    loss_margin: float | None = None,
    set_aside: bool = False,
    groups: Sequence[str] = (),
    smallest_sets: bool = False,
    progress: Progress | None = None,
) -> tuple[Analysis, Path]:
    """Analyse ``source`` and write findings.json, results/, report.html and figures/ below ``out``.

    Margins that are not given are the study's own, or one percentage point. ``loss`` ``auto`` takes the loss measure
    that predicts held-out families best, where the data can tell it from the default: see ``loss_comparison``.
    Of a study's folder results/items.parquet and questions.json say which question is learnt when; with
    ``smallest_sets`` also how few questions keep each verdict. With ``set_aside`` rows that contradict themselves go to
    set_aside.csv; without it they are one OnsetError. Returns the analysis and the page's path.
    """
    with generation(out, (*FINDINGS, *DRAWN)) as staged:
        analysis = _analysed(
            source, staged, level=level, delta=delta, loss=loss, margin=margin, loss_margin=loss_margin,
            set_aside=set_aside, groups=groups, progress=progress,
        )  # fmt: skip
        save_into(staged, analysis)
        if (found := learnt(source, analysis, smallest=smallest_sets)) is not None:
            save_questions(found, staged)
        page_file = _page(analysis, staged, source, found=found)
    return analysis, out / page_file.name


def _analysed(
    source: Path, out: Path, *, level: float = 0.95, delta: float = DELTA, loss: str | None = None,
    margin: float | None = None, loss_margin: float | None = None, set_aside: bool = False,
    groups: Sequence[str] = (), progress: Progress | None = None,
) -> Analysis:  # fmt: skip
    """See ``report``; nothing but set_aside.csv is written."""
    check_level(level)
    observations = _observations(source, out, None if loss == AUTO else loss, set_aside)
    default = None
    if loss == AUTO:
        name = loss_comparison.default_name(observations)
        of_default = observations[observations.loss_name == name]
        default = name, str(of_default.loss_unit.iloc[0])
        chosen = loss_comparison.choose(observations, source, level)
        observations = of_default if chosen is None else _observations(source, out, chosen, set_aside)
    stated = _stated(source)
    analysis = analyze(
        observations,
        source=str(source),
        level=level,
        delta=delta,
        margin=margin or stated.margin,
        loss_margin=loss_margin or stated.loss_margin,
        groups=groups,
        progress=progress,
    )
    return with_claims(loss_comparison.compare(analysis, source, default=default))


def live_page(source: Path, events: str) -> str:
    """The page of a study, a folder of findings or a table as it stands, which asks the address ``events`` for news.

    Findings that still stand are not made again; nothing is written.
    """
    kept = _standing(source)
    analysis = kept or _analysed(source, source)
    about = source if kept is None or (source / "runs").is_dir() else Path(analysis.source)
    study = gather(about) if about.is_dir() else None
    made, tested = load_forecast(source) if kept is not None else (None, None)
    if made is not None and made.observations is None:
        made = made.with_changes(observations=analysis.observations)
    found = load_questions(source) if kept is not None else None
    shown = None if found is None else with_texts(found, about)
    report = page.Report(analysis, study, made, tested, shown)
    return page.html(page.prepare(report), report, live=events)


def _standing(source: Path) -> Analysis | None:
    """Findings of that folder that are as new as its rows; None where there are none."""
    settle(source)
    if not (source / "findings.json").is_file():
        return None
    if not (source / "runs").is_dir():  # those of a table, which lies elsewhere
        return load(source)
    kept = standing(source)
    return None if kept is None else kept[0]


def report_again(folder: Path) -> tuple[Analysis, Path]:
    """The page and the figures of a folder made again from its findings.json and results/; nothing is fitted."""
    analysis = load(folder)
    made, tested = load_forecast(folder)
    with generation(folder, DRAWN) as staged:
        page_file = _page(analysis, staged, Path(analysis.source), made, tested, load_questions(folder))
    return analysis, folder / page_file.name


def write_forecast(
    source: Path,
    targets: Path,
    out: Path,
    *,
    level: float = 0.95,
    loss: str | None = None,
    schedule: str | None = None,
    progress: Progress | None = None,
) -> tuple[Forecast, Backtest | OnsetError, Path]:
    """Forecast the targets of a CSV table from ``source``; write forecast.csv, onsets.csv, backtest.csv and the page.

    The back-test comes with it, so that a forecast is never read without how well such forecasts did on this
    table; where the table is too small for one, the reason is returned instead. Onsets are told only of abilities
    whose threshold the table shows.
    """
    check_level(level)
    with generation(out, (*FINDINGS, *DRAWN, *FORECASTS)) as staged:
        observations = read(source, loss)
        wanted = read_table(targets).reset_index(drop=True)
        analysis = analyze(observations, source=str(source), level=level, progress=progress)
        known = thresholds_of(analysis.findings)
        chosen = choose(observations, level=level)
        made = forecast(chosen.rows, wanted, thresholds=known, level=level, schedule=schedule, beside=observations)
        if chosen.note:
            made = made.with_changes(notes=(*made.notes, chosen.note))
        tested: Backtest | OnsetError
        try:
            tested = backtest(observations[is_base(observations)], level=level, progress=progress)
        except OnsetError as error:
            tested = error
        write_text(staged / "forecast.csv", made.scores.to_csv(index=False))
        write_text(staged / "onsets.csv", made.onsets.to_csv(index=False))
        shown = None if isinstance(tested, OnsetError) else tested
        if shown is not None:
            write_text(staged / "backtest.csv", shown.summary().to_csv(index=False))
        save_into(staged, analysis, forecast=made, backtest=shown)
        page_file = _page(analysis, staged, source, made, shown)
    return made, tested, out / page_file.name


def _page(
    analysis: Analysis, out: Path, source: Path, made: Forecast | None = None, tested: Backtest | None = None,
    found: Questions | None = None,
) -> Path:  # fmt: skip
    facts = gather(source) if source.is_dir() else None
    if made is not None and made.observations is None:
        made = made.with_changes(observations=analysis.observations)
    shown = None if found is None else with_texts(found, source)
    return page.write(out, analysis, facts, forecast=made, backtest=tested, found=shown)


def _stated(source: Path) -> FindingsSpec:
    """By what the study in that folder wants its findings judged; the usual for a table."""
    specification = source / "study.toml"
    if not specification.is_file():
        return FindingsSpec()
    return written(specification).findings


def _observations(source: Path, out: Path, loss: str | None, set_aside: bool) -> pd.DataFrame:
    if not set_aside:
        return read(source, loss)
    kept, rejected = sift(source, loss)
    if len(rejected):
        with whole_file(out / "set_aside.csv") as beside:
            rejected.to_csv(beside, index=False)
    return kept
