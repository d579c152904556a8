"""Without these a plan would promise another size, cost or set of checkpoints than a run then has."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onset.errors import OnsetError
from onset.study import cost as sizing
from onset.study.cost import Method, Training, usable
from onset.study.plan import card_rows
from onset.study.presets import PRESETS, preset
from onset.study.spec import Run, Shape

SHAPE = Shape(layers=2, width=48, heads=4, kv_heads=2, hidden=100, context=64)


def run(tokens: int = 64 * 8 * 500, checkpoints: int | tuple[int, ...] = 12, shape: Shape = SHAPE) -> Run:
    return Run(name="r", shape=shape, tokens=tokens, batch=8, checkpoints=checkpoints)


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_of_the_model(tied: bool) -> None:
    model = pytest.importorskip("onset.models.transformer")
    shape = SHAPE.model_copy(update={"tied": tied})
    assert sizing.total_parameters(shape, 300) == model.Decoder(shape, 300, seed=None).count()


def test_parameters_by_part_by_hand() -> None:
    parts = sizing.parameters(SHAPE, 300)
    assert parts["embedding"] == parts["head"] == 300 * 48
    assert parts["attention"] == 2 * (48 * 48 * 2 + 48 * 24 * 2)
    assert parts["feed_forward"] == 2 * 3 * 48 * 100
    assert parts["norms"] == 5 * 48


def test_flops_of_a_large_model_are_about_six_per_parameter() -> None:
    """The rule that everyone's compute axes go by (Kaplan et al. 2020): a factor away would shift ours."""
    shape = Shape(layers=16, width=2048, heads=16, kv_heads=16, hidden=5632, context=2048)
    ratio = sizing.flops_per_token(shape, 32_000) / (6 * sizing.total_parameters(shape, 32_000))
    assert 0.95 < ratio < 1.15


def test_flops_count_attention_and_the_head_once() -> None:
    longer = SHAPE.model_copy(update={"context": 128})
    assert sizing.flops_per_token(longer, 300) - sizing.flops_per_token(SHAPE, 300) == 6 * 2 * 48 * 64
    tied = SHAPE.model_copy(update={"tied": True})
    assert sizing.flops_per_token(tied, 300) == sizing.flops_per_token(SHAPE, 300)
    assert sizing.flops(run(), 300) == 64 * 8 * 500 * sizing.flops_per_token(SHAPE, 300)


@given(steps=st.integers(1, 3000), count=st.integers(1, 200))
def test_log_spaced_checkpoints_are_as_many_as_asked_and_end_at_the_end(steps: int, count: int) -> None:
    found = sizing.checkpoint_steps(run(tokens=64 * 8 * steps, checkpoints=count))
    assert len(found) == min(count, steps)
    assert found[-1] == steps
    assert found[0] >= 1
    assert all(a < b for a, b in pairwise(found))


def test_log_spaced_checkpoints_begin_early_and_keep_their_ratio() -> None:
    """High losses pass in the first percents of a run: without checkpoints there, no threshold above is seen."""
    found = sizing.checkpoint_steps(run(tokens=64 * 8 * 6400, checkpoints=13))
    assert found[0] == 100
    ratios = [b / a for a, b in pairwise(found)]
    assert max(ratios) / min(ratios) < 1.02


def test_declared_token_counts_go_to_the_nearest_step_once_each() -> None:
    found = sizing.checkpoint_steps(run(checkpoints=(1, 512 * 10 + 200, 512 * 10 - 100, 512 * 100)))
    assert found == (1, 10, 100, 500)


def test_memory_is_what_training_holds() -> None:
    """A plan that promised less would end in a machine out of memory."""
    torch = pytest.importorskip("torch")
    from onset.cpu.train import Layer

    layer = Layer(SHAPE, sizing.piece_tokens(run(), Method()), torch.bfloat16)
    held = sum(tensor.numel() * tensor.element_size() for tensor in vars(layer).values())
    assert sizing.memory(run(), 300, Method(bfloat16=True))["activations"] == SHAPE.layers * held


def test_memory_and_disk_grow_with_what_they_hold() -> None:
    plain, half = sizing.memory(run(), 300, Method()), sizing.memory(run(), 300, Method(bfloat16=True))
    count = sizing.total_parameters(SHAPE, 300)
    assert plain["optimizer"] == 8 * count
    assert half["weights"] == 6 * count
    assert half["activations"] < plain["activations"]
    huge = run(tokens=10**9).model_copy(update={"batch": 4000})
    assert (
        sizing.memory(huge, 300, Method())["activations"]
        == sizing.memory(huge, 300, Method(threads=2))["activations"] // 2
    )
    assert sizing.memory(huge, 10**6, Method())["logits"] == 4 * sizing.LOGITS
    assert sizing.disk(run(), 300)["checkpoints"] == 12 * 4 * count


GB = 10**9


@pytest.mark.parametrize("card", [16 * GB, 24 * GB, 40 * GB, 80 * GB])
def test_a_training_keeps_to_the_memory_that_it_asked_for(card: int) -> None:
    """What the packer seats the trainer must accept, or a study dies on the machine that was chosen for it."""
    for name in PRESETS:
        for one in preset(name).runs:
            training = Training(one, 65_024, Method("compiled", bfloat16=True))
            for devices in (1, 8, 64):
                try:
                    asked = training.fit(devices, usable(card))
                except OnsetError:
                    continue
                assert asked.bytes <= usable(card)
                assert training.fit(devices, asked.bytes).bytes == asked.bytes, (one.name, devices)


def test_every_run_of_the_paper_is_placed_or_says_what_is_missing() -> None:
    """Its largest models are 92 % of its operations: without shards none of them could be trained."""
    rows = card_rows(preset("paper31"), {"main": 65_024}, (1, 8, 64, 256), 80 * GB, lambda run: Method("torch", True))
    large = [row for row in rows if row["run"] == "trajectory-32b"]
    assert [row["fits"] for row in large] == [False, False, True, True]
    assert "such cards hold it" in large[0]["missing"]
    assert all(row["fits"] for row in rows if row["cards"] >= 64)
    assert all(row["bytes"] <= usable(80 * GB) for row in rows if row["fits"])


def test_shards_stay_within_a_host_while_they_fit() -> None:
    """Between hosts the weights would be sent twice a pass instead of gradients once."""
    one = next(run for run in preset("paper31").runs if run.name == "trajectory-6b")
    found = Training(one, 65_024, Method("torch", True)).fit(64, usable(80 * GB)).method
    assert (found.shards, found.replicas) == (8, 8)


def test_more_devices_than_sequences_are_refused() -> None:
    with pytest.raises(OnsetError, match="cannot be shared by 16"):
        Training(run(), 300, Method("torch")).fit(16)
