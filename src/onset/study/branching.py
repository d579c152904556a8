"""Which runs share a trunk: with warm-up, a stable rate, then decay, runs of one size differ only in when they fall.

The longest run of such a set trains the stable stretch once; every other one branches from it where its own rate begins
to fall (Hu et al. 2024, "MiniCPM", arXiv 2404.06395; Haegele et al. 2024, arXiv 2405.18392).
"""

from __future__ import annotations

from dataclasses import dataclass

from onset.study import cost as sizing
from onset.study.spec import Run, Study, digest_of


@dataclass(frozen=True)
class Trunk:
    """The stretch that a run takes over from another instead of training it."""

    run: str
    """Name of the run that trains it."""
    steps: int
    """Steps from the beginning that both have in common, bit for bit."""


def trunks(study: Study) -> dict[str, Trunk]:
    """For each run that branches from another one: from which, and after how many steps.

    Runs belong together where all that the first steps depend on is equal: corpus, tokenizer, shape, seed, batch,
    optimiser, peak rate and steps of warm-up. A cosine run stands alone.
    """
    sets: dict[str, list[Run]] = {}
    for run in study.runs:
        if run.schedule.kind == "wsd":
            sets.setdefault(_key(study, run), []).append(run)
    found: dict[str, Trunk] = {}
    for members in sets.values():
        leader = max(members, key=lambda run: (stable(run), run.steps))
        for run in members:
            if run is not leader and stable(run) > 0:
                found[run.name] = Trunk(leader.name, stable(run))
    return {run.name: found[run.name] for run in study.runs if run.name in found}


def branches(study: Study, run: Run) -> tuple[tuple[Run, int], ...]:
    """The runs that branch from this one, each with the step at which it does."""
    return tuple((study.run(name), trunk.steps) for name, trunk in trunks(study).items() if trunk.run == run.name)


def nearly(study: Study) -> list[list[str]]:
    """Names of wsd runs that differ in nothing of their first steps but the length of the warm-up."""
    sets: dict[str, list[Run]] = {}
    for run in study.runs:
        if run.schedule.kind == "wsd":
            sets.setdefault(_key(study, run, rising=False), []).append(run)
    return [
        [run.name for run in members]
        for members in sets.values()
        if len({run.schedule.rising(run.steps) for run in members}) > 1
    ]


def stable(run: Run) -> int:
    """Steps of a wsd run before its rate begins to fall."""
    return run.steps - run.schedule.falling(run.steps)


def flops_owed(run: Run, vocab: int, trunk: Trunk | None) -> int:
    """Floating-point operations that are left for a run where its trunk is taken over."""
    whole = sizing.flops(run, vocab)
    return whole if trunk is None else whole // run.steps * (run.steps - trunk.steps)


def _key(study: Study, run: Run, *, rising: bool = True) -> str:
    """A digest of all that the first steps depend on, with or without the length of the warm-up."""
    identity = study.identity(run)
    spec = {name: value for name, value in identity["run"].items() if name not in ("tokens", "checkpoints", "schedule")}
    schedule = run.schedule
    rates = [schedule.peak_rate, schedule.final_ratio, schedule.rising(run.steps) if rising else None]
    return digest_of({**identity, "run": spec, "rates": rates})
