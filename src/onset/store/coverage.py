"""What was asked of each checkpoint and what could not be: told beside every score, so that nothing goes in silence.

Three things can befall a question: its row cannot be asked at all (an empty choice, a right answer that is not among
the choices), its prompt loses examples to fit the model's context, or it gets no number (too long even bare, nothing to
score, no room for an answer). The item rows and the part's own description keep all three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.dataset as ds

from onset.store.parts import ITEMS, read_about

COUNTS = (
    "cut_questions",
    "cut_shots",
    "shots",
    "least_shots",
    "most_shots",
    "too_long",
    "empty",
    "no_room",
    "not_asked",
)
"""What is counted beside ``questions``; a part of before these were kept has them missing, not zero.

``shots`` are the examples that the task asks with, ``least_shots`` and ``most_shots`` those left in its prompts."""
COLUMNS = ("run", "step", "task", "digest", "questions", *COUNTS, "faults")
REASONS = {"too_long": "too long", "empty": "empty", "no_room": "no room"}
"""Columns of counts, and what ``items.missing`` says."""

SQL = """
SELECT run, step, task, digest, count(*) AS questions,
  CASE WHEN count(cut) = 0 THEN NULL ELSE count(*) FILTER (cut > 0) END AS cut_questions,
  sum(cut)::BIGINT AS cut_shots, min(cut) AS least_cut, max(cut) AS most_cut,
  {reasons}
FROM (
  SELECT run, step, task, digest, item, max(cut_shots) AS cut, max(missing) AS missing
  FROM parts GROUP BY run, step, task, digest, item
) GROUP BY run, step, task, digest ORDER BY run, task, step
"""


def asked(parts: Sequence[Path]) -> pd.DataFrame:
    """One row a part of item rows, with ``COLUMNS``; counts are of questions, but ``cut_shots`` of examples.

    ``not_asked`` counts the rows of the source that were left out, ``faults`` tells why, in words; both are missing
    where the part does not say.
    """
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    reasons = ", ".join(
        f"CASE WHEN count(cut) = 0 THEN NULL ELSE count(*) FILTER (missing = '{why}') END AS {name}"
        for name, why in REASONS.items()
    )
    with duckdb.connect() as database:
        database.register("parts", ds.dataset([str(part) for part in parts], schema=ITEMS, format="parquet"))
        frame: pd.DataFrame = database.sql(SQL.format(reasons=reasons)).df()
    said, shots = _said(parts, "faults"), _said(parts, "shots")
    keys = list(zip(frame["task"], frame["digest"].str[:4], strict=True))
    frame["shots"] = pd.array([shots.get(key) for key in keys], "Int64")
    frame["least_shots"] = frame["shots"] - frame.pop("most_cut").astype("Int64")
    frame["most_shots"] = frame["shots"] - frame.pop("least_cut").astype("Int64")
    frame["not_asked"] = pd.array([None if (one := said.get(key)) is None else _rows(one) for key in keys], "Int64")
    frame["faults"] = [in_words(said.get(key) or {}) for key in keys]
    counts = ["questions", *COUNTS]
    return frame.astype(dict.fromkeys(counts, "Int64"))[list(COLUMNS)]


def _said(parts: Sequence[Path], what: str) -> dict[tuple[str, str], Any]:
    """What each task's parts say of themselves under one name; it is the same for all checkpoints."""
    found: dict[tuple[str, str], Any] = {}
    for part in parts:
        task, _, digest = part.stem.rpartition("-")
        if (task, digest) not in found and (said := read_about(part).get(what)) is not None:
            found[task, digest] = said
    return found


def _rows(faults: dict[str, int]) -> int:
    return sum(count for reason, count in faults.items() if not reason.startswith("example "))


def in_words(faults: dict[str, int]) -> str:
    """Reasons and counts: '2 rows with an empty choice'."""
    return ", ".join(
        f"{count} {reason.replace('example with', 'example(s) with')}"
        if reason.startswith("example ")
        else f"{count} row(s) with {reason}"
        for reason, count in faults.items()
    )


def sentence(row: Any) -> str:
    """What befell the questions of one row of ``asked``, in words; empty where nothing did."""

    def some(name: str) -> int:
        value = row[name]
        return 0 if pd.isna(value) else int(value)

    told = []
    if some("cut_questions") and not pd.isna(row["shots"]):
        few, many = some("least_shots"), some("most_shots")
        kept = f"{few}-shot" if few == many else f"{few}- to {many}-shot"
        which = "all" if some("cut_questions") == row["questions"] else f"{some('cut_questions')} of {row['questions']}"
        told.append(f"asked {kept} instead of {some('shots')}-shot: {which} prompts were cut to fit the context")
    elif some("cut_questions"):
        told.append(f"{some('cut_questions')} prompts lost {some('cut_shots')} examples to fit the context")
    if some("too_long"):
        told.append(f"{some('too_long')} questions too long for the context")
    if some("empty"):
        told.append(f"{some('empty')} questions with nothing to score")
    if some("no_room"):
        told.append(f"{some('no_room')} questions without room for an answer")
    if row["faults"]:
        told.append(f"not asked: {row['faults']}")
    return "; ".join(told)


def notes(parts: Sequence[Path]) -> list[str]:
    """The same of many checkpoints, one line a (task, what befell it), for a report."""
    frame = asked(parts)
    if frame.empty:
        return []
    told = frame.assign(told=[sentence(row) for _, row in frame.iterrows()])
    of = Counter(told["task"])
    counted = Counter(zip(told["task"], told["told"], strict=True))
    return [
        f"{task}: {what} ({count} of {of[task]} checkpoints)" for (task, what), count in sorted(counted.items()) if what
    ]
