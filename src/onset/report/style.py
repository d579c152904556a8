"""The page's style sheet, with the colours of its pictures on a dark page."""

from __future__ import annotations

from importlib.resources import files

from onset.plots.palette import DARK, Sizes, dark


def style(sizes: Sizes | None) -> str:
    """The style sheet; pictures are drawn for white paper, and a rule a colour turns them on a dark page."""
    plain = files("onset.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    colours = DARK if sizes is None else dark(sizes)
    rules = [
        f'svg [{name}="{light}"]{{{name}:{deep}}}' for light, deep in colours.items() for name in ("fill", "stroke")
    ]
    return plain + "@media screen and (prefers-color-scheme:dark){" + "".join(rules) + "}\n"
