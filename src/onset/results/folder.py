"""An analysis in a folder: findings.json, and the frames behind it in results/*.parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from onset import reading
from onset.errors import OnsetError
from onset.results.analysis import VERSION, Analysis
from onset.results.forecasts import Backtest, Forecast
from onset.results.questions import Questions
from onset.store.generation import MANIFEST, changed, generation, settle
from onset.store.parts import whole_file, write_text

FRAMES = ("curve", "residuals")
"""Frames of each finding; the size effect has the same beside its ``levels``."""
FINDINGS = ("findings.json", "results/")
"""What stands for one analysis, by the beginnings of its paths; report.html and figures/ are drawn from it."""
KEYS = ["task", "metric", "loss_name"]


def save(
    analysis: Analysis, out: str | Path, *, forecast: Forecast | None = None, backtest: Backtest | None = None
) -> Path:
    """Write findings.json and results/ below ``out``, all of them or none; returns findings.json.

    The same analysis gives the same bytes. A forecast and a back-test go to results/forecast.json and backtest.json.
    """
    with generation(Path(out), FINDINGS) as staged:
        save_into(staged, analysis, forecast=forecast, backtest=backtest)
    return Path(out) / "findings.json"


def save_into(
    folder: Path, analysis: Analysis, *, forecast: Forecast | None = None, backtest: Backtest | None = None
) -> None:
    """The files of ``save`` in the folder of a generation that holds more than them."""
    path = folder / "findings.json"
    folder = folder / "results"
    for name, frame in _frames(analysis).items():
        _write(frame, folder / f"{name}.parquet")
    for name, result in (("forecast", forecast), ("backtest", backtest)):
        if result is not None:
            write_text(folder / f"{name}.json", _text(result.to_json()))
    write_text(path, _text(analysis.to_json()))


def load(folder: str | Path) -> Analysis:
    """The analysis of a folder written by ``save``; raises OnsetError where there is none, or one of another version.

    A path to findings.json itself is taken as well; without results/ beside it the curves and rows are missing.
    """
    path = Path(folder)
    path = path if path.suffix == ".json" else path / "findings.json"
    settle(path.parent)
    if not path.is_file():
        raise OnsetError("there is no analysis here", where=path, advice="run 'onset analyze TABLE --out DIR' first")
    if path.name == "findings.json":
        _of_one_analysis(path.parent)
    content = reading.json_file(path, advice="run 'onset analyze' again")
    if not isinstance(content, dict) or content.get("version") != VERSION:
        found = content.get("version") if isinstance(content, dict) else None
        raise OnsetError(
            f"findings of version {found}; this onset reads version {VERSION}",
            where=path,
            advice="run 'onset analyze' again",
        )
    return _with_frames(Analysis.from_json(content), path.parent / "results")


def _of_one_analysis(folder: Path) -> None:
    """Raise OnsetError where findings.json and results/ are not as one analysis left them."""
    if odd := changed(folder, FINDINGS):
        more = f" and {len(odd) - 1} more files are" if len(odd) > 1 else " is"
        raise OnsetError(
            f"{odd[0]}{more} not of the analysis that the others are of, or changed since",
            where=folder,
            advice=f"run 'onset analyze' again; if the change is yours and meant, remove {MANIFEST}",
        )


def load_forecast(folder: str | Path) -> tuple[Forecast | None, Backtest | None]:
    """The forecast and the back-test of a folder, None where there is none."""
    here = Path(folder) / "results"
    texts = [reading.text(path) if (path := here / name).is_file() else None
             for name in ("forecast.json", "backtest.json")]  # fmt: skip
    return (
        None if texts[0] is None else Forecast.from_json(texts[0]),
        None if texts[1] is None else Backtest.from_json(texts[1]),
    )


def save_questions(found: Questions, out: str | Path) -> Path:
    """Write results/items.parquet (one row a question) and results/questions.json below ``out``; returns the latter."""
    folder = Path(out) / "results"
    if found.items is not None:
        _write(found.items, folder / "items.parquet")
    write_text(folder / "questions.json", _text(found.to_json()))
    return folder / "questions.json"


def load_questions(folder: str | Path) -> Questions | None:
    """When each question is learnt, of a folder that ``onset analyze`` wrote; None where it has none."""
    here = Path(folder) / "results"
    if not (path := here / "questions.json").is_file():
        return None
    return Questions.from_json(reading.text(path)).with_changes(items=_read(here / "items.parquet"))


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _frames(analysis: Analysis) -> dict[str, pd.DataFrame]:
    """Every frame of an analysis by the name of its file; those of findings are below each other."""
    made = {name: analysis.to_frame(name) for name in FRAMES}
    for name in (*FRAMES, "levels"):
        parts = [
            frame.assign(task=one.task, metric=one.metric, loss_name=one.loss_name)
            for one in analysis.findings
            if one.size_effect is not None and (frame := getattr(one.size_effect, name)) is not None
        ]
        made[f"size_{name}"] = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=KEYS)
    made["observations"] = analysis.observations
    if analysis.placed is not None:
        made["placed"] = analysis.placed
    return made


def _write(frame: pd.DataFrame, path: Path) -> None:
    """A frame as Parquet; columns of mixed types become text, which Parquet needs."""
    mixed = {name: "string" for name in frame if frame[name].dtype == object}
    with whole_file(path) as beside:
        frame.astype(mixed).to_parquet(beside, index=False)


def _read(path: Path) -> pd.DataFrame | None:
    return pd.read_parquet(path) if path.is_file() else None


def _with_frames(analysis: Analysis, folder: Path) -> Analysis:
    curves = {name: _by_key(_read(folder / f"{name}.parquet")) for name in FRAMES}
    sizes = {name: _by_key(_read(folder / f"size_{name}.parquet")) for name in (*FRAMES, "levels")}
    findings = []
    for one in analysis.findings:
        update: dict[str, Any] = {name: frames.get(one.key) for name, frames in curves.items()}
        if one.size_effect is not None:
            of_size = {name: frames.get(one.key) for name, frames in sizes.items()}
            update["size_effect"] = one.size_effect.model_copy(update=of_size)
        findings.append(one.model_copy(update=update))
    observations = _read(folder / "observations.parquet")
    update = {"findings": tuple(findings), "placed": _read(folder / "placed.parquet")}
    if observations is not None:
        update["observations"] = observations
    return analysis.model_copy(update=update)


def _by_key(frame: pd.DataFrame | None) -> dict[tuple[str, str, str], pd.DataFrame]:
    """The rows of each finding, without the columns that name it and columns that are empty for it."""
    if frame is None or frame.empty:
        return {}
    return {
        (str(key[0]), str(key[1]), str(key[2])): rows.drop(columns=KEYS).reset_index(drop=True)
        for key, rows in frame.groupby(KEYS, sort=False)
    }
