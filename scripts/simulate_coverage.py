"""Simulations of intervals: how often each kind holds the truth, of skewed scores in clusters."""

from __future__ import annotations

import numpy as np
from simulation import MEANS, REPEATS, Hits, Task, holds, scores

from caa_registry.evaluation.inference.intervals import Units, means, weighted_means, weighted_ratios
from caa_registry.evaluation.inference.shares import shares as shares_of


def coverage(task: Task) -> Hits:
    """How often intervals of every kind hold the truth."""
    distribution, clusters, items = str(task.options[0]), int(task.options[1]), int(task.options[2])
    generator, truth = task.generator, MEANS[str(task.options[0])]
    values = scores(distribution, clusters, items, task.count, generator)
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
            holds(each, truths.get(kind, truth)) for each in intervals
        )
        for kind, intervals in found.items()
    }


def few_of_a_letter(task: Task) -> Hits:
    """Letters equal, where one letter has far fewer clusters than the other."""
    distribution, few = str(task.options[0]), int(task.options[1])
    values = scores(distribution, 50, 1, task.count, task.generator)
    units = Units.of(np.arange(50), np.where(np.arange(50) < few, "B", "A"))
    return {
        f"{kind}, few of a letter: {few} of 50, {distribution}": sum(
            holds(each, truth) for each in weighted_means(values, units, weights)
        )
        for kind, weights, truth in (
            ("letters equal", [0.5, 0.5], MEANS[distribution]),
            ("letter contrast", [0.5, -0.5], 0.0),
        )
    }


def few_of_a_category(task: Task) -> Hits:
    """The mean of category means, of 20 categories that have few items each."""
    distribution, few = str(task.options[0]), int(task.options[1])
    values = scores(distribution, 20 * few, 1, task.count, task.generator)
    units = Units.of(np.arange(20 * few), np.arange(20 * few) % 20)
    found = weighted_means(values, units, [1 / 20] * 20)
    name = f"mean of categories, few of a category: 20 of {few}, {distribution}"
    return {name: sum(holds(each, MEANS[distribution]) for each in found)}


SHARES = tuple(
    (clusters, items, truth) for clusters in (5, 10, 20, 50) for items in (1, REPEATS) for truth in (0.1, 0.3, 0.5)
)


def shares(task: Task) -> Hits:
    """Shares of items that are alike where they share a cluster."""
    clusters, items, truth = int(task.options[0]), int(task.options[1]), float(task.options[2])
    units, generator, inside = Units.of(np.repeat(np.arange(clusters), items)), task.generator, 0
    for _ in range(task.count):
        levels = np.repeat(generator.beta(4 * truth, 4 * (1 - truth), clusters), items)
        (found,) = shares_of((generator.random(len(levels)) < levels)[:, None], units)
        inside += holds(found, truth)
    return {f"share of {clusters} clusters of {items}, truth {truth:g}": inside}
