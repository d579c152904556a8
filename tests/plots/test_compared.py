"""Loss axes on the page: what was compared is shown, with numbers, and a page without axes does without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from onset.plots.compared import on_axes
from onset.report import page
from onset.results import Analysis, Finding
from onset.stats import loss_comparison as axes
from onset.tables.observations import check


def compared(folder: Path) -> Analysis:
    """A made-up analysis of three families whose own losses are no axis, with its axes compared."""
    draw = np.random.default_rng(0)
    scores, held_out = [], []
    for family in range(3):
        for run in range(3):
            for place in range(6):
                loss = 3 - 0.2 * place - 0.05 * run
                name, tokens = f"f{family}r{run}", 1e9 * (place + 1)
                own = loss + 0.3 * family
                held_out += [(name, tokens, "own", "nats/token", own), (name, tokens, "</script>", "bits/byte", loss)]
                score = draw.binomial(1000, 0.25 + 0.6 / (1 + np.exp((loss - 2.4) / 0.1))) / 1000
                scores.append((f"f{family}", name, 10 ** (7 + run), tokens, "own", own, "late", "acc", score, 0.25))
    columns = ["family", "run", "params", "tokens", "loss_name", "loss", "task", "metric", "score", "chance"]
    obs = check(pd.DataFrame(scores, columns=columns).assign(n_examples=1000))
    pd.DataFrame(held_out, columns=["run", "tokens", "loss_name", "loss_unit", "loss"]).to_csv(
        folder / "made.losses.csv", index=False
    )
    finding = Finding(
        task="late", metric="acc", loss_name="own", direction="higher", chance=0.25, n_points=len(obs), n_runs=9,
        spearman=-0.9, pearson=-0.9, verdict="smooth", why="made up",
    )  # fmt: skip
    analysis = Analysis(source="made.csv", findings=(finding,), observations=obs)
    return axes.compare(analysis, folder / "made.csv")


def test_the_page_shows_the_axes_the_best_first(tmp_path: Path) -> None:
    """Lost otherwise: the picture that says which loss is one axis."""
    analysis = compared(tmp_path)
    assert [entry.loss_name for entry in analysis.loss_measures] == ["</script>", "own"]
    frame = on_axes(analysis)
    assert set(frame["axis"]) == {"</script> (bits/byte)", "own (nats/token)"}
    assert len(frame) == 2 * 54
    path = page.write(tmp_path, analysis)
    text = path.read_text(encoding="utf-8")
    assert 'data-chart="axes"' in text
    assert "worse than the best" in text
    assert "R² of each task" in text
    assert "</script> (bits" not in text, "a name ends no element"
    assert (tmp_path / "figures" / "axes.svg").exists()


def test_the_picture_has_the_first_axes_by_rank_and_always_the_default(tmp_path: Path) -> None:
    """Lost otherwise: the second best axis left out of the picture, or the one that the findings stand on."""
    analysis = compared(tmp_path)
    assert analysis.placed is not None
    names = ["first", "second", "third", "fourth", "own"]
    placed = pd.concat([analysis.placed.assign(loss_name=name, loss_unit="nats/token") for name in names])
    first = analysis.loss_measures[0]
    ranked = tuple(first.with_changes(loss_name=name, loss_unit="nats/token", best=name == "first") for name in names)
    many = analysis.with_changes(placed=placed, loss_measures=ranked)
    assert [name.split()[0] for name in on_axes(many)["axis"].unique()] == ["first", "second", "third", "own"]


def test_a_page_without_axes_does_without_the_section(tmp_path: Path) -> None:
    """Lost otherwise: an empty frame on every page of one loss."""
    analysis = compared(tmp_path)
    plain = Analysis(source="made.csv", findings=analysis.findings, observations=analysis.observations)
    assert on_axes(plain).empty
    assert 'data-chart="axes"' not in page.write(tmp_path, plain, pictures=False).read_text(encoding="utf-8")
