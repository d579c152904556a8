"""Made-up analyses to draw: twelve tasks of a small world, and a hostile table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from onset.analysis.findings import Analysis, Finding, SizeEffect
from onset.analysis.result import Interval
from onset.report.facts import StudyFacts

ONSETS = {
    "facts": 1.25,
    "scripts": None,
    "reading": 0.93,
    "coreference": 1.1,
    "exam": 0.86,
    "arithmetic": 0.95,
}
CHANCES = {"facts": 0.02, "scripts": 0.25, "reading": 0.0, "coreference": 0.5, "exam": 0.25, "arithmetic": 0.0}


def make_runs() -> list[dict[str, object]]:
    runs: list[dict[str, object]] = []
    for width, params in ((48, 158_000), (96, 537_000), (160, 1_420_000)):
        runs.append({"run": f"traj-w{width}", "params": params, "tokens": 24e6, "group": "trajectory", "n": 14})
    for params in (90_000, 158_000, 300_000, 537_000):
        for tokens in (2e6, 5e6, 12e6):
            runs.append({"run": f"grid-{params}-{tokens:.0f}", "params": params, "tokens": tokens, "group": "grid",
                         "n": 3})  # fmt: skip
    return runs


def loss_of(params: float, tokens: float) -> float:
    return 0.76 + 0.9 * (params / 1e5) ** -0.5 * 0.12 + 0.7 * (tokens / 1e6) ** -0.8


def observations(runs: list[dict[str, object]], seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    rows = []
    for run in runs:
        for share in np.geomspace(0.04, 1, int(run["n"])):  # type: ignore[call-overload]
            tokens = float(run["tokens"]) * share  # type: ignore[arg-type]
            loss = loss_of(float(run["params"]), tokens) + draw.normal(0, 0.004)  # type: ignore[arg-type]
            for kind, onset in ONSETS.items():
                for language in ("en", "zh"):
                    eta = None if onset is None else onset - (0.03 if language == "zh" else 0.0)
                    rows += _scores(run, tokens, loss, kind, language, eta, draw)
    return pd.DataFrame(rows)


def _scores(run, tokens, loss, kind, language, eta, draw):  # type: ignore[no-untyped-def]
    chance = CHANCES[kind]
    ability = max(0.0, 1.9 - loss) / 1.2 if eta is None else 1 - math.exp(-max(0.0, eta - loss) / 0.05)
    p = chance + (1 - chance) * min(1.0, ability)
    score = draw.binomial(200, min(p, 0.995)) / 200
    common = {
        "run": run["run"], "family": "world", "params": run["params"], "tokens": tokens, "step": int(tokens // 4096),
        "flops": 6.3 * float(run["params"]) * tokens, "loss": loss, "loss_name": "world", "loss_unit": "nats/token",
        "language": language, "task": f"world_{kind}_{language}", "n_examples": 200,
    }  # fmt: skip
    headline = "exact_match" if kind in ("facts", "arithmetic", "reading") else "accuracy"
    brier = (1 - p) * (1 - chance) if headline == "accuracy" else None
    rows = [
        {**common, "metric": headline, "score": score, "chance": chance, "stderr": math.sqrt(p * (1 - p) / 200)},
        {**common, "metric": "gold_bits_per_byte", "score": 1.5 * loss - 0.6 * ability, "chance": None, "stderr": 0.01},
    ]
    if brier is not None:
        soft = chance + (p - chance) * 0.9 + draw.normal(0, 0.01)
        rows.append({**common, "metric": "correct_choice_prob", "score": soft, "chance": chance, "stderr": 0.01})
        rows.append({**common, "metric": "brier", "score": brier, "chance": 1 - chance, "stderr": 0.01})
    return rows


def finding(rows: pd.DataFrame, eta: float | None, verdict: str) -> Finding:
    task, metric = str(rows["task"].iloc[0]), str(rows["metric"].iloc[0])
    lower = metric in ("brier", "gold_bits_per_byte")
    ordered = rows.sort_values("loss")
    smooth = ordered["score"].rolling(9, min_periods=1, center=True).mean()
    curve = pd.DataFrame(
        {"loss": ordered["loss"], "score": smooth, "low": smooth - 0.03, "high": smooth + 0.03}
    ).reset_index(drop=True)
    residuals = pd.DataFrame(
        {"run": ordered["run"], "params": ordered["params"], "loss": ordered["loss"],
         "residual": ordered["score"] - smooth}
    )  # fmt: skip
    verdicts = {"accuracy": "collapses", "exact_match": "size_matters", "brier": "unresolved"}
    chance = ordered["chance"].iloc[0]
    return Finding(
        task=task, metric=metric, loss_name="world", direction="lower" if lower else "higher",
        chance=None if pd.isna(chance) else float(chance), n_points=len(rows), n_runs=rows["run"].nunique(),
        spearman=float(rows["score"].corr(rows["loss"], method="spearman")),
        pearson=float(rows["score"].corr(rows["loss"])),
        verdict=verdict, why="a made-up reason.",  # type: ignore[arg-type]
        threshold=Interval(eta, eta - 0.011, eta + 0.012) if eta and verdict == "emergent" else None,
        collapse=SizeEffect(verdicts.get(metric, "unresolved"), 0.13, -0.4, 0.66, 1.0),  # type: ignore[arg-type]
        predictors={"loss": {"r2_left_out": 0.97, "error_points": 2.1}, "flops": {"r2_left_out": 0.81,
                    "error_points": 6.0}, "params": {"r2_left_out": 0.2, "error_points": 20.0},
                    "tokens": {"r2_left_out": None, "error_points": None}},
        curve=curve, residuals=residuals,
    )  # fmt: skip


def make_analysis() -> Analysis:
    table = observations(make_runs())
    findings = []
    for (task, metric), rows in table.groupby(["task", "metric"], sort=False):
        _, kind, language = str(task).split("_")
        onset = ONSETS[kind]
        eta = None if onset is None else onset - (0.03 if language == "zh" else 0.0)
        verdict = "smooth" if eta is None or metric == "gold_bits_per_byte" else "emergent"
        findings.append(finding(rows, eta, verdict))
    return Analysis(source="a made-up study", findings=tuple(findings), observations=table)


def make_facts() -> StudyFacts:
    runs = make_runs()
    table = observations(runs)
    frame = pd.DataFrame(
        [
            {"run": run["run"], "family": "world", "group": run["group"], "params": run["params"],
             "tokens": run["tokens"], "steps": int(float(run["tokens"]) // 4096),  # type: ignore[arg-type]
             "loss": loss_of(float(run["params"]), float(run["tokens"])), "status": "done"}  # type: ignore[arg-type]
            for run in runs
        ]
    )  # fmt: skip
    training = table.drop_duplicates(["run", "tokens"])[["run", "params", "tokens", "loss"]]
    items = pd.DataFrame(
        [
            {"task": "world_exam_en", "item": "exam-1", "prompt": "Question: What is the capital of Tolin?\nA. Bera\n"
             "B. Kust\nC. Velo\nD. Marn\nAnswer:", "gold": "C", "smallest": "A", "largest": "C",
             "smallest_right": False, "largest_right": True},
            {"task": "world_facts_zh", "item": "facts-7", "prompt": "问：托林的首都是哪里？\n答：", "gold": "维洛",
             "smallest": "贝拉", "largest": "维洛", "smallest_right": False, "largest_right": True},
        ]
    )  # fmt: skip
    return StudyFacts(
        name="demo", runs=frame, training=training, floor={"all": 0.765, "en": 0.75, "zh": None}, items=items,
        failed=pd.DataFrame([{"run": "grid-x", "why": "the loss was not finite at step 120"}]),
        counts={"questions asked": 28_800, "prompts cut to fit": 0}, seconds=431.0, digest="0a1b2c3d4e5f",
        smallest="grid-90000-2000000", largest="traj-w160",
    )  # fmt: skip


@pytest.fixture(scope="session")
def analysis() -> Analysis:
    return make_analysis()


@pytest.fixture(scope="session")
def facts() -> StudyFacts:
    return make_facts()
