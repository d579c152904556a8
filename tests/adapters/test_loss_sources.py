"""Sources of losses: logs of trainers, each with the traps of its format."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from onset.adapters import registry
from onset.adapters.collect import collect
from onset.adapters.command import options_of
from onset.adapters.source import Reading
from onset.errors import OnsetError

FIXTURES = Path(__file__).parents[1] / "fixtures"


def losses(path: Path, name: str, reading: Reading | None = None) -> dict[float, float]:
    """Loss by step of one name."""
    frame = registry.read(str(path), reading or Reading()).losses
    frame = frame[frame.loss_name == name]
    return dict(zip(frame.step, frame.loss, strict=True))


def write_state(folder: Path, history: list[dict[str, float]], **more: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state = {"global_step": 200, "max_steps": 400, "log_history": history, **more}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder / "trainer_state.json"


HISTORY = [
    {"loss": 5.5, "learning_rate": 1e-3, "step": 100, "num_input_tokens_seen": 204800},
    {"eval_loss": 5.25, "eval_runtime": 1.0, "step": 100},
    {"eval_wiki_loss": 5.0, "eval_wiki_runtime": 1.0, "step": 100},
    {"loss": float("nan"), "step": 150},
    {"loss": 4.5, "step": 200, "num_input_tokens_seen": 409600},
    {"eval_loss": 4.25, "step": 200},
    {"train_runtime": 9.0, "train_loss": 5.0, "total_flos": 1.0, "step": 200},
]


def test_a_trainers_state_has_training_and_evaluation_losses(tmp_path: Path) -> None:
    """The mean of the whole training would stand as the loss of its last step, or a NaN as a loss."""
    path = write_state(tmp_path / "llama-s" / "checkpoint-200", HISTORY)
    results = registry.read(str(path), Reading())
    assert losses(path, "train") == {100: 5.5, 200: 4.5}
    assert losses(path, "eval") == {100: 5.25, 200: 4.25}
    assert losses(path, "wiki") == {100: 5.0}
    assert set(results.losses.run) == {"llama-s"}
    assert any("not finite, left out: 1" in note for note in results.notes)


def test_checkpoints_repeat_the_history_and_give_the_tokens(tmp_path: Path) -> None:
    """Every checkpoint has the whole history: the same loss twice is one loss; tokens come with it."""
    write_state(tmp_path / "llama-s" / "checkpoint-100", HISTORY[:3])
    write_state(tmp_path / "llama-s" / "checkpoint-200", HISTORY)
    scores = tmp_path / "scores.csv"
    scores.write_text(
        "model,task,metric,score\nllama-s/checkpoint-100,piqa,acc,0.5\nllama-s/checkpoint-200,piqa,acc,0.6\n"
    )
    frame = collect([str(scores)], [str(tmp_path / "llama-s")], options_of(params=["230K"])).observations
    assert frame[["run", "step", "tokens", "loss", "score"]].to_numpy().tolist() == [
        ["llama-s", 100, 204800, 5.25, 0.5],
        ["llama-s", 200, 409600, 4.25, 0.6],
    ]


MEGATRON = """
  seq_length ...................................... 2048
 iteration       10/   20000 | consumed samples:         5120 | elapsed time: 1 | lm loss: 9.000E+00 | loss scale: 1.0 |
 iteration       20/   20000 | consumed samples:        10240 | elapsed time: 1 | lm loss: 8.000E+00 | grad norm: 1.0 |
 iteration       10/   20000 | consumed samples:         5120 | elapsed time: 1 | lm loss: 8.500E+00 | loss scale: 1.0 |
 iteration       30/   20000 | consumed samples:        15360 | elapsed time: 1 | lm loss: nan | grad norm: 1.0 |
------------------------------------------------------------------------
 validation loss at iteration 20 | lm loss value: 7.342049E+00 | lm loss PPL: 1.040253E+01 |
 validation loss at iteration 10 on validation set | lm loss value: 8.1E+00 | lm loss PPL: 1.0E+01 |
 validation loss at iteration 20 on test set | lm loss value: 7.5E+00 | lm loss PPL: 1.0E+01 |
"""


def test_megatron_counts_samples_and_writes_restarts_into_one_log(tmp_path: Path) -> None:
    """Samples would be taken for tokens, the first try for the training, the test set for the validation set."""
    path = tmp_path / "gpt.log"
    path.write_text(MEGATRON)
    results = registry.read(str(path), Reading())
    assert losses(path, "train") == {10: 8.5, 20: 8.0}
    assert losses(path, "validation") == {10: 8.1, 20: 7.342049}
    assert losses(path, "test") == {20: 7.5}
    assert dict(zip(results.losses.step, results.losses.tokens, strict=True)) == {10: 5120 * 2048, 20: 10240 * 2048}
    assert any("a restart wrote again" in note for note in results.notes)
    path.write_text(MEGATRON.replace("seq_length", "other"))
    assert registry.read(str(path), Reading()).losses.tokens.isna().all()
    assert any("--seq-length" in note for note in registry.read(str(path), Reading()).notes)
    assert registry.read(str(path), Reading(seq_length=1024)).losses.tokens.max() == 10240 * 1024


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def event(tag: str, step: int, value: float, *, wall: float, tensor: bool) -> bytes:
    """A record as PyTorch (simple_value) or TensorFlow 2 (tensor) writes it; checksums are not looked at."""

    def inside(field: int, content: bytes) -> bytes:
        return varint(field << 3 | 2) + varint(len(content)) + content

    scalar = struct.pack("<f", value)
    if tensor:
        body = inside(8, varint(1 << 3) + varint(1) + inside(2, b"") + inside(4, scalar))
    else:
        body = varint(2 << 3 | 5) + scalar
    summary = inside(1, inside(1, tag.encode()) + body)
    payload = varint(1 << 3 | 1) + struct.pack("<d", wall) + varint(2 << 3) + varint(step) + inside(5, summary)
    return struct.pack("<Q", len(payload)) + b"\0" * 4 + payload + b"\0" * 4


@pytest.mark.parametrize("tensor", [False, True])
def test_tensorboard_is_read_as_plain_records(tmp_path: Path, tensor: bool) -> None:
    """The value of a step that was written last counts; a file that a killed training left is read to its end."""
    path = tmp_path / "run-a" / "events.out.tfevents.1700000000.host"
    path.parent.mkdir()
    records = [
        event("eval/loss", 10, 5.0, wall=2.0, tensor=tensor),
        event("eval/loss", 10, 6.0, wall=1.0, tensor=tensor),
    ]
    records.append(event("train/loss", 300, 4.5, wall=3.0, tensor=tensor))
    path.write_bytes(b"".join(records) + records[0][:-7])
    assert losses(path, "eval") == {10: 5.0}
    assert losses(path, "train") == {300: 4.5}
    results = registry.read(str(path.parent), Reading())
    assert set(results.losses.run) == {"run-a"}
    assert any("ends within a record" in note for note in results.notes)


def test_a_restart_takes_back_what_was_written_after_it(tmp_path: Path) -> None:
    """Steps 250 and 300 of the first try lie on a training that was given up."""
    folder = tmp_path / "run-a"
    folder.mkdir()
    first = [event("eval/loss", step, 6 - step / 100, wall=float(step), tensor=False) for step in (100, 200, 250, 300)]
    again = [event("eval/loss", step, 5 - step / 100, wall=1000.0 + step, tensor=False) for step in (200, 400)]
    (folder / "events.out.tfevents.1.host").write_bytes(b"".join(first))
    (folder / "events.out.tfevents.2.host").write_bytes(b"".join(again))
    scores = tmp_path / "scores.csv"
    rows = "".join(f"run-a,{step},piqa,acc,0.5\n" for step in (100, 200, 400))
    scores.write_text("run,step,task,metric,score\n" + rows)
    found = collect([str(scores)], [str(folder)], options_of(params=["1M"], tokens_per_step=["1000"], gap=1.0))
    assert dict(zip(found.observations.step, found.observations.loss, strict=True)) == {100: 5, 200: 3, 400: 1}
    assert "values that a restart of the training took back, left out: 3" in found.observations.attrs["notes"]


def test_training_and_validation_in_folders_of_their_own(tmp_path: Path) -> None:
    """Both tags are called the same: the training loss would stand as the validation loss."""
    for part, loss in (("train", 3.0), ("validation", 3.5)):
        (tmp_path / "keras" / part).mkdir(parents=True)
        path = tmp_path / "keras" / part / "events.out.tfevents.1.host"
        path.write_bytes(event("epoch_loss", 10, loss, wall=1.0, tensor=True))
    found = registry.read(str(tmp_path / "keras"), Reading()).losses
    assert set(found.run) == {"keras"}
    assert dict(zip(found.loss_name, found.loss, strict=True)) == {"train": 3.0, "validation": 3.5}


def test_a_genuine_event_file_is_read(tmp_path: Path) -> None:
    """Written by tensorboardX 2.6, with texts and histograms between the scalars."""
    shutil.copy(FIXTURES / "tensorboardx.events", tmp_path / "events.out.tfevents.1.host")
    results = registry.read(str(tmp_path), Reading())
    assert losses(tmp_path, "train") == {100: 4.5, 200: 4.0, 300: 3.75}
    assert losses(tmp_path, "eval") == {100: 4.625, 200: 4.125, 300: 3.875}
    np.testing.assert_allclose(results.scores.score, [0.6, 0.7, 0.8], rtol=1e-6)
    assert set(results.scores.task) == {"piqa"}


def test_an_event_file_that_is_none_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(struct.pack("<Q", 4) + b"\0" * 4 + b"\xff\xff\xff\xff" + b"\0" * 4)
    with pytest.raises(OnsetError, match="no event of TensorBoard"):
        registry.read(str(path), Reading())


def test_nanochat_series(tmp_path: Path) -> None:
    """A CORE score of 0.0 means that it was not measured: a score of zero would be an ability lost."""
    folder = tmp_path / "jan_miniseries_results"
    folder.mkdir()
    (folder / "results.csv").write_text(
        "depth,model_dim,num_params,num_scaling_params,num_iterations,tokens_trained,param_data_ratio,val_bpb,core_score,"
        "train_time_sec\n10,640,100000000,80000000,1000,524288000,5,1.01,0.11,10\n12,768,200000000,9,2000,1048576000,5,0.95,0.0,10\n"
        "14,896,300000000,9,3000,1572864000,5,0.90,0.19,10\n"
    )
    found = collect([str(folder)]).observations
    assert found[["run", "step", "tokens", "params", "loss", "loss_unit", "task", "score"]].to_numpy().tolist() == [
        ["d10", 1000, 524288000, 100000000, 1.01, "bits/byte", "CORE", 0.11],
        ["d14", 3000, 1572864000, 300000000, 0.90, "bits/byte", "CORE", 0.19],
    ]
    assert any("not measured (0.0), left out: 1" in note for note in found.attrs["notes"])
    assert any("524,288" in note for note in found.attrs["notes"])


def test_nanochat_checkpoints(tmp_path: Path) -> None:
    """Names padded to 35 places; accuracies are read, not the centred ones."""
    (tmp_path / "base_eval").mkdir()
    (tmp_path / "base_checkpoints" / "d12").mkdir(parents=True)
    for step, bpb in ((500, 1.1), (1000, 0.99)):
        text = f"{'Task':<35}, {'Accuracy':<10}, {'Centered':<10}\n"
        text += f"{'hellaswag':<35}, {0.25 + step / 1e4:<10.6f}, {0.1:<10.6f}\n"
        (tmp_path / "base_eval" / f"base_model_{step:06d}.csv").write_text(
            text + f"{'CORE':<35}, {'':<10}, {step / 1e4:<10.6f}\n"
        )
        meta = {"step": step, "val_bpb": bpb, "total_batch_size": 524288, "model_config": {}}
        (tmp_path / "base_checkpoints" / "d12" / f"meta_{step:06d}.json").write_text(json.dumps(meta))
    frame = collect(
        [str(tmp_path / "base_eval")], [str(tmp_path / "base_checkpoints")], options_of(params=["1e8"])
    ).observations
    rows = (
        frame.sort_values(["task", "step"])[["run", "step", "tokens", "loss", "task", "metric", "score"]]
        .to_numpy()
        .tolist()
    )
    assert rows == [
        ["d12", 500, 500 * 524288, 1.1, "CORE", "centered_accuracy", 0.05],
        ["d12", 1000, 1000 * 524288, 0.99, "CORE", "centered_accuracy", 0.1],
        ["d12", 500, 500 * 524288, 1.1, "hellaswag", "accuracy", 0.3],
        ["d12", 1000, 1000 * 524288, 0.99, "hellaswag", "accuracy", 0.35],
    ]  # fmt: skip


def test_nanochat_log(tmp_path: Path) -> None:
    (tmp_path / "d12.log").write_text(
        "Total batch size 524,288 => gradient accumulation steps: 1\nStep 00250 | Validation bpb: 0.901234\n"
        "step 00251/02000 (0.50%) | loss: 6.123456 | lrm: 1.00\nStep 02000 | Validation bpb: 0.85\n"
        "Step 02000 | CORE metric: 0.1234\n"
    )
    results = registry.read(str(tmp_path), Reading())
    assert results.losses[["run", "step", "tokens", "loss"]].to_numpy().tolist() == [
        ["d12", 250, 250 * 524288, 0.901234],
        ["d12", 2000, 2000 * 524288, 0.85],
    ]
    assert results.scores[["task", "step", "score"]].to_numpy().tolist() == [["CORE", 2000, 0.1234]]


def test_our_own_log_is_a_source_of_training_losses(tmp_path: Path) -> None:
    """Lost otherwise: the losses of a training of which no held-out loss was measured; a line cut short by a kill."""
    lines = [{"step": step, "tokens": 1024 * step, "loss": 7.0 - step / 10, "rate": 1e-3} for step in range(1, 31)]
    run = tmp_path / "runs" / "w64-e7bf6eb2"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"run": "w64", "params": 351296}))
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 31, "tok')
    losses = registry.read(str(run / "log.jsonl"), Reading()).losses
    assert losses.training.all()
    assert (set(losses.run), losses.step.max(), set(losses.params)) == ({"w64"}, 30, {351296})
    scores = tmp_path / "scores.csv"
    scores.write_text("run,step,task,metric,score\nw64,20,piqa,acc,0.6\n")
    frame = collect([str(scores)], [str(run / "log.jsonl")]).observations
    assert frame[["tokens", "params", "loss", "loss_name"]].iloc[0].tolist() == [20480, 351296, 5.0, "train"]
    (run / "log.jsonl").write_text('{"step": 1, "tokens": 1, "loss": 3}\nno\n{"step": 2, "tokens": 2, "loss": 3}\n')
    with pytest.raises(OnsetError, match="line 2"):
        registry.read(str(run / "log.jsonl"), Reading())
