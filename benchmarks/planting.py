"""Plants the truth: seeded curves of score on loss, from families of runs, whose right answer is known.

A planted curve is a table of observations as anyone would hand it in, with the law, the threshold
and the size effect that made it. The kinds are meant to be unlike each other and unlike the laws
that `onset.stats` fits: sharp, bent, stepped and saturating onsets; corners rounded over a continuum of widths; smooth
curves whose scales run down to where no data could tell them from a threshold; chance with the faults of real tables.

What is true. A curve is *emergent* if it is exactly zero above its threshold, or rounded there over at most
``ROUNDED`` of its rise span (threshold less lowest loss); it is *smooth* if it is positive everywhere. No scale is left
out between the two, so some curves of either class are like one of the other: ``planted.could_tell`` says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from planted_scores import CHANCE, Array, Curve, measured

EMERGENT = (
    "straight", "bent_up", "bent_down", "saturating", "sudden", "jump", "hard_ceiling",
    "two_stage", "wavy", "shallow", "late", "joined", "logarithmic", "tanh", "overshoot", "dip_before", "staircase",
)  # fmt: skip
CORNERS = ("rounded", "rounded_bent")
"""Hinges with a corner (softplus) of any width: emergent where it is narrow, else smooth."""
ROUNDED = 0.06
"""Widest corner of an emergent curve, in rise spans."""
SMOOTH = (
    "logistic", "exponential", "linear", "power", "quadratic", "concave", "probit", "two_stage_smooth", "skewed",
    "gompertz", "cubic", "arctan", "hill", "cosine", "already_there", "falling_short",
)  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """One planted curve: its table and the truth behind it."""

    observations: pd.DataFrame
    kind: str
    verdict: str
    """``emergent``, ``smooth`` or ``at_chance``."""
    eta: float | None
    """The planted threshold (nats), where there is one."""
    effect: float
    """Points of score (0.01) that ten times the parameters add where the ability is there."""
    curve: Curve
    """Score on loss without noise and without size effect."""
    facts: dict[str, Any] = field(default_factory=dict)

    def onset(self, delta: float = 0.02) -> tuple[float, float] | None:
        """Highest loss seen at which the curve is ``delta`` beyond chance, and the onset width; None if it never is."""
        seen = self.observations["loss"]
        loss = np.linspace(float(seen.min()), float(seen.max()), 20001)
        excess = np.abs(self.curve(loss) - self.facts["chance"])
        if not (excess >= delta).any():
            return None
        onset = float(loss[excess >= delta].max())
        return onset, onset - float(loss[excess >= excess[0] / 2].max())


@dataclass(frozen=True)
class Design:
    """What is measured: sizes, checkpoints, losses, items, and how noisy it is."""

    sizes: int
    checkpoints: int
    items: int
    high: float
    low: float
    chance: float
    run_noise: float
    """Standard deviation between runs, in score, where the ability is there."""
    drift: float
    """Standard deviation of what neighbouring checkpoints share, in score."""
    loss_noise: float
    """Standard deviation of the measured loss, nats."""
    effect: float
    spacing: str
    """How checkpoints are spread: ``log`` or ``linear`` in tokens, or ``even`` in loss."""
    known_items: bool = True
    lower_is_better: bool = False
    run_shift: float = 0.0
    """Standard deviation between runs of where the ability sets in, nats."""
    families: int = 1
    family_offset: float = 0.0
    """Standard deviation between families, in score, where the ability is there."""
    bad_run: str = ""
    """'' or what is wrong with one run: ``shifted``, ``noisy`` or ``short``."""


def design(rng: np.random.Generator, **given: Any) -> Design:
    """A design drawn over the ranges that published tables have; ``given`` fixes fields."""
    high, low = [(4.0, 1.7), (3.6, 2.0), (6.1, 2.4), (1.5, 0.82), (5.0, 0.85), (3.0, 1.9)][rng.integers(6)]
    drawn: dict[str, Any] = {
        "sizes": int(rng.integers(2, 7)),
        "checkpoints": int(rng.integers(5, 41)),
        "items": round(np.exp(rng.uniform(np.log(100), np.log(5000)))),
        "high": high,
        "low": low,
        "chance": float(rng.choice([0.0, 0.2, 0.25, 0.25, 0.25, 0.273, 0.5])),
        "run_noise": float(rng.choice([0.0, 0.003, 0.006, 0.012])),
        "drift": float(rng.choice([0.0, 0.0, 0.004, 0.008])),
        "loss_noise": float(rng.choice([0.0, 0.0, 0.002, 0.006])) * (high - low),
        "effect": float(rng.choice([0.0, 0.0, 1.0, 3.0, 5.0])),
        "run_shift": float(rng.choice([0.0, 0.0, 0.002, 0.006])) * (high - low),
        "families": int(rng.choice([1, 1, 1, 2, 3])),
        "family_offset": float(rng.choice([0.0, 0.01, 0.02])),
        "spacing": str(rng.choice(["log", "log", "linear", "even"])),
        "known_items": bool(rng.random() < 0.85),
        "lower_is_better": bool(rng.random() < 0.15),
        "bad_run": str(rng.choice(["", "", "", "", "", "", "", "shifted", "noisy", "short"])),
    }
    return Design(**{**drawn, **given})


def runs(design: Design, rng: np.random.Generator) -> pd.DataFrame:
    """The checkpoints: ``run, params, tokens, step, loss, family`` (the loss without measurement noise)."""
    sizes = np.geomspace(1e8, 1e8 * 10 ** rng.uniform(0.6, 2.3), design.sizes)
    families = min(design.families, design.sizes)
    span = design.high - design.low
    # The smallest run ends somewhat above the lowest loss of all, as in any family.
    shortfall = rng.uniform(0.05, 0.35) * span
    frames = []
    for index, params in enumerate(sizes):
        place = index / max(design.sizes - 1, 1)
        end = design.low + shortfall * (1 - place) ** 1.5
        start = design.high * (1 - 0.02 * rng.random())
        part = np.linspace(0, 1, design.checkpoints)
        if design.spacing == "log":
            tokens = 1e9 * 300**part
        else:
            tokens = 3e11 * (part + 1 / design.checkpoints) / (1 + 1 / design.checkpoints)
        if design.spacing == "even":
            loss = start + (end - start) * part
        else:
            fall = tokens ** -rng.uniform(0.15, 0.35)
            fall = (fall - fall.min()) / (fall.max() - fall.min())
            loss = end + (start - end) * fall
        if design.bad_run == "short" and index == 0:
            keep = slice(0, max(3, design.checkpoints // 2))
            loss, tokens = loss[keep], tokens[keep]
        frames.append(
            pd.DataFrame(
                {
                    "run": f"run-{index}", "params": int(params), "tokens": tokens.astype(np.int64),
                    "step": np.arange(1, len(loss) + 1), "loss": loss, "family": f"family-{index % families}",
                }
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def plant(kind: str, seed: int, *, eta: float | None = None, **given: Any) -> Planted:
    """One planted curve of a kind; ``given`` fixes fields of the design and ``eta`` the threshold."""
    rng = np.random.default_rng([seed, *kind.encode()])
    plan = design(rng, **given)
    table = runs(plan, rng)
    curve, truth, threshold = law(kind, plan, np.sort(table["loss"].to_numpy()), rng, eta)
    facts = {**vars(plan), "seed": seed, "corner": getattr(curve, "corner", None)}
    observations = measured(table, plan, curve, rng, kind)
    return Planted(observations, kind, truth, threshold, plan.effect, curve, facts)


def law(
    kind: str, plan: Design, losses: Array, rng: np.random.Generator, eta: float | None = None
) -> tuple[Curve, str, float | None]:
    """A curve of a kind as a function of loss, the right verdict, and the threshold if there is one."""
    span = plan.high - plan.low
    room = 1 - plan.chance
    if kind in (*EMERGENT, *CORNERS):
        if eta is None:
            # Between the losses seen, so that some are above and some below.
            fraction = rng.uniform(0.18, 0.7) if kind != "late" else rng.uniform(0.1, 0.18)
            eta = float(np.quantile(losses, fraction))
        below = eta - plan.low
        top = room * rng.uniform(0.25, 0.85)
        if kind in CORNERS:
            corner, power = _scale(rng, 0.003, 0.3), 1.0 if kind == "rounded" else rng.uniform(0.8, 1.4)
            curve = Rounded(eta, below, corner, top, power, plan.chance)
            return (curve, "emergent", eta) if corner <= ROUNDED else (curve, "smooth", None)
        shape = _onset(kind, eta, below, span, top, room, rng)
        return (lambda loss: plan.chance + np.minimum(shape(loss), room)), "emergent", eta
    if kind in SMOOTH:
        shape = _smooth(kind, plan, span, room, rng)
        return (lambda loss: plan.chance + np.clip(shape(loss), 0, room)), "smooth", None
    return (lambda loss: np.full(np.shape(loss), plan.chance)), "at_chance", None


def _onset(
    kind: str, eta: float, below: float, span: float, top: float, room: float, rng: np.random.Generator
) -> Curve:
    def depth(loss: Array) -> Array:
        return np.maximum(eta - loss, 0) / below

    if kind in ("straight", "late"):
        return lambda loss: top * depth(loss)
    if kind == "shallow":
        low = rng.uniform(0.08, 0.2) * room
        return lambda loss: low * depth(loss)
    if kind == "bent_up":
        power = rng.uniform(1.2, 2.0)
        return lambda loss: top * depth(loss) ** power
    if kind == "bent_down":
        power = rng.uniform(0.5, 0.85)
        return lambda loss: top * depth(loss) ** power
    if kind == "saturating":
        pace = rng.uniform(0.1, 0.5)
        return lambda loss: min(1.15 * top, room) * -np.expm1(-depth(loss) / pace)
    if kind == "jump":
        # From chance to a plateau within a hundredth of a nat or two.
        width = rng.uniform(0.002, 0.02)
        return lambda loss: top * np.clip((eta - loss) / width, 0, 1)
    if kind == "sudden":
        width = min(span * rng.uniform(0.02, 0.08), 0.7 * below)
        power = rng.uniform(0.7, 1.6)
        return lambda loss: room * np.minimum((np.maximum(eta - loss, 0) / width) ** power, 1)
    if kind == "hard_ceiling":
        knee = rng.uniform(0.3, 0.7)
        return lambda loss: top * np.minimum(depth(loss) / knee, 1)
    if kind == "two_stage":
        first, second = rng.uniform(0.2, 0.35), rng.uniform(0.5, 0.7)
        return lambda loss: (
            top * (0.5 * np.minimum(depth(loss) / first, 1) + 0.5 * np.maximum(depth(loss) - second, 0) / (1 - second))
        )
    if kind == "wavy":
        turns, depth_of_wave = rng.uniform(1, 2), rng.uniform(0.05, 0.12)
        return lambda loss: (
            top * (depth(loss) + depth_of_wave * np.sin(2 * np.pi * turns * depth(loss)) * (depth(loss) > 0))
        )
    if kind == "joined":
        # A parabola that goes over into its tangent.
        knee = rng.uniform(0.05, 0.2)
        return lambda loss: (
            top * np.where(depth(loss) < knee, depth(loss) ** 2 / (2 * knee), depth(loss) - knee / 2) / (1 - knee / 2)
        )
    if kind == "logarithmic":
        pace = rng.uniform(0.1, 0.5)
        return lambda loss: top * np.log1p(depth(loss) / pace) / np.log1p(1 / pace)
    if kind == "tanh":
        pace = rng.uniform(0.25, 0.8)
        return lambda loss: top * np.tanh(depth(loss) / pace)
    if kind == "overshoot":
        peak = rng.uniform(0.5, 0.8)
        return lambda loss: top * (np.minimum(depth(loss) / peak, 1) - 0.3 * np.maximum(depth(loss) - peak, 0))
    if kind == "dip_before":
        # A little worse than chance just before the ability sets in.
        fall, wide = rng.uniform(0.005, 0.02), span * rng.uniform(0.03, 0.08)
        return lambda loss: (
            top * depth(loss) - np.where(loss > eta, fall * np.exp(-((loss - eta - wide) ** 2) / (2 * wide**2)), 0.0)
        )
    if kind == "staircase":
        steps = int(rng.integers(3, 6))
        return lambda loss: top * np.ceil(depth(loss) * steps - 1e-9) / steps
    raise ValueError(kind)


@dataclass(frozen=True)
class Rounded:
    """A hinge whose corner is a softplus, ``corner`` rise spans wide."""

    eta: float
    below: float
    """Rise span, nats."""
    corner: float
    top: float
    power: float
    chance: float

    def __call__(self, loss: Array) -> Array:
        """Score on loss."""
        width = self.corner * self.below
        depth = width * np.logaddexp(0, (self.eta - loss) / width) / self.below
        return np.asarray(self.chance + np.minimum(self.top * depth**self.power, 1 - self.chance))


def _scale(rng: np.random.Generator, low: float, high: float) -> float:
    """A scale between two, uniform in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _smooth(kind: str, plan: Design, span: float, room: float, rng: np.random.Generator) -> Curve:
    high, low = plan.high, plan.low
    top = room * rng.uniform(0.3, 0.95)
    if kind == "logistic":
        middle, width = low + span * rng.uniform(0.0, 0.6), span * _scale(rng, 0.02, 0.3)
        return lambda loss: top / (1 + np.exp((loss - middle) / width))
    if kind == "probit":
        middle, width = low + span * rng.uniform(0.1, 0.6), span * _scale(rng, 0.04, 0.5)
        from scipy.special import ndtr

        return lambda loss: top * ndtr((middle - loss) / width)
    if kind == "skewed":
        middle, width, skew = low + span * rng.uniform(0.1, 0.6), span * _scale(rng, 0.02, 0.3), rng.uniform(0.5, 1.5)
        return lambda loss: top / (1 + np.exp((loss - middle) / width)) ** skew
    if kind == "exponential":
        pace = span * _scale(rng, 0.04, 0.5)
        return lambda loss: top * np.exp(-(loss - low) / pace)
    if kind == "linear":
        first = rng.uniform(0.02, 0.3) * top
        return lambda loss: first + (top - first) * (high - loss) / span
    if kind == "quadratic":
        first = rng.uniform(0.02, 0.2) * top
        return lambda loss: first + (top - first) * ((high - loss) / span) ** 2
    if kind == "concave":
        power = rng.uniform(0.5, 0.9)
        return lambda loss: top * ((high * 1.05 - loss) / (high * 1.05 - low)) ** power
    if kind == "power":
        power = rng.uniform(1.5, 5)
        return lambda loss: top * (loss / low) ** -power
    if kind == "two_stage_smooth":
        first, second = low + span * rng.uniform(0.5, 0.8), low + span * rng.uniform(0.0, 0.3)
        wide, narrow = span * _scale(rng, 0.04, 0.2), span * _scale(rng, 0.03, 0.15)
        return lambda loss: (
            0.5 * top / (1 + np.exp((loss - first) / wide)) + 0.5 * top / (1 + np.exp((loss - second) / narrow))
        )
    if kind == "gompertz":
        middle, width = low + span * rng.uniform(0.05, 0.5), span * _scale(rng, 0.05, 0.5)
        return lambda loss: top * np.exp(-np.exp((loss - middle) / width))
    if kind == "cubic":
        first, bend = rng.uniform(0.01, 0.1) * top, rng.uniform(2.2, 3.2)
        return lambda loss: first + (top - first) * (np.maximum(high - loss, 0) / span) ** bend
    if kind == "arctan":
        middle, width = low + span * rng.uniform(0.0, 0.6), span * _scale(rng, 0.02, 0.2)
        return lambda loss: top * (0.5 - np.arctan((loss - middle) / width) / np.pi)
    if kind == "hill":
        middle, steep = low * rng.uniform(0.9, 1.5), _scale(rng, 3, 25)
        return lambda loss: top / (1 + (loss / middle) ** steep)
    if kind == "cosine":
        return lambda loss: top * (0.5 + 0.5 * np.cos(np.pi * np.clip((loss - low) / (1.1 * span), 0, 1)))
    if kind == "already_there":
        return lambda loss: top * (0.8 + 0.2 * (high - loss) / span)
    if kind == "falling_short":
        # Rises from the start and then stays where it is.
        pace = span * rng.uniform(0.1, 0.3)
        return lambda loss: top * -np.expm1(-(1.08 * high - loss) / pace)
    raise ValueError(kind)


def chosen(count: int, seed: int, kinds: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Kind and seed of ``count`` curves: 42 % emergent, 33 % smooth, 17 % chance, 8 % rounded; or ``kinds`` in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        if kinds:
            kind = kinds[index % len(kinds)]
        else:
            group = (EMERGENT, SMOOTH, CHANCE, CORNERS)[rng.choice(4, p=[0.42, 0.33, 0.17, 0.08])]
            kind = group[rng.integers(len(group))]
        found.append((kind, seed * 100_003 + index))
    return found


def mixture(count: int, seed: int, kinds: Sequence[str] = ()) -> Iterator[Planted]:
    """The curves of `chosen`, planted one by one."""
    return (plant(kind, own_seed) for kind, own_seed in chosen(count, seed, kinds))
