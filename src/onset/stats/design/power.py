"""Power of a planned family: simulated tables through the same statistics as real ones, and shares of answers.

A question counts as answered where the verdict is right and the interval as narrow as asked. Shares have Wilson's
binomial intervals. What one run, checkpoint or thousand items more would add is told by how much narrower the intervals
get on the same luck, which takes far fewer draws than a change in power.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import ndtri

from onset.errors import OnsetError
from onset.results.base import check_level
from onset.results.design import Design
from onset.stats.design.belief import Belief, BelievedCurve, BelievedLaw
from onset.stats.design.family import Family, PlannedRun, changes, scaled, short
from onset.stats.design.simulation import Simulated, final_score, simulate
from onset.stats.forecast import forecast
from onset.stats.parallel import Workers, cores
from onset.stats.size_effect import size_effect
from onset.stats.threshold import threshold

DELTA = 0.02
FACTORS = (0.25, 0.5, 2.0)
"""Tokens of the family, besides its own, at which power is told against cost."""
FEWEST_DRAWS = 4


@dataclass(frozen=True)
class Asked:
    """What counts as an answer."""

    width: float = 0.1
    """Widest interval of the threshold, in the unit of the loss."""
    effect: float = 3.0
    """Size effect to be found, pp a decade."""
    margin: float = 1.0
    """Within so many pp a decade no effect is shown."""
    error: float = 3.0
    """Largest miss of a forecast, pp."""
    level: float = 0.95

    def checked(self) -> Asked:
        """Itself; raises OnsetError for a level that is none and for widths that are not above zero."""
        check_level(self.level)
        if min(self.width, self.effect, self.margin, self.error) <= 0:
            raise OnsetError("what is asked for must be above zero", where="--width, --effect, --margin, --error")
        return self


@dataclass(frozen=True)
class Answer:
    """What one simulated table says to one question."""

    question: str
    answered: bool
    width: float
    """Of the interval, NaN where there is none."""
    why: str = ""
    """Why it is no answer."""


@dataclass(frozen=True, eq=False)
class _Job:
    """One draw of one curve for one family."""

    family: Family
    law: BelievedLaw
    curve: BelievedCurve
    target: PlannedRun
    asked: Asked
    seed: int


def design(
    family: Family,
    belief: Belief,
    *,
    asked: Asked | None = None,
    draws: int = 20,
    budget: Sequence[Family] = (),
    additions: bool = True,
    rate: float | None = None,
    seed: int = 0,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Design:
    """What ``family`` would tell if things are as believed, by ``draws`` simulated tables a task.

    Of families of one ``budget`` the one that answers most is taken, and the result is of it. ``rate`` in FLOP/s gives
    GPU-hours; without ``additions`` nothing is told of what more would add (half of the time). The forecast is of a run
    of ten times the compute of the largest one. Raises OnsetError for fewer than four draws.
    """
    wanted = (asked or Asked()).checked()
    if draws < FEWEST_DRAWS:
        raise OnsetError(f"{draws} draws tell no power", where="--draws", advice=f"use {FEWEST_DRAWS} or more")
    others = list(budget) or [scaled(family, factor) for factor in FACTORS]
    few = max(FEWEST_DRAWS, draws // 2)
    total = len(belief.curves) * (draws * (len(others) + (not budget)) + additions * few * 6)
    with Workers(min(jobs or cores(), draws)) as workers:
        told = _Teller(belief, wanted, seed, workers, _counter(total, progress))
        tables = {one.name: (one, told.answers(one, draws)) for one in ([] if budget else [family]) + others}
        chosen = _best(tables) if budget else None
        taken, answers = tables[chosen or family.name]
        added = _additions(taken, answers, told, few) if additions else pd.DataFrame()
    ordered = sorted(tables.values(), key=lambda pair: pair[0].flops)
    return Design(
        family=taken.name, level=wanted.level, draws=draws, flops=taken.flops, rate=rate, chosen=chosen,
        asked={name: getattr(wanted, name) for name in ("width", "effect", "margin", "error")},
        power=_power(answers, belief.curves, wanted), runs=_runs(taken, rate),
        families=pd.concat([_cost(*pair, rate, wanted.level) for pair in ordered], ignore_index=True),
        additions=added, notes=(*belief.notes, *_notes(taken, belief)),
    )  # fmt: skip


Answers = list[list[list[Answer]]]
"""By curve, by draw, by question."""


@dataclass(frozen=True, eq=False)
class _Teller:
    belief: Belief
    asked: Asked
    seed: int
    workers: Workers
    step: Callable[[], None]

    def answers(self, family: Family, draws: int, target: PlannedRun | None = None) -> Answers:
        """All answers of a family; ``target`` is the run to be foretold, ten times the largest one by default."""
        goal = target or ten_times(family)
        work = [
            _Job(family, self.belief.law, curve, goal, self.asked, self.seed + draw)
            for curve in self.belief.curves
            for draw in range(draws)
        ]
        found = self.workers.map(answer, work, done=self.step)
        return [found[start : start + draws] for start in range(0, len(found), draws)]


def ten_times(family: Family) -> PlannedRun:
    """A run of ten times the compute of the largest one, size and tokens alike."""
    top, factor = family.largest, np.sqrt(10.0)
    return replace(top, name="target", params=factor * top.params, tokens=factor * top.tokens, shares=(1.0,))


def answer(job: _Job) -> list[Answer]:
    """The answers of one simulated table, in the order of ``results.design.QUESTIONS``."""
    tables = simulate(job.family, job.law, job.curve, job.asked.effect, job.seed)
    first, edge = _threshold(tables, job)
    return [first, *_size(tables, edge, job), _foretold(tables, job)]


def _threshold(tables: Simulated, job: _Job) -> tuple[Answer, float | None]:
    """Whether the verdict is right and the loss is told as narrowly as asked; and the threshold that was found."""
    found = threshold(tables.none, level=job.asked.level, seed=job.seed)
    emergent = job.curve.threshold is not None
    said = found.threshold if emergent else found.onset
    truth = job.curve.threshold if emergent else job.curve.onset(DELTA)
    edge = found.threshold.loss if found.threshold else None
    if said is None or truth is None:
        return Answer("threshold", False, np.nan, f"verdict {found.verdict}"), edge
    width, right = said.high - said.low, found.verdict == ("emergent" if emergent else "smooth")
    if not right:
        return Answer("threshold", False, width, f"verdict {found.verdict}"), edge
    if width > job.asked.width:
        return Answer("threshold", False, width, f"an interval wider than {job.asked.width:g}"), edge
    if abs(said.loss - truth) > job.asked.width:
        return Answer("threshold", False, width, f"farther than {job.asked.width:g} from the truth"), edge
    return Answer("threshold", True, width), edge


def _size(tables: Simulated, edge: float | None, job: _Job) -> list[Answer]:
    """Whether the size effect is found where there is one, and shown to be none where there is none."""
    made = []
    for question, table, wanted in (
        ("size_effect", tables.effect, "differs"),
        ("same_curve", tables.none, "equivalent"),
    ):
        found = size_effect(table, margin=job.asked.margin, threshold=edge, level=job.asked.level)
        known = found.low is not None and found.high is not None and found.pp_per_decade is not None
        width = found.high - found.low if known and found.high is not None and found.low is not None else np.nan
        right = found.verdict == wanted and (wanted != "differs" or (found.pp_per_decade or 0.0) > 0)
        made.append(Answer(question, right, width, "" if right else _reason(found.verdict, known, found.why)))
    return made


def _reason(verdict: str, known: bool, why: str) -> str:
    return f"verdict {verdict}" if known else why


def _foretold(tables: Simulated, job: _Job) -> Answer:
    """Whether the score of the target is foretold, from its size and tokens, within the error asked for."""
    goal = pd.DataFrame([{"params": job.target.params, "tokens": job.target.tokens, "n_examples": job.family.items}])
    try:
        row = forecast(tables.none, goal, thresholds={}, level=job.asked.level, seed=job.seed).scores.iloc[0]
    except OnsetError as error:
        return Answer("forecast", False, np.nan, error.what)
    if row["verdict"] != "predicted":
        return Answer("forecast", False, np.nan, str(row["why"]))
    width = 100.0 * float(row["high"] - row["low"])
    miss = 100.0 * abs(float(row["score"]) - final_score(job.target, job.law, job.curve, job.seed))
    right = miss <= job.asked.error
    return Answer("forecast", right, width, "" if right else f"missed by more than {job.asked.error:g} pp")


def wilson(hits: int, draws: int, level: float) -> tuple[float, float]:
    """Wilson's interval of a share (1927)."""
    z = float(ndtri(0.5 + level / 2))
    middle = (hits + z * z / 2) / (draws + z * z)
    reach = z / (draws + z * z) * np.sqrt(hits * (draws - hits) / draws + z * z / 4)
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))


def _by_question(draws: list[list[Answer]]) -> list[tuple[str, list[Answer]]]:
    return [(one[0].question, list(one)) for one in zip(*draws, strict=True)]


def _power(answers: Answers, curves: Sequence[BelievedCurve], asked: Asked) -> pd.DataFrame:
    rows = []
    for curve, draws in zip(curves, answers, strict=True):
        for question, given in _by_question(draws):
            hits, widths = sum(one.answered for one in given), [one.width for one in given if np.isfinite(one.width)]
            low, high = wilson(hits, len(given), asked.level)
            reasons = Counter(one.why for one in given if not one.answered)
            rows.append({
                "question": question, "task": curve.task, "metric": curve.metric,
                "asked": _words(question, curve, asked), "power": hits / len(given), "low": low, "high": high,
                "width": float(np.median(widths)) if widths else None, "answered": hits, "draws": len(given),
                "unanswered": reasons.most_common(1)[0][0] if reasons else "",
            })  # fmt: skip
    return pd.DataFrame(rows)


def _words(question: str, curve: BelievedCurve, asked: Asked) -> str:
    where = curve.threshold if curve.threshold is not None else curve.onset(DELTA)
    place = "" if where is None else f" near {where:.3g}"
    kind = "onset loss" if curve.threshold is None else "threshold"
    return {
        "threshold": f"{kind}{place}, interval below {asked.width:g}",
        "size_effect": f"{asked.effect:g} pp a decade found",
        "same_curve": f"no effect shown to be within {asked.margin:g} pp",
        "forecast": f"ten times the compute foretold within {asked.error:g} pp",
    }[question]


def _runs(family: Family, rate: float | None) -> pd.DataFrame:
    return pd.DataFrame([
        {
            "run": run.name, "params": run.params, "tokens": run.tokens, "checkpoints": len(run.shares),
            "flops": run.flops, "gpu_hours": _hours(run.flops, rate),
        }
        for run in family.runs
    ])  # fmt: skip


def _hours(flops: float, rate: float | None) -> float | None:
    return None if rate is None else flops / rate / 3600.0


def _cost(family: Family, answers: Answers, rate: float | None, level: float) -> pd.DataFrame:
    """Power of each question over all tasks, with the family's cost."""
    rows = []
    for question, given in _by_question([draw for curve in answers for draw in curve]):
        hits = sum(one.answered for one in given)
        low, high = wilson(hits, len(given), level)
        rows.append({
            "family": family.name, "flops": family.flops, "gpu_hours": _hours(family.flops, rate),
            "question": question, "power": hits / len(given), "low": low, "high": high,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _best(tables: dict[str, tuple[Family, Answers]]) -> str:
    """The family whose questions are answered most often, all questions counted alike."""

    def share(answers: Answers) -> float:
        return float(np.mean([one.answered for curve in answers for draw in curve for one in draw]))

    return max(tables, key=lambda name: share(tables[name][1]))


def _additions(family: Family, before: Answers, told: _Teller, draws: int) -> pd.DataFrame:
    """By how many percent the intervals get narrower with one thing more, on the same luck."""
    rows, target = [], ten_times(family)
    for name, larger in changes(family):
        after = told.answers(larger, draws, target)
        gains: dict[str, list[float]] = {}
        for old_curve, new_curve in zip(before, after, strict=True):
            for old, new in zip(old_curve, new_curve, strict=False):  # the first draws of those before
                for first, second in zip(old, new, strict=True):
                    gains.setdefault(first.question, []).append(_narrower(first.width, second.width))
        known = {question: float(np.nanmedian(values)) if np.isfinite(values).any() else None
                 for question, values in gains.items()}  # fmt: skip
        told_of = [value for value in known.values() if value is not None]
        mean = float(np.mean(told_of)) if told_of else None
        rows.append({"change": name, "flops_added": larger.flops - family.flops, **known, "narrower": mean})
    return pd.DataFrame(rows).sort_values("narrower", ascending=False, ignore_index=True)


def _narrower(before: float, after: float) -> float:
    """Percent by which an interval gets narrower; NaN where either is not there."""
    return 100.0 * (1.0 - after / before) if before > 0 else np.nan


def _notes(family: Family, belief: Belief) -> list[str]:
    """What the family cannot show, whatever the draws."""
    notes = []
    ends = [float(belief.law.loss(run.params, np.array([run.tokens]))[0]) for run in family.runs]
    for curve in belief.curves:
        where = curve.threshold if curve.threshold is not None else curve.onset(DELTA)
        if where is not None and min(ends) > where:
            notes.append(f"no run gets to the onset of {curve.task} ({where:.3g}): the lowest loss is {min(ends):.3g}")
    if len({round(run.params) for run in family.runs}) < 3:
        notes.append("fewer than three sizes tell no loss law, so no larger run is foretold")
    target = ten_times(family)
    notes.append(
        f"the forecast is of {short(target.params)} parameters on {short(target.tokens)} tokens, "
        f"loss {belief.law.loss(target.params, np.array([target.tokens]))[0]:.3g}"
    )
    return notes


def _counter(steps: int, progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    done = [0]

    def step() -> None:
        done[0] += 1
        if progress is not None:
            progress(done[0], steps)

    return partial(step)
