"""The catalogue: names, what is listed, and the whole of it on real rows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.metrics.measures import measure
from onset.tasks import sources
from onset.tasks.answers import final_number
from onset.tasks.catalogue import PAPER, catalogue, find, listing, write_requests
from onset.tasks.task import Task

ROWS = Path(__file__).parent / "golden" / "rows"
SHARED = os.environ.get("ONSET_SHARED")
REAL = (
    "triviaqa", "hellaswag", "race", "race_letters", "winogrande", "winogrande_full", "mmlu", "mmlu_cloze", "gsm8k",
    "gsm8k_direct", "nlpcc_kbqa", "clozet_proxy", "clozet_proxy_partial", "c3", "c3_letters", "cluewsc",
    "cluewsc_cloze", "ceval", "ceval_cloze", "gsm8k_zh", "gsm8k_zh_mt", "gsm8k_zh_direct",
)  # fmt: skip


def test_the_papers_twelve_with_their_prompt_types() -> None:
    """The study that is repeated would not be the paper's."""
    tasks = catalogue()
    assert set(PAPER) <= set(tasks)
    zero_shot = {"hellaswag", "winogrande", "clozet", "cluewsc"}
    assert {name for name in PAPER if tasks[name].shots == 0} == zero_shot
    free = {"triviaqa", "gsm8k", "nlpcc_kbqa", "gsm8k_zh"}
    assert {name for name in PAPER if tasks[name].open} == free
    assert all((tasks[name].metric == "exact_match") == (name in free) for name in PAPER)
    assert [tasks[name].format.name for name in ("gsm8k", "gsm8k_zh")] == ["chain_of_thought"] * 2
    assert sum(tasks[name].language == "en" for name in PAPER) == 6


def test_building_the_catalogue_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """``onset tasks`` would wait for downloads."""

    def refuse(*args: object) -> None:
        raise AssertionError("rows were read")

    monkeypatch.setattr(sources, "read_rows", refuse)
    monkeypatch.setattr(sources, "_hub_split", refuse)
    assert len(catalogue()) == len(catalogue(ROWS)) == len(listing())


def test_the_listing_tells_what_a_user_chooses_by() -> None:
    """Task, language, ability, format, shots, chance and licence of each; a stand-in says that it is one."""
    frame = listing().set_index("task")
    assert frame.index.is_unique
    for column in ("language", "ability", "format", "metric", "chance", "licence", "note"):
        mine = frame[~frame.index.str.startswith("world_")]
        assert mine[column].notna().all()
        assert (mine[column].astype(str) != "").all()
    assert "stand-in" in frame.loc["clozet_proxy", "note"]
    assert "stand-in" not in frame.loc["clozet", "note"]
    assert frame.loc["c3", "chance"] == 0.273


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    """A typing error must not list a hundred tasks."""
    with pytest.raises(OnsetError) as caught:
        find(["helaswag"])
    assert "did you mean 'hellaswag'" in str(caught.value)


def test_names_keep_their_order_and_count_once() -> None:
    """Tables would have a task twice."""
    assert [task.name for task in find(["mmlu", "c3", "mmlu"])] == ["mmlu", "c3"]
    assert [task.name for task in find(["paper"])] == list(PAPER)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A mistyped --data would be reported as twelve missing data sets."""
    with pytest.raises(OnsetError, match="no such folder"):
        catalogue(tmp_path / "nowhere")


def test_requests_are_written_as_they_are_asked(tmp_path: Path) -> None:
    """The file is what a user checks prompts with: it must be exactly what is scored."""
    task = catalogue(ROWS)["winogrande"]
    file = tmp_path / "requests.jsonl"
    assert write_requests(task, file) == 4
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert list(lines[0]) == ["item", "choice", "gold", "prompt", "continuation"]
    asked = [(request.item, request.choice, request.gold, request.prompt, request.continuation)
             for request in task.requests()]  # fmt: skip
    assert [tuple(line.values()) for line in lines] == asked


def test_the_table_in_the_documentation_is_the_catalogue() -> None:
    """A user plans by the table; it must not promise other shots than are given."""
    text = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    for row in listing().itertuples():
        if not str(row.task).startswith("world_"):
            start = f"| `{row.task}` | {row.language} | {row.ability} | {row.format} | {row.shots} | {row.metric} |"
            assert start in text


# On real rows ------------------------------------------------------------------------------------------------------


def real(name: str) -> Task:
    if not SHARED:
        pytest.skip("ONSET_SHARED is not set")
    return catalogue(Path(SHARED) / "data" / "tasks")[name]


@pytest.mark.parametrize("name", REAL)
def test_every_task_on_real_rows(name: str) -> None:
    """A row that breaks a prompt shows only in the real data."""
    task = real(name)
    requests = task.requests()
    items = {item.id: item for item in task.items()}
    assert task.faults() == {}
    assert {request.item for request in requests} == set(items)
    for request in requests:
        assert request.continuation.strip()
        assert request.question.strip()
        assert len(request.shots) == task.shots
        assert "{" not in request.header
        if task.open:
            assert (request.kind, request.choice, request.gold) == ("generate", 0, True)
            assert request.max_tokens > 0
            assert request.stop
        else:
            assert request.gold == (items[request.item].gold == request.choice)
    assert real(name).digest() == task.digest()


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k_zh"])
def test_the_judge_accepts_every_reference_working(name: str) -> None:
    """A rule that misreads the reference would mark right models wrong."""
    task = real(name)
    items = {item.id: item for item in task.items()}
    assert task.judge is not None
    for request in task.requests():
        assert task.judge(request.continuation, items[request.item])


@pytest.mark.parametrize("name", ["triviaqa", "nlpcc_kbqa"])
def test_the_judge_accepts_every_alias(name: str) -> None:
    """An alias that normalises to nothing can never be matched."""
    task = real(name)
    assert task.judge is not None
    for item in task.with_use(limit=150).items():
        for answer in item.answers[:8]:
            assert task.judge(f" {answer}\nQuestion:", item), answer


def test_chance_of_c3_is_exact() -> None:
    """The published 27.3 % follows from two to four choices, not from a table."""
    rows = pd.DataFrame(
        [
            {"run": "r", "step": 0, "task": "c3", "item": one.item, "choice": one.choice, "gold": one.gold,
             "logprob": -1.0, "bytes": len(one.continuation.encode())}
            for one in real("c3").requests()
        ]
    )  # fmt: skip
    assert measure(rows, ["accuracy"])["chance"].iloc[0] == pytest.approx(0.273, abs=5e-4)


def test_pairs_of_cluewsc_that_differ_in_one_index_are_asked_apart() -> None:
    """Pairs of rows differ in ``span2_index`` only; replacing the first pronoun would ask both the same."""
    task = real("cluewsc")
    filled = {request.item: request.prompt for request in task.requests() if request.choice == 1}
    pairs = 0
    for one in task.source.rows():
        for other in task.source.rows():
            if one["context"] == other["context"] and one["span1"] == other["span1"] and one["id"] < other["id"]:
                pairs += one["span2_index"] != other["span2_index"]
                assert (filled[one["id"]] == filled[other["id"]]) == (one["span2_index"] == other["span2_index"])
    assert pairs >= 5


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k_zh"])
def test_the_rule_reads_the_examples_as_they_are_shown(name: str) -> None:
    """A model that copies the examples' form must be read right: the rule and the prompt would disagree otherwise."""
    task = real(name)
    shown = task.requests()[0].shots
    examples = [task.item(row) for row in task.source.examples()[: task.shots]]
    assert len(shown) == len(examples) == 8
    for text, example in zip(shown, examples, strict=True):
        assert final_number(text) == final_number(example.answers[0])
