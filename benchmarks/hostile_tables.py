"""Hostile tables of observations: cells, files, and outputs that cannot be written."""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from hostile_case import ESCAPE, LONG, Case, drawn

NUMBERS = ("params", "tokens", "loss", "score", "stderr", "n_examples", "flops", "chance", "step")
TEXTS = ("run", "task", "metric", "family", "loss_name", "loss_unit", "direction", "language")
CELLS = (
    "inf", "-inf", "nan", "1e300", "1e19", "18446744073709551616", "-1", "0", "abc", "1e", "0x10", "1_000", "１２",
    "1,000", "12 %", "=1+1", ESCAPE, LONG, "None", "1" * 400, "\u202e3.1", "12\u00a0000",
)  # fmt: skip
LIMITS = {"params": (1, 2**63), "tokens": (0, 2**63), "loss": (0, 1e6), "score": (-1e9, 1e9), "stderr": (0, 1e9)}


def frame() -> pd.DataFrame:
    """A small sound table: three sizes, eight checkpoints, one task."""
    rows = []
    for size in (1e8, 3e8, 1e9):
        for step in range(1, 9):
            tokens = 2e9 * step
            loss = 2 + 400 / tokens**0.3 + 30 / size**0.3
            rows.append({
                "run": f"r{size:.0e}", "family": "f", "params": int(size), "tokens": int(tokens), "step": step,
                "loss": round(loss, 5), "task": "mmlu", "metric": "accuracy", "chance": 0.25, "n_examples": 500,
                "score": round(0.25 + 0.5 / (1 + math.exp(12 * (loss - 2.7))), 4), "stderr": 0.02,
                "flops": 6 * size * tokens,
            })  # fmt: skip
    return pd.DataFrame(rows)


def sound(folder: Path, said: str) -> str | None:
    """What is wrong with the table that an import wrote, whatever it was given."""
    found = pd.read_csv(folder / "out.csv")
    for name, (low, high) in LIMITS.items():
        values = found[name].dropna()
        if len(values) and not ((values >= low) & (values <= high)).all():
            return f"{name} from {values.min()} to {values.max()}"
    if found.duplicated(["run", "tokens", "step", "task", "metric", "loss_name"]).any():
        return "a score stands twice"
    if found.run.isna().any() or (found.run.str.strip() == "").any():
        return "a run has no name"
    return None


def _cell(folder: Path, column: str, cell: str, every: bool) -> None:
    table = frame().astype(object)
    if column not in table:
        table[column] = ""
    table.loc[table.index if every else [5], column] = cell
    table.to_csv(folder / "t.csv", index=False)


def _written(folder: Path, data: bytes, name: str = "t.csv") -> None:
    (folder / name).write_bytes(data)


def cells(seed: int) -> list[Case]:
    """One wrong cell, or a whole column of them."""
    imported = ("import", "t.csv", "--out", "out.csv")
    found = []
    for column in NUMBERS:
        for number, cell in enumerate(CELLS):
            if (number + NUMBERS.index(column)) % 2 and column not in ("params", "tokens", "loss"):
                continue
            make = partial(_cell, column=column, cell=cell, every=number % 3 == 0)
            found.append(Case("cells", f"{column} {cell[:16]!r}", imported, make, "either", sound))
    for column in TEXTS:
        for cell in ("", "   ", ESCAPE, LONG, "a\nb", "<script>", "../../x", "'; DROP"):
            make = partial(_cell, column=column, cell=cell, every=False)
            found.append(Case("cells", f"{column} {cell[:16]!r}", imported, make, "either", sound))
    strange = st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.floats().map(repr),
        st.integers(-(10**25), 10**25).map(str),
    )
    places = drawn(st.tuples(st.sampled_from(NUMBERS + TEXTS), strange, st.booleans()), 90, seed)
    for number, (column, cell, every) in enumerate(places):
        make = partial(_cell, column=column, cell=cell, every=every)
        found.append(Case("cells drawn by Hypothesis", f"{number} {column} {cell!r}", imported, make, "either", sound))
    return found


def _parquet(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pa.Table.from_pandas(frame(), preserve_index=False)), folder / "t.parquet")


def _with(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        made = pa.array(values(len(table)) if callable(values) else [values] * len(table))
        return table.set_column(table.schema.names.index(name), name, made)

    return change


def _lying(metadata: bytes) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.replace_schema_metadata({b"pandas": metadata})


def _durations(count: int) -> np.ndarray:
    return np.array([2, 3] * (count // 2), dtype="timedelta64[s]")


def files() -> list[Case]:
    """Files that are no tables, and Parquet tables that are not what they say."""
    text = frame().to_csv(index=False).encode()
    packed = gzip.compress(text)
    head, _, rest = text.partition(b"\n")
    bad = {
        "empty": b"",
        "only a header": head,
        "zeros": b"\0" * 5000,
        "random": bytes(range(256)) * 40,
        "UTF-16": text.decode().encode("utf-16"),
        "Latin-1": text.replace(b"mmlu", b"mm\xe9u"),
        "lone surrogate": text.replace(b"mmlu", b"mm\xed\xa0\x80"),
        "a column twice": head + b",score\n" + b"\n".join(line + b",0.3" for line in rest.splitlines()),
        "a header of 100,000 columns": b",".join(b"c%d" % n for n in range(100_000)) + b"\n",
        "an open quotation": head + b'\n"r1,1,2\n' * 50,
        "a cell of 8 MB": text + b"x" * 8_000_000,
        "rows longer than the header": head + b"\n" + b"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\n" * 3,
        "no row": head + b"\n\n\n\n",
    }
    found = [
        Case("files of tables", name, (command, "t.csv", "--out", out), partial(_written, data=data))
        for name, data in bad.items()
        for command, out in (("import", "out.csv"), ("analyze", "out"))
    ]
    archives = {
        "cut short": packed[:-30], "damaged": packed[:60] + b"zz" + packed[62:], "no gzip": text, "empty": b"",
        "two in one": packed + packed,
    }  # fmt: skip
    for name, data in archives.items():
        make = partial(_written, data=data, name="t.csv.gz")
        found.append(Case("files of tables", f"gzip {name}", ("import", "t.csv.gz", "--out", "out.csv"), make))
    bom = partial(_written, data=b"\xef\xbb\xbf" + text)
    found.append(
        Case("files of tables", "byte order mark", ("import", "t.csv", "--out", "out.csv"), bom, "accepted", sound)
    )
    found += _odd_paths()
    lies = {"no JSON": b"{", "a list": b"[]", "an index that is not there": b'{"index_columns": ["zz"], "columns": []}',
            "a type that is none": b'{"index_columns": [], "columns": [{"name": "loss", "field_name": "loss", '
                                   b'"pandas_type": "zz", "numpy_type": "zz", "metadata": null}]}',
            "nested deep": b"[" * 10_000}  # fmt: skip
    imported = ("import", "t.parquet", "--out", "out.csv")
    for name, lie in lies.items():
        make = partial(_parquet, change=_lying(lie))
        found.append(Case("Parquet", f"pandas metadata: {name}", imported, make, "accepted", sound))
    columns = {
        "loss durations": ("loss", _durations),
        "loss dates": ("loss", lambda n: np.array(["2020-01-01"] * n, dtype="datetime64[s]")),
        "loss true": ("loss", True), "score lists": ("score", [0.5]), "score tables": ("score", {"a": 0.5}),
        "tokens uint64": ("tokens", lambda n: np.array([2**64 - 1 - i for i in range(n)], dtype=np.uint64)),
        "params infinite": ("params", math.inf), "run null": ("run", None), "run bytes": ("run", b"\xff\xfe"),
        "score bytes": ("score", b"\x01"),
    }  # fmt: skip
    for name, (column, values) in columns.items():
        make = partial(_parquet, change=_with(column, values))
        found.append(Case("Parquet", name, imported, make, "either" if name == "run bytes" else "refused", sound))
    for name, data in {
        "cut short": b"PAR1" + b"\0" * 50,
        "ends only": b"PAR1PAR1",
        "random": bytes(range(256)),
    }.items():
        found.append(Case("Parquet", name, imported, partial(_written, data=data, name="t.parquet")))
    return found


def _odd_paths() -> list[Case]:
    def nothing(folder: Path) -> None:
        pass

    def pipe(folder: Path) -> None:
        os.mkfifo(folder / "t.csv")

    def loop(folder: Path) -> None:
        (folder / "t.csv").symlink_to("t.csv")

    def directory(folder: Path) -> None:
        (folder / "t.csv").mkdir()

    paths: dict[str, tuple[str, Callable[[Path], None]]] = {
        "a pipe": ("t.csv", pipe), "a loop of links": ("t.csv", loop), "a folder": ("t.csv", directory),
        "5,000 characters": (LONG + ".csv", nothing), "absent": ("t.csv", nothing),
        "null device": ("/dev/null", nothing),
        "zero device": ("/dev/zero", nothing),
        "not UTF-8": ("\udcff.csv", nothing), "empty": ("", nothing),
        "below a file": ("/etc/passwd/t.csv", nothing),
    }  # fmt: skip
    commands = {
        "import": ("import", "{}", "--out", "out.csv"), "analyze": ("analyze", "{}", "--out", "out"),
        "status": ("status", "{}"), "query": ("query", "{}", "SELECT 1"), "report": ("report", "{}"),
        "plan": ("plan", "{}", "--rate", "1e12"), "forecast": ("forecast", "s.csv", "--targets", "{}", "--out", "out"),
        "loss": ("loss", "{}", "--text", "s.csv", "--out", "out"), "compare": ("compare", "{}", "{}", "--out", "out"),
        "eval": ("eval", "{}", "--tasks", "mmlu", "--out", "out"),
        "tasks": ("tasks", "mmlu", "--data", "{}", "--requests", "r.jsonl"),
        "losses": ("import", "s.csv", "--losses", "{}", "--out", "out.csv"),
        "tokens": ("eval", "model", "--tasks", "world_facts_en", "--tokens", "{}", "--out", "out"),
    }  # fmt: skip

    def both(folder: Path, make: Callable[[Path], None]) -> None:
        make(folder)
        frame().to_csv(folder / "s.csv", index=False)

    return [
        Case(
            "paths",
            f"{command}: {name}",
            tuple(word.replace("{}", path) for word in words),
            partial(both, make=make),
            "either" if command == "query" and name in ("a folder", "empty") else "refused",  # it has empty views
        )
        for name, (path, make) in paths.items()
        for command, words in commands.items()
    ]


def outputs() -> list[Case]:
    """Places that cannot be written, and tables that stood before."""

    def sound_table(folder: Path, kind: str) -> None:
        frame().to_csv(folder / "t.csv", index=False)
        if kind == "file":
            (folder / "out").write_text("mine")
        elif kind == "folder":
            (folder / "out.csv").mkdir()
        elif kind == "pipe":
            os.mkfifo(folder / "out.csv")
        elif kind == "loop":
            (folder / "out").symlink_to("out")

    found = []
    for out in ("/dev/full", "/dev/null", "/proc/x.csv", "out.csv", LONG + ".csv", "t.csv/x.csv", "out.xls", ""):
        kind = "pipe" if out == "out.csv" else "file"
        make = partial(sound_table, kind=kind)
        found.append(Case("outputs", f"import to {out[:20]!r}", ("import", "t.csv", "--out", out), make))
    found.append(
        Case(
            "outputs",
            "import to a folder",
            ("import", "t.csv", "--out", "out.csv"),
            partial(sound_table, kind="folder"),
        )
    )
    for out in ("/dev/full", "out", LONG, "t.csv", "/proc/x"):
        for kind in ("file", "loop") if out == "out" else ("file",):
            make = partial(sound_table, kind=kind)
            found.append(Case("outputs", f"analyze to {out[:20]!r} {kind}", ("analyze", "t.csv", "--out", out), make))
            found.append(
                Case(
                    "outputs",
                    f"tasks to {out[:20]!r} {kind}",
                    ("tasks", "world_facts_en", "--requests", out),
                    make,
                    "refused" if kind == "loop" or out[0] in "/x" else "either",
                    changes=(out,),
                )
            )
    found += [
        Case("outputs", f"full disk: {words[0]}", words, partial(sound_table, kind="none"), largest_file=size)
        for words, size in (
            (("import", "t.csv", "--out", "out.csv"), 500),
            (("tasks", "world_facts_en", "--requests", "r.jsonl"), 500),
            (("run", "demo", "--out", "demo"), 2),
        )
    ]
    return found


def tables(seed: int) -> list[Case]:
    """All of them."""
    return [*cells(seed), *files(), *outputs()]
