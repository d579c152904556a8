"""Without these a study that cannot be trained would begin, or end in a traceback instead of a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from onset.cli.studies import plan
from onset.errors import OnsetError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("example", "old", "new", "what"),
    [
        ("mixture", "num_experts = 4", "num_expert = 4", "unknown key 'num_expert'"),
        ("mixture", "num_experts_per_tok = 2", "num_experts_per_tok = 5", "5 experts are to read each token and there"),
        ("tuning", 'template = "bare"', 'template = "tokenizer"', "is trained here, has none"),
        ("tuning", 'at = "every"', "at = 7", "keeps no checkpoint there"),
        ("tuning", 'run = "m"', 'run = "gone"', "starts from run 'gone', which the study does not have"),
        ("muon", 'kind = "muon"', 'kind = "moun"', "or the import path of a class, given 'moun'"),
        ("state_space", 'model_type = "mamba2"', 'model_type = "mamba22"', "no causal model of type 'mamba22'"),
    ],
)
def test_what_cannot_be_trained_is_one_error_of_the_plan(
    example: str, old: str, new: str, what: str, tmp_path: Path
) -> None:
    text = (EXAMPLES / f"{example}.toml").read_text(encoding="utf-8")
    assert old in text
    study = tmp_path / "study.toml"
    study.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(OnsetError) as caught:
        plan(str(study), rate=1e9)
    assert what in caught.value.what
