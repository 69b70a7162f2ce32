"""What is computed step by step is what is computed at once, and stops between steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.effects import side_effects
from support.sweeps import sweep
from support.tiny_models import CHAT, LAYERS, TinyModels

from caa_registry import mx_thread
from caa_registry.engine import steps
from caa_registry.evaluation.open_ended.perplexity import Continuation, mean_log_probabilities
from caa_registry.evaluation.propensity import prepare
from caa_registry.evaluation.side_effects.measure import TokenizedText
from caa_registry.models import generation
from caa_registry.models.model import Model
from caa_registry.mx import mx
from caa_registry.pairs.record import Pair
from caa_registry.vectors import LayerVector, VectorSet

PAIRS = [Pair("Is it?", "Yes, it is.", "No, it is not so."), Pair("And now, is it?", "No.", "Yes.")]
FEW = [1, 3, 7]


def few_rows(model: Model, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Have so many rows of logits be computed in one step."""
    monkeypatch.setattr(steps, "_STEP", rows * 2.0 * model.stream.vocabulary * model.d_model)
    assert steps.rows_of_logits(model.stream) == rows


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text"])
@pytest.mark.parametrize("rows", FEW)
def test_logits_in_pieces_are_those_at_once(
    family: str, rows: int, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(family, chat=CHAT)
    draw = np.random.default_rng(0).standard_normal
    vectors = {layer: draw((2, model.d_model)).astype(np.float32) for layer in range(LAYERS)}
    alone = VectorSet.of([LayerVector(layer, values[0], 1.0, None) for layer, values in vectors.items()])
    items = prepare(PAIRS, model.template(), model)
    text = TokenizedText(("1", "2"), ((3, 4, 5, 6, 7, 8, 9), (9, 8, 7, 6)))
    continued = [Continuation((3, 4), (5, 6, 7, 8, 9, 3, 4)), Continuation((3,), (5, 6))]

    def measured() -> list[np.ndarray[Any, Any]]:
        effects = side_effects(model, alone, text, [0, 2], [-1.0, 0.0, 2.0])
        return [
            sweep(model, vectors, items, [-1.0, 0.0, 2.0]),
            np.array([[*cell.kl_sums, *cell.log_p_sums] for cell in effects]),
            np.array(mean_log_probabilities(model, continued), dtype=np.float64),
        ]

    wanted = measured()
    few_rows(model, monkeypatch, rows)
    for found, expected in zip(measured(), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_prompt_stops_between_blocks(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama", chat=CHAT)
    wanted, blocks = model.generate("Is it so?", max_tokens=3), 0

    def check() -> None:
        nonlocal blocks
        blocks += 1
        if blocks > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(generation.mx_thread, "check", check)
    with pytest.raises(KeyboardInterrupt):
        model.generate("Is it so?", max_tokens=3)
    with pytest.raises(KeyboardInterrupt):
        model.next_tokens("Is it so?")
    monkeypatch.undo()
    assert not model.stream.tapped_now and model.generate("Is it so?", max_tokens=3) == wanted


def test_what_is_evaluated_in_steps_stops_between_them() -> None:
    evaluated: list[float] = []

    def work() -> None:
        taken = [(mx.array([1.0]) + 1,), (mx.array([2.0]) + 1,)]
        steps.evaluate(taken, mx.array([3.0]), evaluated.append)

    mx_thread.run(work)
    assert sum(evaluated) == pytest.approx(1) and len(evaluated) == 3
