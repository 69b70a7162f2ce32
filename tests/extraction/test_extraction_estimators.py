"""Directions from activations: properties all methods share, known answers, and other people's implementations."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from caa_registry.errors import UsageError
from caa_registry.extraction.estimators.estimator import estimate, estimator
from caa_registry.extraction.estimators.rows import principal_axes
from caa_registry.extraction.estimators.shrinkage import shrinkage
from caa_registry.extraction.estimators.solvers import top_eigenvectors
from caa_registry.extraction.methods import METHODS, Method, check_method

Rows = NDArray[np.float64]

every_method = pytest.mark.parametrize("method", METHODS)


class Case(NamedTuple):
    """Both sides ``(n, d)``, and six fits to them: weights that are counts, and signs, ``(6, n)``."""

    positive: Rows
    negative: Rows
    weights: Rows
    signs: Rows


def case_of(n: int, d: int, seed: int) -> Case:
    """Sides with a level of each pair's own, and dimensions of different size. No row of weights is all zero."""
    generator = np.random.default_rng(seed)
    sizes = np.exp(generator.normal(size=d))
    level = 3 * generator.normal(size=(n, d))
    positive, negative = (sizes * (level + generator.normal(size=(n, d)) + shift) for shift in (0.5, 0.0))
    weights = generator.integers(0, 4, (6, n)).astype(float)
    weights[:, seed % n] += 1
    return Case(positive, negative, weights, generator.choice([-1.0, 1.0], (6, n)))


def drawn(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda test: settings(max_examples=25, deadline=None, derandomize=True)(given(*strategies)(test))


cases = st.builds(case_of, st.integers(2, 10), st.integers(2, 24), st.integers(0, 10**6))


def single(method: Method, positive: Rows, negative: Rows) -> Rows:
    every = np.ones((1, len(positive)))
    return np.asarray(estimator(method)(positive, negative, every, every)[0])


def assert_same(found: Rows, wanted: Rows, tolerance: float = 1e-6) -> None:
    """Rows agree to a part of the length of the wanted row."""
    distance = np.linalg.norm(found - wanted, axis=-1)
    assert (distance <= tolerance * np.linalg.norm(wanted, axis=-1)).all(), (found, wanted)


def unit(row: Rows) -> Rows:
    return row / np.linalg.norm(row)


def cosine(one: Rows, other: Rows) -> float:
    return float(unit(one) @ unit(other))


@every_method
@drawn(cases)
def test_swapping_the_sides_turns_the_direction_round(method: Method, case: Case) -> None:
    positive, negative, weights, signs = case
    wanted = -estimator(method)(*case)
    assert_same(estimator(method)(positive, negative, weights, -signs), wanted)
    assert_same(estimator(method)(negative, positive, weights, signs), wanted)


@every_method
@drawn(cases)
def test_a_sign_swaps_the_sides_of_one_pair(method: Method, case: Case) -> None:
    positive, negative, weights, signs = case
    found = estimator(method)(positive, negative, np.ones_like(weights), signs)
    for row, sign in zip(found, signs, strict=True):
        kept = sign[:, None] > 0
        swapped = single(method, np.where(kept, positive, negative), np.where(kept, negative, positive))
        assert_same(row, swapped)


@every_method
@drawn(cases, st.sampled_from([1e-4, 0.5, 7.0, 1e5]))
def test_the_unit_of_the_activations_scales_the_direction(method: Method, case: Case, factor: float) -> None:
    positive, negative, _, _ = case
    assert_same(single(method, factor * positive, factor * negative), factor * single(method, positive, negative))


@every_method
@drawn(cases)
def test_weights_count_pairs(method: Method, case: Case) -> None:
    found = estimator(method)(*case)
    for row, weight, sign in zip(found, case.weights, case.signs, strict=True):
        repeated = np.repeat(np.arange(len(weight)), weight.astype(int))
        sides = case.positive[repeated], case.negative[repeated]
        assert_same(row, estimator(method)(*sides, np.ones((1, len(repeated))), sign[None, repeated])[0], 1e-4)


@every_method
@pytest.mark.filterwarnings("error")
def test_a_huge_pair_that_is_left_out_has_no_say(method: Method) -> None:
    positive, negative, weights, signs = case_of(9, 12, 4)
    positive[0] *= 2e3
    weights[:, 0] = 0
    wanted = estimator(method)(positive[1:], negative[1:], weights[:, 1:], signs[:, 1:])
    assert_same(estimator(method)(positive, negative, weights, signs), wanted, 1e-4)


@every_method
@drawn(cases)
def test_many_fits_at_once_equal_one_at_a_time(method: Method, case: Case) -> None:
    positive, negative, weights, signs = case
    fit = estimator(method)
    alone = [fit(positive, negative, weights[[j]], signs[[j]])[0] for j in range(6)]
    assert_same(fit(*case), np.array(alone))


@every_method
@drawn(cases, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(method: Method, case: Case, random: Random) -> None:
    positive, negative, _, _ = case
    order = random.sample(range(len(positive)), len(positive))
    assert_same(single(method, positive[order], negative[order]), single(method, positive, negative))


@every_method
@drawn(cases)
def test_the_length_is_that_of_the_mean_difference(method: Method, case: Case) -> None:
    differences = case.positive - case.negative
    fits = zip(case.weights, case.signs, strict=True)
    means = np.array([np.average(sign[:, None] * differences, axis=0, weights=weight) for weight, sign in fits])
    found = estimator(method)(*case)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.linalg.norm(means, axis=1))
    if method == "mean-difference":
        assert_same(found, means)


@pytest.mark.parametrize("method", ["mean-difference", "pca", "logistic"])
@drawn(cases, st.integers(0, 10**6))
def test_what_both_sides_share_is_left_out(method: Method, case: Case, seed: int) -> None:
    positive, negative, _, _ = case
    offsets = 10 * np.random.default_rng(seed).normal(size=positive.shape)
    assert_same(single(method, positive + offsets, negative + offsets), single(method, positive, negative))


@every_method
@pytest.mark.filterwarnings("error")
def test_no_difference_gives_a_zero_vector(method: Method) -> None:
    positive, negative, _, _ = case_of(6, 9, 1)
    assert not single(method, positive, positive).any()
    assert not single(method, np.ones((6, 9)), np.ones((6, 9))).any()
    # The differences are there, and cancel.
    assert not single(method, np.stack([positive[0], negative[0]]), np.stack([negative[0], positive[0]])).any()


@every_method
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 7), (5, 1)])
def test_one_pair_or_one_dimension_gives_the_mean_difference(method: Method, shape: tuple[int, int]) -> None:
    positive, negative, _, _ = case_of(*shape, 3)
    assert_same(single(method, positive, negative), (positive - negative).mean(axis=0))


@every_method
@pytest.mark.parametrize("d", [20, 400])
def test_a_planted_direction_is_found(method: Method, d: int) -> None:
    generator = np.random.default_rng(d)
    planted = generator.normal(size=d)
    planted *= 4 / np.linalg.norm(planted)
    level, noise = generator.normal(size=(200, d)), generator.normal(size=(2, 200, d))
    found = single(method, level + planted + noise[0], level + noise[1])
    assert cosine(found, planted) > 0.85


def test_the_component_is_not_centred_and_points_along_the_mean() -> None:
    generator = np.random.default_rng(5)
    differences = np.stack([np.full(300, -3.0), 2 * generator.normal(size=300)], axis=1)
    found = single("pca", differences, np.zeros_like(differences))
    assert cosine(found, np.array([-1.0, 0.0])) > 0.98
    # What centring would find instead.
    assert abs(PCA(1).fit(differences).components_[0][0]) < 0.02


def test_the_component_of_a_resample_may_be_orthogonal_to_that_of_all_pairs() -> None:
    differences = np.array([[1.0, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.1]])
    weights = np.array([[1.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    found = estimator("pca")(differences, np.zeros_like(differences), weights, np.ones_like(weights))
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), np.eye(3)[[1, 0]], atol=1e-8)


def test_estimate_is_the_fit_of_all_pairs_in_float32() -> None:
    positive, negative = (side.astype(np.float32) for side in case_of(12, 8, 2)[:2])
    for method in METHODS:
        found = estimate(method, positive, negative)
        assert found.dtype == np.float32
        wanted = single(method, positive.astype(np.float64), negative.astype(np.float64))
        np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_methods_by_name() -> None:
    assert [check_method(method) for method in METHODS] == list(METHODS)
    with pytest.raises(UsageError, match="there is no method 'svm'") as refused:
        check_method("svm")
    assert refused.value.hint == "Choose one of mean-difference, pca, logistic, lda."


@pytest.fixture(params=[(40, 150), (60, 100), (200, 30)], ids=str)
def massive(request: pytest.FixtureRequest) -> Case:
    """With one massive dimension, which makes the problem as badly conditioned as real activations do."""
    n, d = request.param
    case = case_of(n, d, n)
    height = 2000 * (1 + 0.05 * np.random.default_rng(n).normal(size=n))
    case.positive[:, 3] += height
    case.negative[:, 3] += height
    return case


def test_pca_against_scikit_learn(massive: Case) -> None:
    differences = massive.positive - massive.negative
    found = single("pca", *massive[:2])
    both = PCA(1, svd_solver="full").fit(np.concatenate([differences, -differences]))
    uncentred = TruncatedSVD(1, algorithm="arpack").fit(differences)
    for model in (both, uncentred):
        assert abs(cosine(found, model.components_[0])) > 1 - 1e-10


def test_logistic_against_scikit_learn(massive: Case) -> None:
    rows = massive.positive - massive.negative
    rows /= np.linalg.norm(rows, axis=1).mean()
    model = LogisticRegression(fit_intercept=False, C=1.0, tol=1e-10, max_iter=10_000)
    model.fit(np.concatenate([rows, -rows]), np.repeat([1, 0], len(rows)), np.full(2 * len(rows), 0.5))
    assert_same(unit(single("logistic", *massive[:2])), unit(model.coef_[0]))


def test_lda_against_scikit_learn(massive: Case) -> None:
    positive, negative, _, _ = massive
    everything = np.concatenate([positive, negative])
    covariance, rho = ledoit_wolf(everything)
    found = unit(single("lda", positive, negative))
    assert_same(found, unit(np.linalg.solve(covariance, (positive - negative).mean(axis=0))))
    # Fisher's, from the covariance within sides: the same share of the identity, by its own trace.
    within = np.concatenate([positive - positive.mean(axis=0), negative - negative.mean(axis=0)])
    identity = rho / (1 - rho) * everything.var(axis=0).mean() / (within**2).mean()
    fisher = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=identity / (1 + identity))
    assert_same(found, unit(fisher.fit(everything, np.repeat([1, 0], len(positive))).coef_[0]))


def test_shrinkage_against_scikit_learn(massive: Case) -> None:
    rows = massive.positive
    rho, mu = shrinkage(rows - rows.mean(axis=0), massive.weights, rows.shape[1])
    for weight, found, level in zip(massive.weights, rho[:, 0], mu[:, 0], strict=True):
        repeated = np.repeat(rows, weight.astype(int), axis=0)
        assert found == pytest.approx(ledoit_wolf(repeated)[1], rel=1e-6)
        assert level == pytest.approx(repeated.var(axis=0).mean())


def test_shrinkage_goes_all_the_way_where_noise_explains_the_shape() -> None:
    samples = [np.random.default_rng(seed).normal(size=(6, 3)) for seed in range(40)]
    found = [shrinkage(rows - rows.mean(axis=0), np.ones((1, 6)), 3)[0].item() for rows in samples]
    np.testing.assert_allclose(found, [ledoit_wolf(rows)[1] for rows in samples])
    assert 1.0 in found


def test_eigenvectors_are_iterated_to_the_end(massive: Case) -> None:
    values = principal_axes(massive.positive - massive.negative).values
    for vector, weight in zip(top_eigenvectors(values, massive.weights), massive.weights, strict=True):
        image = values.T @ (weight * (values @ vector))
        assert np.linalg.norm(image - (vector @ image) * vector) < 1e-9 * np.linalg.norm(image)


def test_resampled_fits_against_a_plain_solution(massive: Case) -> None:
    """The iterations that fit many resamples at once, each against one direct solution."""
    positive, negative, weights, signs = massive
    components, whitened = (estimator(method)(*massive) for method in ("pca", "lda"))
    for j, (weight, sign) in enumerate(zip(weights, signs, strict=True)):
        differences = (positive - negative) * sign[:, None]
        top = np.linalg.svd(np.sqrt(weight)[:, None] * differences)[2][0]
        assert abs(cosine(components[j], top)) > 1 - 1e-10
        repeated = np.repeat(np.concatenate([positive, negative]), np.tile(weight, 2).astype(int), axis=0)
        direct = np.linalg.solve(ledoit_wolf(repeated)[0], np.average(differences, axis=0, weights=weight))
        assert cosine(whitened[j], direct) > 1 - 1e-6
