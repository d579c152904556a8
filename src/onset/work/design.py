"""From what is planned and believed to what such a family would tell. Runs without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.plots import plot
from onset.plots.files import specification
from onset.plots.files import write as write_figure
from onset.results import Design
from onset.stats.design import belief as beliefs
from onset.stats.design import family as families
from onset.stats.design.belief import Belief, BelievedLaw
from onset.stats.design.family import Family
from onset.store.parts import write_text
from onset.study.files import outline
from onset.study.spec import Study
from onset.tables.observations import LEAST, read, select

ITEMS = 1000.0
"""Questions of a task where neither study nor table says."""

MOST_TASKS = 3
"""Tasks of a table that are simulated where none is named: each takes minutes."""

LAW = "hoffmann2022"


def believe(
    believed: pd.DataFrame | str | Path | float,
    *,
    task: str | None = None,
    metric: str | None = None,
    loss: str | None = None,
    law: str | None = None,
    curve: str = "emergent",
    chance: float = 0.25,
    top: float = 0.8,
    pace: float = 0.3,
    seed: int = 0,
) -> tuple[Belief, float]:
    """What is believed, and the items of its tasks: of a table of smaller runs (or its file), or of an onset's loss.

    ``law`` names a published law of the loss; of a table it stands in place of the table's own. ``curve``, ``chance``,
    ``top`` and ``pace`` (nats) are of an onset's loss only.
    """
    if law is not None and law not in beliefs.LAWS:
        raise OnsetError(f"no loss law is called '{law}'", where="--law", advice=did_you_mean(law, beliefs.LAWS))
    chosen: BelievedLaw | None = beliefs.LAWS[law] if law else None
    if isinstance(believed, int | float):
        told = beliefs.stated(
            chosen or beliefs.LAWS[LAW], float(believed), kind=curve, chance=chance, top=top, pace=pace
        )  # fmt: skip
        return told, ITEMS
    obs = believed if isinstance(believed, pd.DataFrame) else read(believed, loss)
    rows = select(obs, LEAST, task=task, metric=metric, loss_name=None)
    found = _headlines(_one_loss(rows)) if metric is None else _one_loss(rows)
    told = beliefs.of_table(found, chosen, seed, None if task else MOST_TASKS)
    items = [one.items for one in told.curves if one.items]
    return told, float(pd.Series(items).median()) if items else ITEMS


def _one_loss(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one loss measure; raises OnsetError where there are several."""
    names = sorted(rows["loss_name"].dropna().astype(str).unique()) if "loss_name" in rows else []
    if len(names) > 1:
        raise OnsetError(
            f"the table has {len(names)} loss measures: {', '.join(names)}", where="loss_name", advice="choose: --loss"
        )
    return rows


def _headlines(rows: pd.DataFrame) -> pd.DataFrame:
    """Each task under its headline metric among those that are shares of right answers."""
    from onset.metrics import info

    shares = [name for name in rows["metric"].unique() if info.is_share(str(name))]
    kept = rows[rows["metric"].isin(shares)]
    if kept.empty:
        raise OnsetError("the table has no share of right answers, such as accuracy", where="metric")
    best = {task: info.headline(part["metric"].unique()) for task, part in kept.groupby("task", sort=False)}
    return kept[kept["metric"] == kept["task"].map(best)]


def plan_family(
    planned: str | Path | Sequence[float],
    *,
    tokens: Sequence[float] = (),
    checkpoints: int = 12,
    seeds: int = 1,
    items: float = ITEMS,
) -> Family:
    """The family of a study (a TOML file, a preset's name), or of sizes in parameters with their tokens."""
    if not isinstance(planned, str | Path):
        return families.of_sizes(planned, tokens, checkpoints=checkpoints, seeds=seeds, items=items)
    study, _ = outline(planned)
    return families.of_study(study, _vocabularies(study), items)


def stated_items(planned: str | Path) -> float | None:
    """Questions of each task that a study states, where it does."""
    study, _ = outline(planned)
    limits = [use.limit for use in study.tasks if use.limit]
    if limits:
        return float(min(limits))
    return float(study.world.items) if study.world is not None else None


def _vocabularies(study: Study) -> dict[str, int]:
    made = {}
    for name, one in study.tokenizers.items():
        if one.vocab is None:
            from onset.data.tokenizer import Tokenizer

            made[name] = Tokenizer.load(Path(one.path or "")).vocab
        else:
            made[name] = one.vocab
    return made


def observed_family(believed: str | Path, items: float, loss: str | None = None) -> Family:
    """The family of a table itself: what such a table can tell."""
    rows = read(believed, loss).dropna(subset=["params", "tokens"])
    runs = []
    for name, part in rows.groupby("run", sort=False):
        seen = sorted(part["tokens"].unique())
        size, last = float(part["params"].iloc[0]), float(seen[-1])
        shares = tuple(float(one) / last for one in seen)
        schedule = str(part["schedule"].iloc[0]) if "schedule" in part and part["schedule"].notna().all() else "cosine"
        runs.append(families.PlannedRun(str(name), size, last, shares, families.FLOPS * size * last, schedule))
    if not runs:
        raise OnsetError("no row of the table has params and tokens", where=believed, advice="give --sizes")
    return Family(Path(believed).stem, tuple(runs), items)


def write(found: Design, out: Path) -> None:
    """Write design.json, design.csv, additions.csv, families.csv and figures/power_against_cost below ``out``."""
    write_text(out / "design.json", json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    write_text(out / "design.csv", found.power.to_csv(index=False))
    write_text(out / "families.csv", found.families.to_csv(index=False))
    if len(found.additions):
        write_text(out / "additions.csv", found.additions.to_csv(index=False))
    write_figure(specification(plot(found)), out / "figures", "power_against_cost")
