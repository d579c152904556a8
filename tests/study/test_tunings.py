"""Without these a tuning could start from another checkpoint than was meant, or share a folder with another one."""

from __future__ import annotations

import pytest

from onset.errors import OnsetError
from onset.study.cost import Method
from onset.study.files import dump, parse
from onset.study.plan import plan_notes, plan_rows

STUDY = """
name = "tuned"

[world]
documents = 100

[mixes.main]
sources = [{ name = "en", path = "world", language = "en" }]

[mixes.chat]
sources = [{ name = "talk", path = "world", language = "en", kind = "chat", template = "roles" }]

[tokenizers.main]
vocab = 300

[[validation]]
name = "held-out"
sources = [{ name = "en", path = "world", language = "en" }]

[[runs]]
name = "m"
tokens = 10_240
batch = 4
checkpoints = [2_560, 10_240]
shape = { layers = 2, width = 32, heads = 2, kv_heads = 1, hidden = 64, context = 64 }

[[runs]]
name = "t"
tokens = 1_024
batch = 4
mix = "chat"
start = { run = "m", at = "every" }
"""


def test_every_checkpoint_gets_a_tuning_with_the_shape_of_its_run() -> None:
    study = parse(STUDY)
    assert [run.name for run in study.runs] == ["m", "t-10", "t-40"]
    assert {run.shape for run in study.runs} == {study.run("m").shape}
    assert [run.checkpoint_steps for run in study.runs[1:]] == [(4,), (4,)]
    assert [run.stage_name for run in study.runs] == ["base", "tuned", "tuned"]
    assert parse(dump(study)) == study


def test_a_plan_tells_which_runs_start_from_checkpoints() -> None:
    study = parse(STUDY)
    rows = plan_rows(study, lambda run: 1e9, {"main": 300}, lambda run: Method())
    assert [row["start"] for row in rows] == [None, {"run": "m", "step": 10}, {"run": "m", "step": 40}]
    assert "tunings: 2 runs start from checkpoints of run 'm'" in plan_notes(study, rows)


def test_the_last_checkpoint_and_one_by_its_step() -> None:
    assert parse(STUDY.replace('"every"', '"last"')).run("t").start.at == 40  # type: ignore[union-attr]
    assert parse(STUDY.replace('"every"', "10")).run("t").start.at == 10  # type: ignore[union-attr]


def test_a_tuning_is_another_one_when_what_it_starts_from_changes() -> None:
    first, second = parse(STUDY), parse(STUDY.replace("batch = 4\ncheckpoints", "batch = 4\nseed = 5\ncheckpoints"))
    digests = [study.digest(run) for study in (first, second) for run in study.runs]
    assert len(set(digests)) == 6
    named = parse(STUDY.replace('name = "t"', 'name = "other"\nstage = "instructed"'))
    assert named.digest(named.runs[1]) == first.digest(first.runs[1])


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('run = "m"', 'run = "n"', "starts from run 'n', which the study does not have"),
        ('at = "every"', "at = 11", "keeps no checkpoint there"),
        ('at = "every"', "at = 0", "runs.1.start.at"),
        ('mix = "chat"', 'mix = "chat"\nshape = { layers = 1, width = 32, heads = 2, kv_heads = 1, hidden = 64, '
         "context = 64 }", "another shape than run 'm'"),
        ('template = "roles"', 'template = "tokenizer"', "is trained here, has none"),
        ('kind = "chat", template', "template", "a template is for conversations"),
        ('vocab = 300', 'vocab = 300\nmix = "chat"', "name a mix of documents"),
    ],
)  # fmt: skip
def test_a_start_or_a_chat_that_cannot_be_is_told_before_anything_runs(old: str, new: str, what: str) -> None:
    with pytest.raises(OnsetError) as error:
        parse(STUDY.replace(old, new))
    assert what in str(error.value)


def test_a_tuning_of_a_tuning_is_refused() -> None:
    last = '\n[[runs]]\nname = "u"\ntokens = 1024\nbatch = 4\nstart = { run = "t" }\n'
    more = STUDY.replace('"every"', '"last"') + last
    with pytest.raises(OnsetError, match="itself starts from 'm'"):
        parse(more)
