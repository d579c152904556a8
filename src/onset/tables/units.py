"""Units of a table: losses, counts that look like millions, scores in percent, bits mixed with nats.

Nothing is guessed in silence: what is read otherwise than it stands is told, and counts that cannot be counts are
asked about.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from onset.metrics import info as metrics
from onset.tables.distinct import each
from onset.tables.validation import Reasons, short

NATS = "nats/token"
UNITS = {
    NATS: ("nats", "nats_per_token", "nats/token"),
    "bits/byte": ("bpb", "bits_per_byte", "bits/byte"),
    "unigram-normalised": ("unigram", "unigram_normalised", "unigram-normalised"),
}
"""Units of loss and what they may be called."""

FEWEST = 1e5
"""A largest model of fewer parameters, or a longest run of fewer tokens, may be in millions or billions."""
TOKENS_A_PARAMETER = 1e-3
"""A longest run of fewer tokens for each parameter of the largest model is in millions or billions."""
TOKENS_A_STEP = 32
"""So many tokens or more at each step of the optimizer are counts: few batches hold as many millions."""
MOST_A_PARAMETER = 1e5
"""More counted tokens for each parameter, and the parameters are in millions or billions."""
BITS = 1 / math.log(2.0)
"""Bits in a nat."""
WHOLE = 0.02
"""How far a number of right items may lie from a whole one, for rounding."""
CLOSE = 0.015
"""Relative difference within which a ratio of two losses is taken for that of bits to nats."""


def loss_unit(name: str) -> str:
    """The unit of loss by its canonical name; a word that is none of ``UNITS`` is taken as it is."""
    return next((unit for unit, names in UNITS.items() if name in names), name)


def doubtful_counts(frame: pd.DataFrame) -> list[str]:
    """Questions about params and tokens that can hardly be counts: "618 parameters in the largest model?".

    Small trainings are no cause to ask: tokens are counts where each step has enough of them, and then so are the
    parameters that go with them.
    """
    asked = []
    advice = "are counts: multiply by 1e6 where they are in millions, by 1e9 where in billions"
    params, tokens = frame.params.max(), frame.tokens.max()
    counted = _tokens_a_step(frame) >= TOKENS_A_STEP
    small = 0 < params < FEWEST and not (counted and tokens <= MOST_A_PARAMETER * params)
    if small:
        asked.append(f"{short(params)} parameters in the largest model? 'params' {advice}")
    if tokens > 0 and not counted and (tokens < TOKENS_A_PARAMETER * params or (small and tokens < FEWEST)):
        asked.append(f"{short(tokens)} tokens in the longest run? 'tokens' {advice}")
    return asked


def _tokens_a_step(frame: pd.DataFrame) -> float:
    """Tokens of a step, the median; NaN where steps are not known."""
    rows = frame.loc[(frame.step > 0) & (frame.tokens > 0), ["step", "tokens"]]
    return float((rows.tokens / rows.step).median()) if len(rows) else math.nan


def as_fractions(frame: pd.DataFrame) -> tuple[pd.DataFrame, Reasons, list[str]]:
    """Scores in percent as fractions, rows that mix the two in one metric, and notes on what was read how."""
    percent, mixed = _percentages(frame)
    notes = []
    if percent.any():
        names = ", ".join(f"'{name}'" for name in sorted(frame.metric[percent].unique()))
        notes.append(f"scores of {names} were given in percent and are read as fractions")
        frame = frame.copy()
        whole = frame.chance[percent].max() > 1
        columns = ["score", "stderr", "chance"] if whole else ["score", "stderr"]
        frame.loc[percent, columns] = frame.loc[percent, columns] / 100
    return frame, mixed, notes


def _percentages(frame: pd.DataFrame) -> tuple[pd.Series, Reasons]:
    """Which rows' scores are percentages, and the rows that mix the two in one metric.

    A metric that is a share (accuracy, exact match) is in percent when most of its scores other than 0 are above 1.
    Then a score of 1 or less is believed only where small percentages are to be expected: no chance level, and
    like scores at neighbouring losses. A metric of right and wrong items without a score above 1 follows the others
    of its table: an exact match of 0.99 beside accuracies in percent is 0.99 %.
    """
    share = each(frame.metric, metrics.is_share).astype(bool)
    above = share & (frame.score > 1 + 1e-9)
    percent = pd.Series(False, index=frame.index)
    reasons: dict[int, str] = {}
    for metric in frame.metric[above].unique():
        rows = frame[(frame.metric == metric) & share]
        large = rows.index[rows.score > 1 + 1e-9]
        small = rows.index[(rows.score > 0) & (rows.score <= 1 + 1e-9)]
        if len(large) <= len(small):
            reasons |= dict.fromkeys(large, f"looks like a percentage among fractions of metric '{metric}'")
            continue
        percent[rows.index] = True
        odd = _unlike_neighbours(rows, small)
        reasons |= dict.fromkeys(odd, f"looks like a fraction among percentages of metric '{metric}'")
    if percent.any():
        for metric in frame.metric[share & ~percent].unique():
            rows = frame[frame.metric == metric]
            if metrics.info(metric).error == "binomial" and not (above & (frame.metric == metric)).any():
                percent[rows.index] = _follows_percent(rows, frame[above])
    texts = {row: f"score {short(frame.score[row])} {text}" for row, text in reasons.items()}
    return percent, pd.Series(texts, dtype=str)


def _follows_percent(rows: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Whether scores of 1 and less are percentages: by whole counts of right items, else by the others.

    ``others`` are the table's scores in percent: a score whose hundredfold is like theirs on the same task is a
    fraction.
    """
    if (rows.chance > 1).any():
        return True
    if (rows.chance > 0.02).any():  # no model guesses right in one case of a hundred where chance is higher
        return False
    known = rows[rows.n_examples.notna() & (rows.score > 0)]
    if len(known):
        right = (known.score * known.n_examples).to_numpy(dtype=float)
        off = [float(np.abs(values - np.round(values)).max()) for values in (right, right / 100)]
        if min(off) < WHOLE < max(off):
            return off[1] < off[0]
    keys = ["run", "checkpoint", "task"]
    both = rows[rows.score > 0].merge(others[[*keys, "score"]], on=keys, suffixes=("", "_other"))
    ratio = (100 * both.score / both.score_other).median() if len(both) else math.nan
    return not 0.33 < ratio < 3.0


def _unlike_neighbours(rows: pd.DataFrame, small: pd.Index) -> list[int]:
    """Scores of 1 or less in a table of percentages that are fractions by the scores at neighbouring losses.

    A hundred times the score must fit the neighbours, and the score itself be far below three quarters of them.
    """
    odd: list[int] = []
    for _, group in rows[rows.task.isin(rows.task[small].unique())].groupby(["task", "family"], sort=False):
        ordered = group.sort_values("loss", kind="stable")
        near = ordered.score.rolling(9, center=True, min_periods=1)
        fits = (ordered.score * 100 <= 2 * near.max()) & (ordered.score < 0.03 * near.quantile(0.25))
        above_chance_level = ordered.chance.fillna(0) > 0.02
        odd += [int(row) for row in ordered.index[ordered.index.isin(small) & (fits | above_chance_level)]]
    return odd


def mixed_units(frame: pd.DataFrame) -> list[str]:
    """Notes on losses of one name that seem to be in bits for some runs and in nats for others."""
    notes = []
    keys = ["run", "params", "tokens", "loss"]
    for name, rows in frame[["loss_name", *keys]].groupby("loss_name", sort=True):
        track = rows.drop_duplicates(keys)[keys].sort_values(["run", "tokens"], kind="stable")
        notes += _jumps(track, str(name)) + _pairs(track, str(name))
    return notes


def _jumps(track: pd.DataFrame, name: str) -> list[str]:
    """Runs whose loss is multiplied by 1.44 from one checkpoint to the next, and stays so."""
    found = []
    ratio = track.loss / track.groupby("run").loss.shift(1)
    for run in track.run[(ratio > 0.94 * BITS) & (ratio < 1.01 * BITS)].unique():
        loss = track.loss[track.run == run].to_numpy(dtype=float)
        steps = loss[1:] / loss[:-1]
        at = int(np.argmax(steps)) + 1
        # A spike of the loss is no change of unit: one of the next checkpoints takes it back.
        undone = (steps[at:] < float(np.median(steps)) / math.sqrt(BITS)).any()
        if len(loss) - at >= 2 and not undone and (loss[at:] / BITS <= loss[:at].min() * (1 + CLOSE)).all():
            found.append(str(run))
    if not found:
        return []
    return [
        f"losses '{name}' of run {_some(found)} are multiplied by 1.44 in the middle of the run: are the later ones in "
        "bits and the earlier ones in nats?"
    ]


def _pairs(track: pd.DataFrame, name: str) -> list[str]:
    """Runs of one size and as many tokens whose losses differ by the ratio of bits to nats."""
    known = track.dropna(subset=["params", "tokens"])
    ends = known.groupby(["params", "tokens"]).loss.agg(["min", "max", "size"])
    ends = ends[ends["size"] > 1]
    near = np.abs(ends["max"] / ends["min"] / BITS - 1) < CLOSE
    if near.sum() < 3 or near.mean() < 0.8:
        return []
    return [
        f"losses '{name}' of runs of the same size and tokens differ 1.44-fold in {int(near.sum())} of {len(ends)} "
        "cases: are some in bits and others in nats?"
    ]


def _some(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
