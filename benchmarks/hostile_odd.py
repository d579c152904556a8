"""Hostile inputs of further kinds: odd Parquet, texts in odd encodings, links, options out of range, mixed results."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hostile_case import LONG, Case, Want
from hostile_tables import frame, sound

IMPORT = ("import", "t.parquet", "--out", "out.csv")
TABLE = ("import", "t.csv", "--out", "out.csv")
ROW = {"id": "1", "question": "What?", "choices": ["a", "b"], "answer": 0}


def _column(folder: Path, name: str, values: pa.Array) -> None:
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    pq.write_table(table.set_column(table.schema.names.index(name), name, values), folder / "t.parquet")


def parquet() -> list[Case]:
    """Types that a column of a table may have, and files whose parts do not fit."""
    rows, given = len(frame()), frame()
    decimals = pa.array([Decimal(f"{value:.4f}") for value in given.score], pa.decimal128(38, 4))
    columns: dict[str, tuple[str, pa.Array, Want]] = {
        "decimal scores": ("score", decimals, "accepted"),
        "dictionary tasks": ("task", pa.array(["mmlu"] * rows).dictionary_encode(), "accepted"),
        "dictionary scores": ("score", pa.array(given.score).dictionary_encode(), "accepted"),
        "half floats": ("score", pa.array(given.score.astype(np.float16)), "accepted"),
        "large strings": ("run", pa.array(given.run, pa.large_string()), "accepted"),
        "string views": ("run", pa.array(given.run, pa.string_view()), "either"),
        "times of day": ("loss", pa.array([3] * rows, pa.time32("s")), "refused"),
        "time stamps with zones": ("loss", pa.array([3] * rows, pa.timestamp("us", "Asia/Shanghai")), "refused"),
        "null type": ("loss", pa.nulls(rows), "refused"),
        "null run": ("run", pa.nulls(rows), "refused"),
        "maps": ("extra", pa.array([[("a", 1)]] * rows, pa.map_(pa.string(), pa.int64())), "either"),
        "decimals beyond 64 bits": ("tokens", pa.array([Decimal(10**30)] * rows, pa.decimal128(38, 0)), "refused"),
        "truth values": ("n_examples", pa.array([True] * rows), "refused"),
        "fixed bytes": ("task", pa.array([b"ab"] * rows, pa.binary(2)), "either"),
        "negative zero": ("score", pa.array([-0.0] * rows), "accepted"),
    }  # fmt: skip
    found = []
    for name, (column, values, want) in columns.items():
        if column == "extra":
            make: Callable[[Path], object] = partial(_extra, values=values)
        else:
            make = partial(_column, name=column, values=values)
        found.append(Case("odd Parquet", name, IMPORT, make, want, sound))
    damage: dict[str, Callable[[bytes], bytes]] = {
        "footer length of 2 GB": lambda data: data[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
        "footer length of zero": lambda data: data[:-8] + bytes(4) + b"PAR1",
        "garbage in the footer": lambda data: data[:-200] + bytes(range(192)) + data[-8:],
        "garbage in the rows": lambda data: data[:4] + b"\xff" * 600 + data[604:],
        "two files in one": lambda data: data + b"junk" + data[:100],
        "encrypted": lambda data: b"PARE" + data[4:-4] + b"PARE",
    }
    found += [Case("odd Parquet", name, IMPORT, partial(_damaged, change=change)) for name, change in damage.items()]
    found.append(Case("odd Parquet", "no row", IMPORT, partial(_damaged, rows=0)))
    found.append(Case("odd Parquet", "no column", IMPORT, partial(_damaged, columns=())))
    wide = pa.table({f"c{number}": [1.0] for number in range(12_000)})
    found.append(Case("odd Parquet", "12,000 columns", IMPORT, partial(_wide, table=wide)))
    return found


def _wide(folder: Path, table: pa.Table) -> None:
    pq.write_table(table, folder / "t.parquet")


def _extra(folder: Path, values: pa.Array) -> None:
    table = pa.Table.from_pandas(frame(), preserve_index=False).append_column("extra", values)
    pq.write_table(table, folder / "t.parquet")


def _damaged(
    folder: Path,
    change: Callable[[bytes], bytes] = bytes,
    rows: int | None = None,
    columns: tuple[str, ...] | None = None,
) -> None:
    given = frame() if rows is None else frame().iloc[:rows]
    given = given if columns is None else given[list(columns)]
    pq.write_table(pa.Table.from_pandas(given, preserve_index=False), folder / "t.parquet")
    (folder / "t.parquet").write_bytes(change((folder / "t.parquet").read_bytes()))


def _file(folder: Path, name: str, data: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def encodings() -> list[Case]:
    """Line ends, marks of byte order, zeros, encodings, compression: in tables and in rows of tasks."""
    text, row = frame().to_csv(index=False), json.dumps(ROW)
    head, _, rest = text.partition("\n")
    tables: dict[str, tuple[bytes, Want]] = {
        "CRLF": (text.replace("\n", "\r\n").encode(), "accepted"),
        "CR": (text.replace("\n", "\r").encode(), "either"),
        "NUL in a cell": (text.replace("mmlu", "mm\0lu").encode(), "either"),
        "byte order mark twice": (b"\xef\xbb\xbf\xef\xbb\xbf" + text.encode(), "accepted"),
        "GB 18030": (text.replace("mmlu", "\u6d4b\u8bd5").encode("gb18030"), "refused"),
        "half Latin-1": (text.encode() + text.replace("mmlu", "caf\xe9").encode("latin-1"), "refused"),
        "semicolons": (text.replace(",", ";").encode(), "refused"),
        "quoted header": ((",".join(f'"{name}"' for name in head.split(",")) + "\n" + rest).encode(), "accepted"),
        "one row longer": (text.encode() + (rest.splitlines()[0] + ",7,8\n").encode(), "refused"),
        "one row shorter": (text.encode() + b"r9,f,1\n", "either"),
        "header without names": ((",,,,,\n" + rest).encode(), "refused"),
        "9,999 columns": ((head + "," + ",".join(f"c{n}" for n in range(9_980)) + "\n" + rest).encode(), "either"),
        "digits beyond counting": (text.replace(",500,", "," + "9" * 5000 + ",").encode(), "refused"),
        "gzip under the name of CSV": (gzip.compress(text.encode()), "refused"),
    }
    found = [
        Case("odd encodings", name, TABLE, partial(_file, name="t.csv", data=data), want, sound)
        for name, (data, want) in tables.items()
    ]
    bomb = gzip.compress(gzip.compress(b"0" * 200_000_000))
    found.append(Case("odd encodings", "gzip in gzip", ("import", "t.csv.gz", "--out", "out.csv"),
                      partial(_file, name="t.csv.gz", data=bomb)))  # fmt: skip
    long = gzip.compress(head.encode() + b"\n" + b"0" * 300_000_000)
    found.append(Case("odd encodings", "a row of 300 MB in a gzip", ("import", "t.csv.gz", "--out", "out.csv"),
                      partial(_file, name="t.csv.gz", data=long)))  # fmt: skip
    asked = ("tasks", "rows.jsonl", "--requests", "out.jsonl")
    lines: dict[str, tuple[bytes, Want]] = {
        "byte order mark": (b"\xef\xbb\xbf" + row.encode(), "either"),
        "CRLF": ((row + "\r\n" + row.replace('"1"', '"2"') + "\r\n").encode(), "accepted"),
        "NUL": ((row + "\0\n").encode(), "refused"),
        "NUL in a text": (row.replace("What", "Wh\\u0000at").encode(), "either"),
        "the same id twice": ((row + "\n" + row).encode(), "refused"),
        "an integer of 5,000 digits": (row.replace(": 0", ": " + "1" * 5000).encode(), "refused"),
        "a float without end": (row.replace(": 0", ": 1e999").encode(), "refused"),
        "two objects in a line": ((row + row).encode(), "refused"),
        "line separators of Unicode": (row.replace("What", "Wh\u2028at").encode(), "either"),
        "no choice": (row.replace('["a", "b"]', "[]").encode(), "refused"),
        "the same choice twice": (row.replace('"b"', '"a"').encode(), "either"),
        "an answer beyond the choices": (row.replace(": 0", ": 7").encode(), "refused"),
        "a negative answer": (row.replace(": 0", ": -1").encode(), "refused"),
    }
    found += [
        Case("odd encodings", f"rows: {name}", asked, partial(_file, name="rows.jsonl", data=data), want)
        for name, (data, want) in lines.items()
    ]
    return found


def _sound_table(folder: Path) -> None:
    frame().to_csv(folder / "t.csv", index=False)


def _linked(folder: Path, where: str) -> None:
    _sound_table(folder)
    if where == "table":
        (folder / "real.csv").write_bytes((folder / "t.csv").read_bytes())
        (folder / "t.csv").unlink()
        (folder / "t.csv").symlink_to("real.csv")
    elif where == "dangling output":
        (folder / "out.csv").symlink_to("nowhere/out.csv")
    elif where == "loop of folders":
        (folder / "d").mkdir()
        (folder / "d" / "again").symlink_to("..")
        (folder / "d" / "t.csv").write_bytes((folder / "t.csv").read_bytes())
    elif where == "results":
        (folder / "elsewhere").mkdir()
        (folder / "out").mkdir()
        (folder / "out" / "figures").symlink_to("../elsewhere")
    elif where == "results pipe":
        (folder / "out").mkdir()
        os.mkfifo(folder / "out" / "report.html")
    elif where == "results folder":
        (folder / "out" / "findings.json").mkdir(parents=True)


def links() -> list[Case]:
    """Links, and outputs in odd places."""
    analysed = ("analyze", "t.csv", "--out", "out")
    return [
        Case("links", "the table is a link", TABLE, partial(_linked, where="table"), "accepted", sound),
        Case("links", "the output is a link to nowhere", TABLE, partial(_linked, where="dangling output")),
        Case("links", "a folder within itself", ("import", "d", "--out", "out.csv"),
             partial(_linked, where="loop of folders"), "either", sound),
        Case("links", "figures lie elsewhere", analysed, partial(_linked, where="results"), "accepted"),
        Case("links", "a pipe for a page", analysed, partial(_linked, where="results pipe")),
        Case("links", "a folder for findings", analysed, partial(_linked, where="results folder")),
        Case("links", "output over its input", ("import", "t.csv", "--out", "t.csv"), _sound_table, "either",
             changes=("t.csv",)),
        Case("links", "output below its input", ("analyze", "t.csv", "--out", "t.csv/out"), _sound_table),
        Case("links", "output in the process list", ("analyze", "t.csv", "--out", "/proc/self/out"), _sound_table),
    ]  # fmt: skip


def _mixed(folder: Path, what: str) -> None:
    from onset.store.generation import generation

    for name in ("old", "new"):
        with generation(folder / "out") as staged:
            (staged / "results").mkdir()
            (staged / "findings.json").write_text(json.dumps({"version": 2, "source": name, "findings": []}))
            (staged / "report.html").write_text(name)
    path = folder / "out" / "findings.json"
    manifest = folder / "out" / "results" / "manifest.json"
    if what == "changed":
        path.write_text(path.read_text().replace("new", "old"))
    elif what == "garbage manifest":
        manifest.write_text("[" * 2000)
    elif what == "manifest that leads out":
        manifest.write_text(json.dumps({"files": {"../../t.csv": "00"}}))
    elif what == "manifest of lists":
        manifest.write_text(json.dumps({"files": [1, 2]}))
    elif what == "half moved":
        (folder / "out" / ".generation" / "results").mkdir(parents=True)
        (folder / "out" / ".generation" / "results" / "manifest.json").write_text('{"files": {"/etc/x": "0"}}')


def mixed() -> list[Case]:
    """Folders of results whose files are of two analyses, or whose manifest is none."""
    names = ("changed", "garbage manifest", "manifest that leads out", "manifest of lists", "half moved")
    return [Case("mixed results", name, ("report", "out"), partial(_mixed, what=name)) for name in names]


def ranges() -> list[Case]:
    """Options out of range, and names that lead elsewhere, over the commands that have them."""
    design = ("design", "--threshold", "2.5", "--draws", "2")
    words = [
        *(("plan", "demo", "--cards", value) for value in ("-1", "0", "x", "9" * 40)),
        *(("plan", "demo", "--card-gb", value) for value in ("0", "-1", "nan", "inf")),
        *(("run", "demo", "--out", "o", "--workers", value) for value in ("0", "-1", "x")),
        *(("run", "demo", "--out", "o", "--port", value) for value in ("-1", "70000")),
        ("run", "demo", "--out", "o", "--engine", "zz"), ("run", "demo", "--out", "o", "--gpus", "nan"),
        ("run", "demo", "--out", "o", "--log", "zz"), ("run", "../../etc/passwd", "--out", "o"),
        ("run", LONG, "--out", "o"), ("run", "t.csv", "--out", "o"),
        *(("eval", name, "--tasks", "world_facts_en", "--out", "o")
          for name in ("../../etc", "hub:../..", "a/../b", "https://127.0.0.1:9/v1", "file:///etc/passwd", "",
                       "lab/model@../../x", "\udcff", "t.csv")),
        *(("eval", "m", "--tasks", "world_facts_en", "--out", "o", option, value) for option, value in (
            ("--limit", "0"), ("--shots", "-1"), ("--samples", "-1"), ("--temperature", "nan"), ("--dtype", "int3"),
            ("--metrics", "zz"), ("--tokens-per-step", "-1"), ("--sizes", "1,x"), ("--sizes", ","),
            ("--sample-seed", "-1"))),
        ("eval", "m", "--tasks", "../../etc/passwd", "--out", "o"),
        ("eval", "m", "--tasks", "harness:../x", "--out", "o"),
        *(("loss", "m", "--text", value, "--out", "o") for value in ("en:", "hub:../..", "/dev/zero", "en:en:x", ".")),
        *(("loss", "m", "--text", "t.csv", "--out", "o", option, value) for option, value in (
            ("--stride", "0"), ("--most-changed", "2"), ("--most-changed", "nan"), ("--level", "1"))),
        *(("forecast", "t.csv", "--targets", "x.csv", "--out", "o", option, value) for option, value in (
            ("--level", "0.2"), ("--level", "inf"), ("--schedule", "zz"), ("--loss", "zz"), ("--loss", ":"))),
        ("forecast", "t.csv"), ("forecast", "t.csv", "--open", "t.csv"), ("forecast", "t.csv", "--open", "."),
        *((*design, option, value) for option, value in (
            ("--sizes", "0"), ("--sizes", "1e8,-1"), ("--sizes", "nan"), ("--sizes", "inf"), ("--tokens", ""),
            ("--tokens", "1e400"), ("--seeds", "0"), ("--checkpoints", "0"), ("--items", "nan"), ("--chance", "2"),
            ("--top", "0"), ("--pace", "0"), ("--pace", "nan"), ("--law", "zz"), ("--curve", "zz"), ("--width", "-1"),
            ("--budget", "inf"), ("--budget", "-1"), ("--rate", "0"), ("--draws", "0"), ("--seed", "-1"),
            ("--threshold", "nan"), ("--threshold", "-1"), ("--threshold", "inf"), ("--error", "nan"),
            ("--margin", "-1"), ("--effect", "inf"))),
        ("design",), ("design", "t.csv", "--task", "zz"), ("design", "--believed", "nowhere"),
        *(("compare", "t.csv", "t.csv", "--out", "o", option, value) for option, value in (
            ("--level", "nan"), ("--rate", "0"), ("--rate", "2"), ("--metrics", "zz"))),
        ("compare", "t.csv", "--out", "o"), ("compare", "nowhere@1", "nowhere@2", "--out", "o"),
        ("series", "zz"), ("series", "../.."), ("series", LONG),
        ("serve", "nowhere"), ("serve", "t.csv", "--port", "70000"), ("serve", "t.csv", "--host", "0.0.0.0"),
        ("serve", "t.csv", "--host", "not a host"), ("serve", "t.csv", "--language", "xx"),
        ("query", ".", "SELECT 1", "--timeout", "0"), ("query", ".", "SELECT 1", "--timeout", "inf"),
        ("query", ".", "SELECT 1", "--json", "--csv"), ("query", "t.csv", "SELECT 1"),
        ("analyze", "t.csv", "--out", "o", "--level", "0"), ("analyze", "t.csv", "--out", "o", "--factor", "=:,"),
        ("analyze", "t.csv", "--out", "o", "--factor", "zz=a:b"), ("analyze", "t.csv", "--out", "o", "--loss", "zz"),
        ("analyze", "t.csv", "--out", "o", "--margin", "-1"), ("analyze", "t.csv", "t.csv", "--out", "o"),
        *((*TABLE, option, value) for option, value in (
            ("--tokens-per-step", "-1"), ("--tokens-per-step", "nan"), ("--params", "0"), ("--params", "=1"),
            ("--params", "zz=1e8"), ("--runs", "{"), ("--runs", "{run}{run}"), ("--restarts", "x"), ("--rename", "a"),
            ("--chance", "mmlu=2"), ("--chance", "mmlu=nan"), ("--questions", "mmlu=-1"), ("--gap", "0"),
            ("--gap", "nan"), ("--seq-length", "0"), ("--loss", "zz"), ("--column", "zz=loss"),
            ("--column", "nothing"), ("--items", "out.csv"), ("--losses", "nowhere"))),
        ("report", "."), ("report", "t.csv"), ("status", "t.csv"), ("tasks", "world_facts_en", "--data", "nowhere"),
        ("items", "."), ("demo", "--out", "t.csv"), ("demo", "--out", "o", "--workers", "0"),
    ]  # fmt: skip
    loose = {("--chance", "mmlu=nan"), ("--questions", "mmlu=-1")}
    return [
        Case("ranges", " ".join(word[:24] for word in one), one, _sound_table,
             "either" if one[-2:] in loose else "refused", sound if one[0] == "import" else None)
        for one in words
    ]  # fmt: skip


TOMLS = {
    "dotted keys over a table": 'name = "s"\nname.x = 1\n',
    "a table twice": '[world]\nseed = 1\n[world]\nseed = 2\n',
    "an array of tables over a table": '[runs]\nname = "a"\n[[runs]]\nname = "b"\n',
    "dates": 'name = 1979-05-27\n[[runs]]\nname = "a"\ntokens = 07:32:00\n',
    "an integer beyond 64 bits": 'name = "s"\n[[runs]]\nname = "a"\ntokens = 99999999999999999999999999\n',
    "hexadecimal": 'name = "s"\n[[runs]]\nname = "a"\ntokens = 0xFFFFFFFFFFFFFFFF\n',
    "inf for tokens": 'name = "s"\n[[runs]]\nname = "a"\ntokens = inf\n',
    "control characters": 'name = "s\x07"\n',
    "empty keys": '"" = 1\n',
    "a name with a path": 'name = "../../x"\n[[runs]]\nname = "../y"\n',
    "a million keys": "\n".join(f"k{number} = 1" for number in range(100_000)),
    "a byte order mark": "\ufeffname = 's'\n",
}  # fmt: skip


def unusual() -> list[Case]:
    """TOML that is TOML and no study."""
    words = ("plan", "s.toml", "--rate", "1e12", "--json")
    return [
        Case("unusual TOML", name, words, partial(_file, name="s.toml", data=text.encode()))
        for name, text in TOMLS.items()
    ]


def odd(seed: int) -> list[Case]:
    """All of them; the seed changes nothing here."""
    return [*parquet(), *encodings(), *links(), *mixed(), *ranges(), *unusual()]
