"""Tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from onset.errors import printable
from onset.results import Analysis, Finding, LossInterval, SizeEffect
from onset.results.text import interval

VERDICT_STYLES = {"emergent": "bold green", "smooth": "cyan", "at_chance": "dim", "inconclusive": "yellow"}


def text(value: object, style: str = "") -> Text:
    """A cell as text, never as markup; control characters are shown, not obeyed, and a long cell is cut."""
    return Text(printable(str(value)), style=style)


def rows_table(rows: Sequence[Mapping[Any, Any]], columns: Sequence[str] | None = None) -> Table:
    """Any rows, one column a key. Values are shown as text, never as markup."""
    table = Table(box=box.SIMPLE_HEAD)
    names = list(columns if columns is not None else (rows[0] if rows else []))
    for name in names:
        table.add_column(text(name), overflow="fold")
    for row in rows:
        table.add_row(*(text(_cell(row.get(name))) for name in names))
    return table


def plan_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What each run would cost, and the sum; narrow enough for 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, padding=(0, 1, 0, 0))
    total = {key: sum(row[key] for row in rows) for key in ("tokens", "flops", "steps", "checkpoints", "hours")}
    memory = max(row["memory_bytes"] for row in rows)
    disk = sum(row["disk_bytes"] for row in rows)
    footers = [
        f"{len(rows)} runs", "", count(total["tokens"]), f"{total['flops']:.1e}", f"{total['steps']:,}",
        f"{total['checkpoints']:,}", f"{count(memory)}B", f"{count(disk)}B", short_time(total["hours"]),
    ]  # fmt: skip
    names = ["run", "params", "tokens", "FLOPs", "steps", "points", "memory", "disk", "time"]
    mixtures = any(row["params_active"] < row["params"] for row in rows)
    if mixtures:  # parameters that read a token, where that is not all of them
        names.insert(2, "active")
        footers.insert(2, "")
    for index, (name, footer) in enumerate(zip(names, footers, strict=True)):
        table.add_column(name, footer, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            text(row["run"]), count(row["params"]), *([count(row["params_active"])] if mixtures else []),
            count(row["tokens"]), f"{row['flops']:.1e}",
            f"{row['steps']:,}", str(row["checkpoints"]), count(row["memory_bytes"]) + "B",
            count(row["disk_bytes"]) + "B", short_time(row["hours"]),
        )  # fmt: skip
    return table


def cards_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Memory on each card, one row a run and one column a number of cards; R: activations are computed again."""
    counts = list(dict.fromkeys(row["cards"] for row in rows))
    card = rows[0]["card_bytes"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=f"GB on each card of {card / 1e9:.0f} GB")
    table.add_column("run", no_wrap=True)
    for cards in counts:
        table.add_column(f"{cards} card{'s' * (cards > 1)}", justify="right", no_wrap=True)
    cells = {(row["run"], row["cards"]): _card_cell(row) for row in rows}
    for run in dict.fromkeys(row["run"] for row in rows):
        table.add_row(text(run), *(text(cells[run, cards]) for cards in counts))
    return table


def _card_cell(row: Mapping[str, Any]) -> str:
    """Gigabytes, sequences at once, and cards that hold one copy of the model."""
    if not row["fits"]:
        return "does not fit"
    again = f" R{row['recompute']}" if row["recompute"] else ""
    copies = f", {row['shards']} a copy" if row["shards"] > 1 else ""
    return f"{row['bytes'] / 1e9:.1f} ({row['sequences']} seq.{copies}){again}"


def short_time(hours: float) -> str:
    """Hours as '42 s', '16 min', '3.4 h' or '12 years'."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 1:
        return f"{hours * 60:.0f} min"
    if hours < 24 * 365:
        return f"{hours:,.1f} h"
    return f"{hours / 24 / 365:,.0f} years"


def status_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Done and owed, one row a run."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("run", "state", "checkpoints", "evaluated", "last loss", "why"):
        table.add_column(name, justify="right" if name in {"checkpoints", "evaluated", "last loss"} else "left")
    for row in rows:
        loss = row["last_loss"]
        table.add_row(
            text(row["folder"]), text(row["state"]), f"{row['checkpoints']}/{row['declared']}",
            f"{row['evaluated']}/{row['declared']}", "" if loss is None else f"{loss:.4f}", text(row["why"] or ""),
        )  # fmt: skip
    return table


def findings_table(analysis: Analysis) -> Table:
    """One row a task under its headline metric: onset loss, threshold, size effect; the loss where there are two."""
    several = len({finding.loss_name for finding in analysis.findings}) > 1
    table = Table(box=box.SIMPLE_HEAD)
    counted = any(finding.n_examples for finding in analysis.findings)
    names = ["task", "metric", *(["loss"] if several else []), *(["questions"] if counted else []), "verdict",
             "onset loss", "threshold", "size effect (pp per decade)"]  # fmt: skip
    for name in names:  # what befell the questions is long: it stands below the verdict, in lines
        table.add_column(name, overflow="fold", max_width=44 if name == "verdict" else None)
    for finding in headline_findings(analysis):
        loss = [text(finding.loss_name)] if several else []
        verdict = text(finding.verdict.replace("_", " "), style=VERDICT_STYLES[finding.verdict])
        if finding.asked:
            verdict.append(f"\n{finding.asked}", style="dim")
        questions = [f"{finding.n_examples:,}" if finding.n_examples else ""] if counted else []
        table.add_row(
            text(finding.task), text(finding.metric), *loss, *questions, verdict, _loss(finding.onset),
            _loss(finding.threshold), _size(finding.size_effect),
        )  # fmt: skip
    return table


def headline_findings(analysis: Analysis) -> list[Finding]:
    """One finding a task and loss measure, under the task's headline metric."""
    return [
        finding
        for name in dict.fromkeys(finding.loss_name for finding in analysis.findings)
        for finding in analysis.headlines(name)
    ]


def _loss(found: LossInterval | None) -> str:
    return "" if found is None else found.told


def _size(effect: SizeEffect | None) -> str:
    """What ten times the parameters change at equal loss: pp with interval, nats where asked for, the verdict."""
    if effect is None or effect.pp_per_decade is None:
        return ""
    along = "" if effect.along_loss is None else f" or {effect.along_loss.nats_per_decade:+.3f} nats"
    return f"{interval(effect.pp_per_decade, effect.low, effect.high, 1)}{along} {effect.verdict}"


def count(value: float) -> str:
    """A count in short: 537 k, 1.5 B."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g} "


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _cell(value: Any) -> str:
    if _missing(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
