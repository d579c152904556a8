"""Runs that start from checkpoints of others, within a study: what they inherit, and one run for each checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onset.study.run import Run
from onset.study.starting import Start
from onset.study.texts import Mix, TokenizerSpec, Validation

INHERITED = ("shape", "tokenizer")
"""What a run has of the one that it starts from, unless it states the same itself."""


def inherited(run: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A run as it is written, with what it has of the one that it starts from.

    Raises ValueError where the study does not have that one.
    """
    start = run.get("start")
    if not isinstance(start, dict) or "run" not in start:
        return run
    base = next((one for one in runs if one.get("name") == start["run"]), None)
    if base is None:
        names = ", ".join(str(one.get("name")) for one in runs if not one.get("start"))
        raise ValueError(
            f"run '{run.get('name')}' starts from run '{start['run']}', which the study does not have (it has: {names})"
        )
    if isinstance(base.get("start"), dict):
        raise ValueError(_twice(str(run.get("name")), str(base["name"]), str(base["start"].get("run"))))
    return {**{name: base[name] for name in INHERITED if name in base}, **run}


def expanded(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """The runs, with one for each checkpoint in place of 'every', and the step in place of 'last'.

    Raises ValueError for a start that cannot be: another shape, a checkpoint that is not declared.
    """
    by_name = {run.name: run for run in runs}
    found: list[Run] = []
    for run in runs:
        if run.start is None:
            found.append(run)
            continue
        base = _checked(run, by_name.get(run.start.run))
        if run.start.at == "every":
            found += [_at(run, step, series=True) for step in base.checkpoint_steps]
        else:
            found.append(_at(run, base.steps if run.start.at == "last" else run.start.at, series=False))
    return tuple(found)


def _at(run: Run, step: int, *, series: bool) -> Run:
    start = run.start
    assert start is not None
    if not series:
        return run.model_copy(update={"start": start.model_copy(update={"at": step})})
    own = Start(run=start.run, at=step, series=run.name)
    return run.model_copy(update={"name": f"{run.name}-{step}", "start": own})


def _checked(run: Run, base: Run | None) -> Run:
    assert run.start is not None
    who = f"run '{run.name}'"
    if base is None:
        raise ValueError(f"{who} starts from run '{run.start.run}', which the study does not have")
    if base.start is not None:
        raise ValueError(_twice(run.name, base.name, base.start.run))
    for name in INHERITED:
        if getattr(run, name) != getattr(base, name):
            raise ValueError(f"{who} has another {name} than run '{base.name}', which it starts from: leave it out")
    steps = base.checkpoint_steps
    if isinstance(run.start.at, int) and run.start.at not in steps:
        told = ", ".join(map(str, steps))
        raise ValueError(f"{who} starts from step {run.start.at} of run '{base.name}', which keeps no checkpoint "
                         f"there (it does at steps {told})")  # fmt: skip
    return base


def _twice(run: str, base: str, first: str) -> str:
    return (
        f"run '{run}' starts from run '{base}', which itself starts from '{first}': start from the run that was "
        "trained from drawn weights"
    )


def check_texts(
    validation: Sequence[Validation], tokenizers: Mapping[str, TokenizerSpec], mixes: Mapping[str, Mix],
    runs: Sequence[Run],
) -> None:  # fmt: skip
    """Raise ValueError for conversations where documents are needed, or that nothing says how to tell."""
    for text in validation:
        for source in text.sources:
            if source.kind == "chat":
                raise ValueError(f"validation text '{text.name}' has source '{source.name}' of kind 'chat': "
                                 "held-out losses are of documents")  # fmt: skip
    for name, tokenizer in tokenizers.items():
        chats = [] if tokenizer.path else [one for one in mixes[tokenizer.mix].sources if one.kind == "chat"]
        if chats:
            raise ValueError(f"tokenizer '{name}' is trained on mix '{tokenizer.mix}', whose source '{chats[0].name}' "
                             "is of kind 'chat': name a mix of documents")  # fmt: skip
    for run in runs:
        if tokenizers[run.tokenizer].path is not None:
            continue
        for source in mixes[run.mix].sources:
            if source.kind == "chat" and source.template == "tokenizer":
                raise ValueError(f"source '{source.name}' is told by the tokenizer's template, and tokenizer "
                                 f"'{run.tokenizer}', which is trained here, has none: state template = 'roles' or "
                                 "'bare'")  # fmt: skip
