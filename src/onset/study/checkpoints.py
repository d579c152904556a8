"""At which steps of a run a checkpoint is written."""

from __future__ import annotations

FIRST = 1 / 64
"""Where log-spaced checkpoints begin, as a share of the steps: early, so that high losses are covered."""


def checkpoint_steps(declared: int | tuple[int, ...], steps: int, tokens_per_step: int) -> tuple[int, ...]:
    """Steps of a run of so many that have a checkpoint: ascending, distinct, the last step always among them.

    A count is log-spaced over the tokens, from ``FIRST`` of the steps to the end, and gives as many steps as asked or
    as there are. Declared token counts go to the nearest step.
    """
    if isinstance(declared, int):
        return _log_spaced(steps, min(declared, steps))
    nearest = {min(max(1, round(tokens / tokens_per_step)), steps) for tokens in declared}
    return tuple(sorted(nearest | {steps}))


def _log_spaced(last: int, count: int) -> tuple[int, ...]:
    """``count`` distinct steps up to ``last``, a constant ratio apart as far as whole numbers allow."""
    if count == 1:
        return (last,)
    first = max(1.0, last * FIRST)
    steps = [round(first * (last / first) ** (index / (count - 1))) for index in range(count)]
    for index in range(1, count):  # early steps crowd: push them up to be distinct
        steps[index] = max(steps[index], steps[index - 1] + 1)
    for index in reversed(range(count)):  # and the last ones back under the end
        steps[index] = min(steps[index], last - (count - 1 - index))
    return tuple(steps)
