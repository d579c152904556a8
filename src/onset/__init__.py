"""onset tells at what pre-training loss the abilities of a language model emerge.

The verbs of the command line, in Python::

    obs = onset.read("results.csv")
    fit = onset.threshold(obs, "mmlu", "accuracy")
    fit.summary(); fit.predict([2.1, 2.2]); onset.plot(fit)

Everything is imported when it is first used: ``import onset`` is quick and needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    import pandas as pd

    from onset.results import Analysis, Comparison, Design, Forecast, Interval, LossInterval, SizeEffect, Threshold
    from onset.study.spec import Study

__version__ = "0.1.0"

__all__ = ["analyze", "compare", "design", "forecast", "load", "plot", "read", "size_effect", "threshold"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def load(study: str | Path) -> Study:
    """A study from a TOML file, or the preset of that name."""
    from onset.study.files import load as load_study

    return load_study(study)


def read(path: str | Path, loss: str | None = None, *, set_aside: bool = False) -> pd.DataFrame:
    """Observations of a table (CSV, CSV.gz, Parquet) or of a study's folder, checked.

    ``loss`` picks the loss measure, ``NAME[:UNIT]``. A table that contradicts itself is one OnsetError that names its
    rows; with ``set_aside`` these rows are left out and counted in ``.attrs["notes"]``.
    """
    from onset.tables.observations import read as read_observations

    return read_observations(path, loss, set_aside=set_aside)


def threshold(
    obs: pd.DataFrame,
    task: str | None = None,
    metric: str | None = None,
    *,
    loss: str | None = None,
    level: float = 0.95,
    delta: float = 0.02,
    seed: int = 0,
) -> Threshold:
    """The onset loss of one task under one metric, and whether it is a threshold.

    ``task``, ``metric`` and ``loss`` (a loss_name) may be left out where there is only one. ``obs`` needs ``loss`` and
    ``score``; also ``run`` with several runs, ``chance`` for a verdict on emergence, ``n_examples`` or ``stderr`` for
    the noise. ``delta`` is the excess over chance, in units of the score, at which the onset loss is read.
    """
    from onset.stats.pipeline import fit_threshold
    from onset.tables.observations import of_task

    return fit_threshold(of_task(obs, task, metric, loss), level=level, delta=delta, seed=seed)


def size_effect(
    obs: pd.DataFrame,
    task: str | None = None,
    metric: str | None = None,
    *,
    loss: str | None = None,
    margin: float = 1.0,
    loss_margin: float | None = None,
    threshold: Threshold | LossInterval | Interval | float | None = None,
    within_family: bool = True,
    level: float = 0.95,
) -> SizeEffect:
    """What ten times the parameters change at equal loss, in percentage points of the score, against a margin in pp.

    Only models of one family are compared, unless ``within_family`` is false. Losses above ``threshold`` (a result of
    ``onset.threshold``, or a loss) are left out. ``loss_margin`` asks along the loss as well, in its unit per decade.
    """
    from onset.stats.size_effect import size_effect as fit
    from onset.tables.observations import of_task

    return fit(
        of_task(obs, task, metric, loss),
        margin=margin,
        loss_margin=loss_margin,
        threshold=threshold,
        within_family=within_family,
        level=level,
    )


def forecast(
    obs: pd.DataFrame,
    targets: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    task: str | None = None,
    metric: str | None = None,
    loss: str | None = None,
    level: float = 0.95,
    schedule: str | None = None,
    seed: int = 0,
) -> Forecast:
    """Scores of ``targets`` with prediction intervals, and when abilities emerge, from a table of observations.

    A target has ``loss``, or ``params`` and ``tokens``; give one, a list of them or a frame. Without ``task`` and
    ``metric`` every one of the table is predicted. ``schedule`` is that of the learning rate (constant, cosine,
    linear, wsd), where the table has no column for it. Tuned checkpoints are learnt from only where they help on
    held-out sizes; a note says so.
    """
    from collections.abc import Mapping

    import pandas as pd

    from onset.results import check_level
    from onset.stats.forecast import forecast as predict
    from onset.stats.tuned_rows import choose
    from onset.tables.observations import LEAST, select

    rows = select(obs, LEAST, task=task, metric=metric, loss_name=loss)
    wanted = (
        targets
        if isinstance(targets, pd.DataFrame)
        else pd.DataFrame([targets] if isinstance(targets, Mapping) else [*targets])
    )
    chosen = choose(rows, level=check_level(level), seed=seed)
    made = predict(chosen.rows, wanted, level=level, seed=seed, schedule=schedule, beside=rows)
    return made.with_changes(notes=(*made.notes, chosen.note)) if chosen.note else made


def analyze(
    obs: pd.DataFrame,
    *,
    source: str = "",
    level: float = 0.95,
    delta: float = 0.02,
    margin: float = 1.0,
    loss_margin: float | None = None,
    seed: int = 0,
    jobs: int | None = None,
    groups: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Findings on every task, metric and loss measure of a table of observations.

    ``level`` is that of all intervals, ``delta`` the excess over chance at which the onset loss is read, ``margin``
    the percentage points within which a size effect counts as none, ``loss_margin`` the same along the loss in nats
    per decade, ``jobs`` the number of processes; ``groups`` puts levels of a factor together, each as
    ``COLUMN=GROUP:LEVEL,LEVEL``; ``progress`` is told of steps done and steps in all.
    """
    from onset.stats.pipeline import analyze as analyze_observations

    return analyze_observations(
        obs,
        source=source,
        level=level,
        delta=delta,
        margin=margin,
        loss_margin=loss_margin,
        seed=seed,
        jobs=jobs,
        groups=groups,
        progress=progress,
    )


def compare(
    *models: str | Path,
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    rate: float = 0.05,
    seed: int = 0,
) -> Comparison:
    """Paired differences of scored models from the first one, on the same items.

    ``models`` are folders of ``onset eval`` or ``onset run``, runs of them, or ``RUN_FOLDER@STEP``; ``metrics`` are
    named as for ``onset eval``, by default those of the folders. ``rate`` is the share of false discoveries that is
    allowed over the tasks of one metric. Raises OnsetError where two have no item in common.
    """
    from onset.work.compare import compare_scored

    return compare_scored(models, metrics, level=level, rate=rate, seed=seed)


def design(
    planned: str | Path | Sequence[float],
    believed: pd.DataFrame | float,
    *,
    tokens: Sequence[float] = (),
    checkpoints: int = 12,
    items: float | None = None,
    task: str | None = None,
    metric: str | None = None,
    law: str | None = None,
    width: float = 0.1,
    effect: float = 3.0,
    margin: float = 1.0,
    error: float = 3.0,
    level: float = 0.95,
    draws: int = 20,
    seed: int = 0,
) -> Design:
    """What a planned family would tell: power for a threshold, a size effect, a forecast, by simulation.

    ``planned`` is a study (a TOML file or a preset's name) or sizes in parameters, each trained on each of ``tokens``.
    ``believed`` is a table of smaller runs, or the loss at which an ability is believed to set in. Asked for are a
    threshold's interval below ``width`` (in the loss), a size effect of ``effect`` pp a decade found, none shown within
    ``margin`` pp, and a run of ten times the compute foretold within ``error`` pp.
    """
    from onset.stats.design.power import Asked
    from onset.stats.design.power import design as simulated
    from onset.work.design import believe, plan_family

    belief, told = believe(believed, task=task, metric=metric, law=law, seed=seed)
    family = plan_family(planned, tokens=tokens, checkpoints=checkpoints, items=items or told)
    asked = Asked(width=width, effect=effect, margin=margin, error=error, level=level)
    return simulated(family, belief, asked=asked, draws=draws, seed=seed)


def plot(result: Any, **options: Any) -> Any:
    """The chart of a result of any of these verbs (an Altair chart, to be resized, layered and saved)."""
    from onset.plots import plot as draw

    return draw(result, **options)
