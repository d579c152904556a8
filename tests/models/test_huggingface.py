"""Without these an architecture of transformers could be trained, saved, resumed or scored as something else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from onset.data.tokenize import Materials
from onset.errors import OnsetError
from onset.models.build import build, first_model
from onset.models.contract import CausalModel
from onset.models.files import read_weights, save
from onset.score import huggingface as hub
from onset.score.scorer import Scorer
from onset.study import architectures, cost
from onset.study.files import dump, parse
from onset.study.presets import preset
from onset.study.shapes import HuggingFaceShape
from onset.study.spec import Optimizer, Run, Study
from onset.tasks.catalogue import find
from onset.train.precision import Arithmetic
from onset.train.step import Stepper

pytest.importorskip("transformers")

CONTEXT = 64
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SMALL | {"num_key_value_heads": 2, "intermediate_size": 48}
STATE = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
MIXED = {"num_experts": 4, "num_experts_per_tok": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "gpt_neox": SMALL | {"intermediate_size": 64},
    "mamba2": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1,
        "chunk_size": 16,
    },
    "falcon_h1": GROUPED | STATE | {"mamba_d_ssm": 64},
    "olmoe": GROUPED | MIXED,
    "mixtral": GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": GROUPED | MIXED | {"moe_intermediate_size": 32, "head_dim": 8},
}  # fmt: skip
SLOWER: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "granite": GROUPED | {"logits_scaling": 2.0},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "bamba": GROUPED | STATE | {"attn_layer_indices": [1]},
    "jamba": GROUPED | MIXED | {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "mamba_d_state": 8,
    },
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "context_length": CONTEXT, "rescale_every": 0},
}  # fmt: skip
EVERY = [*ARCHITECTURES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)]
MIXTURES = ("olmoe", "mixtral", "qwen3_moe", "jamba")
PLAIN = Arithmetic("torch", False, 1, "cpu", "")


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Materials:
    made = Materials(preset("tiny"), tmp_path_factory.mktemp("text"))
    made.prepare()
    return made


def run_of(name: str) -> Run:
    shape = {"kind": "huggingface", "model_type": name, "context": CONTEXT} | (ARCHITECTURES | SLOWER)[name]
    return Run.model_validate({"name": "r", "shape": shape, "tokens": 8 * CONTEXT * 40, "batch": 8, "seed": 3})


@lru_cache(maxsize=4)
def drawn(name: str, vocab: int) -> CausalModel:
    """First weights, made once and left as they are."""
    return first_model(run_of(name), vocab)


def stepped(materials: Materials, run: Run, stepper: Stepper, steps: range) -> list[float]:
    mixture = materials.mixture(run)
    losses = []
    for step in steps:
        batch = torch.from_numpy(mixture.batch(step))
        losses.append(stepper.step(batch[:, :-1], batch[:, 1:], 5e-3).loss)
    return losses


@pytest.mark.parametrize("name", EVERY)
def test_the_count_is_the_sum_of_parts_and_fewer_are_active_in_a_mixture(name: str) -> None:
    run, model = run_of(name), drawn(name, 640)
    parts = cost.parameters(run.shape, 640)
    assert model.count() == sum(parts.values()) == cost.total_parameters(run.shape, 640)
    active = cost.active_parameters(run.shape, 640)
    assert active == model.count() - parts["experts"] // 2
    assert (parts["experts"] > 0) == (name in MIXTURES)
    assert cost.flops_per_token(run.shape, 640) > 3 * 640 * 32
    assert {model.role(n) for n, _ in model.named_parameters()} >= {"matrix", "embedding", "vector"}


@pytest.mark.parametrize("name", EVERY)
def test_a_checkpoint_loads_in_transformers_to_equal_logits(name: str, materials: Materials, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    tokenizer = materials.tokenizer("main")
    model = drawn(name, tokenizer.vocab)
    save(model, tokenizer, tmp_path)
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32").eval()
    ids = torch.arange(2 * 24).view(2, 24) * 7 % tokenizer.vocab
    with torch.no_grad():
        assert torch.allclose(model(ids), theirs(ids).logits, atol=1e-6)
    again = model.blank()
    again.take(read_weights(tmp_path))
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_the_loss_falls_on_the_world_and_a_resume_is_exact(name: str, materials: Materials) -> None:
    run, vocab = run_of(name), materials.vocab("main")
    one = Stepper(first_model(run, vocab), run.optimizer, PLAIN, batch=run.batch)
    losses = stepped(materials, run, one, range(6))
    kept = {key: tensor.clone() for key, tensor in one.state().items()}
    other = Stepper(build(run.shape, vocab).initialise(9), run.optimizer, PLAIN, batch=run.batch)
    places = other.state()
    assert places.keys() == kept.keys()
    with torch.no_grad():
        for key, tensor in places.items():
            tensor.copy_(kept[key])
    other.restored(places)
    losses += stepped(materials, run, one, range(6, 14))
    assert stepped(materials, run, other, range(6, 14)) == losses[6:]
    assert torch.equal(one.master.values, other.master.values)
    assert losses[-1] < losses[0] - 0.4


@pytest.mark.parametrize("name", EVERY)
def test_scores_of_a_batch_are_those_of_one_request_at_a_time(name: str, materials: Materials, tmp_path: Path) -> None:
    save(drawn(name, materials.vocab("main")), materials.tokenizer("main"), tmp_path)
    lm = hub.load(tmp_path)
    assert lm.context == CONTEXT
    scorer = Scorer(lm)
    (task,) = find(["world_scripts_en"], data=None, world=materials.study.world)
    asked = task.with_use(shots=1, limit=6).requests()
    together = scorer.score(asked)
    alone = [scorer.score([request])[0] for request in asked]
    for one, other in zip(together, alone, strict=True):
        assert one.tokens == other.tokens
        assert one.logprob == pytest.approx(other.logprob, abs=2e-4)


@pytest.mark.parametrize("name", ["olmoe", pytest.param("jamba", marks=pytest.mark.slow)])
def test_the_balancing_loss_is_trained_with_and_told_apart(name: str) -> None:
    """Within the loss it would shift a mixture's curve; left out, its experts would not be used alike."""
    run = run_of(name)
    ids = torch.arange(8 * (CONTEXT + 1)).view(8, -1) * 11 % 640
    plain = run.shape.model_copy(update={"settings": run.shape.settings | {"router_aux_loss_coef": 0.0}})
    with_it, without = (
        Stepper(build(shape, 640).initialise(3), Optimizer(), PLAIN, batch=8) for shape in (run.shape, plain)
    )
    first, second = (one.step(ids[:, :-1], ids[:, 1:], 1e-3) for one in (with_it, without))
    assert first.loss == second.loss
    assert second.auxiliary is None
    assert first.auxiliary is not None
    assert first.auxiliary > 0
    assert not torch.equal(with_it.master.gradients, without.master.gradients)


def test_a_shape_in_a_study_is_read_and_written_flat() -> None:
    text = dump(preset("tiny"))
    study = parse(text).model_dump(mode="json")
    study["runs"][0]["shape"] = run_of("olmoe").shape.model_dump(mode="json")
    whole = Study.model_validate(study)
    assert 'model_type = "olmoe"' in dump(whole)
    assert parse(dump(whole)) == whole
    assert whole.digest(whole.runs[0]) != parse(text).digest(parse(text).runs[0])


@pytest.mark.parametrize(
    ("name", "settings", "what", "advice"),
    [
        ("olmoe", {"num_expert": 4}, "unknown key 'num_expert'", "num_experts"),
        ("olmoe", {"num_experts": 4, "num_experts_per_tok": 8}, "8 experts are to read each token and there are 4", ""),
        ("llama", {"hidden_size": "wide"}, "the configuration is refused", ""),
        ("llama", {"hidden_size": 30, "num_attention_heads": 4}, "", ""),
        ("llama", {"attention_dropout": 0.1}, "a resume would not be exact", ""),
        ("mamba3000", {}, "no causal model of type 'mamba3000'", "mamba"),
        ("gemma2", {}, "the logits are capped", "final_logit_softcapping"),
    ],
)
def test_a_bad_configuration_is_one_error_before_anything_runs(
    name: str, settings: dict[str, Any], what: str, advice: str
) -> None:
    given = {"kind": "huggingface", "model_type": name, "context": 16, **settings}
    with pytest.raises(OnsetError) as caught:
        architectures.sizes(HuggingFaceShape.model_validate(given), 300)
    assert what in caught.value.what
    assert advice in (caught.value.advice or "")


def test_keys_that_the_study_decides_are_refused_where_they_stand() -> None:
    with pytest.raises(ValueError, match="'vocab_size' is not to be stated: it comes with the tokenizer"):
        HuggingFaceShape.model_validate({"kind": "huggingface", "model_type": "llama", "context": 16, "vocab_size": 9})


def test_memory_and_operations_of_a_large_mixture_are_told_without_its_weights() -> None:
    """OLMoE's own sizes: 6.9 billion parameters, of which 1.3 billion read a token (Muennighoff et al. 2024)."""
    shape = HuggingFaceShape.model_validate(
        {"kind": "huggingface", "model_type": "olmoe", "context": 256, "intermediate_size": 1024}
    )
    found = architectures.sizes(shape, 50_304)
    assert sum(found.parameters.values()) == pytest.approx(6.92e9, rel=0.005)
    assert found.active == pytest.approx(1.28e9, rel=0.01)
    assert found.flops_per_token == pytest.approx(6 * (found.active - 50_304 * 2048), rel=0.05)
