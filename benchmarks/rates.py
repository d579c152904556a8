"""Whether the rule's learning rate is near the best one: a sweep at three widths on the embedded world.

    python benchmarks/rates.py --widths 32 48 64

Every run has the rule's batch and a cosine schedule. Rates are the rule's times 1/4 to 4; the score of a rate is the
mean training loss over the last tenth of the steps, on the same batches for all rates.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onset.data.tokenize import Materials
from onset.models.transformer import Decoder
from onset.study.presets import preset
from onset.study.spec import Run, Shape, Study
from onset.train.precision import choose
from onset.train.schedule import rate
from onset.train.step import Stepper

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
FAMILY = "tiny"
"""The preset whose world and tokenizer are used, with more text."""


def run_of(width: int, tokens_per_weight: float) -> Run:
    """A run of that width with the rule's rate and batch."""
    hidden = -(-width * 8 // 3 // 16) * 16
    shape = Shape(layers=4, width=width, heads=4, kv_heads=2, hidden=hidden, context=128, rotary_base=100.0)
    weights = 4 * (2 * width**2 + width**2 + 3 * width * hidden)
    return Run.model_validate(
        {"name": f"w{width}", "shape": shape, "tokens": int(tokens_per_weight * weights), "tuning": "rule"}
    )


def final_loss(study: Study, materials: Materials, run: Run) -> float:
    """Mean training loss over the last tenth of a run; infinite where it broke."""
    vocab = materials.vocab(run.tokenizer)
    mixture = materials.mixture(run)
    arithmetic = choose(run, vocab, precision=study.precision, threads=1, device="cpu")
    stepper = Stepper(Decoder(run.shape, vocab, run.seed), run.optimizer, arithmetic, batch=run.batch)
    losses = []
    for step in range(run.steps):
        batch = torch.from_numpy(mixture.batch(step))
        outcome = stepper.step(batch[:, :-1], batch[:, 1:], rate(run.schedule, step, run.steps))
        if not outcome.finite:
            return float("inf")
        losses.append(outcome.loss)
    return float(np.mean(losses[-max(1, run.steps // 10) :]))


def sweep(width: int, tokens_per_weight: float, folder: Path) -> dict[str, Any]:
    """All rates at one width."""
    run = run_of(width, tokens_per_weight)
    base = preset(FAMILY)
    assert base.world is not None
    study = base.model_copy(update={"world": base.world.model_copy(update={"documents": 60_000}), "runs": (run,)})
    materials = Materials(study, folder)
    materials.prepare()
    found = {}
    for factor in FACTORS:
        peak = run.schedule.peak_rate * factor
        trial = run.model_copy(update={"schedule": run.schedule.model_copy(update={"peak_rate": peak})})
        found[factor] = final_loss(study, materials, trial)
        print(f"width {width}, batch {run.batch}, {run.steps} steps, rate {peak:.4g}: {found[factor]:.4f}", flush=True)
    best = min(found, key=found.__getitem__)
    return {"width": width, "rule": run.schedule.peak_rate, "batch": run.batch, "steps": run.steps,
            "losses": found, "best_factor": best}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 48, 64])
    parser.add_argument("--tokens-per-weight", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for width in options.widths:
            results.append(sweep(width, options.tokens_per_weight, Path(folder)))
            one = results[-1]
            print(f"width {width}: the rule's rate is 1/{one['best_factor']:g} of the best on the grid", flush=True)
    good = all(0.5 <= one["best_factor"] <= 2 for one in results)
    print(f"{date.today()}: {'within' if good else 'NOT within'} a factor of two of the best at every width")
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
