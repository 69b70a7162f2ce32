"""A network evaluated in steps gives what it gives at once."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from support.tiny_models import TinyModels

from caa_registry.engine import steps as in_steps
from caa_registry.engine.kernels import fast_exponentials
from caa_registry.engine.steps import Step, evaluate, steps
from caa_registry.models.weights import on_cpu


@pytest.mark.skipif(not on_cpu(), reason="a GPU is left to run ahead")
@pytest.mark.parametrize("highest", [0, 1, 2])
def test_steps_end_where_the_highest_block_begins(tiny: TinyModels, highest: int) -> None:
    model, tokens = tiny("llama"), mx.array([[3, 4, 5]])
    wanted = np.array(model.network(tokens))
    taken: list[Step] = []
    with fast_exponentials(), steps(model.stream, highest, taken):
        logits = model.network(tokens)
    (last,) = taken[-1] if taken else (None,)
    assert (last is None) == (highest == 0)
    assert last is None or last.shape == (1, 3, model.d_model)
    evaluate(taken, logits)
    assert taken == []
    np.testing.assert_allclose(np.array(logits), wanted, rtol=1e-4, atol=1e-5)
    # Nothing is recorded any more.
    model.network(tokens)
    assert taken == [] and in_steps._thread.recorded is None
