"""Scores by category: each mean, the mean of all items, and the mean of category means."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from caa_registry.errors import InputError
from caa_registry.evaluation.categories import by_category
from caa_registry.evaluation.inference.intervals import mean


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["law", "art", "physics"])), min_size=1, max_size=20))
def test_means_are_those_of_the_groups(rows: list[tuple[float, str]]) -> None:
    scores, names = np.array([score for score, _ in rows]), [name for _, name in rows]
    found = by_category(scores, names)
    groups = {name: scores[[i for i, other in enumerate(names) if other == name]] for name in sorted(set(names))}
    assert list(found.categories) == list(groups)
    assert {name: of.n for name, of in found.categories.items()} == {name: len(v) for name, v in groups.items()}
    for name, values in groups.items():
        assert found.categories[name] == mean(values)
    assert found.items == mean(scores)
    np.testing.assert_allclose(found.of_means.value, np.mean([values.mean() for values in groups.values()]))
    assert found.of_means.n == len(rows)
    if len(rows) < 5 or min(len(values) for values in groups.values()) < 2:
        assert (found.of_means.low, found.of_means.high) == (None, None)
    elif found.of_means.low is not None:
        assert found.of_means.low <= found.of_means.value + 1e-12
        assert found.of_means.high >= found.of_means.value - 1e-12


def test_a_small_category_counts_as_much_as_a_large_one() -> None:
    found = by_category(np.array([1.0] * 8 + [0.0] * 2), ["a"] * 8 + ["b"] * 2)
    assert found.items.value == 0.8 and found.of_means.value == 0.5
    # No category varies.
    assert (found.of_means.low, found.of_means.high) == (0.5, 0.5)


def test_the_interval_of_the_mean_of_means_is_as_wide_as_theory_says() -> None:
    generator = np.random.default_rng(0)
    sizes = {"a": 400, "b": 100}
    scores = np.concatenate([generator.standard_normal(n) for n in sizes.values()])
    found = by_category(scores, [name for name, n in sizes.items() for _ in range(n)])
    deviation = np.sqrt(scores[:400].var(ddof=1) / 400 + scores[400:].var(ddof=1) / 100) / 2
    assert found.of_means.high - found.of_means.low == pytest.approx(2 * 1.965 * deviation, rel=0.05)
    assert found.of_means.high - found.of_means.low >= 2 * 1.9647 * deviation
    # Equal sizes: the mean of means is the mean, and its interval about the same.
    even = by_category(scores[:200], ["a", "b"] * 100)
    assert even.of_means.value == pytest.approx(even.items.value)
    assert even.of_means.low == pytest.approx(even.items.low, abs=0.01)


def test_categories_of_one_item_each_are_not_known_exactly() -> None:
    scores = np.random.default_rng(0).random(20)
    found = by_category(scores, [str(i) for i in range(20)]).of_means
    assert found.low is None or found.high - found.low > 0.1


@pytest.mark.parametrize("items", [2, 3])
def test_of_small_categories_the_interval_is_as_wide_as_theory_says(items: int) -> None:
    """Of 20 categories of a few items: the variance within them, whose degrees of freedom are 20 (m - 1)."""
    scores = np.random.default_rng(1).standard_normal((20, items))
    found = by_category(scores.ravel(), [str(i) for i in range(20) for _ in range(items)]).of_means
    deviation = np.sqrt(scores.var(axis=1, ddof=1).mean() / items / 20)
    assert found.low is not None and found.high is not None
    assert found.high - found.low >= 2 * stats.t.ppf(0.975, 20 * items - 1) * deviation


@pytest.mark.parametrize(
    ("categories", "said"),
    [([], "no scores"), (["a", None, ""], "2 of 3 items have no category, the first at 2")],
)
def test_what_cannot_be_grouped_says_why(categories: list[str | None], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        by_category(np.zeros(len(categories)), categories)
    with pytest.raises(ValueError, match="2 scores, 1 categories"):
        by_category(np.zeros(2), ["a"])
