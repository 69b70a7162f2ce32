"""The logits after a prompt at every layer and multiplier are those of the whole prompt, steered."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.counting import first_block_shapes, tokens_in
from support.tiny_models import CHAT, FAMILIES, LAYERS, TinyModels

from caa_registry.engine import runs as steered_runs
from caa_registry.engine.decoding.next_tokens import Work, next_logits
from caa_registry.errors import ModelMismatchError
from caa_registry.models.model import Model
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.positions import STEERED_POSITIONS

PROMPT = "Do you think that this is what they said it was?"
MULTIPLIERS = [-1.0, 0.5, 3.0]


def work(model: Model, positions: Any = "after_prompt", **others: Any) -> Work:
    draw = np.random.default_rng(0).standard_normal
    vectors = {layer: draw(model.d_model).astype(np.float32) for layer in range(LAYERS)}
    given = {"prompt": model.prompt_tokens(PROMPT), "vectors": vectors, "multipliers": MULTIPLIERS} | others
    return Work(model, positions=positions, **given)


def found(asked: Work) -> dict[int | None, NDArray[np.float64]]:
    parts: dict[int | None, NDArray[np.float64]] = {}
    next_logits(asked, lambda layer, logits: parts.update({layer: logits}))
    return parts


def whole(asked: Work) -> dict[int | None, list[list[float]]]:
    """The same, asked one by one."""

    def logits(additions: list[Addition]) -> list[float]:
        with steering(asked.model, additions, asked.positions):
            tokens = asked.model.next_tokens(PROMPT, top=1000)
        return [token.logit for token in sorted(tokens, key=lambda token: token.id)]

    steered = {
        layer: [logits([Addition(layer, vector, multiplier)]) for multiplier in MULTIPLIERS]
        for layer, vector in asked.vectors.items()
    }
    return {None: [logits([])], **steered}


@pytest.mark.parametrize("positions", STEERED_POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_and_multiplier_is_as_the_whole_prompt_gives(
    family: str, positions: Any, tiny: TinyModels, caplog: pytest.LogCaptureFixture
) -> None:
    asked = work(tiny(family, chat=CHAT), positions)
    with caplog.at_level(logging.WARNING):
        parts = found(asked)
    wanted = whole(asked)
    assert list(parts) == list(wanted)
    for layer, logits in wanted.items():
        np.testing.assert_allclose(parts[layer], logits, rtol=1e-4, atol=1e-4)
    # One of the families hands on more than the stream: it is run whole, and that is said.
    assert ("the prompt is run whole" in caplog.text) == (family == "gemma4_text")


def test_small_batches_give_the_same(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = work(tiny("llama", chat=CHAT), "all")
    wanted = found(asked)
    monkeypatch.setattr(steered_runs, "tokens_at_a_time", lambda: 5)
    for layer, logits in found(asked).items():
        np.testing.assert_allclose(logits, wanted[layer], rtol=1e-4, atol=1e-4)


def test_a_prompt_is_run_once_and_not_for_every_multiplier(tiny: TinyModels) -> None:
    asked = work(tiny("llama", chat=CHAT))
    with first_block_shapes(asked.model) as shapes:
        found(asked)
    # Unsteered, and once whole to check.
    assert len(asked.prompt.ids) < tokens_in(shapes) <= 2 * len(asked.prompt.ids)


def test_without_multipliers_only_the_unsteered_model_is_run(tiny: TinyModels) -> None:
    assert list(found(work(tiny("llama"), multipliers=[]))) == [None]


def test_a_prompt_of_one_token_is_steered_too(tiny: TinyModels) -> None:
    model = tiny("llama")
    prompt = model.prompt_tokens("I", template="plain")
    assert len(prompt.ids) == 1
    parts = found(work(model, prompt=prompt))
    assert not np.allclose(parts[0][2], parts[None][0])


def test_what_cannot_be_added_is_refused_before_anything_is_run(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    asked = work(model, vectors={0: np.ones(7, np.float32)})
    monkeypatch.setattr(type(model.network), "__call__", lambda *_, **__: pytest.fail("the network was run"))
    with pytest.raises(ModelMismatchError, match=r"shape \(7,\)"):
        found(asked)
