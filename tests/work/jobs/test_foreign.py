"""Anyone's models on tasks and texts: named rightly, asked once, and placed where analysis finds them."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from onset.data.heldout_text import texts_of
from onset.errors import OnsetError
from onset.store.parts import read_about, read_part
from onset.study.spec import Study
from onset.tables.observations import read
from onset.work.jobs.foreign import Loading, ModelsLedger
from onset.work.ledger import StudyLedger
from onset.work.models import evaluate_models
from onset.work.names import Known, known, split_revision, subjects
from onset.work.status import evaluation_rows
from onset.work.study import run_study


def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def trained(small: Study, tmp_path_factory: pytest.TempPathFactory) -> StudyLedger:
    """A study of one run, trained and not asked anything; tests write elsewhere."""
    study, folder = small.model_copy(update={"runs": small.runs[:1], "tasks": ()}), tmp_path_factory.mktemp("study")
    assert run_study(study, folder, console=quiet()).pending == 0
    return StudyLedger(study, folder)


def test_a_run_and_a_foreign_folder_become_one_table(trained: StudyLedger, tmp_path: Path) -> None:
    run = trained.study.runs[0]
    rundir = trained.rundir(run)
    foreign = tmp_path / "their-model"
    shutil.copytree(rundir.checkpoint(trained.steps(run)[-1]), foreign)
    text = tmp_path / "en.held_out.txt"
    text.write_text("The apple is red. " * 30)
    out = tmp_path / "out"
    names = [str(rundir.path), str(foreign)]
    found = subjects(names, out, {str(foreign): Known(24_000)})
    bench = ModelsLedger(found, ("addition_1digit",), texts=texts_of([str(text)]), limit=10)
    done, problems = evaluate_models(bench, 1, quiet())
    assert (done, problems) == (4, [])
    obs = read(out)
    assert set(obs["task"]) == {"addition_1digit"}
    assert obs["run"].nunique() == 2
    ours = obs[obs["run"] == rundir.name].sort_values("tokens")
    assert ours["tokens"].nunique() == 3
    theirs = obs[obs["run"] != rundir.name]
    assert set(theirs["tokens"]) == {24_000}
    # The same weights under another name must say the same.
    last = ours[ours["tokens"] == ours["tokens"].max()].set_index("metric")["score"]
    assert theirs.set_index("metric")["score"].to_dict() == pytest.approx(last.to_dict())
    assert evaluate_models(bench, 1, quiet()) == (4, [])


def test_the_status_of_an_evaluation_names_the_tasks_that_are_pending(trained: StudyLedger, tmp_path: Path) -> None:
    """Lost otherwise: how far an evaluation of days is."""
    found = subjects([str(trained.rundir(trained.study.runs[0]).path)], tmp_path)
    assert evaluation_rows(tmp_path)[0]["checkpoints"] == 0
    evaluate_models(ModelsLedger(found, ("addition_1digit",), limit=4), 1, quiet())
    (row,) = evaluation_rows(tmp_path)
    assert (row["state"], row["checkpoints"], row["evaluated"], row["why"]) == ("evaluated", 3, 3, None)
    ledger = ModelsLedger(found[:1], ("addition_2digit",), limit=4)
    evaluate_models(ledger, 1, quiet())
    (row,) = evaluation_rows(tmp_path)
    name = f"addition_2digit-{ledger.task_digests['addition_2digit'][:4]}"
    assert (row["state"], row["evaluated"]) == ("pending", 1)
    assert row["why"] == f"pending: {name} at 2 of 3 checkpoints"


def test_rows_of_one_of_our_checkpoints_stand_at_its_step(trained: StudyLedger, tmp_path: Path) -> None:
    run = trained.study.runs[0]
    step = trained.steps(run)[1]
    found = subjects([str(trained.rundir(run).checkpoint(step))], tmp_path / "out")
    evaluate_models(ModelsLedger(found, ("addition_1digit",), limit=4), 1, quiet())
    (part,) = (tmp_path / "out").rglob("addition_1digit-*.parquet")
    assert set(read_part(part)["step"]) == {step}


def test_rows_of_another_dtype_are_not_taken_for_those_asked_for(trained: StudyLedger, tmp_path: Path) -> None:
    """Lost otherwise: the comparison of two dtypes, which would be one dtype twice."""
    run = trained.study.runs[0]
    checkpoint = trained.rundir(run).checkpoint(trained.steps(run)[-1])
    found = subjects([str(checkpoint)], tmp_path)
    evaluate_models(ModelsLedger(found, ("addition_1digit",), limit=4), 1, quiet())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    half = ModelsLedger(found, ("addition_1digit",), limit=4, loading=Loading("bfloat16"))
    assert evaluate_models(half, 1, quiet()) == (1, [])
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    (made,) = after.keys() - before.keys()
    assert read_about(made)["dtype"] == "bfloat16"
    assert {path: after[path] for path in before} == before
    assert evaluate_models(ModelsLedger(found, ("addition_1digit",), limit=4, loading=Loading("auto")), 1, quiet()) == (
        1,
        [],
    )


def test_a_task_asked_with_another_limit_is_another_form(trained: StudyLedger, tmp_path: Path) -> None:
    """A score over four questions and one over eight are never pooled."""
    run = trained.study.runs[0]
    checkpoint = trained.rundir(run).checkpoint(trained.steps(run)[-1])
    found = subjects([str(checkpoint)], tmp_path)
    for limit in (4, 8, 4):
        bench = ModelsLedger(found, ("addition_1digit",), limit=limit)
        evaluate_models(bench, 1, quiet())
        (digest,) = bench.task_digests.values()
        rows = read_part(found[0].rundir.items(found[0].step, "addition_1digit", digest))
        assert rows["item"].nunique() == limit
    assert len(list(tmp_path.rglob("items/*/*.parquet"))) == 2


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = subjects([str(tmp_path / "absent")], tmp_path / "out")
    _, problems = evaluate_models(ModelsLedger(found, ("addition_1digit",), limit=2), 1, quiet())
    assert len(problems) == 1
    assert "absent" in problems[0]


def test_a_study_stands_for_its_runs(trained: StudyLedger, tmp_path: Path) -> None:
    run = trained.study.runs[0]
    found = subjects([str(trained.out)], tmp_path)
    assert [(one.rundir.name, one.step) for one in found] == [
        (trained.rundir(run).name, step) for step in trained.steps(run)
    ]


def test_a_model_named_twice_is_refused(trained: StudyLedger, tmp_path: Path) -> None:
    path = str(trained.rundir(trained.study.runs[0]).path)
    with pytest.raises(OnsetError, match="named twice"):
        subjects([path, path], tmp_path / "out")


def test_revisions_of_one_id_are_steps_of_one_run(tmp_path: Path) -> None:
    assert split_revision("EleutherAI/pythia-14m@step1000") == ("EleutherAI/pythia-14m", "step1000")
    found = subjects(["a/b@step1000", "a/b@step2000", "a/b@main"], tmp_path)
    assert [one.step for one in found] == [1000, 2000, 1]
    assert found[0].rundir == found[1].rundir != found[2].rundir


def test_a_table_of_tokens_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    table = tmp_path / "tokens.csv"
    table.write_text("model,count\na,1\n")
    with pytest.raises(OnsetError, match="cannot read the table of tokens"):
        known(table)


def test_texts_of_two_languages_are_one_text_and_a_missing_one_is_named(tmp_path: Path) -> None:
    for name in ("en.valid.txt", "zh.valid.txt"):
        (tmp_path / name).write_text("a")
    texts = texts_of([str(tmp_path / "en.valid.txt"), f"zh:{tmp_path / 'zh.valid.txt'}"])
    assert {name: sorted(by_language) for name, by_language in texts.items()} == {"valid": ["en", "zh"]}
    with pytest.raises(OnsetError, match="no such text"):
        texts_of(["absent.txt"])
