"""What breaks the link between loss and ability: the tables and the figure of docs/link.md, from three studies.

    python benchmarks/link.py --optimizers out/optimizers --architectures out/architectures --tuned out/tuned --out out

Each level of a factor is compared with a reference level (AdamW, the transformer, the base): the shift of the onset
loss in nats with its interval, and the effect at equal loss in percentage points. Beside it the other gap: training
loss to held-out loss, at the end of each run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

import onset
from onset.results import StageEffect
from onset.stats.mixed.factors import spread_out
from onset.stats.stage_effects import BASE, STAGE, foretelling, stage_effect
from onset.stats.threshold import threshold

HEADLINES = ("accuracy", "exact_match")
LAST = 0.05
"""Share of a run's steps over which its training loss is averaged."""


def shifts(folder: Path, factor: str, reference: str) -> list[StageEffect]:
    """Every other level of a factor against the reference, task by task under its headline metric."""
    rows = spread_out(onset.read(folder))
    rows = rows[rows["metric"].isin(HEADLINES)]
    made = []
    for _, of_task in rows.groupby("task", sort=True):
        named = of_task.assign(**{STAGE: of_task[factor].replace({reference: BASE})})
        base = named[named[STAGE] == BASE]
        fitted = threshold(base)
        for level, others in named[named[STAGE] != BASE].groupby(STAGE, sort=True):
            both = pd.concat([base, others], ignore_index=True)
            made.append(stage_effect(both, fitted, threshold(others), str(level)))
    return made


def table(effects: list[StageEffect], factor: str, reference: str) -> list[str]:
    """Rows of a Markdown table."""
    lines = []
    for one in effects:
        at = one.at_equal_loss
        pp = (
            "not asked"
            if at is None or at.pp is None
            else f"{at.pp:+.1f} [{at.low:+.1f}, {at.high:+.1f}], {at.verdict}"
        )
        ability = one.task.removeprefix("world_").removesuffix("_en")
        lines.append(f"| {factor}: {one.stage} for {reference} | {ability} | {_nats(one)} | {one.verdict} | {pp} |")
    return lines


def _nats(one: StageEffect) -> str:
    if one.nats is not None:
        return f"{one.nats:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
    if one.low is not None:
        return f"at least {one.low:+.3f}"
    return f"at most {one.high:+.3f}" if one.high is not None else "not told"


def at_loss(folder: Path, factor: str, reference: str, loss: float) -> list[str]:
    """Scores of each level at one loss, between the checkpoints of each run, and Welch's interval of the difference."""
    rows = spread_out(onset.read(folder))
    rows = rows[rows["metric"].isin(HEADLINES) & (rows["loss_name"] == rows["loss_name"].iloc[0])]
    lines = []
    for task, of_task in rows.groupby("task", sort=True):
        levels: dict[str, list[float]] = {}
        for (level, _), run in of_task.groupby([factor, "run"]):
            run = run.sort_values("loss")
            if run["loss"].min() <= loss <= run["loss"].max():
                levels.setdefault(str(level), []).append(float(np.interp(loss, run["loss"], 100 * run["score"])))
        ability = str(task).removeprefix("world_").removesuffix("_en")
        for level, scores in levels.items():
            told = f"{np.mean(scores):.0f} ({min(scores):.0f} to {max(scores):.0f}, {len(scores)} runs)"
            apart = "" if level == reference else _welch(scores, levels[reference])
            lines.append(f"| {ability} | {level} | {told} | {apart} |")
    return lines


def _welch(scores: list[float], others: list[float]) -> str:
    found = stats.ttest_ind(scores, others, equal_var=False)
    low, high = found.confidence_interval(0.95)
    return f"{np.mean(scores) - np.mean(others):+.0f} [{low:+.0f}, {high:+.0f}]"


def gaps(folder: Path) -> list[str]:
    """Training loss at the end of each run against its held-out loss, in nats per token."""
    lines = []
    for run in sorted(folder.glob("runs/*/run.json")):
        about = json.loads(run.read_text(encoding="utf-8"))
        if about.get("start") or not (run.parent / "DONE").is_file():
            continue
        told = [
            json.loads(line)["loss"] for line in (run.parent / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        end = float(np.mean(told[-max(1, int(LAST * len(told))) :]))
        last = pd.read_parquet(sorted((run.parent / "loss").glob("*.parquet"))[-1])
        held = float(last["nats_per_token"].iloc[0])
        lines.append(f"| {about['run']} | {about['params'] / 1e3:.0f} k | {end:.3f} | {held:.3f} | {held - end:+.3f} |")
    return lines


def figure(parts: dict[str, list[StageEffect]], path: Path) -> None:
    """Shifts of onset with their intervals, one panel a factor."""
    told = pd.DataFrame(
        [
            {"factor": name, "level": one.stage, "ability": one.task.removeprefix("world_").removesuffix("_en"),
             "shift": one.nats, "low": one.low, "high": one.high}
            for name, effects in parts.items()
            for one in effects
            if one.nats is not None
        ]
    )  # fmt: skip
    told = told.assign(row=told["ability"] + ", " + told["level"])
    x = alt.X("low:Q", title="shift of the onset loss in nats (right: sets in earlier)")
    row = alt.Y("row:N", title=None)
    base = alt.Chart(told).encode(y=row, color=alt.Color("level:N", title=None))
    drawn = base.mark_rule().encode(x=x, x2="high:Q") + base.mark_point(filled=True, size=50).encode(x="shift:Q")
    zero = alt.Chart(told).mark_rule(strokeDash=[3, 3]).encode(x=alt.datum(0))
    (zero + drawn).properties(width=260).facet(column=alt.Column("factor:N", title=None)).resolve_scale(
        y="independent"
    ).save(path, scale_factor=1.5)


def main() -> None:
    """Write link.md's tables to standard output, and the figure."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("optimizers", "architectures", "tuned"):
        asked.add_argument(f"--{name}", type=Path)
    asked.add_argument("--at", type=float, help="also tell scores of architectures at this loss")
    asked.add_argument("--out", type=Path, default=Path("out"))
    given = asked.parse_args()
    studies = (
        ("optimizers", "optimizer", "adamw"),
        ("architectures", "architecture", "transformer"),
        ("tuned", STAGE, BASE),
    )
    parts: dict[str, list[StageEffect]] = {}
    print("| factor | ability | shift of the onset, nats | verdict | at equal loss, pp |\n|---|---|---|---|---|")
    for name, factor, reference in studies:
        if (folder := getattr(given, name)) is not None:
            parts[factor] = shifts(folder, factor, reference)
            print("\n".join(table(parts[factor], factor, reference)), flush=True)
    if given.at is not None and given.architectures is not None:
        print(f"\n| ability | architecture | score at {given.at:g} | difference |\n|---|---|---|---|")
        print("\n".join(at_loss(given.architectures, "architecture", "transformer", given.at)), flush=True)
    print("\n" + "\n".join(one.why for one in foretelling(parts.get(STAGE, ()))))
    print("\n| run | parameters | training loss | held-out loss | gap |\n|---|---|---|---|---|")
    for name, _, _ in studies:
        if (folder := getattr(given, name)) is not None:
            print("\n".join(gaps(folder)), flush=True)
    figure(parts, given.out / "link.png")


if __name__ == "__main__":
    main()
