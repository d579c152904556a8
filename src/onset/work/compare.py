"""Compare scored models on the same items, and write what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from onset.results.comparison import Comparison
from onset.stats.compare import compare
from onset.store.parts import write_text
from onset.tables.items import paired_values, scored


def compare_scored(
    references: Sequence[str | Path],
    metrics: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    rate: float = 0.05,
    seed: int = 0,
) -> Comparison:
    """Paired differences of the checkpoints that references name from the first of them; see ``tables.items``."""
    values, notes = paired_values(scored(references), metrics)
    found = compare(values, level=level, rate=rate, seed=seed)
    return found.model_copy(update={"notes": (*notes, *found.notes)})


def write(found: Comparison, out: Path) -> None:
    """Write comparison.json, comparison.csv and flips.csv below ``out``."""
    write_text(out / "comparison.json", json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    write_text(out / "comparison.csv", found.rows.to_csv(index=False))
    if found.flips is not None:
        write_text(out / "flips.csv", found.flips.to_csv(index=False))
