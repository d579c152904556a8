"""Loss axes side by side: on which held-out loss do the scores of all families stand on one curve?

Models of one corpus go by any loss; over corpora and tokenizers their own losses break the link, and a shared text or
another unit may mend it. Axes are judged by what they foresee of a family that was left out (``contest``); with one
family, of a size that was left out. Nothing is chosen that the data cannot tell from the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from onset.results import Analysis, Difference, LossChoice, LossMeasure, LossName
from onset.stats import loss_map as lossmap
from onset.stats import loss_scores as contest
from onset.stats.loss_scores import Axis, Foresight
from onset.stats.loss_scores import Difference as Gap
from onset.stats.mixed.family_offsets import leaving
from onset.stats.predictors import predictors
from onset.tables import losses
from onset.tables import study as records

MOST = 24
"""So many axes are compared at most: more are grains of one text."""
WHOLE = 0.9
"""An axis that fewer of the checkpoints have is left out: the others would be compared on what it lacks."""


@dataclass(frozen=True)
class Comparison:
    """Axes judged on the same checkpoints and scores."""

    default: Axis
    found: Mapping[Axis, Foresight]
    best: Axis
    gaps: Mapping[Axis, Gap | None]
    """By how much the best exceeds each other axis, intervals that hold all at once."""
    group: str
    """What was left out: 'family' or 'size'."""
    placed: pd.DataFrame
    """Scores that count, on every axis: ``loss_name, loss_unit`` and the columns of observations."""
    left: tuple[str, ...]
    """Axes that too few checkpoints have."""
    level: float

    @property
    def alike(self) -> list[Axis]:
        """Axes that cannot be told from the best, the best itself among them."""
        return [axis for axis in self.found if axis == self.best or not _worse(self.gaps[axis])]

    @property
    def chosen(self) -> Axis:
        """The default, unless the best is shown to be better than it."""
        return self.default if self.default in self.alike or self.default not in self.found else self.best

    def ranked(self) -> list[Axis]:
        """All axes, the best first."""
        return sorted(self.found, key=lambda axis: -self.found[axis].r2)

    @property
    def sentence(self) -> str:
        """What the comparison says, in words."""
        best, rest = self.best, self.ranked()[1:]
        found = self.found[best]
        parts = [
            f"Of {len(self.found)} loss measures {words(best)} predicts a held-out {self.group} best: "
            f"R² {found.r2:.3f}, mean error {found.error_points:.1f} pp."
        ]
        if not rest:
            return parts[0]
        others = [rest[0]] if self.default in (best, rest[0]) or self.default not in rest else [rest[0], self.default]
        parts += [self._behind(axis) for axis in others]
        if self.default not in self.found:
            parts.append(f"{words(self.default)}, the default, is not among them and stays.")
        elif self.default == best:
            parts.append("It is the default.")
        elif self.default in self.alike:
            parts.append("The data cannot tell the default from the best, so the default is kept.")
        else:
            parts.append("The default is shown to predict worse than the best.")
        if self.gaps[rest[0]] is not None:
            parts.append(f"Intervals ({self.level:.0%}, all at once) are over {self._scope(rest[0])}.")
        return " ".join(parts)

    def _behind(self, axis: Axis) -> str:
        """How far an axis is behind the best, in words."""
        gap, kind = self.gaps[axis], "The default" if axis == self.default else "The next"
        stands = f"{kind}, {words(axis)}, has {self.found[axis].r2:.3f}"
        if gap is None:
            return f"{stands}; with one run a {self.group} no interval can be given on the difference."
        groups = self.placed[self.group].nunique()
        told = f"{stands}, {gap.value:.3f} less [{gap.low:.3f}, {gap.high:.3f}]: worse for {gap.wins} of {groups} "
        told += "sizes" if self.group == "size" else "families"
        return f"{told}, and shown to be." if _worse(gap) else f"{told}, which does not tell them apart."

    def _scope(self, axis: Axis) -> str:
        gap, over = self.gaps[axis], "sizes" if self.group == "size" else "families"
        return over if gap is not None and gap.sample == "families" else f"runs, for these very {over}"


def words(axis: Axis) -> str:
    """An axis for readers."""
    return f"{axis[0]} ({axis[1]})"


def _worse(gap: Gap | None) -> bool:
    return gap is not None and gap.low > 0


def judge(obs: pd.DataFrame, held_out: pd.DataFrame, level: float = 0.95) -> Comparison | None:
    """Judge every axis of ``held_out`` (``run, step, tokens, loss_name, loss_unit, loss``) on the scores of ``obs``.

    None where there are fewer than two axes, or no score that can tell them apart. With one family only axes in the
    unit of ``obs`` count: with one tokenizer another unit is another ruler.
    """
    default = (str(obs.loss_name.iloc[0]), str(obs.loss_unit.iloc[0]))
    group = "family" if obs.family.nunique() > 1 else "size"
    if group == "size":
        held_out = held_out[held_out.loss_unit == default[1]]
    scores = obs.drop(columns=["loss", "loss_name", "loss_unit"])
    scores = scores.drop_duplicates(["run", "step", "tokens", "task", "metric"]).assign(size=scores.params)
    pairs = contest.worth(scores)
    scores = scores[pd.MultiIndex.from_frame(scores[["task", "metric"]]).isin(pairs)] if pairs else scores.iloc[:0]
    if scores.empty or scores[group].nunique() < 2:
        return None
    placed, left = _on_all(scores, held_out)
    found = {}
    for key, rows in [] if placed.empty else placed.groupby(["loss_name", "loss_unit"], sort=True):
        if (made := contest.foresight(rows, pairs, group)) is not None:
            found[str(key[0]), str(key[1])] = made
    if len(found) < 2:
        return None
    best, gaps = contest.against_best(found, level)
    return Comparison(default, found, best, gaps, group, placed, tuple(left), level)


def _on_all(scores: pd.DataFrame, held_out: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Scores on each axis that nearly all checkpoints have, the same checkpoints on each; and the axes left out."""
    key = "step" if scores.step.notna().all() and held_out.step.notna().all() else "tokens"
    parts, left = {}, []
    wanted = scores[["run", key]].drop_duplicates()
    for key_of, places in list(held_out.groupby(["loss_name", "loss_unit"], sort=True))[:MOST]:
        name = (str(key_of[0]), str(key_of[1]))
        axis = places.dropna(subset=[key, "loss"]).drop_duplicates(["run", key])[["run", key, "loss"]]
        known = wanted.merge(axis.astype({key: "float64"}), on=["run", key])
        if len(known) < WHOLE * len(wanted):
            left.append(words(name))
        else:
            parts[name] = known
    common = wanted
    for known in parts.values():
        common = common.merge(known[["run", key]], on=["run", key])
    placed = [
        scores.merge(known.merge(common, on=["run", key]), on=["run", key]).assign(loss_name=name[0], loss_unit=name[1])
        for name, known in parts.items()
    ]
    return (pd.concat(placed, ignore_index=True) if placed else pd.DataFrame()), left


def choose(obs: pd.DataFrame, source: str | Path, level: float = 0.95) -> str | None:
    """The axis to analyse ``source`` on, ``NAME:UNIT``; None for the one that ``obs`` is on by default."""
    held_out = all_losses(Path(source))
    if obs.loss_name.nunique() > 1:
        held_out = _own_losses(obs) if held_out is None else pd.concat([_own_losses(obs), held_out], ignore_index=True)
        obs = obs[obs.loss_name == default_name(obs)]
    made = None if held_out is None else judge(obs, held_out, level)
    return None if made is None or made.chosen == made.default else f"{made.chosen[0]}:{made.chosen[1]}"


def default_name(obs: pd.DataFrame) -> str:
    """The loss measure that a table of several stands on unless another is better: that of most rows, or the first."""
    names = list(obs.loss_name)
    return max(dict.fromkeys(map(str, names)), key=lambda name: int((obs.loss_name == name).sum()))


def _own_losses(obs: pd.DataFrame) -> pd.DataFrame:
    """Every loss measure of a table of observations, one row a checkpoint: the columns of ``all_losses``."""
    columns = ["run", "step", "tokens", "loss_name", "loss_unit", "loss"]
    return obs[columns].drop_duplicates(ignore_index=True)


def compare(analysis: Analysis, source: str | Path, *, default: Axis | None = None) -> Analysis:
    """The analysis with its loss measures compared; as it is where there is one, or nothing that can tell them apart.

    ``loss_measures`` has one entry a measure, best first; ``loss_choice`` says what was chosen and why, and which
    families lie off the curve on the best; ``converted`` has every threshold under the other measures. ``default`` is
    the measure that stays unless another is better, by default that of the analysis.
    """
    held_out = all_losses(Path(source))
    obs = analysis.observations
    if held_out is None or obs.loss_name.nunique() > 1:
        return analysis
    converted = lossmap.converted(analysis, held_out)
    here = str(obs.loss_name.iloc[0]), str(obs.loss_unit.iloc[0])
    made = judge(obs, held_out, analysis.level)
    if made is None:
        said = lossmap.sentences(converted, here, [(entry.loss_name, entry.loss_unit) for entry in converted])
        return analysis.model_copy(update={"converted": converted, "notes": (*analysis.notes, *said)})
    made = replace(made, default=default or made.default)
    families = leaving(made.placed, made.best, analysis.level) if made.group == "family" else ()
    choice = LossChoice(
        chosen=_named(made.chosen), best=_named(made.best), default=_named(made.default), held_out=made.group,
        not_distinguished=tuple(_named(axis) for axis in made.alike if axis != made.best),
        too_few_checkpoints=made.left, families=families, why=made.sentence,
    )  # fmt: skip
    used = f"{made.sentence} The findings use {words(here)}."
    if made.chosen != here:
        used += f" To use {words(made.chosen)} instead, analyse again with --loss auto."
    off = [family.why for family in families if family.off_curve]
    notes = (*analysis.notes, used, *off, *lossmap.sentences(converted, here, made.ranked()))
    return analysis.model_copy(
        update={
            "loss_measures": tuple(_entry(axis, made) for axis in made.ranked()), "loss_choice": choice,
            "converted": converted, "notes": notes, "placed": made.placed,
        }
    )  # fmt: skip


def _entry(axis: Axis, made: Comparison) -> LossMeasure:
    found = made.found[axis]
    rows = made.placed[(made.placed.loss_name == axis[0]) & (made.placed.loss_unit == axis[1])]
    sizes = [predictors(of_score)["loss"]["r2_held_out"] for _, of_score in rows.groupby(["task", "metric"])]
    known = pd.Series([value for value in sizes if value is not None], dtype=float)
    gap = made.gaps.get(axis)
    return LossMeasure(
        loss_name=axis[0], loss_unit=axis[1], n_scores=len(sizes),
        r2_held_out_size=None if known.empty else float(known.mean()),
        r2_held_out_family=found.r2 if made.group == "family" else None,
        error_pp=found.error_points, chosen=axis == made.chosen, best=axis == made.best,
        behind=gap and Difference(value=gap.value, low=gap.low, high=gap.high, sample=gap.sample, wins=gap.wins),
        held_out={str(name): 1 - float(value) for name, value in found.by_group.items()}, by_task=dict(found.by_task),
    )  # fmt: skip


def _named(axis: Axis) -> LossName:
    return LossName(loss_name=axis[0], loss_unit=axis[1])


def all_losses(source: Path) -> pd.DataFrame | None:
    """Every held-out loss of a study, or of the table of losses beside a table: run, step, tokens, name, unit, loss."""
    if source.is_dir():
        return records.all_losses(source)
    beside = losses.beside(source)
    return None if beside is None else losses.read_all(beside)
