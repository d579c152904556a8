"""Where a run's rate, batch and first weights are from: what run.json tells under ``chosen``."""

from __future__ import annotations

from typing import Any

from onset.study import rules
from onset.study.spec import Run


def chosen(run: Run) -> dict[str, dict[str, Any]]:
    """The choices of a run with where each is from: the rule's source, or 'given'."""
    shape = run.shape
    operations = rules.compute(
        layers=shape.layers, width=shape.width, heads=shape.heads, kv_heads=shape.kv_heads, hidden=shape.hidden,
        context=shape.context,
    )  # fmt: skip
    by_rule = {
        "peak_rate": (run.schedule.peak_rate, rules.peak_rate(operations)),
        "batch": (run.batch, rules.batch(operations, shape.context)),
    }
    found = {
        name: {"value": value, "source": rules.SOURCES[name] if run.tuning == "rule" and value == ruled else "given"}
        for name, (value, ruled) in by_rule.items()
    }
    source = rules.SOURCES["initialisation"]
    if run.initialisation != 1.0:
        source += f", times {run.initialisation:g} as given"
    return {**found, "initialisation": {"value": run.initialisation, "source": source}}
