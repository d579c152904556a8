"""Evidence for families of laws: many shapes at once, their linear part solved in closed form.

A law of ability on loss is ``height * shape(loss; parameters)``. Given the noise, the likelihood of
the height is Gaussian, so height (even between zero and all there is) and a small common offset of
chance (the items are the same for everybody) are integrated exactly, for thousands of shapes in one
matrix product. The parameters of the shape, the threshold among them, are averaged over and not
maximised: without a threshold the threshold is not identified, a maximum over it has no known
distribution (Davies 1977, 1987), and averaged likelihood ratios are the best tests there are
(Andrews & Ploberger 1994). The average is taken over a grid first and then by adaptive importance
sampling (Cappé et al. 2008), so that a narrow peak between two points of the grid is neither
missed nor overrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, gammaln, log_ndtr, logsumexp, ndtri
from scipy.stats import qmc

from onset.stats import shared_items as shared
from onset.stats.curve_priors import Family, families, span
from onset.stats.point_noise import Noise, estimate, items_variance, roots, whiten
from onset.stats.points import Points

Array = NDArray[np.float64]

NOISES = 3
"""Times that the noise is estimated, each time from a better law."""
STARTS = (Noise(), Noise(run_ability=0.02, drift_ability=0.02, memory=0.4))
"""Where the search for a noise begins: its likelihood has several tops."""
NEARLY = 3.0
"""Log likelihood behind the likeliest noise from which another one no longer matters."""
LEADING = 200
"""Shapes of a family that noises are compared by."""
ROUNDS = 6
"""Most times that shapes are drawn anew where the evidence is, once the noise is known."""
ENOUGH = 60.0
"""Effective number of shapes from which a family's evidence is known well enough."""
SLIGHT = 8.0
"""Log evidence behind the best of its side by which a family no longer matters."""
DRAWS = {True: 1024, False: 512}
"""Shapes drawn a round for a family with a turn and for a smooth one."""
FREEDOM = 4.0
"""Degrees of freedom of the Student t that shapes are drawn from: tails heavier than any posterior's."""
EVEN = 0.1
"""Share of shapes drawn from the even prior, so that nothing is out of reach."""


@dataclass(frozen=True)
class Sample:
    """Shapes of one family with their weight in its evidence, and what the points say of each."""

    family: Family
    parameters: Array
    """(d, k), natural units."""
    weight: Array
    """(k,) log of prior over proposal: a family's evidence is the sum of exp(weight + evidence)."""
    values: Array
    """(n, k) shapes at the points."""
    evidence: Array
    """(k,) log likelihood averaged over heights, against chance alone."""
    height: Array
    """(k,) best height: the ability at the lowest loss seen."""
    common: Array
    """(c, k) best shared errors, in standard deviations; the first is the offset, which is the level at high losses
    where chance is unknown."""

    @property
    def size(self) -> float:
        """Effective number of shapes that the evidence rests on."""
        return float(1 / np.sum(_normal(self.weight + self.evidence) ** 2))

    @property
    def posterior(self) -> Array:
        """(k,) log weight of each shape: prior of its family, proposal and evidence."""
        return np.asarray(self.weight + self.evidence + np.log(self.family.weight))


@dataclass(frozen=True)
class Sums:
    """Products of whitened shared errors (c), ability (y) and shapes (k), by run: any subset of runs is solved from
    them."""

    c_c: Array
    c_y: Array
    c_k: Array
    y_k: Array
    k_k: Array


class Solver:
    """The noise of one set of points, ready to weigh any shapes."""

    def __init__(self, points: Points, noise: Noise, ability: Array) -> None:
        self.points = points
        self.noise = noise
        self.ability = ability
        """Ability of the pilot law that the noise was taken from."""
        self.starts = points.starts
        self.offset = shared.offset(points)
        self.basis = shared.basis(points, noise.share, span(points))
        """(n, c) errors that all scores share, at one standard deviation."""
        self._roots = roots(points, noise, ability)
        self._common = whiten(self._roots, self.starts, self.basis)
        self._y = whiten(self._roots, self.starts, points.ability)

    def sums(self, values: Array) -> Sums:
        """Sums by run for (n, k) shapes."""
        k, common, y = whiten(self._roots, self.starts, values), self._common, self._y

        def add(product: Array) -> Array:
            return np.asarray(np.add.reduceat(product, self.starts, axis=0))

        along = np.stack([add(column[:, None] * k) for column in common.T], axis=1)
        pairs = add(common[:, :, None] * common[:, None, :])
        return Sums(pairs, add(common * y[:, None]), along, add(y[:, None] * k), add(k * k))

    def solve(self, sums: Sums, runs: Array | None = None) -> tuple[Array, Array, Array]:
        """Log evidence of each shape against chance alone, its best height, and the (c, k) shared errors beside it.

        ``runs`` weighs the runs.
        """
        weigh = np.ones(len(sums.c_c)) if runs is None else runs
        inner = np.linalg.inv(np.eye(sums.c_c.shape[1]) + np.tensordot(weigh, sums.c_c, 1))
        level, along = weigh @ sums.c_y, np.tensordot(weigh, sums.c_k, 1)
        taken = inner @ along
        precision = np.maximum(weigh @ sums.k_k - (along * taken).sum(axis=0), 1e-12)
        pull = weigh @ sums.y_k - level @ taken
        evidence, height = _over_heights(pull, precision, self.points.room)
        return evidence, height, np.asarray((inner @ level)[:, None] - taken * height)

    def chance_alone(self) -> float:
        """Log likelihood of the scores under chance and this noise, but for a constant: to compare noises by."""
        inner = np.eye(self._common.shape[1]) + self._common.T @ self._common
        pull = self._common.T @ self._y
        fitted = float(pull @ np.linalg.solve(inner, pull))
        scale = sum(float(np.log(np.diag(root)).sum()) for root in self._roots)
        return scale - 0.5 * (float(self._y @ self._y) - fitted) - 0.5 * float(np.linalg.slogdet(inner)[1])

    def distances(self, values: Array, ability: Array) -> Array:
        """(k,) squared distance, in standard deviations, of an ability from each of (n, k) shapes."""
        y, k = whiten(self._roots, self.starts, ability), whiten(self._roots, self.starts, values)
        height = np.clip((y @ k) / np.maximum((k * k).sum(axis=0), 1e-12), 0.0, self.points.room)
        return np.asarray(((y[:, None] - k * height) ** 2).sum(axis=0))

    def height_error(self, values: Array) -> Array:
        """Standard error of the height of each of (n, k) shapes."""
        sums = self.sums(values)
        inner = np.linalg.inv(np.eye(self.basis.shape[1]) + sums.c_c.sum(axis=0))
        along = sums.c_k.sum(axis=0)
        precision = sums.k_k.sum(axis=0) - (along * (inner @ along)).sum(axis=0)
        return np.asarray(1 / np.sqrt(np.maximum(precision, 1e-12)))


def _over_heights(pull: Array, precision: Array, room: float) -> tuple[Array, Array]:
    """Log of the mean of exp(pull A - precision A² / 2) over A from 0 to ``room``, and the best A."""
    best, root = pull / precision, np.sqrt(precision)
    upper, lower = (room - best) * root, -best * root
    flip = lower > 0
    upper, lower = np.where(flip, -lower, upper), np.where(flip, -upper, lower)
    log_upper, log_lower = log_ndtr(upper), log_ndtr(lower)
    mass = log_upper + np.log1p(-np.exp(np.minimum(log_lower - log_upper, -1e-12)))
    evidence = pull**2 / (2 * precision) + 0.5 * np.log(2 * np.pi / precision) + mass - np.log(room)
    return np.where(precision > 1e-11, evidence, -np.inf), np.clip(best, 0.0, room)


@dataclass(frozen=True)
class Weighed:
    """What the points say of all families."""

    solver: Solver
    samples: tuple[Sample, ...]
    likelihood: float = 0.0
    """Log likelihood of the scores under chance and this noise, with the prior of the noise."""
    rivals: tuple[Weighed, ...] = ()
    """The same under other noises that are about as likely: how a turn speaks is averaged over them."""

    def side(self, turn: bool) -> list[Sample]:
        """The samples of the families with a turn, or of the smooth ones."""
        return [sample for sample in self.samples if sample.family.turn is turn]

    def log_evidence(self, turn: bool) -> float:
        """Log evidence of one side against chance alone."""
        return float(logsumexp(np.concatenate([sample.posterior for sample in self.side(turn)])))

    @property
    def leaves_chance(self) -> float:
        """Log evidence that there is any ability, against chance alone."""
        return float(np.logaddexp(self.log_evidence(True), self.log_evidence(False)) - np.log(2))

    @property
    def turns(self) -> float:
        """Log evidence for a turn, against the smooth family that does best; averaged over noises."""
        noises = (self, *self.rivals)
        told = np.array([[one.likelihood + family_evidence(sample) for sample in one.samples] for one in noises])
        together = logsumexp(told, axis=0)
        turn = np.array([sample.family.turn for sample in self.samples])
        weight = np.log([sample.family.weight for sample in self.samples])
        return float(logsumexp((together + weight)[turn]) - together[~turn].max())


def family_evidence(sample: Sample) -> float:
    """Log evidence of one family by itself, against chance alone."""
    return float(logsumexp(sample.weight + sample.evidence))


def weigh(points: Points, rng: np.random.Generator) -> Weighed:
    """All families weighed on the points, the noise found along the way.

    The noise is taken from the distance to the best law so far, whatever its side, so that neither
    side is given noise that favours it.
    """
    low = float(points.loss.min())
    drawn = []
    for family in families(points):
        unit = family.grid()
        parameters = family.natural(unit)
        weight = np.full(len(unit), -np.log(len(unit)))
        drawn.append((family, parameters, weight, family.values(parameters, points.loss, low)))
    ability = np.clip(points.ability, 0.0, None) * (points.chance is not None)
    solver = Solver(points, _first_noise(points), ability)
    samples = [_sampled(solver, *shapes) for shapes in drawn]
    # The noise decides more than the draws do: it is found on draws that do not hang on the seed.
    fixed = np.random.default_rng(0)
    for done in range(NOISES):
        tried = _noises(samples, solver, STARTS if done == 0 else [solver.noise])
        solver = tried[0][1]
        last = done == NOISES - 1
        samples = _drawn_anew([_again(solver, sample) for sample in samples], solver, rng if last else fixed)
    found = [Weighed(solver, _settled(samples, solver, rng), tried[0][0])]
    for likelihood, other in tried[1:]:
        again = _drawn_anew([_again(other, sample) for sample in samples], other, rng)
        found.append(Weighed(other, _settled(again, other, rng), likelihood))
    return replace(found[0], rivals=tuple(found[1:]))


def _drawn_anew(samples: list[Sample], solver: Solver, rng: np.random.Generator) -> list[Sample]:
    return [_sampled(solver, *_redrawn(sample, solver.points, DRAWS[sample.family.turn], rng)) for sample in samples]


def _settled(samples: list[Sample], solver: Solver, rng: np.random.Generator) -> tuple[Sample, ...]:
    """Shapes drawn anew until every family that matters rests on enough of them."""
    for _ in range(ROUNDS):
        telling = _unsure(samples)
        if not telling:
            break
        for index in telling:
            count = DRAWS[samples[index].family.turn]
            again = _sampled(solver, *_redrawn(samples[index], solver.points, count, rng))
            if again.size > samples[index].size or again.evidence.max() > samples[index].evidence.max():
                samples[index] = again
    return tuple(samples)


def _unsure(samples: list[Sample]) -> list[int]:
    """Families that matter to their side and whose evidence rests on too few shapes."""
    total = [float(logsumexp(sample.posterior)) for sample in samples]
    best = {
        turn: max(value for value, sample in zip(total, samples, strict=True) if sample.family.turn is turn)
        for turn in (True, False)
    }
    return [
        index
        for index, (value, sample) in enumerate(zip(total, samples, strict=True))
        if value > best[sample.family.turn] - SLIGHT and sample.size < ENOUGH and sample.family.name != "flat"
    ]


def _first_noise(points: Points) -> Noise:
    if np.any(items_variance(points, np.zeros(len(points.loss))) > 0):
        return Noise(run_chance=0.003, run_ability=0.01, drift_chance=0.003, drift_ability=0.01)
    typical = max(0.1 * float(np.std(points.ability)), 1e-9)
    return Noise(run_chance=typical, drift_chance=typical)


def _sampled(solver: Solver, family: Family, parameters: Array, weight: Array, values: Array) -> Sample:
    return Sample(family, parameters, weight, values, *solver.solve(solver.sums(values)))


def _normal(logs: Array) -> Array:
    """Log weights as weights that sum to one."""
    found = np.exp(logs - logs.max())
    return np.asarray(found / found.sum())


def _tempered(logs: Array, least: float) -> tuple[Array, float]:
    """Weights flattened until at least ``least`` shapes count, and the power that did it.

    Where a few shapes of many carry all the weight, their spread says nothing; flattened weights
    still lead to where the evidence is.
    """
    power = 1.0
    weights = _normal(logs)
    while 1 / np.sum(weights**2) < least and power > 1e-9:
        power /= 2
        weights = _normal(power * logs)
    return weights, power


def _noises(samples: list[Sample], solver: Solver, starts: Sequence[Noise]) -> list[tuple[float, Solver]]:
    """The noise under which the scores are likeliest, all laws weighed, and the one of the other side if about as
    likely; each with the log likelihood of chance under it.

    Candidates are what the laws with a turn and the smooth laws leave over: the likelihood of a noise has several
    tops, and neither side may choose it alone.
    """
    points, leading = solver.points, [_leading(sample) for sample in samples]
    best: list[tuple[float, float, Solver]] = []
    for turn in (True, False):
        ability, level = _typical([sample for sample in samples if sample.family.turn is turn], solver)
        tried = []
        for start in starts:
            noise, prior = estimate(points, ability, points.ability - level, start)
            found = Solver(points, noise, ability)
            again = Weighed(found, tuple(_again(found, sample) for sample in leading))
            likelihood = found.chance_alone() + prior
            tried.append((likelihood + again.leaves_chance, likelihood, found))
        best.append(max(tried, key=lambda one: one[0]))
    best.sort(key=lambda one: -one[0])
    return [one[1:] for one in best if one[0] > best[0][0] - NEARLY]


def _leading(sample: Sample) -> Sample:
    """The shapes that say most, which are enough to compare noises by."""
    first = np.argsort(-sample.posterior)[:LEADING]
    return Sample(
        sample.family, sample.parameters[:, first], sample.weight[first], sample.values[:, first],
        sample.evidence[first], sample.height[first], sample.common[:, first],
    )  # fmt: skip


def _again(solver: Solver, sample: Sample) -> Sample:
    """The same shapes under another noise."""
    return _sampled(solver, sample.family, sample.parameters, sample.weight, sample.values)


def _typical(samples: list[Sample], solver: Solver) -> tuple[Array, Array]:
    """Mean ability over the laws of one side, by their evidence, and of the level of the scores under them."""
    weight = _normal(np.concatenate([sample.posterior for sample in samples]))
    ability, level = np.zeros(len(solver.points.loss)), np.zeros(len(solver.points.loss))
    first = 0
    for sample in samples:
        own = weight[first : first + len(sample.weight)]
        first += len(own)
        ability += sample.values @ (own * sample.height)
        level += solver.basis @ (sample.common @ own)
    return ability, ability + level


def _redrawn(
    sample: Sample, points: Points, count: int, rng: np.random.Generator
) -> tuple[Family, Array, Array, Array]:
    """Shapes drawn where a family's evidence is: a Student t fitted to the weighted shapes, and the even prior."""
    family, dims = sample.family, len(sample.family.bounds)
    weight, power = _tempered(sample.weight + sample.evidence, 4.0 * dims)
    places = family.places(sample.parameters)
    centre = weight @ places
    # Never of no width at all, or one heavy shape would end the search.
    least = np.diag((0.003 / np.array(family.counts)) ** 2)
    # A Gaussian flattened to a power is wider by its inverse; half of that is taken back a round.
    wider = 1.5 * max(power, 0.3)
    spread = wider * ((places - centre) * weight[:, None]).T @ (places - centre) + least
    root = np.linalg.cholesky(spread)
    # Quasi-random numbers: the evidence of a thousand of them varies as little as that of many more random ones.
    places = qmc.Sobol(dims + 2, rng=rng).random(count)
    normal, stretch = ndtri(places[:, :dims]), np.sqrt(FREEDOM / chdtri(FREEDOM, places[:, dims]))
    drawn = centre + (normal @ root.T) * stretch[:, None]
    even = places[:, dims + 1] < EVEN
    drawn[even] = places[even, :dims]
    drawn = drawn[np.all((drawn >= 0) & (drawn <= 1), axis=1)]
    white = np.linalg.solve(root, (drawn - centre).T)
    student = gammaln((FREEDOM + dims) / 2) - gammaln(FREEDOM / 2) - 0.5 * dims * np.log(FREEDOM * np.pi)
    student = student - np.log(np.diag(root)).sum() - 0.5 * (FREEDOM + dims) * np.log1p((white**2).sum(0) / FREEDOM)
    proposal = np.logaddexp(np.log(EVEN), np.log1p(-EVEN) + student)
    parameters = family.natural(drawn)
    values = family.values(parameters, points.loss, float(points.loss.min()))
    return family, parameters, -proposal - np.log(count), values
