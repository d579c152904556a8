"""onset tells when the abilities of a language model set in as its pre-training loss falls.

The verbs of the command line, in Python::

    obs = onset.read("results.csv")
    fit = onset.threshold(obs, "mmlu", "accuracy")
    fit.summary(); fit.predict([2.1, 2.2]); fit.plot()

Everything is imported when it is first used: ``import onset`` is quick and needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from onset.stats.findings import Analysis
    from onset.stats.forecast import Forecast
    from onset.stats.result import Interval
    from onset.stats.size_effect import CollapseFit
    from onset.stats.threshold import ThresholdFit
    from onset.study.spec import Study

__version__ = "0.1.0"

__all__ = ["analyze", "collapse", "forecast", "load", "read", "threshold"]


def load(study: str | Path) -> Study:
    """A study from a TOML file, or the preset of that name."""
    from onset.study.files import load as load_study

    return load_study(study)


def read(path: str | Path, loss: str | None = None, *, set_aside: bool = False) -> pd.DataFrame:
    """Observations of a table (CSV, CSV.gz, Parquet) or of a study's folder, checked.

    ``loss`` picks the loss axis, ``NAME[:UNIT]``. A table that contradicts itself is one OnsetError that names its
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
    seed: int = 0,
) -> ThresholdFit:
    """Whether and at what loss the ability sets in that ``task`` asks for, measured by ``metric``.

    ``task``, ``metric`` and ``loss`` (a loss_name) may be left out where there is only one. ``obs`` needs ``loss`` and
    ``score``; also ``run`` with several runs, ``chance`` for a verdict on emergence, ``n_examples`` or ``stderr`` for
    the noise.
    """
    from onset.stats.threshold import threshold as fit
    from onset.tables.observations import of_task

    return fit(of_task(obs, task, metric, loss), level=level, seed=seed)


def collapse(
    obs: pd.DataFrame,
    task: str | None = None,
    metric: str | None = None,
    *,
    by: str = "params",
    loss: str | None = None,
    margin: float = 1.0,
    threshold: Interval | float | None = None,
    level: float = 0.95,
) -> CollapseFit:
    """What ``by`` (size, tokens, family, ...) moves the task's score at equal loss, against a margin in points.

    Compared below ``threshold`` (that of ``onset.threshold``, or a loss), else where the score is beyond chance.
    """
    from onset.stats.factors import spread_out
    from onset.stats.result import Interval
    from onset.stats.size_effect import collapse as fit
    from onset.tables.observations import of_task

    rows = spread_out(of_task(obs, task, metric, loss))
    where = Interval(threshold, threshold, threshold) if isinstance(threshold, int | float) else threshold
    return fit(rows, by=by, margin=margin, threshold=where, level=level)


def forecast(
    obs: pd.DataFrame,
    targets: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    task: str | None = None,
    metric: str | None = None,
    loss: str | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Forecast:
    """Scores of ``targets`` with prediction intervals, and when abilities set in, from a table of observations.

    A target has ``loss``, or ``params`` and ``tokens``; give one, a list of them or a frame. Without ``task`` and
    ``metric`` every one of the table is foreseen.
    """
    import pandas as pd

    from onset.stats.forecast import forecast as foresee
    from onset.tables.observations import LEAST, select

    rows = select(obs, LEAST, task=task, metric=metric, loss_name=loss)
    wanted = pd.DataFrame([targets] if isinstance(targets, Mapping) else targets)
    return foresee(rows, wanted, level=level, seed=seed)


def analyze(obs: pd.DataFrame, **settings: Any) -> Analysis:
    """All findings of a table: see ``onset.stats.pipeline.analyze`` for the settings."""
    from onset.stats.pipeline import analyze as find

    return find(obs, **settings)
