"""Hostile studies, queries and options: what is typed, and TOML that is damaged or out of range."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from hostile_case import LONG, Case, alterations, broken_texts

STUDY: dict[str, Any] = {
    "name": "small",
    "world": {"seed": 1, "documents": 3000, "valid_documents": 40, "items": 12},
    "mixes": {"main": {"sources": [{"name": "en", "path": "world", "language": "en", "weight": 4}]}},
    "tokenizers": {"main": {"vocab": 600}},
    "validation": [{"name": "world", "sources": [{"name": "en", "path": "world", "language": "en"}]}],
    "tasks": [{"name": "world_scripts_en"}],
    "runs": [{
        "name": "w16", "tokens": 24_000, "batch": 8, "checkpoints": 3,
        "shape": {"layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "hidden": 32, "context": 128},
    }],
}  # fmt: skip
PLAN = ("plan", "s.toml", "--rate", "1e12", "--json")


def _study(folder: Path, text: bytes) -> None:
    (folder / "s.toml").write_bytes(text)


def planned(folder: Path, said: str) -> str | None:
    """What is wrong with a plan: every cost is a positive number."""
    for row in json.loads(said)["runs"]:
        for name in ("params", "tokens", "flops", "steps", "hours"):
            if not 0 < float(row[name]) < math.inf:
                return f"{name} is {row[name]}"
    return None


def studies(seed: int) -> list[Case]:
    """Studies that are cut short or have one wrong value."""
    found = []
    for name, data in broken_texts(tomli_w.dumps(STUDY)).items():
        found.append(Case("studies", name, PLAN, partial(_study, text=data)))
    for name, study in alterations(STUDY, 130, seed):
        try:
            text = tomli_w.dumps(study)
        except TypeError:  # TOML has no null
            continue
        found.append(Case("studies", name, PLAN, partial(_study, text=text.encode()), "either", planned))
    return found


QUERIES = (
    "", ";", "SELECT", "SELECT 1; SELECT 2", "DROP TABLE items", "COPY items TO 'x.csv'", "ATTACH 'x.db'",
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "SELECT * FROM glob('/*')",
    "INSTALL httpfs", "LOAD httpfs", "SET enable_external_access = true", "PRAGMA database_list; SELECT 1",
    "CREATE TABLE t AS SELECT 1", "INSERT INTO items VALUES (1)", "SELECT getenv('HOME'", "SELECT * FROM nothing",
    "EXPORT DATABASE 'x'", "CALL pragma_version(", "SELECT " + "(" * 5000 + "1" + ")" * 5000, "SELECT '" + LONG,
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "SELECT count(*) FROM range(10000000000) a, range(10000000000) b", "SELECT * FROM range(100000000000)",
    "SELECT repeat('x', 10000000000)", "SELECT 1 / 0 FROM missing", "\x00", "VACUUM", "CHECKPOINT",
)  # fmt: skip


def queries() -> list[Case]:
    """SQL that writes, reaches out, or does not end."""

    def nothing(folder: Path) -> None:
        pass

    return [
        Case("queries", repr(sql[:40]), ("query", ".", sql, "--timeout", "3"), nothing, timeout=120) for sql in QUERIES
        if "\x00" not in sql
    ]  # fmt: skip


def options() -> list[Case]:
    """Options out of range, and names that are none."""

    def nothing(folder: Path) -> None:
        pass

    rows = [
        *(("plan", "demo", "--rate", value) for value in ("-1", "0", "nan", "inf", "1e999", "x", "")),
        *(("eval", "m", "--tasks", value, "--out", "o") for value in (",", "", " , ,", "no_such_task", LONG)),
        *(("eval", "m", "--tasks", "world_facts_en", "--out", "o", "--device", value)
          for value in ("zz", "cuda:99", "cpu:x", "", "mps")),
        *(("run", "demo", "--out", value) for value in ("s3://", "s3:///", "s3:", "gs://", "zz://x", "http://")),
        *(("status", value) for value in ("s3://", "nowhere", "", "zz://x")),
        ("analyze", "t.csv", "--out", "o", "--level", "nan"), ("analyze", "t.csv", "--out", "o", "--delta", "inf"),
        ("analyze", "t.csv", "--out", "o", "--margin", "nan"), ("query", ".", "SELECT 1", "--timeout", "nan"),
        ("tasks", "no_such_task"), ("tasks", "x" * 5000), ("tasks", "../../etc/passwd"), ("tasks", "x.toml"),
        ("plan", "no_such_preset"), ("report", "nowhere"), ("compare", "a", "--out", "o"),
        ("forecast", "t.csv", "--targets", "t.csv", "--out", "o"), ("import", "zz:t.csv", "--out", "o.csv"),
        ("import", "**/[", "--out", "o.csv"), ("loss", "m", "--text", "", "--out", "o"),
        ("loss", "m", "--text", "xx:nothing.txt", "--out", "o"), ("nothing",), ("analyze", "--nothing"),
    ]  # fmt: skip
    return [Case("options", " ".join(word[:20] for word in words), words, nothing) for words in rows]


def texts(seed: int) -> list[Case]:
    """All of them."""
    return [*studies(seed), *queries(), *options()]
