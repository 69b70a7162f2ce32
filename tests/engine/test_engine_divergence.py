"""KL divergences and log-probabilities are those of the distributions that the logits stand for, to 1e-6, on a CPU and
by the operations that a GPU runs."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import entropy

from caa_registry.engine import logits as module
from caa_registry.engine.logits import Answer, divergences, log_probabilities_of, normalizers, read_answers

Logits = NDArray[np.float32]


@pytest.fixture(params=["cpu", "gpu"], autouse=True, scope="module")
def device(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is read where logits lie in the CPU's memory, and by MLX's operations as on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "on_cpu", lambda: request.param == "cpu")
        yield


@st.composite
def cases(draw: st.DrawFn) -> tuple[Logits, Logits]:
    rows, tokens, vocabulary = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([0.01, 1.0, 30.0]))
    drawn = (size * generator.standard_normal((rows + 1, tokens, vocabulary))).astype(np.float32)
    return drawn[0], drawn[1:]


def kl(unsteered: Logits, steered: Logits) -> NDArray[np.float64]:
    before, after = mx.array(unsteered[None]), mx.array(steered)
    return divergences(before, normalizers(before), after, normalizers(after))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_they_are_as_scipy_gives(case: tuple[Logits, Logits]) -> None:
    unsteered, steered = case
    expected = [
        entropy(softmax(unsteered.astype(np.float64), axis=1), softmax(row.astype(np.float64), axis=1), axis=1)
        for row in steered
    ]
    np.testing.assert_allclose(kl(unsteered, steered), expected, rtol=1e-6, atol=1e-6)
    targets = np.arange(len(unsteered)) % unsteered.shape[1]
    log_p = log_probabilities_of(mx.array(steered), normalizers(mx.array(steered)), targets)
    expected = [log_softmax(row.astype(np.float64), axis=1)[np.arange(len(targets)), targets] for row in steered]
    np.testing.assert_allclose(log_p, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(cases(), st.floats(-50, 50))
def test_never_negative_zero_for_the_same_and_blind_to_a_shift(case: tuple[Logits, Logits], shift: float) -> None:
    unsteered, steered = case
    assert (kl(unsteered, steered) >= 0).all()
    np.testing.assert_array_equal(kl(unsteered, unsteered[None]), 0.0)
    # Whole numbers, so that float32 holds the shifted logits exactly.
    whole = np.round(unsteered).astype(np.float32)
    np.testing.assert_allclose(kl(whole, (whole + np.float32(round(shift)))[None]), 0.0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(1e-4, 1e-2))
def test_a_small_divergence_is_seen(seed: int, size: float) -> None:
    draw = np.random.default_rng(seed).standard_normal
    unsteered = (3 * draw((2, 5000))).astype(np.float32)
    steered = (unsteered + np.float32(size) * draw((1, 2, 5000)).astype(np.float32)).astype(np.float32)
    exact = entropy(
        softmax(unsteered.astype(np.float64), axis=1), softmax(steered[0].astype(np.float64), axis=1), axis=1
    )
    np.testing.assert_allclose(kl(unsteered, steered)[0], exact, rtol=0.05, atol=1e-6)


def test_many_tokens_and_a_wide_vocabulary_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GPU_PIECE", 1 << 16)
    generator = np.random.default_rng(0)
    for shape in ((3000, 7), (3, 70_000)):
        unsteered = generator.standard_normal(shape).astype(np.float32)
        steered = generator.standard_normal((2, *shape)).astype(np.float32)
        one_by_one = [kl(unsteered[i : i + 1], steered[:, i : i + 1])[:, 0] for i in range(shape[0])]
        np.testing.assert_allclose(kl(unsteered, steered), np.transpose(one_by_one), rtol=1e-6)


def test_a_wide_vocabulary_is_exact_too() -> None:
    logits = (4 * np.random.default_rng(1).standard_normal((4, 128_256))).astype(np.float32)
    np.testing.assert_allclose(
        normalizers(mx.array(logits)).logarithms, logsumexp(logits.astype(np.float64), axis=1), atol=1e-6
    )


def test_what_is_impossible_adds_nothing_and_what_is_no_number_stays_none() -> None:
    masked = np.array([[0.0, 1.0, -np.inf]], dtype=np.float32)
    other = np.array([[1.0, 0.0, -np.inf]], dtype=np.float32)
    np.testing.assert_allclose(kl(masked, other[None]), kl(masked[:, :2], other[None, :, :2]), rtol=1e-6)
    assert np.isnan(kl(masked, np.full((1, 1, 3), np.nan, dtype=np.float32))).all()
    assert np.isnan(normalizers(mx.array([[np.inf, 0.0]])).logarithms).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans())
def test_answers_are_read_where_they_stand(seed: int, count: int, either: bool) -> None:
    draw = np.random.default_rng(seed)
    logits = (5 * draw.standard_normal((count, 6, 30))).astype(np.float32)
    starts = draw.integers(0, 3, count).tolist()
    answers = [
        Answer(tuple(range(9)), 3, 5, tuple(draw.integers(0, 30, int(draw.integers(2, 4))).tolist()), either=either)
        for _ in range(count)
    ]
    log_p = log_softmax(logits.astype(np.float64), axis=-1)
    for answer, start, row, values in zip(
        answers, starts, read_answers(answers, mx.array(logits), starts).log_p, log_p, strict=True
    ):
        if either:
            expected = [values[start, answer.targets[0]], logsumexp(values[start, list(answer.targets[1:])])]
        else:
            expected = [sum(values[start + i, token] for i, token in enumerate(answer.targets))]
        np.testing.assert_allclose(row, expected, rtol=1e-6, atol=1e-6)
