"""Whether p-values are as rare and intervals as sure as they say, by simulation.

    python scripts/check_statistics.py                   # about ten minutes on two cores
    python scripts/check_statistics.py --quick           # a twentieth of the simulations; about two minutes
    python scripts/check_statistics.py --json            # figures as one flat JSON object on stdout

Every 200 simulations have a seed of their own, of ``SEED``, what is simulated and their number. Checked are:

- ``signal``: how often pairs of nothing have p <= 0.05 and p <= 0.01, where they are independent, where each is there
  four times, and where A is right in 61 % of them and letters differ by far more than noise.
- the null's p-value of a vector that was drawn from the null, over 8 layers that go together: at a layer named
  beforehand, and at the one where it is largest; and that of the sign-flip test of paired differences.
- intervals: how often they hold the truth, of skewed scores (lognormal with sigma 0.5, exponential, chi-squared with 1
  degree of freedom) in 20 and 50 clusters of 1 and 4 items.

A rejection rate must be at most its level and 3 standard errors; an interval must hold the truth in 92 to 98 of 100
simulations, within 3 standard errors. The exit code is 1 where a bound is broken. Figures of 5 to 19 clusters, of few
of a letter or a category, and of the power to find what was planted are given beside them and have no bound.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.inference.intervals import Interval, Units, means, weighted_means, weighted_ratios
from caa_registry.evaluation.inference.p_values import paired_test
from caa_registry.evaluation.inference.shares import share
from caa_registry.evaluation.measurements import Measurements, Null, Observed
from caa_registry.evaluation.nulls.comparison import tests
from caa_registry.extraction.grouping import Grouping
from caa_registry.extraction.quality import measure

SEED = 20241128
PROCESSES = 2
SIMULATIONS = 4_000
QUICK = 200
# So many simulations are one task, and the columns of one call where a figure has columns.
AT_ONCE = 200

LEVELS = (0.05, 0.01)
LEAST, MOST = 0.92, 0.98

PAIRS, WIDTH, LAYERS, DRAWS = 32, 8, 8, 199
REPEATS = 4
PART_A = 0.61
FEW, MANY = (5, 7, 10, 15, 19), (20, 50)
"""Numbers of clusters, those of which nothing is promised and the others."""
DISTRIBUTIONS = ("lognormal", "exponential", "chi2")

Floats = NDArray[np.float64]
Case = tuple[NDArray[np.float32], NDArray[np.float32], Grouping]


@dataclass(frozen=True)
class Task:
    """``count`` simulations of ``what``, with its ``options``, from number ``first`` on."""

    what: str
    options: tuple[str | int | float, ...]
    first: int
    count: int

    @property
    def generator(self) -> np.random.Generator:
        return np.random.default_rng([SEED, *"/".join(map(str, (self.what, *self.options))).encode(), self.first])


@dataclass(frozen=True)
class Bound:
    """What the share that a figure names must keep to; ``low`` and ``high`` are ``None`` where it has no bound."""

    low: float | None = None
    high: float | None = None

    def broken(self, share_: float, count: int) -> bool:
        return any(
            bound is not None and sign * (share_ - bound) > 3 * (bound * (1 - bound) / count) ** 0.5
            for bound, sign in ((self.low, -1), (self.high, 1))
        )


Hits = dict[str, int]
"""Of each figure how many simulations of a task count."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} simulations of each instead of {SIMULATIONS:,}")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    arguments = parser.parse_args()
    started = time.monotonic()
    count = QUICK if arguments.quick else SIMULATIONS
    hits: Hits = {}
    # The processes that are started read this: each has one core.
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for found in pool.map(run, list(planned(count))):
            for figure, number in found.items():
                hits[figure] = hits.get(figure, 0) + number
    shares = {figure: number / count for figure, number in hits.items()}
    bounds = {figure: bound_of(figure) for figure in shares}
    broken = [figure for figure, value in shares.items() if bounds[figure].broken(value, count)]
    if arguments.json:
        seconds = round(time.monotonic() - started)
        rounded = {figure: round(value, 4) for figure, value in shares.items()}
        print(json.dumps({"simulations": count, "seconds": seconds, "broken": len(broken), **rounded}))
    else:
        for figure, value in shares.items():
            bound = bounds[figure]
            said = "" if bound.high is None else f"at most {bound.high:g}"
            said = said if bound.low is None else f"{bound.low:g} to {bound.high:g}"
            print(f"{value:7.4f}  {figure:62}  {said}{'  BROKEN' if figure in broken else ''}")
        print(f"{count} simulations of each, {len(broken)} of {len(shares)} figures beyond their bounds")
    for figure in broken:
        print(f"{figure}: {shares[figure]:.4f} of {count}", file=sys.stderr)
    return 1 if broken else 0


def planned(count: int) -> Iterator[Task]:
    """All tasks, those that take longest first."""
    wanted: list[tuple[str, tuple[str | int | float, ...]]] = [
        *(("signal", (null, 0.0)) for null in NULLS),
        *(("signal", (null, 1.5)) for null in NULLS),
        *(("paired", (clusters, items, size)) for clusters, items, size in PAIRED),
        *(("null", (size,)) for size in (0.0, 3.0, 4.0)),
        *(
            ("coverage", (distribution, clusters, items))
            for distribution in DISTRIBUTIONS
            for clusters in (*FEW, *MANY)
            for items in (1, REPEATS)
        ),
        *(("few of a letter", (distribution, few)) for distribution in DISTRIBUTIONS for few in (5, 10)),
        *(("few of a category", (distribution, few)) for distribution in DISTRIBUTIONS for few in (1, 2, 4)),
        *(("share", (clusters, items, truth)) for clusters, items, truth in SHARES),
    ]
    for what, options in wanted:
        for first in range(0, count, AT_ONCE):
            yield Task(what, options, first, min(AT_ONCE, count - first))


def bound_of(figure: str) -> Bound:
    """By the figure's name: power, few clusters, and few of a letter or category have none."""
    if figure.startswith("power: "):
        return Bound()
    if "p <= " in figure:
        return Bound(high=float(figure.rpartition("p <= ")[2]))
    if "few of a" in figure or any(f"of {clusters} clusters" in figure for clusters in FEW):
        return Bound()
    return Bound(LEAST, MOST)


def run(task: Task) -> Hits:
    return RUNS[task.what](task)


def signal(task: Task) -> Hits:
    """How often pairs of nothing, or with a behavior in them, are called a signal."""
    null, behavior = str(task.options[0]), float(task.options[1])
    generator, p_values = task.generator, []
    for _ in range(task.count):
        quality = measure("mean-difference", *NULLS[null](generator, behavior))
        assert quality is not None and quality.p_value is not None
        p_values.append(quality.p_value)
    return _rejected(f"signal, {null} pairs", np.array(p_values), power=behavior > 0)


def independent(generator: np.random.Generator, behavior: float) -> Case:
    positive, negative = generator.normal(size=(2, PAIRS, WIDTH)).astype(np.float32)
    positive[:, 0] += behavior
    return positive, negative, Grouping.none(PAIRS)


def repeated(generator: np.random.Generator, behavior: float) -> Case:
    every = np.repeat(np.arange(PAIRS // REPEATS * 2), REPEATS)
    positive, negative, _ = independent(generator, behavior)
    return positive[every], negative[every], Grouping(every, np.full((len(every), 2), ""))


def lettered(generator: np.random.Generator, behavior: float) -> Case:
    positive, negative, _ = independent(generator, behavior)
    right = np.arange(PAIRS) < round(PART_A * PAIRS)
    push = np.where(right, 4.0, -4.0).astype(np.float32)
    positive[:, 1] += push
    negative[:, 1] -= push
    letters = np.where(right[:, None], ["A", "B"], ["B", "A"])
    return positive, negative, Grouping(np.arange(PAIRS), letters)


NULLS: dict[str, Callable[[np.random.Generator, float], Case]] = {
    "independent": independent,
    "repeated": repeated,
    "letter-imbalanced": lettered,
}


def null(task: Task) -> Hits:
    """p of a vector drawn from the null, which moves one of 8 layers by ``size`` standard deviations more."""
    size = float(task.options[0])
    mixing = np.linalg.cholesky(0.7 + 0.3 * np.eye(LAYERS))
    generator = task.generator
    fixed, chosen = [], []
    for _ in range(task.count):
        slopes = generator.normal(size=(1 + DRAWS, LAYERS)) @ mixing.T
        slopes[0, 3] += size
        measured = _measured(slopes)
        of_slope = [test for test in tests(measured, "covariance") if test.statistic == "steerability"]
        fixed.append(of_slope[3].alone.p_value)
        chosen.append(of_slope[int(np.abs(slopes[0]).argmax())].chosen.p_value)
    power, planted = size > 0, f" of {size:g} deviations" if size else ""
    return {
        **_rejected(f"null{planted}, layer named beforehand", np.array(fixed), power=power),
        **_rejected(f"null{planted}, layer chosen of {LAYERS}", np.array(chosen), power=power),
    }


def _measured(slopes: Floats) -> Measurements:
    """One item whose log-odds have the first row of slopes, and a null with the others."""
    odds = np.stack([-slopes, slopes], axis=-1)
    own = odds[0][..., None]
    log_p = np.stack([-np.log1p(np.exp(-own)), -np.log1p(np.exp(own))], axis=-1)
    extremes = (-1.0, 1.0)
    vectors = Null(1 / (1 + np.exp(-odds[1:])), odds[1:], extremes, (1.0,) * LAYERS)
    observed = Observed((0,), ("",), log_p, (0,))
    return Measurements("propensity", tuple(range(LAYERS)), extremes, {"vector": observed}, {"covariance": vectors})


PAIRED = ((10, 1, 0.0), (10, REPEATS, 0.0), (30, 1, 0.0), (30, REPEATS, 0.0), (30, 1, 0.5), (30, REPEATS, 0.5))


def paired(task: Task) -> Hits:
    """Differences of paired values, skewed alike on both sides: the test's p and the interval's coverage."""
    clusters, items, size = int(task.options[0]), int(task.options[1]), float(task.options[2])
    units, generator = Units.of(np.repeat(np.arange(clusters), items)), task.generator
    p_values, inside = [], 0
    for _ in range(task.count):
        one, other = _scores("exponential", clusters, items, 2, generator).T
        found = paired_test(one + size, other, units)
        p_values.append(found.p_value)
        inside += _holds(found.difference, size)
    name = f"paired difference of {clusters} clusters of {items}"
    figures = _rejected(name, np.array(p_values), power=size > 0)
    return figures if size else {**figures, f"{name}, interval": inside}


def coverage(task: Task) -> Hits:
    """How often intervals of every kind hold the truth."""
    distribution, clusters, items = str(task.options[0]), int(task.options[1]), int(task.options[2])
    generator, truth = task.generator, MEANS[str(task.options[0])]
    values = _scores(distribution, clusters, items, task.count, generator)
    labels = np.repeat(np.arange(clusters), items)
    letters = np.where(np.arange(clusters) % 5 < 3, "A", "B")[labels]
    categories = (np.arange(clusters) % 4)[labels]
    tokens = generator.integers(20, 200, len(values)).astype(np.float64)
    found = {
        "mean": means(values, Units.of(labels)),
        "letters equal": weighted_means(values, Units.of(labels, letters), [0.5, 0.5]),
        "letter contrast": weighted_means(values, Units.of(labels, letters), [0.5, -0.5]),
        "ratio": weighted_ratios(values * tokens[:, None], tokens, Units.of(labels), [1.0]),
        "mean of categories": weighted_means(values, Units.of(labels, categories), [0.25] * 4),
    }
    truths = {"letter contrast": 0.0}
    return {
        f"{kind} of {clusters} clusters of {items}, {distribution}": sum(
            _holds(each, truths.get(kind, truth)) for each in intervals
        )
        for kind, intervals in found.items()
    }


def few_of_a_letter(task: Task) -> Hits:
    """Letters equal, where one letter has far fewer clusters than the other."""
    distribution, few = str(task.options[0]), int(task.options[1])
    values = _scores(distribution, 50, 1, task.count, task.generator)
    units = Units.of(np.arange(50), np.where(np.arange(50) < few, "B", "A"))
    return {
        f"{kind}, few of a letter: {few} of 50, {distribution}": sum(
            _holds(each, truth) for each in weighted_means(values, units, weights)
        )
        for kind, weights, truth in (
            ("letters equal", [0.5, 0.5], MEANS[distribution]),
            ("letter contrast", [0.5, -0.5], 0.0),
        )
    }


def few_of_a_category(task: Task) -> Hits:
    """The mean of category means, of 20 categories that have few items each."""
    distribution, few = str(task.options[0]), int(task.options[1])
    values = _scores(distribution, 20 * few, 1, task.count, task.generator)
    units = Units.of(np.arange(20 * few), np.arange(20 * few) % 20)
    found = weighted_means(values, units, [1 / 20] * 20)
    name = f"mean of categories, few of a category: 20 of {few}, {distribution}"
    return {name: sum(_holds(each, MEANS[distribution]) for each in found)}


SHARES = tuple(
    (clusters, items, truth) for clusters in (5, 10, 20, 50) for items in (1, REPEATS) for truth in (0.1, 0.3, 0.5)
)


def shares_(task: Task) -> Hits:
    """Shares of items that are alike where they share a cluster."""
    clusters, items, truth = int(task.options[0]), int(task.options[1]), float(task.options[2])
    units, generator, inside = Units.of(np.repeat(np.arange(clusters), items)), task.generator, 0
    for _ in range(task.count):
        levels = np.repeat(generator.beta(4 * truth, 4 * (1 - truth), clusters), items)
        inside += _holds(share(generator.random(len(levels)) < levels, units), truth)
    return {f"share of {clusters} clusters of {items}, truth {truth:g}": inside}


MEANS = {"lognormal": float(np.exp(0.125)), "exponential": 1.0, "chi2": 1.0}


def _drawn(distribution: str, size: tuple[int, ...], generator: np.random.Generator) -> Floats:
    if distribution == "lognormal":
        return generator.lognormal(0, 0.5, size)
    return generator.exponential(1, size) if distribution == "exponential" else generator.chisquare(1, size)


def _scores(distribution: str, clusters: int, items: int, columns: int, generator: np.random.Generator) -> Floats:
    """``(clusters * items, columns)``; items of a cluster share most of what they are."""
    shared = np.repeat(_drawn(distribution, (clusters, columns), generator), items, axis=0)
    return shared if items == 1 else 0.7 * shared + 0.3 * _drawn(distribution, shared.shape, generator)


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low is not None and interval.high is not None and interval.low <= truth <= interval.high


def _rejected(name: str, p_values: Sequence[float] | Floats, *, power: bool) -> Hits:
    said = "power: " if power else ""
    return {f"{said}{name}, p <= {level:g}": int((np.asarray(p_values) <= level).sum()) for level in LEVELS}


RUNS: dict[str, Callable[[Task], Hits]] = {
    "signal": signal,
    "null": null,
    "paired": paired,
    "coverage": coverage,
    "few of a letter": few_of_a_letter,
    "few of a category": few_of_a_category,
    "share": shares_,
}


if __name__ == "__main__":
    sys.exit(main())
