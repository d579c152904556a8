"""Charts to specifications and files: one specification, three formats, no browser and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from onset.plots.theme import Chart
from onset.store.parts import whole_file

FORMATS = ("svg", "pdf", "png")

PNG_SCALE = 1.6
"""A figure of 1,000 units becomes a picture of 1,600 pixels."""


def specification(chart: Chart) -> dict[str, Any]:
    """The Vega-Lite specification of a chart, data inside, however many rows."""
    with alt.data_transformers.enable("default", max_rows=None):
        # Tests compile every chart; checking each against its schema again would take most of a page's time.
        spec: dict[str, Any] = chart.to_dict(validate=False)
    return spec


def vegalite_version() -> str:
    """The newest Vega-Lite of vl-convert that is no newer than the one Altair writes for."""
    wanted = _numbers(alt.SCHEMA_VERSION.lstrip("v"))
    known = sorted(vl_convert.get_vegalite_versions(), key=_numbers)
    fitting = [version for version in known if _numbers(version)[:2] <= wanted[:2]]
    return str((fitting or known)[-1])


def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one script that sets ``window.vegaEmbed``."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vegalite_version())
    return bundle


def svg(spec: dict[str, Any]) -> str:
    """A specification drawn as SVG."""
    drawn: str = vl_convert.vegalite_to_svg(spec, vl_version=vegalite_version())
    return drawn


def write(spec: dict[str, Any], folder: Path, name: str) -> list[Path]:
    """Write a specification as ``name.svg``, ``name.pdf`` and ``name.png``; returns the three paths."""
    drawn = svg(spec)
    contents = {
        "svg": drawn.encode(),
        "pdf": vl_convert.svg_to_pdf(drawn),
        "png": vl_convert.svg_to_png(drawn, scale=PNG_SCALE),
    }
    paths = []
    for kind in FORMATS:
        path = folder / f"{name}.{kind}"
        with whole_file(path) as beside:
            beside.write_bytes(contents[kind])
        paths.append(path)
    return paths


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
