"""The page as a whole: it opens offline, says what the findings say, and runs no script but its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.plots.facts import StudyFacts
from onset.report import content, data, page
from onset.results import Analysis, LossInterval, MetricComparison, StageEffect

EVIL = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=2'>\"& {{7*7}} a.b[0]\\\" <!--"


class Reader(HTMLParser):
    """Collects what a browser would see: elements with their attributes, and text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def html(analysis: Analysis, facts: StudyFacts, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page")
    path = page.write(out, analysis, facts, pictures=False)
    assert path == out / "report.html"
    return path.read_text(encoding="utf-8")


def read_data(html: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    value: dict[str, object] = json.loads(found.group(1))
    return value


def body(html: str, language: str = "en") -> str:
    """What the page holds in one language: in its body, or in a template for the language that it does not show."""
    found = re.search(rf'<(div id="page"|template) data-language="{language}">(.*?)\n</\1', html, re.DOTALL)
    if found is None:
        found = re.search(rf'<div id="page" data-language="{language}">(.*?)<template', html, re.DOTALL)
        assert found is not None
        return found.group(1)
    return found.group(2)


def templates(html: str, language: str = "en") -> dict[str, dict[str, Any]]:
    """The templates of panels by axis."""
    found: dict[str, dict[str, Any]] = read_data(html)["texts"][language]["losses"][0]["templates"]  # type: ignore[index]
    return found


def evil(analysis: Analysis) -> Analysis:
    """The same analysis with a hostile name wherever a table may bring one."""
    rows = analysis.observations.copy()
    for column in ("task", "run", "loss_name", "family"):
        rows[column] = rows[column] + EVIL
    rows.attrs["notes"] = [EVIL]
    findings = tuple(
        finding.with_changes(task=finding.task + EVIL, loss_name=finding.loss_name + EVIL, why=EVIL)
        for finding in analysis.findings
    )
    compared = MetricComparison(task=EVIL, loss_name=EVIL, verdict="model", sentence=EVIL, why=EVIL)
    return analysis.with_changes(source=EVIL, findings=findings, observations=rows, metric_comparisons=(compared,))


def test_the_page_needs_no_network(html: str) -> None:
    elements = Reader(html).elements
    for tag, attributes in elements:
        for name in ("src", "href", "data"):
            assert not (attributes.get(name) or "#").startswith(("http", "//")), (tag, attributes)
    policy = next(a["content"] for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy


def test_the_drawing_library_is_there_once_and_the_page_is_small(html: str) -> None:
    scripts = [a for tag, a in Reader(html).elements if tag == "script" and a.get("type") != "application/json"]
    assert len(scripts) == 2
    assert len(html.encode()) < 3_000_000


def test_every_finding_is_in_the_summary_with_its_threshold(html: str, analysis: Analysis) -> None:
    shown = body(html)
    assert shown.count('<tr class="finding"') == len(analysis.findings)
    assert len(re.findall(r'<tr class="finding"[^>]*hidden', shown)) == len(analysis.findings) - 12
    text = Reader(shown).text
    assert "1.239 to 1.262" in text
    assert "On world_exam_en, accuracy is at or below chance (0.25) at losses above 0.860 nats/token" in text


def test_the_page_tells_what_failed_and_what_was_asked(html: str) -> None:
    text = Reader(html).text
    assert "the loss was not finite at step 120" in text
    assert "prompts cut to fit" in text
    assert "问：托林的首都是哪里？" in text
    assert "Entropy of the held-out text" in text


def test_a_long_prompt_shows_its_question_and_unfolds_its_examples(facts: StudyFacts) -> None:
    prompt = "Question: easy?\nAnswer: yes\n\n" * 60 + "Question: hard?\nAnswer:"
    (row, _) = content.item_rows(replace(facts, items=facts.items.assign(prompt=prompt)))
    assert row["prompt"] == prompt
    assert row["end"].endswith("Question: hard?\nAnswer:")
    assert len(row["end"]) <= content.PROMPT


def test_points_carry_run_step_tokens_loss_and_score(html: str, analysis: Analysis) -> None:
    (loss,) = read_data(html)["losses"]  # type: ignore[misc, attr-defined]
    found = loss["checkpoints"]
    panel = next(p for p in loss["panels"] if p["task"] == 0 and p["metric"] == "exact_match")
    at = panel["at"][0]
    run = found["run"]["names"][found["run"]["of"][at]]
    rows = analysis.observations.query("task == 'world_facts_en' and metric == 'exact_match'")
    row = rows[(rows["run"] == run) & (rows["step"] == found["step"][at])].iloc[0]
    assert panel["score"][0] == pytest.approx(row["score"], rel=1e-5)
    assert found["tokens"][at] == pytest.approx(row["tokens"], rel=1e-5)
    assert found["loss"][at] == pytest.approx(row["loss"], rel=1e-5)
    assert len(panel["at"]) == len(rows), "every observation is a point"
    told = next(layer for layer in templates(html)["loss"]["layer"] if layer["data"]["name"] == "points")["encoding"][
        "tooltip"
    ]
    assert {"run", "step", "tokens", "loss", "score", "params", "flops"} <= {entry["field"] for entry in told}


def test_the_axis_can_be_switched_and_the_loss_falls_to_the_right(html: str) -> None:
    for axis in ("loss", "flops", "params", "tokens"):
        x = next(one for one in templates(html)[axis]["layer"] if one["data"]["name"] == "points")["encoding"]["x"]
        assert x["field"] == axis
        assert (x["scale"].get("type") == "log") == (axis != "loss")
        assert (x["scale"].get("reverse") is True) == (axis == "loss")
    for axis in ("loss", "flops", "params", "tokens"):
        assert f'value="{axis}"' in html


def test_the_first_screen_says_what_was_found(html: str) -> None:
    """A reader who looks for ten seconds must see the message: the sentence and the picture, without scripts."""
    head = html[html.index("<header>") : html.index("</header>")]
    assert "10 of 12 tasks are emergent: no better than chance until the loss falls to a threshold, from 1.25" in head
    assert "<svg" in head
    assert "Thresholds with their 95 % intervals: Facts · English 1.250 [1.239, 1.262]" in head
    order = [html.index(f'id="{name}"') for name in ("curves", "findings", "size", "tasks", "reading", "what")]
    assert order == sorted(order), "the data come last"


def test_a_foreign_table_has_a_page_without_the_sections_of_a_study(analysis: Analysis, tmp_path: Path) -> None:
    text = page.write(tmp_path, analysis, pictures=False).read_text(encoding="utf-8")
    for absent in ("no answer recorded", 'id="training"', "Given up"):
        assert absent not in text
    assert 'id="findings"' in text


def test_pictures_are_there_without_scripts(html: str) -> None:
    """Lost: figures in print, in the preview of a mail, and for a reader whose browser runs no scripts."""
    shown = body(html)
    cards = re.findall(r'<article class="card".*?</article>', shown, re.DOTALL)
    assert len(cards) == 12
    for card in cards:
        assert "<svg" in card
        assert re.search(r'role="img" aria-label="\d+ checkpoints', card), "what the picture shows is said"
    for name in ("onsets", "effects", "predictors", "training"):
        assert re.search(rf'data-chart="{name}"[^>]*><svg', shown), name
    identities = re.findall(r' id="([^"]+)"', shown)
    assert len(identities) == len(set(identities)), "clips of one picture may not cut another"


def test_tasks_not_above_chance_stand_behind_their_count_where_there_are_many(
    analysis: Analysis, tmp_path: Path
) -> None:
    """Lost: a page of 46 tasks whose findings drown among those with none."""
    findings = [
        one.with_changes(verdict="at_chance", threshold=None, onset=None, task=f"{one.task}_{copy}")
        for one in analysis.headlines() for copy in range(2)
    ]  # fmt: skip
    rows = [analysis.observations.assign(task=analysis.observations["task"] + f"_{copy}") for copy in range(2)]
    both = analysis.with_changes(
        findings=(*analysis.findings, *findings), observations=pd.concat([analysis.observations, *rows])
    )
    text = body(page.write(tmp_path, both, pictures=False).read_text(encoding="utf-8"))
    assert re.search(r'<details class="group"><summary><h3>not above chance \(24\)</h3>', text)
    assert 'data-verdict="at_chance" data-folded="1"' in text


def test_many_sizes_have_a_colour_bar(analysis: Analysis, tmp_path: Path) -> None:
    """Lost: a legend of 22 sizes, four digits each."""
    rows = analysis.observations.copy()
    rows["params"] = rows["params"] * (1 + 0.01 * (np.arange(len(rows)) % 5))
    text = page.write(tmp_path, analysis.with_changes(observations=rows), pictures=False).read_text(encoding="utf-8")
    assert "linear-gradient(90deg,#e08214" in text
    assert not re.search(r"<circle[^>]*/></svg>158 k", text)


def test_copied_tables_are_those_of_the_analysis(html: str, analysis: Analysis) -> None:
    latex = read_data(html)["latex"]
    assert latex[0] == analysis.to_latex()  # type: ignore[index]
    assert "world\\_facts\\_en" in latex[1]  # type: ignore[index]
    assert "scripts" not in latex[1]  # type: ignore[index]


def test_a_table_with_bare_columns_has_a_page(analysis: Analysis, tmp_path: Path) -> None:
    rows = analysis.observations[["run", "params", "tokens", "loss", "task", "metric", "score"]]
    findings = tuple(
        f.with_changes(curve=None, residuals=None, chance=None, size_effect=None) for f in analysis.findings
    )
    path = page.write(tmp_path, analysis.with_changes(observations=rows, findings=findings), pictures=False)
    assert "6 × parameters × tokens" in Reader(path.read_text(encoding="utf-8")).text


def test_no_name_of_a_table_becomes_a_script_or_an_element(
    analysis: Analysis, facts: StudyFacts, tmp_path: Path
) -> None:
    hostile = replace(facts, name=EVIL, items=facts.items.assign(prompt=EVIL, gold=EVIL), counts={EVIL: EVIL})
    text = page.write(tmp_path, evil(analysis), hostile, pictures=False).read_text(encoding="utf-8")
    elements = Reader(text).elements
    assert sum(tag == "script" for tag, _ in elements) == 3
    assert not any(tag in ("img", "iframe", "object", "foreignObject") for tag, _ in elements)
    assert not any(name.startswith("on") for _, attributes in elements for name in attributes)
    assert sum(tag == "svg" for tag, _ in elements) > 20, "the pictures are there, with the hostile names in them"
    said = read_data(text)["texts"]
    assert all(panel["title"].endswith(EVIL) for panel in said["en"]["losses"][0]["panels"])  # type: ignore[index]


def test_scripts_are_those_that_the_policy_names(html: str) -> None:
    policy = re.search(r"script-src ([^;]*);", html)
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert {page._hash(script) for script in scripts} == set(re.findall(r"sha256-[^&']+", policy.group(1)))


def test_json_in_a_script_cannot_end_it() -> None:
    value = {"a": EVIL, "b": [1.5, None, "\u2028"]}
    text = data.safe_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_numbers_that_are_not_finite_are_null() -> None:
    assert data.numbers([float("nan"), float("inf"), 1.0, 0.123456789]) == [None, None, 1, 0.123457]


def test_an_empty_analysis_is_one_clear_error(analysis: Analysis, tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="nothing to report"):
        page.write(tmp_path, analysis.with_changes(findings=()))


def test_a_folder_that_cannot_be_written_is_one_clear_error(analysis: Analysis, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(OnsetError, match="cannot write"):
        page.write(tmp_path / "file", analysis, pictures=False)


def test_study_facts_name_the_column_that_is_absent(facts: StudyFacts) -> None:
    with pytest.raises(OnsetError, match="'runs' lacks steps"):
        replace(facts, runs=facts.runs.drop(columns="steps"))


def test_the_same_analysis_gives_the_same_page(
    analysis: Analysis, facts: StudyFacts, html: str, tmp_path: Path
) -> None:
    again = page.write(tmp_path, analysis, facts, pictures=False)
    assert again.read_text(encoding="utf-8") == html


@pytest.mark.slow
def test_a_large_table_still_gives_a_page_that_opens(analysis: Analysis, tmp_path: Path) -> None:
    """60 tasks under 8 metrics and 300,000 observations: points are thinned and the page says so."""
    draw = np.random.default_rng(0)
    pairs = [(f"task_{task}", f"metric_{metric}") for task in range(60) for metric in range(8)]
    rows = pd.DataFrame(
        {
            "run": [f"run-{index % 25}" for index in range(625)],
            "params": [10.0 ** (6 + (index % 25) / 8) for index in range(625)],
            "tokens": [1e9 * (1 + index // 25) for index in range(625)],
            "loss": draw.uniform(1.8, 4.0, 625),
        }
    )
    many = pd.concat(
        [rows.assign(task=task, metric=metric, score=draw.uniform(0, 1, 625)) for task, metric in pairs],
        ignore_index=True,
    )
    findings = tuple(
        analysis.findings[0].with_changes(task=task, metric=metric, residuals=None) for task, metric in pairs
    )
    path = page.write(tmp_path, analysis.with_changes(observations=many, findings=findings), pictures=False)
    assert path.stat().st_size < 8_000_000
    assert "of 300,000 points are drawn" in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_browser_draws_the_page_and_no_hostile_name_runs(
    analysis: Analysis, facts: StudyFacts, tmp_path: Path
) -> None:
    browser = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no browser here")
    path = page.write(tmp_path, evil(analysis), facts, pictures=False)
    seen = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,9000", "--virtual-time-budget=20000",
         "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=300, check=True,
    ).stdout  # fmt: skip
    assert seen.count('class="marks"') >= 12
    assert not any(tag == "img" for tag, _ in Reader(seen).elements)


def test_questions_asked_otherwise_than_meant_are_told_beside_the_verdict(analysis: Analysis, tmp_path: Path) -> None:
    """Lost: a model of a small context was asked 0-shot, and its verdict stands as that of the 8-shot task."""
    told = "asked 0-shot instead of 8-shot: all prompts were cut to fit the context (10 of 10 checkpoints)"
    first = analysis.findings[0].model_copy(update={"asked": told, "n_examples": 1319})
    changed = analysis.model_copy(update={"findings": (first, *analysis.findings[1:])})
    text = page.write(tmp_path, changed, None, pictures=False).read_text(encoding="utf-8")
    assert f"<small>{told}</small></td>" in body(text)
    assert "1,319" in body(text)
    assert "而非 8-shot" in body(text, "zh")


def test_an_onset_at_the_highest_loss_is_told_as_open(analysis: Analysis, tmp_path: Path) -> None:
    """Lost: '2.847 [2.847, 2.847]' for an ability that was there at the highest loss already."""
    top = analysis.findings[0].model_copy(
        update={"verdict": "smooth", "threshold": None, "onset": LossInterval(loss=1.5, low=1.5, high=1.5)}
    )
    below = top.model_copy(update={"onset": LossInterval(loss=1.5, low=1.2, high=1.5)})
    for changed, told in ((top, "at or above 1.500"), (below, "at or above 1.50 [1.20 or above]")):
        whole = analysis.model_copy(update={"findings": (changed, *analysis.findings[1:])})
        text = page.write(tmp_path, whole, None, pictures=False).read_text(encoding="utf-8")
        assert f"sets in {told}<" in text
        assert f"at the highest losses fitted already, {told}" in text
        assert "1.500 [1.500" not in text


def test_shifts_by_tuning_have_a_table_in_both_languages(analysis: Analysis, tmp_path: Path) -> None:
    told = {"task": "world_exam_en", "metric": "accuracy", "loss_name": "world"}
    effects = (
        StageEffect(**told, verdict="earlier", nats=0.123, low=0.05, high=0.2, n_pairs=18, stage="<b>tuned"),
        StageEffect(**told, verdict="earlier", low=0.31, stage="later"),
    )
    made = page.write(tmp_path, analysis.with_changes(stage_effects=effects), pictures=False)
    told_in = made.read_text(encoding="utf-8")
    for text in ("What tuning moves", "微调移动了什么", "+0.123", "0.050 to", "at least +0.310", "至少 +0.310"):
        assert text in told_in
    assert "<b>tuned" not in told_in
    assert "What tuning moves" not in page.write(tmp_path, analysis, pictures=False).read_text(encoding="utf-8")
