"""Fixtures that several rooms use: a study's folder that was never trained, and a table of observations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.store.parts import ITEMS, LOSSES, write_part
from onset.store.rundir import RunDir
from onset.study.files import dump
from onset.study.spec import Mix, Run, Shape, Source, Study, TokenizerSpec, Validation, WorldSpec

STEPS = (10, 20, 40, 80)
TASKS = ("world_exam_en", "world_facts_en")
DIGEST = "ab" * 32


def scored_study(folder: Path, items: int = 40) -> Path:
    """Two runs with four checkpoints, held-out losses on two texts, and item rows of two tasks of four choices.

    A task is at chance until the loss falls to 2.2, and its right choice grows likelier below.
    """
    text = Source(name="world", path="world", language="en")
    study = Study(
        name="made",
        world=WorldSpec(),
        mixes={"main": Mix(sources=(text,))},
        tokenizers={"main": TokenizerSpec(vocab=300)},
        validation=(Validation(name="main", sources=(text,)), Validation(name="other", sources=(text,))),
        runs=tuple(_run(place) for place in range(2)),
    )
    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(dump(study), encoding="utf-8")
    for place, run in enumerate(study.runs):
        rundir = RunDir(folder / "runs" / f"{run.name}-{study.digest(run)[:8]}")
        params = 10 ** (5 + place)
        rundir.create({
            "run": run.name, "digest": study.digest(run), "study": study.name, "family": "made", "group": "grid",
            "params": params, "flops_per_token": 6 * params, "tokens_per_step": run.tokens_per_step,
            "steps": run.steps, "checkpoints": list(STEPS), "spec": run.model_dump(mode="json"),
        })  # fmt: skip
        for step in STEPS:
            loss = 3.0 - 0.3 * float(np.log(step)) - 0.1 * place
            write_part(rundir.loss(step), _losses(rundir.name, step, loss), LOSSES)
            for task in TASKS:
                rows = item_rows(rundir.name, step, task, skill=max(0.0, 2.2 - loss) * 4, items=items)
                write_part(rundir.items(step, task, DIGEST), rows, ITEMS)
    return folder


def _run(place: int) -> Run:
    shape = Shape(layers=2, width=16 * (place + 1), heads=2, kv_heads=1, hidden=32, context=32)
    return Run(name=f"run{place}", shape=shape, tokens=5120, batch=2, seed=place)


def _losses(run: str, step: int, loss: float) -> list[dict[str, object]]:
    return [
        {
            "run": run, "step": step, "text": text, "language": language, "nats_per_token": loss * share,
            "bits_per_byte": loss * share / 2, "unigram_normalised": loss * share - 5, "tokens": 100, "bytes": 400,
        }
        for text, share in (("main", 1.0), ("other", 1.2))
        for language in ("en", "all")
    ]  # fmt: skip


def item_rows(run: str, step: int, task: str, *, skill: float, items: int, digest: str = DIGEST) -> pd.DataFrame:
    """Item rows of one checkpoint on one task of four choices; ``skill`` nats favour the right one."""
    draw = np.random.default_rng([step, len(task), len(run)])
    choice = np.tile(np.arange(4), items)
    item = np.repeat(np.arange(items), 4)
    gold = choice == item % 4
    return pd.DataFrame({
        "run": run, "step": step, "task": task, "digest": digest, "item": item.astype(str), "choice": choice,
        "gold": gold, "logprob": draw.normal(size=4 * items) + skill * gold - 5, "logprob_uncond": None, "tokens": 1,
        "bytes": 2, "text": None, "correct": None,
    })  # fmt: skip


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """The folder of a small scored study, fresh for each test."""
    return scored_study(tmp_path / "study")


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    """Makes tables of observations: three sizes, eight checkpoints each, an ability that sets in at 2.2 nats."""
    return make_table


def make_table(tasks: tuple[str, ...] = ("late",), sizes: int = 3, checkpoints: int = 8, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    rows = []
    for task in tasks:
        for size in range(sizes):
            for place in range(checkpoints):
                loss = 3.0 - 0.1 * size - 1.1 * place / checkpoints
                right = 0.25 + 0.9 * max(0.0, 2.2 - loss) if task.startswith("late") else 0.25
                rows.append({
                    "family": "made", "run": f"size{size}", "params": 10**7 * 4**size, "tokens": 10**9 * (place + 1),
                    "loss_name": "valid", "loss": round(loss, 5), "loss_unit": "nats/token", "task": task,
                    "metric": "acc", "score": draw.binomial(2000, right) / 2000, "chance": 0.25, "n_examples": 2000,
                })  # fmt: skip
    return pd.DataFrame(rows)
