"""A planned family: sizes, tokens, checkpoints and items, from a study or from numbers, and families of one budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onset.errors import OnsetError
from onset.study import cost
from onset.study.branching import flops_owed, trunks
from onset.study.spec import Study

FLOPS = 6.0
"""Operations of training a parameter and token (Kaplan et al. 2020), where no shape is known."""

TOKENS_PER_PARAMETER = 20.0
"""Tokens of a run by its size where they are not given (Hoffmann et al. 2022)."""


@dataclass(frozen=True)
class PlannedRun:
    """One run that is not made yet."""

    name: str
    params: float
    tokens: float
    shares: tuple[float, ...]
    """Where its checkpoints lie, as shares of its tokens, the last one 1."""
    flops: float
    """Operations that it costs; those that another run trains for it are not counted."""
    schedule: str = "cosine"
    """constant, cosine, linear or wsd"""

    def with_tokens(self, factor: float) -> PlannedRun:
        """The same run on so many times the tokens."""
        return replace(self, tokens=self.tokens * factor, flops=self.flops * factor)

    def with_checkpoints(self, count: int) -> PlannedRun:
        """The same run with another number of checkpoints."""
        return replace(self, shares=log_spaced(count))


@dataclass(frozen=True)
class Family:
    """Runs that share corpus, tokenizer and architecture."""

    name: str
    runs: tuple[PlannedRun, ...]
    items: float
    """Questions of each task."""

    @property
    def flops(self) -> float:
        """Operations of all runs."""
        return float(sum(run.flops for run in self.runs))

    @property
    def largest(self) -> PlannedRun:
        """The run of the largest model, of these the one with most tokens."""
        return max(self.runs, key=lambda run: (run.params, run.tokens))


def log_spaced(count: int, first: float = 1 / 64) -> tuple[float, ...]:
    """Shares of a run at which so many checkpoints lie, a constant ratio apart, as in a study that states a count."""
    return tuple(map(float, np.geomspace(first, 1.0, count))) if count > 1 else (1.0,)


def of_study(study: Study, vocab: Mapping[str, int], items: float) -> Family:
    """The family of a study; ``vocab`` gives each tokenizer's entries."""
    shared = trunks(study)
    runs = []
    for run in study.runs:
        entries, steps = vocab[run.tokenizer], cost.checkpoint_steps(run)
        runs.append(
            PlannedRun(
                name=run.name,
                params=float(cost.total_parameters(run.shape, entries)),
                tokens=float(run.steps * run.tokens_per_step),
                shares=tuple(step / run.steps for step in steps),
                flops=float(flops_owed(run, entries, shared.get(run.name))),
                schedule=run.schedule.kind,
            )
        )
    return Family(study.name, tuple(runs), items)


def of_sizes(
    sizes: Sequence[float], tokens: Sequence[float], *, checkpoints: int = 12, seeds: int = 1, items: float = 1000.0,
    schedule: str = "cosine",
) -> Family:  # fmt: skip
    """A family by its numbers: a run of each size on each of ``tokens``, ``seeds`` times.

    Without ``tokens`` a run has 20 a parameter. Raises OnsetError where a number is none, and without any size.
    """
    if not sizes or min([*sizes, *tokens, checkpoints, seeds, items], default=0) <= 0:
        raise OnsetError(
            "a family needs sizes, tokens, checkpoints and items above zero", where="--sizes",
            advice="for example: --sizes 1e8,3e8,1e9 --tokens 2e9,2e10 --checkpoints 12 --items 2000",
        )  # fmt: skip
    runs = []
    for size in sizes:
        for budget in tokens or [TOKENS_PER_PARAMETER * size]:
            for seed in range(seeds):
                again = f"-{seed + 1}" if seeds > 1 else ""
                runs.append(
                    PlannedRun(
                        f"{short(size)}-{short(budget)}{again}", float(size), float(budget), log_spaced(checkpoints),
                        FLOPS * size * budget, schedule,
                    )
                )  # fmt: skip
    return Family(_named(sorted({run.params for run in runs}), seeds), tuple(runs), items)


def _named(sizes: Sequence[float], seeds: int) -> str:
    """A family by its sizes."""
    twice = "" if seeds == 1 else f", {seeds} runs each"
    return f"{len(sizes)} sizes, {short(sizes[0])} to {short(sizes[-1])}{twice}"


def of_budget(
    flops: float, *, tokens_per_parameter: float = TOKENS_PER_PARAMETER, checkpoints: int = 12, items: float = 1000.0,
    schedule: str = "cosine",
) -> Iterator[Family]:  # fmt: skip
    """Families that cost ``flops`` in all: three to eight sizes over a factor of 4 or 16, or fewer sizes twice."""
    if not flops > 0:
        raise OnsetError("a budget is a number of FLOPs above zero", where="--budget")
    for count, seeds, span in ((3, 1, 4), (3, 1, 16), (3, 2, 8), (5, 1, 16), (5, 2, 16), (8, 1, 32)):
        shares = np.geomspace(1.0 / span, 1.0, count)
        largest = np.sqrt(flops / (seeds * FLOPS * tokens_per_parameter * np.sum(shares**2)))
        sizes = [float(largest * share) for share in shares]
        runs = [
            run
            for size in sizes
            for run in of_sizes(
                [size], [tokens_per_parameter * size], checkpoints=checkpoints, seeds=seeds, schedule=schedule
            ).runs
        ]
        yield Family(_named(sizes, seeds), tuple(runs), items)


def changes(family: Family) -> list[tuple[str, Family]]:
    """What might be added, with its name: a run more of the smallest, a middle or the largest size, and so on."""
    by_size = sorted({run.params: run for run in sorted(family.runs, key=lambda run: run.tokens)}.values(),
                     key=lambda run: run.params)  # fmt: skip
    places = sorted({0, len(by_size) // 2, len(by_size) - 1})
    made = [
        (f"a second run like {one.name}", replace(family, runs=(*family.runs, replace(one, name=f"{one.name}-more"))))
        for one in (by_size[place] for place in places)
    ]
    top = family.largest
    above = replace(top, name="larger", params=2 * top.params, tokens=2 * top.tokens, flops=4 * top.flops)
    made.append(("a run of twice the largest size and tokens", replace(family, runs=(*family.runs, above))))
    dense = tuple(run.with_checkpoints(2 * len(run.shares)) for run in family.runs)
    made.append(("twice the checkpoints", replace(family, runs=dense)))
    made.append(("1,000 more items", replace(family, items=family.items + 1000)))
    return made


def scaled(family: Family, factor: float) -> Family:
    """The same runs on so many times the tokens."""
    named = f"{family.name}, tokens × {factor:g}"
    return replace(family, name=named, runs=tuple(run.with_tokens(factor) for run in family.runs))


def short(value: float) -> str:
    """A count as people write it: 1.2B."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
