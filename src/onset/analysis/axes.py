"""Loss axes side by side: on which held-out loss do one table's scores stand on one curve?

Models of one corpus go by any loss; over corpora their own losses break the link, and a shared text may mend it. The
comparison is by prediction: how well a monotone curve of score on loss, fitted to the other sizes (or families),
foresees the one that was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from onset.analysis import losses, records
from onset.analysis.findings import Analysis
from onset.analysis.predictors import predictors

CHECKPOINT = ["run", "checkpoint"]
MOST = 24
"""So many axes are compared at most: more are grains of one text."""


def compare(analysis: Analysis, source: str | Path) -> Analysis:
    """The analysis with ``extra["axes"]``: one entry for each further loss that ``source`` has for its checkpoints.

    An entry has ``loss_name``, ``loss_unit``, ``n_scores`` (task-metric pairs with an ability, all of whose
    checkpoints have the loss), and medians over them of ``r2_left_out_size`` and ``r2_left_out_family`` (null with one
    family), best first. The analysis comes back as it is where there is one loss only.
    """
    held_out = _all_losses(Path(source))
    able = [(one.task, one.metric) for one in analysis.findings if one.verdict in ("emergent", "smooth")]
    obs = analysis.observations
    if held_out is not None and obs.family.nunique() < 2:  # with one tokenizer another unit is another ruler only
        held_out = held_out[held_out.loss_unit == obs.loss_unit.iloc[0]]
    if held_out is None or held_out.groupby(["loss_name", "loss_unit"]).ngroups < 2 or not able:
        return analysis
    scores = obs.drop(columns=["loss", "loss_name", "loss_unit"]).drop_duplicates(
        ["run", "step", "tokens", "task", "metric"]
    )
    entries = [
        _entry(str(name), str(unit), _scores_on(scores, places), able)
        for (name, unit), places in list(held_out.groupby(["loss_name", "loss_unit"], sort=True))[:MOST]
    ]
    entries = sorted((entry for entry in entries if entry["n_scores"]), key=_goodness, reverse=True)
    notes = [*analysis.extra.get("notes", []), _sentence(entries, str(obs.loss_name.iloc[0]))]
    return replace(analysis, extra={**analysis.extra, "axes": entries, "notes": notes})


def _all_losses(source: Path) -> pd.DataFrame | None:
    """Every held-out loss of a study, or of the table of losses beside a table: run, step, tokens, name, unit, loss."""
    if source.is_dir():
        return records.all_losses(source)
    beside = losses.beside(source)
    return None if beside is None else losses.read_all(beside)


def _scores_on(scores: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """Scores with one axis's loss, by run and step, or by run and tokens where there is no step."""
    key = "step" if scores.step.notna().all() and places.step.notna().all() else "tokens"
    axis = places.dropna(subset=[key, "loss"]).drop_duplicates(["run", key])[["run", key, "loss"]]
    return scores.merge(axis.astype({key: "float64"}), on=["run", key], how="inner")


def _entry(name: str, unit: str, placed: pd.DataFrame, able: Sequence[tuple[str, str]]) -> dict[str, Any]:
    sizes, families = [], []
    for key, rows in placed.groupby(["task", "metric"]):
        if key not in able:
            continue
        sizes.append(predictors(rows)["loss"]["r2_left_out"])
        if rows.family.nunique() > 1:
            # Leaving out a family is leaving out a "size" of its own number.
            codes = pd.factorize(rows.family)[0] + 1
            families.append(predictors(rows.assign(params=codes))["loss"]["r2_left_out"])
    return {
        "loss_name": name, "loss_unit": unit, "n_scores": len(sizes),
        "r2_left_out_size": _median(sizes), "r2_left_out_family": _median(families),
    }  # fmt: skip


def _sentence(entries: Sequence[dict[str, Any]], here: str) -> str:
    """What the comparison says, for the notes of the page."""
    left = "family" if any(entry["r2_left_out_family"] is not None for entry in entries) else "size"
    told = [
        f"{entry['loss_name']} ({entry['loss_unit']}) {entry[f'r2_left_out_{left}']:.2f}"
        for entry in entries
        if entry[f"r2_left_out_{left}"] is not None
    ]
    return (
        f"Loss axes by how well they foresee a left-out {left} (median R² over scores with an ability): "
        f"{', '.join(told)}. The findings stand on {here}."
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = pd.Series([value for value in values if value is not None], dtype=float)
    return None if known.empty else float(known.median())


def _goodness(entry: dict[str, Any]) -> float:
    found = entry["r2_left_out_family"] if entry["r2_left_out_family"] is not None else entry["r2_left_out_size"]
    return float("-inf") if found is None else float(found)
