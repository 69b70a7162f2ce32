"""Monotone cubics are scipy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from caa_registry.evaluation.doses.cubics import monotone_cubics

# Levels, so that neighbours are often equal.
VALUES = st.integers(-6, 6).map(lambda level: level / 3) | st.floats(-1e3, 1e3)
STEPS = st.floats(1e-3, 1e3)


@given(st.data())
def test_they_are_as_scipy_gives(data: st.DataObject) -> None:
    steps = data.draw(st.lists(STEPS, min_size=1, max_size=7))
    x = data.draw(st.floats(-10, 10)) + np.concatenate([[0.0], np.cumsum(steps)])
    y = np.array(data.draw(st.lists(st.tuples(VALUES, VALUES), min_size=len(x), max_size=len(x))))
    shares = np.array(data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=4)))
    at = np.concatenate([(x[0] + shares * (x[-1] - x[0])).clip(x[0], x[-1]), x])
    found = monotone_cubics(x, y, at)
    np.testing.assert_allclose(found, PchipInterpolator(x, y, axis=0)(at), rtol=1e-9, atol=1e-9 * np.abs(y).max())
    np.testing.assert_allclose(found[len(shares) :], y, rtol=1e-12, atol=1e-12 * np.abs(y).max())
