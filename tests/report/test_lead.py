"""The first paragraph of a page: true and readable whatever was found."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onset import language
from onset.plots import words
from onset.plots.frames import Panel
from onset.report.lead import lead
from onset.results import Finding, LossInterval, SizeEffect, Width
from onset.results.findings import LossShift

SEEN = words.Seen(4.0, 2.0)
MOST_WORDS = 100
MOST_LETTERS = 260
"""Of the paragraph in English without the names of tasks, and in Chinese with them."""


@st.composite
def intervals(draw: st.DrawFn) -> LossInterval:
    low, loss, high = sorted(draw(st.floats(SEEN.low, SEEN.high)) for _ in range(3))
    return LossInterval(loss=high if draw(st.booleans()) else loss, low=low, high=high)


@st.composite
def findings(draw: st.DrawFn, place: int = 0) -> Finding:
    verdict = draw(st.sampled_from(list(words.VERDICTS)))
    chance = 0.25 if verdict in ("emergent", "at_chance") else draw(st.sampled_from([0.25, None]))
    exceeds = verdict == "emergent" or (verdict != "at_chance" and draw(st.booleans()))
    along = draw(st.sampled_from([None, LossShift(nats_per_decade=0.0, low=-0.1, high=0.1, margin=0.05)]))
    effect = SizeEffect(
        verdict=draw(st.sampled_from(list(words.EFFECTS))), pp_per_decade=draw(st.sampled_from([None, 0.4])),
        low=0.1, high=0.6, along_loss=along,
    )  # fmt: skip
    return Finding(
        task=f"task{place}", metric="accuracy", verdict=verdict, why="", chance=chance,
        onset=draw(intervals()) if exceeds else None, width=Width(nats=0.1, low=0.05, high=0.2) if exceeds else None,
        threshold=draw(intervals()) if verdict == "emergent" else None,
        size_effect=draw(st.sampled_from([None, effect])),
    )  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> list[Panel]:
    made = [draw(findings(place)) for place in range(draw(st.integers(1, 8)))]
    return [Panel(finding, pd.DataFrame()) for finding in made]


@settings(max_examples=150, deadline=None)
@given(tables())
def test_the_paragraph_is_short_and_silent_of_what_is_not_there(panels: list[Panel]) -> None:
    """Lost: 'change 0 of 11 scores by no more than 1 pp and 0 by more', and paragraphs nobody reads to their end."""
    told = lead(panels, SEEN)
    assert not re.search(r"(?<![\w.])0 ", told), told
    assert not re.search(r"\b1 (are|rise|set|improve|exceed)\b|\b([2-9]|1\d) (is|rises|sets)\b", told), told
    assert "nan" not in told.lower().split()
    sentences = re.split(r"(?<=\.) (?=[A-Z0-9])", told)
    assert 1 <= len(sentences) <= 5, told
    assert len(told.split()) <= MOST_WORDS, told
    with language.use("zh"):
        chinese = lead(panels, SEEN)
    assert len(chinese) <= MOST_LETTERS, chinese
    assert not re.search(r"[A-Za-z]{3,}", re.sub(r"task\d|nats(/token)?", "", chinese)), chinese


@settings(max_examples=150, deadline=None)
@given(tables())
def test_the_counts_of_the_paragraph_are_those_of_the_findings(panels: list[Panel]) -> None:
    """Lost: a first paragraph that the page below contradicts."""
    told = lead(panels, SEEN)
    of = {verdict: sum(panel.finding.verdict == verdict for panel in panels) for verdict in words.VERDICTS}
    total = len(panels)
    if total == 1:
        assert ("emergent" in told) == bool(of["emergent"])
        return
    emergent = re.search(r"(\d+) of \d+ tasks (?:is|are) emergent|All (\d+) tasks are emergent", told)
    assert (int(emergent[1] or emergent[2]) if emergent else 0) == of["emergent"], told
    for verdict, pattern in (("inconclusive", r"(?<!; )(\d+) (?:is|are) inconclusive(?! at)"),
                             ("at_chance", r"(\d+) (?:is|are) not above chance")):  # fmt: skip
        found = re.search(pattern, told)
        assert (int(found[1]) if found else 0) == of[verdict], told
    compared = [e.verdict for p in panels if (e := p.finding.size_effect) and e.pp_per_decade is not None]
    assert ("At equal loss" in told or "at equal loss" in told) == bool(compared), told
    differs = re.search(r"change (\d+) (?:of \d+ scores )?by more", told)
    every = "change every score compared" in told
    assert (int(differs[1]) if differs else len(compared) * every) == compared.count("differs"), told


@pytest.mark.parametrize(
    ("onset", "nats", "narrow"),
    [((2.4, 2.3, 2.5), 0.1, True), ((2.4, 2.3, 2.5), 0.5, False), ((3.4, 3.3, 3.5), 0.1, False)],
)
def test_a_late_and_narrow_rise_is_told_whatever_the_verdict(
    onset: tuple[float, float, float], nats: float, narrow: bool
) -> None:
    """Lost: a reader of 'no threshold' believes in a slow rise where an ability sets in late and all at once."""
    loss, low, high = onset
    found = Finding(
        task="a", metric="accuracy", verdict="smooth", why="", chance=0.25,
        onset=LossInterval(loss=loss, low=low, high=high), width=Width(nats=nats, low=nats / 2, high=nats * 2),
    )  # fmt: skip
    panels = [Panel(found, pd.DataFrame()), Panel(found.with_changes(task="b"), pd.DataFrame())]
    for shown in (panels, panels[:1]):
        assert ("late" in lead(shown, SEEN)) == narrow
