"""A series of checkpoints becomes one run with its tokens, however its folders or revisions are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.work.names import Known, Subject, describe, known, subjects


def folders(root: Path, *names: str) -> list[str]:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text(name)
    return [str(root / name) for name in names]


@pytest.mark.parametrize(
    "names",
    [
        ("toy-step1000", "toy-step2000"),
        ("toy/step-1000", "toy/step_2000"),
        ("toy/checkpoint-1000", "toy/checkpoint-2000"),
        ("toy/iter_0001000", "toy/iter_0002000"),
        ("toy/global_step1000", "toy/global_step2000"),
    ],
)
def test_folders_that_name_their_step_are_one_run(names: tuple[str, str], tmp_path: Path) -> None:
    """Lost otherwise: a series from disk is six models without a curve."""
    first, second = subjects(folders(tmp_path / "models", *names), tmp_path / "out", tokens_per_step=2_000)
    assert (first.step, second.step) == (1000, 2000)
    assert first.rundir == second.rundir
    assert first.rundir.name.startswith("toy-")
    assert first.meta is not None
    assert first.meta["tokens_at"] == {"1000": 2_000_000}


def test_the_model_before_its_first_step_is_not_the_one_after(tmp_path: Path) -> None:
    """Lost otherwise: published series that have both cannot be scored, and untrained weights count as trained."""
    before, after = subjects(["a/b@step0", "a/b@step1"], tmp_path, tokens_per_step=2_000)
    assert (before.step, after.step) == (0, 1)
    assert before.rundir == after.rundir
    assert before.meta is not None
    assert before.meta["tokens_at"] == {"0": 0}


def test_a_folder_of_checkpoints_stands_for_all_of_them_by_step(tmp_path: Path) -> None:
    """What a trainer leaves behind is such a folder; half of a checkpoint is none yet."""
    names = folders(tmp_path / "toy", "checkpoint-1000", "checkpoint-200", "logs", "checkpoint-3000")
    for name in (names[0], names[1]):
        (Path(name) / "model.safetensors").write_bytes(b"")
    found = subjects([str(tmp_path / "toy")], tmp_path / "out", {names[1]: Known(7)}, tokens_per_step=2)
    assert [(one.ref, one.step) for one in found] == [(names[1], 200), (names[0], 1000)]
    assert [one.meta and one.meta["tokens_at"] for one in found] == [{"200": 7}, {"1000": 2000}]
    (nothing,) = subjects([str(tmp_path)], tmp_path / "out")
    assert nothing.ref == str(tmp_path), "it is told as no model when it is opened"
    assert subjects([str(tmp_path)], tmp_path / "out", waiting=True) == (), "what is watched may yet begin"


def trained(root: Path, own: bytes, state: dict[str, int] | None = None) -> Path:
    """What a trainer leaves: checkpoints, and weights of the folder's own."""
    for name, weights in {"checkpoint-100": b"first", "checkpoint-200": b"second", ".": own}.items():
        (root / "llama" / name).mkdir(parents=True, exist_ok=True)
        (root / "llama" / name / "config.json").write_text(name)
        (root / "llama" / name / "model.safetensors").write_bytes(weights)
    if state is not None:
        (root / "llama" / "trainer_state.json").write_text(json.dumps(state))
    return root / "llama"


def test_weights_beside_checkpoints_hide_none_of_them(tmp_path: Path) -> None:
    """Lost otherwise: a trajectory of which only the last weights are scored, as step 1."""
    same = trained(tmp_path / "same", b"second")
    assert [one.step for one in subjects([str(same)], tmp_path / "out")] == [100, 200], "its own are those of step 200"
    later = trained(tmp_path / "later", b"third", {"global_step": 250, "num_input_tokens_seen": 5000})
    found = subjects([str(later)], tmp_path / "out", tokens_per_step=10)
    assert [one.step for one in found] == [100, 200, 250]
    assert len({one.rundir for one in found}) == 1
    assert [one.meta and one.meta["tokens_at"] for one in found] == [{"100": 1000}, {"200": 2000}, {"250": 5000}]
    with pytest.raises(OnsetError, match="nothing says their step"):
        subjects([str(trained(tmp_path / "unknown", b"third"))], tmp_path / "out")


def test_tokens_are_those_that_the_trainer_counted(tmp_path: Path) -> None:
    """Lost otherwise: a table of tokens written by hand, from a file that lies beside the weights."""
    (name,) = folders(tmp_path, "toy/checkpoint-100")
    (Path(name) / "trainer_state.json").write_text(json.dumps({"num_input_tokens_seen": 204800}))
    (one,) = subjects([name], tmp_path / "out", tokens_per_step=3)
    assert one.meta is not None
    assert one.meta["tokens_at"] == {"100": 204800}
    (Path(name) / "trainer_state.json").write_text("{")
    with pytest.raises(OnsetError, match="not valid JSON"):
        subjects([name], tmp_path / "out")


def test_series_of_one_name_in_two_places_are_two_runs(tmp_path: Path) -> None:
    """Lost otherwise: two trainings pooled as one."""
    names = [*folders(tmp_path / "a", "toy-step10"), *folders(tmp_path / "b", "toy-step10")]
    first, second = subjects(names, tmp_path / "out")
    assert first.rundir != second.rundir


def test_a_revision_may_state_its_tokens(tmp_path: Path) -> None:
    (one,) = subjects(["allenai/OLMo-1B@step20000-tokens84B"], tmp_path)
    assert one.step == 20_000
    assert one.meta is not None
    assert one.meta["tokens_at"] == {"20000": 84 * 10**9}


def test_a_table_names_run_step_and_tokens(tmp_path: Path) -> None:
    """Lost otherwise: revisions whose names say nothing cannot be placed."""
    table = tmp_path / "models.csv"
    table.write_text("model,tokens,run,step\nx/early,2e9,x,1\nx/late,4000000000,x,2\n")
    told = known(table)
    assert told["x/early"] == Known(2_000_000_000, "x", 1)
    early, late = subjects(["x/early", "x/late"], tmp_path, told)
    assert early.rundir == late.rundir
    assert (early.step, late.step) == (1, 2)
    with pytest.raises(OnsetError, match="none of the models"):
        subjects(["x/early"], tmp_path, told)
    table.write_text("model,tokens\nx/early,2.5\n")
    with pytest.raises(OnsetError, match="no whole number"):
        known(table)


def test_tokens_may_be_told_afterwards(tmp_path: Path) -> None:
    """Lost otherwise: an hour of scoring asked again because a flag was forgotten."""

    def named(tokens_per_step: int | None) -> Subject:
        return subjects(["a/b@step10"], tmp_path, tokens_per_step=tokens_per_step)[0]

    describe(named(None))
    assert not named(None).rundir.meta_path.exists(), "nothing is written of a model that was never loaded"
    describe(named(None), params=7)
    describe(named(5))
    meta = named(None).rundir.meta()
    assert (meta["params"], meta["tokens_at"], meta["tokens_per_step"]) == (7, {"10": 50}, 5)
    describe(named(None))
    assert named(None).rundir.meta() == meta, "what is known is not forgotten"
