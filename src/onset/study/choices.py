"""Where a run's rate, batch and first weights are from: what run.json tells under ``chosen``."""

from __future__ import annotations

from typing import Any

from onset.study import rules
from onset.study.spec import HuggingFaceShape, Run


def chosen(run: Run) -> dict[str, dict[str, Any]]:
    """The choices of a run with where each is from: the rule's source, or 'given'."""
    shape = run.shape
    if isinstance(shape, HuggingFaceShape):
        own = f"the rule of transformers for '{shape.architecture}'"
        return {
            "peak_rate": {"value": run.schedule.peak_rate, "source": "given"},
            "batch": {"value": run.batch, "source": "given"},
            "initialisation": {"value": run.initialisation, "source": _scaled(own, run)},
        }
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
    source = _scaled(rules.SOURCES["initialisation"], run)
    return {**found, "initialisation": {"value": run.initialisation, "source": source}}


def _scaled(source: str, run: Run) -> str:
    return source if run.initialisation == 1.0 else f"{source}, times {run.initialisation:g} as given"
