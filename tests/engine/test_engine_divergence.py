"""KL divergences and log-probabilities are those of the distributions that the logits stand for."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from caa_registry.engine.likelihoods import divergences, log_probabilities_of, normalizers

Logits = NDArray[np.float32]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Logits, Logits]:
    rows, tokens, vocabulary = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([0.01, 1.0, 30.0]))
    drawn = (size * generator.standard_normal((rows + 1, tokens, vocabulary))).astype(np.float32)
    return drawn[0], drawn[1:]


def kl(unsteered: Logits, steered: Logits) -> NDArray[np.float64]:
    return divergences(unsteered, normalizers(unsteered), steered, normalizers(steered))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_they_are_as_scipy_gives(case: tuple[Logits, Logits]) -> None:
    unsteered, steered = case
    wanted = [
        entropy(softmax(unsteered.astype(np.float64), axis=1), softmax(row.astype(np.float64), axis=1), axis=1)
        for row in steered
    ]
    np.testing.assert_allclose(kl(unsteered, steered), wanted, rtol=1e-9, atol=1e-11)
    targets = np.arange(len(unsteered)) % unsteered.shape[1]
    found = log_probabilities_of(steered, normalizers(steered), targets)
    wanted = [log_softmax(row.astype(np.float64), axis=1)[np.arange(len(targets)), targets] for row in steered]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(cases(), st.floats(-50, 50))
def test_never_negative_zero_for_the_same_and_blind_to_a_shift(case: tuple[Logits, Logits], shift: float) -> None:
    unsteered, steered = case
    assert (kl(unsteered, steered) >= 0).all()
    np.testing.assert_array_equal(kl(unsteered, unsteered[None]), 0.0)
    # Whole numbers, so that float32 holds the shifted logits exactly.
    whole = np.round(unsteered).astype(np.float32)
    np.testing.assert_allclose(kl(whole, (whole + np.float32(round(shift)))[None]), 0.0, atol=1e-12)


def test_many_tokens_and_a_wide_vocabulary_come_in_pieces() -> None:
    generator = np.random.default_rng(0)
    for shape in ((3000, 7), (3, 70_000)):
        unsteered = generator.standard_normal(shape).astype(np.float32)
        steered = generator.standard_normal((2, *shape)).astype(np.float32)
        one_by_one = [kl(unsteered[i : i + 1], steered[:, i : i + 1])[:, 0] for i in range(shape[0])]
        np.testing.assert_allclose(kl(unsteered, steered), np.transpose(one_by_one), rtol=1e-12)


def test_what_is_impossible_adds_nothing_and_what_is_no_number_stays_none() -> None:
    masked = np.array([[0.0, 1.0, -np.inf]], dtype=np.float32)
    other = np.array([[1.0, 0.0, -np.inf]], dtype=np.float32)
    np.testing.assert_allclose(kl(masked, other[None]), kl(masked[:, :2], other[None, :, :2]))
    assert np.isnan(kl(masked, np.full((1, 1, 3), np.nan, dtype=np.float32))).all()
    assert np.isnan(normalizers(np.array([[np.inf, 0.0]], dtype=np.float32))).all()
