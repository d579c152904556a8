"""Hostile records: results of lm-evaluation-harness, folders of studies, sealed forecasts, maps of columns, rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hostile_case import Case, alterations, broken_texts
from hostile_tables import frame, sound

RESULT: dict[str, Any] = {
    "results": {"mmlu": {"alias": "mmlu", "acc,none": 0.31, "acc_stderr,none": 0.01}},
    "n-samples": {"mmlu": {"original": 100, "effective": 100}},
    "versions": {"mmlu": 1}, "config": {"model": "hf", "model_args": "pretrained=lab/tiny-100,revision=step100"},
    "model_name": "lab/tiny-100", "date": 1.7e9,
}  # fmt: skip
META: dict[str, Any] = {
    "run": "w16", "digest": "ab" * 32, "study": "", "family": "f", "group": "", "params": 1000,
    "params_by_part": {"a": 1000}, "flops_per_token": 6000, "tokens_per_step": 512, "tokens_at": {"5": 2560},
    "steps": 10, "checkpoints": [5, 10], "chosen": {}, "spec": {"name": "w16"},
}  # fmt: skip


def _results(folder: Path, data: bytes) -> None:
    (folder / "results_1.json").write_bytes(data)
    (folder / "l.csv").write_text("run,step,tokens,loss\ntiny-100,100,1000000,3.1\n")


def _folder(folder: Path, name: str, data: bytes) -> None:
    from onset.store.parts import ITEMS, LOSSES, write_part

    run = folder / "runs" / "w16-abababab"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(META))
    (run / "log.jsonl").write_text('{"step": 5, "loss": 3.0, "tokens": 2560}\n')
    row = {"run": run.name, "step": 5, "task": "exam", "digest": "d", "item": "1", "logprob": -1.0, "bytes": 3}
    write_part(run / "items/00000005/exam-abcd.parquet", [row | {"choice": n, "gold": not n} for n in (0, 1)], ITEMS)
    loss = {"run": run.name, "step": 5, "text": "t", "language": "en", "nats_per_token": 3.0, "bits_per_byte": 1.1}
    write_part(run / "loss/00000005.parquet", [loss | {"tokens": 9, "bytes": 30}], LOSSES)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if data == b"pipe":
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    else:
        (folder / name).write_bytes(data)


def folders(seed: int) -> list[Case]:
    """Folders of studies with one damaged file."""
    run = "runs/w16-abababab"
    files = (f"{run}/run.json", f"{run}/log.jsonl", "study.toml", f"{run}/items/00000005/exam-abcd.parquet",
             f"{run}/loss/00000005.parquet", "metrics.json", "findings.json")  # fmt: skip
    commands = {"status": ("status", ".", "--json"), "query": ("query", ".", "SELECT * FROM items"),
                "observations": ("query", ".", "SELECT * FROM observations")}  # fmt: skip
    found = []
    for file in files:
        for name, data in {**broken_texts(json.dumps(META)), "a pipe": b"pipe"}.items():
            for command, words in commands.items():
                if (len(file) + len(name)) % 2 and command != "status":
                    continue
                make = partial(_folder, name=file, data=data)
                found.append(Case("folders", f"{command}: {file.split('/')[-1]} {name}", words, make, "either"))
    for name, meta in alterations(META, 40, seed):
        make = partial(_folder, name=f"{run}/run.json", data=json.dumps(meta).encode())
        found.append(Case("folders", f"run.json: {name}", commands["observations"], make, "either"))
    return found


def harness(seed: int) -> list[Case]:
    """Results of lm-evaluation-harness that are cut short or have one wrong value."""
    words = ("import", "results_1.json", "--losses", "l.csv", "--params", "1000", "--out", "out.csv")
    found = [
        Case("lm-eval", name, words, partial(_results, data=data))
        for name, data in broken_texts(json.dumps(RESULT)).items()
    ]
    for name, result in alterations(RESULT, 90, seed):
        make = partial(_results, data=json.dumps(result).encode())
        found.append(Case("lm-eval", name, words, make, "either", sound))
    return found


def _with_table(folder: Path, name: str, data: bytes) -> None:
    frame().to_csv(folder / "t.csv", index=False)
    (folder / name).write_bytes(data)


def others() -> list[Case]:
    """Maps of columns, targets, sealed forecasts, rows of tasks, checksums."""
    found: list[Case] = []
    mapped = ("import", "table", "t.csv", "--column", "map.toml", "--out", "out.csv")
    for name, data in broken_texts('[columns]\nscore = "acc"\n').items():
        found.append(
            Case("maps of columns", name, mapped, partial(_with_table, name="map.toml", data=data), "either", sound)
        )
    opened = ("forecast", "t.csv", "--open", "f.json")
    for name, data in broken_texts('{"forecast": {"level": 0.95}, "sha256": "00"}').items():
        found.append(Case("sealed forecasts", name, opened, partial(_with_table, name="f.json", data=data)))
    aimed = ("forecast", "t.csv", "--targets", "x.csv", "--out", "out")
    for cells in (
        "loss\ninf",
        "loss\nnan",
        "loss\nabc",
        "loss\n-1",
        "loss\n0",
        "params,tokens\ninf,1e9",
        "params\n1e9",
        "x\n1",
        "",
    ):
        make = partial(_with_table, name="x.csv", data=cells.encode())
        found.append(Case("targets", repr(cells), aimed, make))
    row = {"id": "1", "question": "q", "choices": ["a", "b"], "answer": 0}
    asked = ("tasks", "rows.jsonl", "--requests", "out.jsonl")
    for name, data in broken_texts(json.dumps(row)).items():
        found.append(Case("rows of tasks", name, asked, partial(_with_table, name="rows.jsonl", data=data)))
    for name, new in alterations(row, 30, 1):
        make = partial(_with_table, name="rows.jsonl", data=json.dumps(new).encode())
        found.append(Case("rows of tasks", name, asked, make, "either"))
    return [*found, *_checksums()]


def _checksums() -> list[Case]:
    rows = b'{"id": "1", "question": "q", "answers": ["a"]}\n'
    right = hashlib.sha256(rows).hexdigest()
    sums = {"of another file": "0" * 64, "garbage": "zz", "empty": "", "too long": right + "00"}

    def make(text: str) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            (folder / "d").mkdir()
            (folder / "d" / "triviaqa.eval.jsonl").write_bytes(rows)
            (folder / "d" / "SHA256SUMS").write_text(f"{text}  triviaqa.eval.jsonl\n")

        return write

    words = ("tasks", "triviaqa", "--data", "d", "--requests", "out.jsonl")
    return [Case("checksums", name, words, make(text)) for name, text in sums.items()]


def records(seed: int) -> list[Case]:
    """All of them."""
    return [*harness(seed), *folders(seed), *others()]
