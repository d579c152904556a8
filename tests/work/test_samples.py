"""Sampled answers from the command line to the table: pass@k of one's own models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onset.cli import app
from onset.data.tokenizer import train
from onset.errors import OnsetError
from onset.store.parts import read_part
from onset.study.files import dump, load, parse
from onset.study.spec import TaskUse, TokenizerSpec
from onset.tasks.catalogue import find
from onset.tasks.task import Sampling
from onset.work.ledger import study_tasks


@pytest.fixture
def toy(tmp_path: Path, llama_folder: Callable[..., Path]) -> Path:
    tokenizer = train(["colour: red\n colour: blue\n one two three"] * 30, TokenizerSpec(vocab=270))
    (tmp_path / "colour.jsonl").write_text(
        "".join(json.dumps({"question": f"colour {n}", "answers": ["red", "e", "o"]}) + "\n" for n in range(6))
    )
    return llama_folder(tmp_path / "toy", tokenizer, context=128)


def test_samples_stand_in_the_item_rows_and_pass_at_k_in_the_table(toy: Path, tmp_path: Path) -> None:
    """Lost otherwise: what each sample said, and whether one of k is right."""
    command = ["eval", str(toy), "--tasks", str(tmp_path / "colour.jsonl"), "--out", str(tmp_path / "out"),
               "--samples", "4", "--metrics", "pass@2", "--json"]  # fmt: skip
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, (done.output, done.exception)
    scores = {row["metric"]: row["score"] for row in json.loads(done.stdout)}
    (part,) = (tmp_path / "out").glob("runs/*/items/*/*.parquet")
    rows = read_part(part)
    assert rows.samples.map(len).tolist() == [4] * 6
    right = rows.samples_correct.map(sum)
    assert scores["pass@1"] == pytest.approx((right / 4).mean())
    assert scores["coverage"] == pytest.approx((right > 0).mean())
    assert scores["pass@2"] == pytest.approx((1 - (4 - right) * (3 - right) / 12).mean())
    written = part.stat().st_mtime_ns
    assert CliRunner().invoke(app, command).exit_code == 0
    assert part.stat().st_mtime_ns == written, "nothing is sampled twice"


def test_only_free_answers_are_sampled(tmp_path: Path, toy: Path) -> None:
    """Lost otherwise: a run that samples nothing and says nothing."""
    command = ["eval", str(toy), "--tasks", "world_exam_en", "--out", str(tmp_path / "out"), "--samples", "4"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, OnsetError)
    assert "free answers" in str(done.exception)
    greedy = CliRunner().invoke(app, [*command[:3], "world_facts_en", *command[4:-2], "--metrics", "pass@2"])
    assert isinstance(greedy.exception, OnsetError)
    assert "pass@2 needs 2 samples" in str(greedy.exception)


def test_a_study_samples_its_tasks_and_says_so_in_its_file() -> None:
    """Lost otherwise: pass@k over the checkpoints of a family."""
    study = load("tiny")
    use = TaskUse(name="world_facts_en", samples=5, temperature=0.5)
    sampled = study.model_copy(update={"tasks": (use,)})
    assert study_tasks(parse(dump(sampled)))["world_facts_en"].sampling == Sampling(5, 0.5)
    assert "samples" not in dump(study), "a study without samples keeps its digest"
    (plain,) = find(["world_facts_en"])
    assert study_tasks(sampled)["world_facts_en"].digest() != plain.digest()
    with pytest.raises(OnsetError, match="pass@6 needs 6"):
        study_tasks(sampled.model_copy(update={"metrics": ("pass@6",)}))
    with pytest.raises(OnsetError, match="has choices"):
        study_tasks(study.model_copy(update={"tasks": (TaskUse(name="world_exam_en", samples=2),)}))
