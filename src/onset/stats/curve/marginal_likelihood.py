"""Marginal likelihoods of curve families, by adaptive importance sampling, and the Bayes factors that they give.

The parameters of a curve, its threshold among them, are averaged over their priors and not maximised: without a
threshold the threshold is not identified, and a maximum over it has no known distribution (Davies 1977, 1987). Each
family is sampled from its prior first and then from a Student t fitted to the weighted sample, with a tenth from the
prior (Cappé et al. 2008), by quasi-random numbers, so that another seed changes a log Bayes factor by a few hundredths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.special import chdtri, gammaln, logsumexp, ndtri
from scipy.stats import qmc

from onset.stats.curve.families import CurveFamily
from onset.stats.curve.likelihood import CurveLikelihood, Products, Solved
from onset.stats.data import Array, Bools

FIRST_DRAWS, DRAWS = 512, 1024
"""Curves of a family: from the prior, and in each later round."""
MOST_ROUNDS = 5
ENOUGH = 100.0
"""Effective number of curves that a family's marginal likelihood must rest on."""
NEGLIGIBLE = 8.0
"""Log marginal likelihood behind the best of its side by which a family no longer matters."""
FREEDOM = 4.0
"""Degrees of freedom of the Student t: tails heavier than any posterior's."""
FROM_PRIOR = 0.1
"""Share of curves drawn from the prior, so that nothing is out of reach."""
CLOSE = 4.0
"""Log likelihood behind the likeliest noise from which another no longer matters."""


class Solver(Protocol):
    """What weighs curves: a likelihood, or the products of some of its rows."""

    def solve(self, values: Array) -> Solved:
        """What the rows say of (m, k) curves."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Curves of one family, weighted, and what the rows say of each."""

    family: CurveFamily
    unit: Array
    """(k, d) places in the unit cube of the prior."""
    weight: Array
    """(k,) log of prior over proposal, over the number of draws: log Z is logsumexp(weight + evidence)."""
    values: Array
    """(m, k) the curves on the grid."""
    solved: Solved

    @property
    def parameters(self) -> Array:
        """(d, k) parameters; the first is the threshold where the family has one."""
        return self.family.natural(self.unit)

    @property
    def log_weight(self) -> Array:
        """(k,) log of each curve's part of the marginal likelihood."""
        return np.asarray(self.weight + self.solved.evidence)

    @property
    def log_marginal(self) -> float:
        """Log marginal likelihood of the family against no ability."""
        return float(logsumexp(self.log_weight))

    @property
    def effective(self) -> float:
        """Effective number of curves."""
        return float(1.0 / np.sum(_normal(self.log_weight) ** 2))

    def under(self, products: Products) -> Sample:
        """The same curves with what other products say of them."""
        return replace(self, solved=products.solve(self.values))

    def kept(self, keep: Bools) -> Sample:
        """Some of the curves, the heaviest always among them."""
        keep = keep.copy()
        keep[int(np.argmax(self.log_weight))] = True
        solved = self.solved
        return replace(
            self, unit=self.unit[keep], weight=self.weight[keep], values=self.values[:, keep],
            solved=Solved(solved.evidence[keep], solved.centre[keep], solved.precision[keep]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """All families under one noise."""

    likelihood: CurveLikelihood
    samples: tuple[Sample, ...]
    log_noise: float = 0.0
    """Log likelihood of the scores without ability under this noise, with the prior of the noise."""
    log_none: float = -np.inf
    """The same under the noise that explains the scores best without an ability."""
    others: tuple[ModelComparison, ...] = ()
    """The same under other noises that are about as likely: Bayes factors are averaged over them."""

    def side(self, threshold: bool) -> list[Sample]:
        """Samples of the families with a threshold, or of the smooth ones."""
        return [sample for sample in self.samples if sample.family.threshold is threshold]

    def log_marginal(self, threshold: bool) -> float:
        """Log marginal likelihood of one side against no ability, its families weighed equally."""
        return side_marginal(self.side(threshold))

    def _averaged(self, threshold: bool) -> float:
        return float(logsumexp([one.log_noise + one.log_marginal(threshold) for one in (self, *self.others)]))

    @property
    def log_bf_ability(self) -> float:
        """Any curve against no ability at all."""
        none = float(logsumexp([self.log_none, *(one.log_noise for one in (self, *self.others))]))
        return float(np.logaddexp(self._averaged(True), self._averaged(False)) - np.log(2) - none)

    @property
    def log_bf_threshold(self) -> float:
        """Curves with a threshold against smooth curves."""
        return self._averaged(True) - self._averaged(False)

    @property
    def error(self) -> float:
        """Monte Carlo standard error of ``log_bf_threshold``."""
        return float(np.hypot(_relative_error(self.side(True)), _relative_error(self.side(False))))

    def without(self, products: Products) -> tuple[float, float]:
        """Log Bayes factors for an ability and for a threshold from other products, such as those without a run."""
        on, off = (side_marginal([one.under(products) for one in self.telling(side)]) for side in (True, False))
        return float(np.logaddexp(on, off) - np.log(2)), on - off

    def telling(self, threshold: bool) -> list[Sample]:
        """The samples of one side without the curves that no subset of the rows would bring back."""
        samples = self.side(threshold)
        best = max(float(sample.log_weight.max()) for sample in samples)
        return [sample.kept(sample.log_weight > best - 25.0) for sample in samples]


def side_marginal(samples: list[Sample]) -> float:
    """Log marginal likelihood of families with equal prior weights."""
    return float(logsumexp([sample.log_marginal for sample in samples]) - np.log(len(samples)))


def first_samples(families: list[CurveFamily], grid: Array, likelihood: Solver, seed: int) -> list[Sample]:
    """Every family drawn from its prior."""
    samples = []
    for index, family in enumerate(families):
        dims = len(family.bounds)
        unit = qmc.Sobol(dims, rng=np.random.default_rng([seed, index])).random(FIRST_DRAWS)
        values = family.values(unit, grid)
        weight = np.full(FIRST_DRAWS, -np.log(FIRST_DRAWS))
        samples.append(Sample(family, unit, weight, values, likelihood.solve(values)))
    return samples


def again(samples: list[Sample], likelihood: CurveLikelihood) -> list[Sample]:
    """The same curves under another noise."""
    return [sample.under(likelihood.products) for sample in samples]


def redrawn(samples: list[Sample], grid: Array, likelihood: Solver, seed: int, count: int = DRAWS) -> list[Sample]:
    """Every family that matters drawn anew where its marginal likelihood is."""
    return [
        _redrawn(sample, grid, likelihood, np.random.default_rng([seed, index]), count) if matters else sample
        for index, (sample, matters) in enumerate(zip(samples, _matter(samples, 2 * NEGLIGIBLE), strict=True))
    ]


def settled(samples: list[Sample], grid: Array, likelihood: CurveLikelihood, seed: int) -> tuple[Sample, ...]:
    """Drawn anew until every family that matters rests on enough curves."""
    samples = list(samples)
    for round_ in range(MOST_ROUNDS):
        unsure = [
            index for index, matters in enumerate(_matter(samples, NEGLIGIBLE))
            if matters and samples[index].effective < ENOUGH and samples[index].family.name != "constant"
        ]  # fmt: skip
        if not unsure:
            break
        for index in unsure:
            rng = np.random.default_rng([seed, 100 + round_, index])
            samples[index] = _merged(samples[index], _redrawn(samples[index], grid, likelihood, rng, DRAWS))
    return tuple(samples)


def compare(
    samples: list[Sample], grid: Array, likelihoods: list[tuple[float, CurveLikelihood]], log_none: float, seed: int
) -> ModelComparison:
    """The comparison under the likeliest noise, and under others about as likely (log prior, likelihood).

    ``log_none`` is the log likelihood of no ability under the noise that suits it best: where there is no ability, what
    a curve leaves over is too little to be the noise.
    """
    found = []
    for prior, likelihood in likelihoods:
        started = redrawn(again(samples, likelihood), grid, likelihood, seed)
        final = settled(started, grid, likelihood, seed)
        log_noise = likelihood.log_likelihood_of_no_ability() + prior
        found.append(ModelComparison(likelihood, final, log_noise))
    total = [one.log_noise + max(one.log_marginal(True), one.log_marginal(False)) for one in found]
    order = sorted(range(len(found)), key=lambda index: -total[index])
    near = [found[index] for index in order if total[index] > total[order[0]] - CLOSE]
    return replace(near[0], log_none=log_none, others=tuple(near[1:]))


def mean_curve(samples: list[Sample], likelihood: CurveLikelihood | Products) -> tuple[Array, Array]:
    """Posterior mean of the ability on the grid (m,), and of the coefficients (c,), over the families given."""
    weight = _normal(np.concatenate([sample.log_weight for sample in samples]))
    products = likelihood if isinstance(likelihood, Products) else likelihood.products
    ability, coefficients, first = np.zeros(len(products.scores)), np.zeros(len(products.columns_scores)), 0
    for sample in samples:
        own = weight[first : first + len(sample.weight)]
        first += len(own)
        matter = own > 1e-9
        height = np.clip(sample.solved.centre[matter], 0.0, products.room)
        values = sample.values[:, matter]
        ability = ability + values @ (own[matter] * height)
        coefficients = coefficients + products.coefficients(values, height) @ own[matter]
    return ability, coefficients


def _matter(samples: list[Sample], behind: float) -> list[bool]:
    best = {
        side: max((one.log_marginal for one in samples if one.family.threshold is side), default=0.0)
        for side in (True, False)
    }
    return [one.log_marginal > best[one.family.threshold] - behind for one in samples]


def _relative_error(samples: list[Sample]) -> float:
    """Relative Monte Carlo error of the marginal likelihood of one side."""
    share = _normal(np.array([sample.log_marginal for sample in samples]))
    errors = np.array([1.0 / sample.effective - 1.0 / len(sample.weight) for sample in samples])
    return float(np.sqrt(np.sum(share**2 * np.maximum(errors, 0.0))))


def _merged(first: Sample, second: Sample) -> Sample:
    """Two samples of one family as one, in proportion to their effective numbers."""
    share = np.array([first.effective, second.effective])
    # A sample that missed where the marginal likelihood is may not pull it down.
    if second.log_marginal > first.log_marginal + 1.0:
        return second
    share = np.log(share / share.sum())
    solved = [
        np.concatenate([getattr(first.solved, name), getattr(second.solved, name)])
        for name in ("evidence", "centre", "precision")
    ]
    return Sample(
        first.family, np.concatenate([first.unit, second.unit]),
        np.concatenate([first.weight + share[0], second.weight + share[1]]),
        np.concatenate([first.values, second.values], axis=1), Solved(*solved),
    )  # fmt: skip


def _normal(logs: Array) -> Array:
    """Log weights as weights that sum to one."""
    found = np.exp(logs - logs.max())
    return np.asarray(found / found.sum())


def _tempered(logs: Array, least: float) -> tuple[Array, float]:
    """Weights flattened until at least ``least`` curves count, and the power that did it."""
    power, weights = 1.0, _normal(logs)
    while 1 / np.sum(weights**2) < least and power > 1e-9:
        power /= 2
        weights = _normal(power * logs)
    return weights, power


def _redrawn(sample: Sample, grid: Array, likelihood: Solver, rng: np.random.Generator, count: int) -> Sample:
    """Curves from a Student t fitted to the weighted ones, and a tenth from the prior."""
    family, dims = sample.family, len(sample.family.bounds)
    weight, power = _tempered(sample.log_weight, 5.0 * dims)
    centre = weight @ sample.unit
    off = sample.unit - centre
    # Never without any width, or one heavy curve would end the search; a flattened Gaussian is wider by its power.
    spread = 1.5 * max(power, 0.3) * (off * weight[:, None]).T @ off + 4e-8 * np.eye(dims)
    root = np.linalg.cholesky(spread)
    places = qmc.Sobol(dims + 2, rng=rng).random(count)
    normal, stretch = ndtri(places[:, :dims]), np.sqrt(FREEDOM / chdtri(FREEDOM, places[:, dims]))
    drawn = centre + (normal @ root.T) * stretch[:, None]
    prior = places[:, dims + 1] < FROM_PRIOR
    drawn[prior] = places[prior, :dims]
    drawn = drawn[np.all((drawn > 0) & (drawn < 1), axis=1)]
    white = np.linalg.solve(root, (drawn - centre).T)
    student = gammaln((FREEDOM + dims) / 2) - gammaln(FREEDOM / 2) - 0.5 * dims * np.log(FREEDOM * np.pi)
    student = student - np.log(np.diag(root)).sum() - 0.5 * (FREEDOM + dims) * np.log1p((white**2).sum(0) / FREEDOM)
    proposal = np.logaddexp(np.log(FROM_PRIOR), np.log1p(-FROM_PRIOR) + student)
    values = family.values(drawn, grid)
    return Sample(family, drawn, -proposal - np.log(count), values, likelihood.solve(values))
