"""What all charts share: type, lines, the horizontal axes, the scales for sizes and kinds."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from onset.language import _
from onset.plots.frames import log_ticks
from onset.plots.palette import FAINT, INK, MUTED, RAMP, Sizes, shapes

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, Noto Sans CJK SC, sans-serif"

Chart = Any
"""A chart of Altair of whatever kind: its own types do not tell layered, faceted and joined charts apart."""

Axis = Literal["loss", "flops", "params", "tokens"]
AXES: tuple[Axis, ...] = ("loss", "flops", "params", "tokens")

TITLE_LETTERS = 34
"""Letters of a line of an axis' title that fit the narrowest panels."""

_POWER_OF_TEN = (
    "(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)) > 1.5"
    " ? format(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)), '.0f') + '×' : '') + '10'"
    " + substring('⁰¹²³⁴⁵⁶⁷⁸⁹', floor(floor(log(datum.value) / LN10 + 1e-9) / 10),"
    " floor(floor(log(datum.value) / LN10 + 1e-9) / 10) + 1)"
    " + substring('⁰¹²³⁴⁵⁶⁷⁸⁹', floor(log(datum.value) / LN10 + 1e-9) % 10,"
    " floor(log(datum.value) / LN10 + 1e-9) % 10 + 1)"
)
_COUNT = "replace(format(datum.value, '~s'), 'G', 'B')"


def config(font_size: int = 12) -> dict[str, Any]:
    """Vega-Lite configuration: dark text on white, faint grid, no frames."""
    return {
        "background": "white",
        "font": FONT,
        # Descriptions of marks would put axis titles into expressions, where a backslash in a name breaks out of its
        # quotes; the page describes its pictures itself.
        "mark": {"aria": False},
        "view": {"stroke": None, "continuousWidth": 220, "continuousHeight": 160},
        "axis": {
            "labelColor": INK, "titleColor": INK, "labelFontSize": font_size - 1, "titleFontSize": font_size,
            "titleFontWeight": "normal", "gridColor": FAINT, "gridOpacity": 0.7, "domainColor": "#9aa3af",
            "tickColor": "#9aa3af", "tickSize": 4, "labelPadding": 3, "titlePadding": 5,
        },
        "title": {
            "anchor": "start", "frame": "group", "color": INK, "fontSize": font_size + 1, "fontWeight": 600,
            "subtitleColor": MUTED, "subtitleFontSize": font_size - 1, "subtitlePadding": 3, "offset": 6,
        },
        "legend": {
            "labelColor": INK, "titleColor": INK, "labelFontSize": font_size, "titleFontSize": font_size,
            "titleFontWeight": 600, "symbolSize": 90, "labelLimit": 260,
        },
        "concat": {"spacing": 14},
    }  # fmt: skip


def axis_title(axis: Axis, loss: str, unit: str, *, flops_estimated: bool = False) -> str | list[str]:
    """The horizontal axis in words, with its unit."""
    return {
        "loss": falling(_("{loss} ({unit})", loss=loss, unit=unit) if unit else loss),
        "flops": _("Compute (FLOPs = 6ND)") if flops_estimated else _("Compute (FLOPs)"),
        "params": _("Parameters"),
        "tokens": _("Training tokens"),
    }[axis]


def falling(loss: str, letters: int = TITLE_LETTERS) -> str | list[str]:
    """Title of an axis of loss, in lines that the width of a small panel holds."""
    lines = textwrap.wrap(_("{loss}, falling\u00a0→", loss=loss), letters, break_long_words=True)
    return lines[0] if len(lines) == 1 else lines


def x(axis: Axis, span: tuple[float, float], title: str | list[str] | None, field: str | None = None) -> alt.X:
    """The horizontal channel: loss falls to the right as in the paper, the others are logarithmic."""
    if axis == "loss":
        return alt.X(
            f"{field or 'loss'}:Q",
            title=title,
            scale=alt.Scale(domain=list(span), reverse=True, zero=False, nice=False),
            axis=alt.Axis(tickCount=5, format="~f"),
        )
    return alt.X(
        f"{field or axis}:Q",
        title=title,
        scale=alt.Scale(type="log", domain=list(span), nice=False),
        axis=alt.Axis(values=log_ticks(*span), labelExpr=_POWER_OF_TEN if axis == "flops" else _COUNT),
    )


def colour(known: Sizes, *, legend: bool, orient: Literal["bottom", "right"] = "bottom") -> alt.Color:
    """Colour by size: the same label has the same colour in every picture."""
    if not legend:
        shown: alt.Legend | None = None
    else:
        shown = alt.Legend(
            title=_("Parameters"),
            orient=orient,
            direction="horizontal" if orient == "bottom" else "vertical",
            columns=11 if orient == "bottom" else 1,
            values=_few(known),
        )
    return alt.Color(
        "size:N", sort=None, legend=shown, scale=alt.Scale(domain=list(known.labels), range=list(known.colours))
    )


def colour_bar(known: Sizes) -> alt.Color:
    """Colour by size with a colour bar, for more sizes than a legend has room for; the colours are those of ``colour``.

    The data need a column ``params``.
    """
    ends = [known.params[0], known.params[-1]]
    bar = alt.Legend(title=_("Parameters"), orient="bottom", direction="horizontal", gradientLength=300,
                     values=log_ticks(*ends), labelExpr=_COUNT)  # fmt: skip
    scale = alt.Scale(type="log", domain=list(known.stops), range=list(RAMP), interpolate="rgb")
    return alt.Color("params:Q", scale=scale, legend=bar)


def shape(kinds: Sequence[str], *, legend: bool) -> alt.Shape | None:
    """Shape by kind of run; None where there is one kind."""
    if not kinds:
        return None
    of = shapes(kinds)
    shown = alt.Legend(title=_("Runs"), orient="bottom", direction="horizontal") if legend else None
    return alt.Shape(
        "kind:N", sort=None, legend=shown, scale=alt.Scale(domain=list(of), range=[of[kind] for kind in of])
    )


def _few(known: Sizes, most: int = 11) -> list[str]:
    """The labels that a legend shows: all, or as many as fit, evenly chosen."""
    if len(known.labels) <= most:
        return list(known.labels)
    chosen = {round(index * (len(known.labels) - 1) / (most - 1)) for index in range(most)}
    return [known.labels[index] for index in sorted(chosen)]
