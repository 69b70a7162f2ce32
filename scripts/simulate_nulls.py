"""Simulations of what means nothing: how often it is called a signal, an effect, or worth recommending."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from simulation import REPEATS, Floats, Hits, Task, holds, rejected, scores

from caa_registry.evaluation.calibration import MeasuredCell, calibrate, halves
from caa_registry.evaluation.inference.intervals import Interval, Units
from caa_registry.evaluation.inference.p_values import against_null, paired_test
from caa_registry.evaluation.measurements import Measurements, Null, Observed
from caa_registry.evaluation.nulls.comparison import tests
from caa_registry.evaluation.verdict import Answering, verdict
from caa_registry.extraction.grouping import Grouping
from caa_registry.extraction.quality import measure

PAIRS, WIDTH, LAYERS, DRAWS = 32, 8, 8, 199
PART_A = 0.61
QUESTIONS, MULTIPLIERS = 40, (-2.0, -1.0, 0.0, 1.0, 2.0)

Case = tuple[NDArray[np.float32], NDArray[np.float32], Grouping]


def signal(task: Task) -> Hits:
    """How often pairs of nothing, or with a behavior in them, are called a signal."""
    null, behavior = str(task.options[0]), float(task.options[1])
    generator, p_values = task.generator, []
    for _ in range(task.count):
        quality = measure("mean-difference", *NULLS[null](generator, behavior))
        assert quality is not None and quality.p_value is not None
        p_values.append(quality.p_value)
    return rejected(f"signal, {null} pairs", np.array(p_values), power=behavior > 0)


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
        **rejected(f"null{planted}, layer named beforehand", np.array(fixed), power=power),
        **rejected(f"null{planted}, layer chosen of {LAYERS}", np.array(chosen), power=power),
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


def recommended(task: Task) -> Hits:
    """How often a calibration recommends a vector that is one of those that mean nothing. ``spread``: of their effects
    on all questions, in nats a unit of multiplier; ``planted``: what the vector does more at one layer."""
    spread, planted = (float(option) for option in task.options)
    generator, passed = task.generator, 0
    letters = ["AB"[question % 2] for question in range(QUESTIONS)]
    divided = halves([f"{question:03}" for question in range(QUESTIONS)], letters, range(QUESTIONS))
    half, signs = list(divided.b), np.where(np.array(letters) == "A", 1.0, -1.0)
    bearable = Interval(0.01, 0.005, 0.02, 30)
    answering = Answering(0.9, 0.0)
    for _ in range(task.count):
        own = generator.normal(0, 1, QUESTIONS)
        # Vectors, layers, questions: what is done to all of them, to their letter, and to each.
        slopes = (
            generator.normal(0, spread, (1 + DRAWS, LAYERS, 1))
            + generator.normal(0, 0.5, (1 + DRAWS, LAYERS, 1)) * signs
        )
        slopes = slopes + generator.normal(0, 0.3, (1 + DRAWS, LAYERS, QUESTIONS))
        slopes[0, 3] += planted
        unsteered = _likely(own)
        cells = [
            MeasuredCell(
                layer, multiplier, _likely(own + multiplier * slopes[0, layer]), np.ones(QUESTIONS), bearable, True
            )
            for layer in range(LAYERS)
            for multiplier in MULTIPLIERS
        ]
        calibration = calibrate(cells, unsteered, divided)
        choice = calibration.choice
        if choice is None:
            continue
        weights = divided.contrasts(half).weights
        ends = np.stack([_likely(own + end * slopes[1:]) for end in (MULTIPLIERS[0], MULTIPLIERS[-1])])
        largest = ((ends - unsteered)[..., half] @ weights).max(axis=(0, 2))
        null = against_null(choice.effect_b.value, np.maximum(largest, 0.0))
        found = verdict(choice, null, answering, leaked=0, target_kl=calibration.target_kl, at_the_end=False)
        passed += found.passed
    said = f", {planted:g} nats a unit planted" if planted else ""
    name = f"calibrate recommends, effects of {spread:g} nats a unit at random{said}"
    return {f"power: {name}" if planted else f"{name}, p <= 0.05": passed}


def _likely(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


PAIRED = ((10, 1, 0.0), (10, REPEATS, 0.0), (30, 1, 0.0), (30, REPEATS, 0.0), (30, 1, 0.5), (30, REPEATS, 0.5))


def paired(task: Task) -> Hits:
    """Differences of paired values, skewed alike on both sides: the test's p and the interval's coverage."""
    clusters, items, size = int(task.options[0]), int(task.options[1]), float(task.options[2])
    units, generator = Units.of(np.repeat(np.arange(clusters), items)), task.generator
    p_values, inside = [], 0
    for _ in range(task.count):
        one, other = scores("exponential", clusters, items, 2, generator).T
        found = paired_test(one + size, other, units)
        p_values.append(found.p_value)
        inside += holds(found.difference, size)
    name = f"paired difference of {clusters} clusters of {items}"
    figures = rejected(name, np.array(p_values), power=size > 0)
    return figures if size else {**figures, f"{name}, interval": inside}
