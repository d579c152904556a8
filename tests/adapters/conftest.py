"""Genuine exports of others, and small writers of W&B's two forms."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

Chart = Callable[[Path, Mapping[str, Mapping[int, float]]], Path]


@pytest.fixture
def atlas() -> Path:
    """The folder of published exports that ONSET_SHARED names; the test is skipped without it."""
    folder = Path(os.environ.get("ONSET_SHARED", "")) / "data" / "atlas"
    if not os.environ.get("ONSET_SHARED") or not folder.is_dir():
        pytest.skip("published exports are read from ONSET_SHARED/data/atlas, which is not there")
    return folder


def write_chart(path: Path, lines: Mapping[str, Mapping[int, float]], axis: str = "Step") -> Path:
    """A chart as Weights & Biases exports it: all cells quoted, three columns a line, empty where there is no value."""
    head = [axis] + [name + end for name in lines for end in ("", "__MIN", "__MAX")]
    rows = [head]
    for step in sorted({step for values in lines.values() for step in values}):
        cells: list[str] = [str(step)]
        for values in lines.values():
            value = str(values[step]) if step in values else ""
            cells += [value, value, value]
        rows.append(cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in rows) + "\n", encoding="utf-8")
    return path


def write_rows(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A CSV file; None is an empty cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(head)] + [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
