"""``onset loss`` from the door: what it prints, what it refuses at once, and what it measures again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from onset.cli import main
from onset.data.tokenizer import Tokenizer, train
from onset.store.parts import LOSSES, read_about, read_part, write_part
from onset.store.rundir import RunDir
from onset.study.spec import Study, TokenizerSpec
from onset.work.jobs import foreign as models


class Done(NamedTuple):
    code: int
    out: str
    err: str


Onset = Callable[..., Done]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(["The apple is red. A man saw the hill. ", "苹果是红色的。"], TokenizerSpec(vocab=262))


@pytest.fixture
def onset(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Onset:
    """The command in this process."""

    def run(*words: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["onset", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def place(tmp_path: Path, tokenizer: Tokenizer, llama_folder: Callable[..., Path]) -> Path:
    """Two models, an English text of three documents, a Chinese one and a reference."""
    for seed in (1, 2):
        llama_folder(tmp_path / f"model{seed}", tokenizer, seed=seed)
    rows = [{"text": text} for text in ("The apple is red.", "A man saw the hill.", "The hill is red. " * 40)]
    (tmp_path / "en.held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "zh.held.txt").write_text("苹果是红色的。" * 9)
    (tmp_path / "reference.txt").write_text("A man saw the red apple. 苹果。")
    return tmp_path


def words(place: Path, *more: str | Path, models: int = 1) -> list[str | Path]:
    named = [place / f"model{seed}" for seed in range(1, models + 1)]
    return ["loss", *named, "--text", place / "en.held.jsonl", "--out", place / "out", *more]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models that were loaded since, by name."""
    names: list[str] = []
    whole = models._opened

    def count(ref: str, *rest: object) -> object:
        names.append(ref)
        return whole(ref, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "_opened", count)
    return names


def test_two_models_on_two_languages_are_told_compared_and_not_measured_twice(
    place: Path, onset: Onset, loaded: list[str]
) -> None:
    """Lost otherwise: the one command that puts models of different makers on one axis."""
    more = ("--text", f"zh:{place / 'zh.held.txt'}", "--reference", place / "reference.txt")
    done = onset(*words(place, *more, models=2))
    assert done.code == 0, done.err
    assert all(word in done.out for word in ("nats/token", "bits/byte", "bits/char", "unigram", "2 sets of weights"))
    assert "by the same documents" in done.out
    assert len(loaded) == 2
    again = onset(*words(place, *more, "--json", models=2))
    told = json.loads(again.out)
    assert len(loaded) == 2, "nothing is owed"
    assert [row["language"] for row in told["losses"]] == ["en", "zh", "all"] * 2
    for row in told["losses"]:
        assert 0 < row["bits_per_byte"] < 20
        assert row["unigram_normalised"] is not None
    assert {row["language"] for row in told["differences"]} == {"en", "zh", "all"}


def test_a_text_of_one_language_has_one_row(place: Path, onset: Onset) -> None:
    """Lost otherwise: every figure told twice, and two axes that are one."""
    told = json.loads(onset(*words(place, "--json")).out)["losses"]
    assert [(row["text"], row["language"], row["documents"]) for row in told] == [("held", "en", 3)]


def test_it_goes_on_where_it_was_stopped(place: Path, onset: Onset, loaded: list[str]) -> None:
    """Lost otherwise: hours of measuring, for one model that was killed."""
    assert onset(*words(place)).code == 0
    done = onset(*words(place, models=2))
    assert done.code == 0
    assert [Path(name).name for name in loaded] == ["model1", "model2"]


@pytest.mark.parametrize("change", ["text", "reference", "stride"])
def test_what_has_changed_is_measured_again(change: str, place: Path, onset: Onset) -> None:
    """Lost otherwise: figures of a text that is another one now, under its old name."""
    arguments = words(place, "--reference", place / "reference.txt", "--json")
    before = json.loads(onset(*arguments).out)["losses"][0]
    if change == "text":
        (place / "en.held.jsonl").write_text('{"text": "Quite another text."}\n')
    elif change == "reference":
        (place / "reference.txt").write_text("Another reference, with other words.")
    else:
        arguments += ["--stride", "16"]
    after = json.loads(onset(*arguments).out)["losses"][0]
    column = "unigram_normalised" if change == "reference" else "bits_per_byte"
    assert after[column] != before[column]
    assert (after["bytes"] == before["bytes"]) == (change != "text")


def test_another_text_is_added_to_those_that_were_measured(place: Path, onset: Onset, loaded: list[str]) -> None:
    """Lost otherwise: the first text's figures, when a second one is asked for."""
    assert onset(*words(place)).code == 0
    (place / "more.txt").write_text("The man is red.")
    other = ["loss", place / "model1", "--text", place / "more.txt", "--out", place / "out", "--json"]
    assert [row["text"] for row in json.loads(onset(*other).out)["losses"]] == ["more"]
    (part,) = (place / "out").glob("runs/*/loss/*.parquet")
    assert set(read_part(part)["text"]) == {"held", "more"}
    assert set(read_about(part)["texts"]) == {"held", "more"}
    assert len(loaded) == 2
    assert onset(*words(place)).code == 0
    assert len(loaded) == 2, "the first text is still measured"


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--reference", "nowhere.txt", "no such reference text"),
        ("--reference", "empty.txt", "corpus is empty"),
        ("--text", "nowhere.txt", "no such text"),
        ("--text", "hub:nowhere", "no public text"),
        ("--overlap", "nowhere", "no study here"),
    ],
)
def test_what_is_not_there_is_one_message_before_any_model_is_loaded(
    option: str, value: str, says: str, place: Path, onset: Onset, loaded: list[str]
) -> None:
    """Lost otherwise: minutes of loading for a typing error, and an empty table above it."""
    (place / "empty.txt").write_text("  \n")
    done = onset(*words(place, option, value if value.startswith("hub") else place / value))
    assert done.code == 1
    assert done.out == ""
    assert says in done.err
    assert done.err.count("onset:") == 1
    assert done.err.count(says) == 1
    assert loaded == []


def test_a_study_keeps_the_losses_that_are_its_own(
    small: Study, place: Path, onset: Onset, tokenizer: Tokenizer, llama_folder: Callable[..., Path]
) -> None:
    """Lost otherwise: a study's axis overwritten, or its checkpoints taken for measured."""
    from onset.study.files import dump

    run = small.runs[0]
    rundir = RunDir(place / "study" / "runs" / f"{run.name}-{small.digest(run)[:8]}")
    rundir.create({"run": run.name, "digest": small.digest(run), "study": small.name, "family": "small", "params": 1})
    (place / "study" / "study.toml").write_text(dump(small), encoding="utf-8")
    llama_folder(rundir.checkpoint(5), tokenizer)
    arguments = ["loss", rundir.path, "--text", place / "en.held.jsonl", "--out", place / "study"]
    done = onset(*arguments)
    assert done.code == 1
    assert "not measured this checkpoint yet" in done.err
    own = {"run": rundir.name, "step": 5, "language": "all", "nats_per_token": 2.0, "bits_per_byte": 1.0,
           "tokens": 9, "bytes": 9}  # fmt: skip
    write_part(rundir.loss(5), [{**own, "text": "world"}], LOSSES)
    assert onset(*arguments).code == 0
    rows = read_part(rundir.loss(5)).set_index("text")
    assert set(rows.index) == {"world", "held"}
    assert rows.loc["world", "nats_per_token"] == 2.0
    write_part(rundir.loss(5), [{**own, "text": "held"}], LOSSES)
    done = onset(*arguments)
    assert done.code == 1
    assert "the study's own" in done.err
