"""Without these only architectures that somebody put into a library could be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from onset.data.tokenize import Materials
from onset.errors import OnsetError
from onset.models.build import build, first_model
from onset.models.files import read_weights, save
from onset.score import huggingface as hub
from onset.study import cost
from onset.study.files import dump, load, parse
from onset.study.presets import preset
from onset.study.shapes import HuggingFaceShape
from onset.study.spec import Run, Study

pytest.importorskip("transformers")

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture.py"
CONTEXT = 64


def shape_of(file: Path | str = EXAMPLE, name: str = "GatedConvForCausalLM", **settings: Any) -> HuggingFaceShape:
    kind = {"kind": "huggingface", "model_type": f"{file}:{name}", "context": CONTEXT}
    return HuggingFaceShape.model_validate(kind | {"hidden_size": 32, "num_hidden_layers": 2} | settings)


def run_of(shape: HuggingFaceShape) -> Run:
    return Run(name="own", shape=shape, tokens=8 * CONTEXT * 40, batch=8, seed=3, checkpoints=2)


def study_of(shape: HuggingFaceShape) -> Study:
    tiny = preset("tiny")
    return tiny.model_copy(update={"name": "own", "runs": (run_of(shape),), "tasks": tiny.tasks[:1]})


def test_its_sizes_are_planned_and_its_layers_computed_again_alike() -> None:
    run = run_of(shape_of())
    model = first_model(run, 300)
    assert model.count() == cost.total_parameters(run.shape, 300)
    assert cost.flops_per_token(run.shape, 300) > 6 * 300 * 32
    assert cost.architecture(run.shape) == "GatedConvForCausalLM"

    def gradients(recompute: int) -> list[torch.Tensor]:
        again = first_model(run, 300)
        (
            again.read(torch.arange(16)[None], recompute=recompute)[0] @ again.output_matrix.t()
        ).square().mean().backward()
        return [parameter.grad for parameter in again.parameters() if parameter.grad is not None]

    assert all(torch.equal(one, other) for one, other in zip(gradients(0), gradients(2), strict=True))


def test_its_checkpoints_hold_its_code_and_load_in_transformers(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    made = Materials(preset("tiny"), tmp_path / "text")
    made.prepare()
    tokenizer = made.tokenizer("main")
    model = first_model(run_of(shape_of()), tokenizer.vocab)
    folder = tmp_path / "checkpoint"
    save(model, tokenizer, folder)
    assert (folder / EXAMPLE.name).read_text() == EXAMPLE.read_text()
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype="float32").eval()
    ids = torch.arange(2 * 24).view(2, 24) * 7 % tokenizer.vocab
    with torch.no_grad():
        assert torch.allclose(model(ids), theirs(ids).logits, atol=1e-6)
    again = build(model.shape, tokenizer.vocab)
    again.take(read_weights(folder))
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), model.parameters(), strict=True))


def test_code_of_a_checkpoint_is_not_run_unasked(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "somebodys", "auto_map": {"AutoConfig": "evil.Config"}}')
    with pytest.raises(OnsetError, match="not run unasked") as caught:
        hub.load(tmp_path)
    assert "--trust-remote-code" in str(caught.value)


def test_its_digest_follows_its_text_and_not_its_place(tmp_path: Path) -> None:
    """A file that was edited would otherwise go on with checkpoints of what it was before."""
    digests = []
    for folder, text in (("a", EXAMPLE.read_text()), ("b", EXAMPLE.read_text()), ("c", EXAMPLE.read_text() + "\n#\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text)
        (tmp_path / folder / "study.toml").write_text(dump(study_of(shape_of("mine.py"))))
        study = load(tmp_path / folder / "study.toml")
        assert study.runs[0].shape.model_type == f"{tmp_path / folder / 'mine.py'}:GatedConvForCausalLM"  # type: ignore[union-attr]
        assert parse(dump(study)) == study
        digests.append((study.digest(study.runs[0]), study.digest()))
    assert digests[0] == digests[1]
    assert len({run for run, _ in digests}) == len({whole for _, whole in digests}) == 2


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("absent.py:X", None, "does not exist"),
        ("mine.py:Missing", "X = 1\n", "has no 'Missing'"),
        ("mine.py:X", "class X: ...\n", "no model of transformers"),
        ("mine.py:GatedConvForCausalLM", EXAMPLE.read_text().replace('"gated_conv"', '"llama"'), "is taken"),
    ],
)
def test_a_file_that_is_wrong_is_told(tmp_path: Path, name: str, text: str | None, what: str) -> None:
    file, _, kind = name.partition(":")
    if text is not None:
        (tmp_path / file).write_text(text)
    (tmp_path / "study.toml").write_text(dump(study_of(shape_of(file, kind))))
    with pytest.raises(OnsetError, match=what):
        cost.total_parameters(load(tmp_path / "study.toml").runs[0].shape, 300)


def test_a_file_without_its_class_is_told() -> None:
    with pytest.raises(ValueError, match=r"FILE\.py:CLASS"):
        HuggingFaceShape(kind="huggingface", model_type="mine.py", context=CONTEXT)
