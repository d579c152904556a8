"""Texts of the page that are neither findings nor data: claims, the choice of a loss measure, the script's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onset.language import _, noted
from onset.language.sentences import told
from onset.results import Analysis

STATES = (noted("trained"), noted("not finished"), noted("failed"))
"""States of runs, for the catalogues."""

CLAIM_VERDICTS = {"holds": noted("holds"), "fails": noted("fails"), "inconclusive": noted("inconclusive")}


@dataclass(frozen=True)
class ClaimText:
    """A claim as it is read."""

    number: int
    statement: str
    verdict: str
    label: str
    why: str


@dataclass(frozen=True)
class ChoiceText:
    """Which loss measure is used and why, as it is read."""

    why: str
    by_family: bool
    """Whether families were held out, and not sizes."""


def claims(analysis: Analysis) -> list[ClaimText]:
    """The claims of the analysis in the language in use."""
    return [
        ClaimText(one.number, told(one.statement), one.verdict, _(CLAIM_VERDICTS[one.verdict]), told(one.why))
        for one in analysis.claims
    ]


def axis_choice(analysis: Analysis) -> ChoiceText | None:
    """The choice of a loss measure; None where measures were not compared."""
    choice = analysis.loss_choice
    return None if choice is None else ChoiceText(told(choice.why), choice.held_out == "family")


def script_words() -> dict[str, Any]:
    """The words that the page's script writes; names in braces are filled in by it."""
    return {
        "shown": _("{count} shown"), "copied": _("copied"), "notCopied": _("the browser does not let pages copy"),
        "against": _("{title}, {label}, against {axis}. {count} points."), "residuals": _("Residuals (pp)"),
        "waiting": _("Waiting for the first scores and losses."), "pending": _("pending"), "done": _("done"),
        "lost": _("The server cannot be reached; this is what it told last."),
        "updated": _("There are new findings: the page is renewed."),
        "menu": {
            "CLICK_TO_VIEW_ACTIONS": _("Save this picture"), "SVG_ACTION": _("Save as SVG"),
            "PNG_ACTION": _("Save as PNG"),
        },
        "working": _("Findings are being made."), "loss": _("Training loss"), "tokens": _("Training tokens"),
    }  # fmt: skip
