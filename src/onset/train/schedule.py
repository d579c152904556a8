"""Learning rate over the steps of a run: a pure function of the schedule and the step."""

from __future__ import annotations

import math

from onset.study.spec import Schedule


def rate(schedule: Schedule, step: int, steps: int) -> float:
    """Learning rate of a step, 0 to steps - 1.

    Linear warm-up to the peak; then a half cosine to the floor (Loshchilov and Hutter 2017, arXiv 1608.03983), or
    for ``wsd`` the peak held and a linear fall over the last share of the steps (Hu et al. 2024, arXiv 2404.06395;
    the linear form: Haegele et al. 2024, arXiv 2405.18392), for ``linear`` a linear fall from there on (to zero, if
    nothing else is stated: Bergsma et al. 2025, arXiv 2502.15938), or for ``constant`` the peak to the end. The last
    step is at the floor, but for ``constant``.
    """
    assert 0 <= step < steps
    done = step + 1
    warm = schedule.rising(steps)
    if done <= warm:
        return schedule.peak_rate * done / warm
    floor = schedule.final_ratio
    if schedule.kind == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * (done - warm) / (steps - warm)))
    elif schedule.kind == "linear":
        share = (steps - done) / (steps - warm)
    elif schedule.kind == "constant":
        share = 1.0
    else:
        share = min(1.0, (steps - done) / schedule.falling(steps))
    return schedule.peak_rate * (floor + (1 - floor) * share)
