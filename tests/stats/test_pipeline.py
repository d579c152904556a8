"""All findings of a table: complete, the same on any number of processes, and as findings.json promises."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import Analysis, FactorEffect, Finding, save
from onset.stats.data import curve_data
from onset.stats.factor_effects import factors_of
from onset.stats.mixed import factors
from onset.stats.pipeline import analyze, correlations
from onset.tables.observations import check, read

Make = Callable[..., pd.DataFrame]
KEYS = {
    "task", "metric", "loss_name", "direction", "chance", "n_points", "n_runs", "spearman", "pearson", "verdict", "why",
    "onset", "width", "threshold", "log_bayes_factor", "size_effect", "predictors", "loss_unit",
}  # fmt: skip


def by_task(analysis: Analysis) -> dict[str, dict[str, object]]:
    return {str(finding["task"]): finding for finding in analysis.to_json()["findings"]}


def test_findings_have_the_promised_keys(table: Make) -> None:
    """Whoever reads findings.json would find a key missing."""
    analysis = analyze(table(("late", "never"), checkpoints=14), source="made", jobs=1)
    content = analysis.to_json()
    assert (content["version"], content["source"], content["level"]) == (2, "made", 0.95)
    found = by_task(analysis)
    assert list(found) == ["late", "never"]
    for finding in found.values():
        assert finding.keys() >= KEYS
        assert (finding["n_points"], finding["n_runs"], finding["chance"]) == (42, 3, 0.25)
        assert set(finding["predictors"]) == {"loss", "flops", "params", "tokens"}  # type: ignore[call-overload]
        assert (finding["threshold"] is None) == (finding["verdict"] != "emergent")
    assert found["never"]["verdict"] == "at_chance"
    assert found["late"]["verdict"] == "emergent"
    threshold = found["late"]["threshold"]
    assert threshold["low"] <= 2.2 <= threshold["high"]  # type: ignore[index]
    assert found["late"]["spearman"] < -0.5  # type: ignore[operator]
    assert {"notes", "margin", "delta", "metric_comparisons", "factor_summary"} <= content.keys()


def test_the_file_is_strict_json_and_the_same_each_time(table: Make, tmp_path: Path) -> None:
    """A file that differs from run to run cannot be cited."""
    texts = [save(analyze(table(), jobs=1), tmp_path / name).read_text() for name in ("a", "b")]
    assert texts[0] == texts[1]
    json.loads(texts[0], parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (tmp_path / "a" / "findings.json").exists()


def test_processes_do_not_change_the_findings(table: Make) -> None:
    frame = table(("late", "never"))
    assert analyze(frame, jobs=1).to_json() == analyze(frame, jobs=2).to_json()


def test_each_loss_axis_has_its_own_findings(table: Make) -> None:
    frame = pd.concat([table(), table().assign(loss_name="other", loss=lambda t: t.loss + 1)])
    assert {finding.loss_name for finding in analyze(frame, jobs=1).findings} == {"valid", "other"}


def test_little_data_is_no_error(table: Make) -> None:
    """One checkpoint must give a finding that says what is missing, not a traceback."""
    for rows in (table().head(1), table().head(3), table(sizes=1), table().assign(chance=None)):
        for finding in analyze(rows, jobs=1).findings:
            assert finding.why
            if rows.params.nunique() < 2:
                assert finding.size_effect is None


def test_a_family_that_breaks_the_link_is_named(table: Make) -> None:
    """Two corpora on their own losses: one curve each, and no common one."""
    one = table(("smooth",), checkpoints=12)
    one["score"] = 0.25 + 0.3 * (3.0 - one.loss)
    two = one.assign(family="shifted", run=one.run + "-b", score=one.score + 0.08)
    analysis = analyze(pd.concat([one, two]), jobs=1)
    entry = next(entry for entry in analysis.factor_summary if entry.factor == "family")
    assert entry.has_effect
    assert entry.median_pp == pytest.approx(8, abs=1)
    families = analysis.findings[0].families
    assert set(families) == {"made", "shifted"}
    assert all((family.spearman or 0) < -0.99 for family in families.values())


def test_levels_of_a_factor_are_put_together_as_asked(table: Make) -> None:
    """Lost: a factor with one run a level, which nothing can be asked of."""
    frame = table(sizes=4)
    frame["corpus"] = ["abcd"[int(name[-1])] for name in frame.run]
    found = analyze(frame, jobs=1, groups=["corpus=web:a,b;books:c,d"]).findings[0].factor("corpus")
    assert found is not None
    assert "web" in f"{found.levels} {found.why}" or found.verdict == "not_asked"
    with pytest.raises(OnsetError, match="no level 'z'"):
        analyze(frame, jobs=1, groups=["corpus=web:a,z"])


def test_progress_counts_every_step(table: Make) -> None:
    """Lost: a progress bar on a table of many tasks."""
    told: list[tuple[int, int]] = []
    analyze(table(("late", "never")), jobs=1, progress=lambda done, steps: told.append((done, steps)))
    assert told == [(step, 4) for step in (1, 2, 3, 4)]


def test_lower_is_better_metrics_are_analysed_as_such(table: Make) -> None:
    frame = table().assign(metric="brier", chance=0.75)
    frame["score"] = 0.75 - 0.5 * (2.2 - frame.loss).clip(0)
    finding = analyze(frame, jobs=1).findings[0]
    assert finding.direction == "lower"
    assert finding.spearman is not None
    assert finding.spearman > 0.7


def test_values_in_extra_become_factors_unless_they_say_nothing_new(table: Make) -> None:
    frame = table(sizes=4)
    size = frame.run.str[-1].astype(int)
    frame["extra"] = [
        json.dumps({"width": int(64 * 2**s), "schedule": "wsd" if s % 2 else "cosine", "shots": 5, "seed": int(s)})
        for s in size
    ]
    rows = factors.spread_out(check(frame))
    found = {one.name: one for one in factors_of(curve_data(rows))}
    assert list(found) == ["tokens", "progress", "width", "schedule"]
    assert found["width"].reason.startswith("one run a level")


def test_correlations_need_something_to_correlate(table: Make) -> None:
    rows = check(table())
    assert correlations(rows.head(2)) == (None, None)
    assert correlations(rows.assign(score=0.5)) == (None, None)
    spearman, pearson = correlations(rows.assign(score=-rows.loss))
    assert (spearman, pearson) == (pytest.approx(-1), pytest.approx(-1))


def test_a_wrong_level_is_told() -> None:
    with pytest.raises(OnsetError, match="confidence level"):
        analyze(pd.DataFrame(), level=95)


def _family(finding: Finding) -> FactorEffect:
    found = finding.factor("family")
    assert found is not None
    return found


def shared() -> Path:
    if "ONSET_SHARED" not in os.environ:
        pytest.skip("ONSET_SHARED is not set")
    return Path(os.environ["ONSET_SHARED"]) / "data" / "results"


@pytest.mark.slow
def test_gadre_tells_what_is_known_of_it() -> None:
    """One curve within a corpus, broken over corpora on another loss, mended on C4; exams and sums at chance."""
    path = shared() / "gadre2024.csv.gz"
    chosen = [
        "mmlu",
        "agi_eval_lsat_ar",
        "agi_eval_sat_en",
        "simple_arithmetic_nospaces",
        "hellaswag",
        "arc_easy",
        "piqa",
    ]
    mended, broken = (
        {finding.task: finding for finding in analyze(frame[frame.task.isin(chosen)]).findings}
        for frame in (read(path, "c4_val"), read(path, "openlm"))
    )
    for task in chosen[:4]:
        assert mended[task].verdict == "at_chance"
    for task in chosen[4:]:
        families = mended[task].families.values()
        assert all((family.spearman or 0) < -0.98 for family in families)
        assert _family(broken[task]).verdict == "differs"
        gap = [abs(_family(one[task]).pp or 0) for one in (mended, broken)]
        assert gap[1] > 3 * gap[0]
        r2 = [one[task].predictors["loss"].r2_held_out or 0 for one in (mended, broken)]
        assert r2[0] > 0.9 > r2[1]


@pytest.mark.slow
def test_gemstones_tell_what_is_known_of_them() -> None:
    """Loss foresees a shape that was left out better than compute does."""
    frame = read(shared() / "gemstones.csv.gz")
    frame = frame[(frame.metric == "acc") & (frame.task != "mmlu")]
    found = analyze(frame).findings
    better = [(f.predictors["loss"].r2_held_out or 0) > (f.predictors["flops"].r2_held_out or 0) for f in found]
    assert np.mean(better) > 0.8
