"""Where each ability sets in: one row a task on the axis of the loss, with intervals; the first picture of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from onset.plots import theme, words
from onset.plots.frames import Panel, Points
from onset.plots.palette import INK, MUTED, VERDICT_COLOURS
from onset.plots.theme import Chart

MOST_ROWS = 30
"""Tasks that are drawn; those without an onset loss are left out first."""

_ROW = 22
COLUMNS = ["label", "verdict", "loss", "low", "high", "threshold", "note"]


def rows(panels: Sequence[Panel]) -> pd.DataFrame:
    """``label, verdict, loss, low, high, threshold, note``, one row a task, the highest onset loss first.

    ``loss`` is the onset loss with its interval; ``note`` says why there is none.
    """
    made = []
    for panel in panels:
        finding = panel.finding
        at = finding.onset or finding.threshold
        made.append({
            "label": panel.title.text, "verdict": words.VERDICTS[finding.verdict],
            "loss": None if at is None else at.loss, "low": None if at is None else at.low,
            "high": None if at is None else at.high,
            "threshold": None if finding.threshold is None else finding.threshold.loss,
            "note": "" if at is not None else words.VERDICTS[finding.verdict],
        })  # fmt: skip
    frame = pd.DataFrame(made, columns=COLUMNS).astype(dict.fromkeys(("loss", "low", "high", "threshold"), float))
    return frame.sort_values("loss", ascending=False, na_position="last", kind="stable").head(MOST_ROWS)


def chart(panels: Sequence[Panel], points: Points, level: str, *, width: Any = 760) -> Chart:
    """The onset loss of each task with its interval, the threshold where there is one, the others in grey."""
    frame = rows(panels)
    seen = (points.seen.low, points.seen.high)
    title = theme.falling(f"{words.loss_label(points.loss_name)} ({points.seen.unit})", 80)
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260, grid=True))
    labels = [label for verdict, label in words.VERDICTS.items() if label in set(frame["verdict"])]
    colours = [VERDICT_COLOURS[verdict] for verdict, label in words.VERDICTS.items() if label in labels]
    colour = alt.Color(
        "verdict:N", scale=alt.Scale(domain=labels, range=colours), legend=alt.Legend(title=None, orient="top")
    )
    known = alt.Chart(frame.dropna(subset=["loss"])).encode(y=y, color=colour)
    bars = known.mark_rule(strokeWidth=3, opacity=0.55).encode(x=theme.x("loss", seen, title, "low"), x2="high:Q")
    dots = known.mark_point(filled=True, size=75, opacity=1).encode(x=theme.x("loss", seen, title))
    ticks = (
        alt.Chart(frame.dropna(subset=["threshold"]))
        .mark_tick(thickness=2, size=15, color=INK)
        .encode(y=y, x=theme.x("loss", seen, title, "threshold"))
    )
    without = (
        alt.Chart(frame[frame["loss"].isna()].assign(at=seen[1]))
        .mark_text(align="left", dx=4, fontSize=11, color=MUTED)
        .encode(y=y, x=theme.x("loss", seen, title, "at"), text="note:N")
    )
    told = f"Dot and bar: onset loss with its {level} interval. Black tick: threshold."
    return alt.layer(bars, dots, ticks, without).properties(
        width=width,
        height=_ROW * max(3, len(frame)),
        title=alt.TitleParams("Where each ability sets in", subtitle=[told]),
    )


def description(panels: Sequence[Panel], level: str) -> str:
    """What the picture shows, for those who do not see it."""
    frame = rows(panels)
    known = frame.dropna(subset=["loss"]).to_dict("records")
    told = [f"{row['label']}: {row['loss']:.3g}, interval {row['low']:.3g} to {row['high']:.3g}" for row in known]
    without = [str(label) for label in frame.loc[frame["loss"].isna(), "label"]]
    ending = f" No onset loss: {', '.join(without)}." if without else ""
    return f"Onset loss of each task with its {level} interval. {'; '.join(told) or 'None has one'}.{ending}"
