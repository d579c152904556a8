"""What a study would cost, before it does: parameters, tokens, operations, memory, disk and hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onset.errors import OnsetError
from onset.study import cost
from onset.study.branching import flops_owed, nearly, trunks
from onset.study.cost import Method, Training
from onset.study.spec import Run, Study


def plan_rows(
    study: Study, rate: Callable[[Run], float], vocab: dict[str, int], method: Callable[[Run], Method]
) -> list[dict[str, Any]]:
    """One row a run. ``rate`` is the rate at which a run trains in FLOP/s; ``vocab`` gives each tokenizer's entries.

    ``method`` is how a run is computed on the machine meant. ``tokens`` and ``flops`` are the whole run's;
    ``shared_tokens`` and ``shared_flops`` are those that another run, ``trunk``, trains for it, and ``hours`` are of
    the rest; ``start`` is the checkpoint that a tuning begins from. Raises OnsetError for a run that does not fit into
    the study's memory.
    """
    rows = []
    shared = trunks(study)
    for run in study.runs:
        entries = vocab[run.tokenizer]
        flops = cost.flops(run, entries)
        trunk = shared.get(run.name)
        owed = flops_owed(run, entries, trunk)
        fit = Training(run, entries, method(run), memory_limit(study)).fit(1)
        rows.append(
            {
                "run": run.name,
                "group": run.group,
                "architecture": cost.architecture(run.shape),
                "params": cost.total_parameters(run.shape, entries),
                "params_active": cost.active_parameters(run.shape, entries),
                "tokens": run.steps * run.tokens_per_step,
                "flops": flops,
                "steps": run.steps,
                "checkpoints": len(cost.checkpoint_steps(run)),
                "memory_bytes": fit.bytes,
                "memory_by_part": fit.parts,
                "sequences_at_once": fit.sequences,
                "disk_bytes": sum(cost.disk(run, entries).values()),
                "trunk": None if trunk is None else trunk.run,
                "shared_tokens": 0 if trunk is None else trunk.steps * run.tokens_per_step,
                "shared_flops": flops - owed,
                "start": None if run.start is None else {"run": run.start.run, "step": run.start.at},
                "hours": cost.hours(owed, rate(run)),
            }
        )
    return rows


def card_rows(
    study: Study, vocab: dict[str, int], counts: Sequence[int], card: int, method: Callable[[Run], Method]
) -> list[dict[str, Any]]:
    """How each run trains on each number of cards of ``card`` bytes, one row a (run, count).

    ``bytes`` are held on each card, with ``sequences`` in hand at once; ``shards`` cards hold one copy of the model.
    Where it does not fit, ``missing`` says why and the fewest cards that would do.
    """
    rows: list[dict[str, Any]] = []
    for run in study.runs:
        training = Training(run, vocab[run.tokenizer], method(run), memory_limit(study))
        for count in counts:
            row: dict[str, Any] = {"run": run.name, "cards": count, "card_bytes": card}
            try:
                fit = training.fit(count, cost.usable(card))
            except OnsetError as error:
                least = training.least_devices(card)
                fewest = "no number of such cards holds it" if least is None else f"{least} such cards hold it"
                rows.append(row | {"fits": False, "missing": f"{error.what}; {fewest}"})
                continue
            rows.append(
                row
                | {
                    "fits": True,
                    "bytes": fit.bytes,
                    "by_part": fit.parts,
                    "shards": fit.method.shards,
                    "replicas": fit.method.replicas,
                    "sequences": fit.sequences,
                    "recompute": fit.recompute,
                }
            )
    return rows


def memory_limit(study: Study) -> int | None:
    """Bytes that the study allows a training on each device."""
    return None if study.memory_gb is None else int(study.memory_gb * 1e9)


def plan_notes(study: Study, rows: list[dict[str, Any]]) -> list[str]:
    """What the rows mean beyond their sums, a sentence each: what shared trunks save, and what could share one."""
    notes = []
    branches = [row for row in rows if row["trunk"]]
    if branches:
        tokens, flops = (sum(row[f"shared_{name}"] for row in branches) for name in ("tokens", "flops"))
        whole = sum(row["flops"] for row in rows)
        notes.append(
            f"shared trunks: {len(branches)} runs take over {tokens:,} tokens and {flops:.2g} FLOPs that another run "
            f"trains: {flops / whole:.0%} of the family's FLOPs are saved (time is of the rest)"
        )
    for base in dict.fromkeys(row["start"]["run"] for row in rows if row["start"]):
        count = sum(row["start"] is not None and row["start"]["run"] == base for row in rows)
        notes.append(f"tunings: {count} run{'s' * (count != 1)} start from checkpoints of run '{base}'")
    for names in nearly(study):
        notes.append(
            f"runs {', '.join(names)} would share a trunk with the same steps of warm-up: state warmup_steps in their "
            "schedules"
        )
    return notes
