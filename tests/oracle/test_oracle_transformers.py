"""The same hidden states and logits from Hugging Face transformers on torch: an independent implementation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray
from support.computed import mean_difference
from support.tiny_models import CHAT, FAMILIES, build

from caa_registry.extraction.reading import encode_pairs
from caa_registry.models.loading import demo_model_folder, load
from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import CompletedTokens
from caa_registry.models.stream import Positions
from caa_registry.pairs.record import Pair
from caa_registry.steering.additions import Addition, steering

torch = pytest.importorskip("torch", reason="torch is not installed: the oracle needs it (see .ci/run)")

pytestmark = pytest.mark.oracle

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
PAIRS = [
    Pair("Is it good?", "(A)", "(B)"),
    Pair("Would you like a donut now?\n\nChoices:\n (A) Yes\n (B) No", "(B)", "(A)"),
    Pair("And now?", "(A)", "(B)"),
]
# What transformers calls the list of blocks, where it has the architecture alike.
BLOCKS = {"llama": "model.layers", "qwen2": "model.layers", "gpt2": "transformer.h"}

assert set(BLOCKS) <= set(FAMILIES)


class Oracle:
    """A model of transformers in float32, from the folder that ours came from."""

    def __init__(self, folder: Path, blocks: str) -> None:
        from transformers import AutoModelForCausalLM

        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.blocks = self.model.get_submodule(blocks)

    def run(
        self, ids: Sequence[int], add: tuple[int, NDArray[np.float32], int] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Hidden states after every block ``(layers, tokens, d_model)`` and logits ``(tokens, vocabulary)``.

        ``add``: a layer, a vector to add there, and the position from which on.
        """
        last: list[Any] = []
        handles = [self.blocks[-1].register_forward_hook(lambda _m, _i, out: last.append(first_of(out)))]
        if add is not None:
            layer, vector, start = add

            def hook(_module: Any, _inputs: Any, out: Any) -> Any:
                hidden = first_of(out).clone()
                hidden[:, start:] += torch.from_numpy(vector)
                return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

            handles.insert(0, self.blocks[layer].register_forward_hook(hook))
        try:
            with torch.no_grad():
                out = self.model(torch.tensor([list(ids)]), output_hidden_states=True)
        finally:
            for handle in handles:
                handle.remove()
        # The last entry of hidden_states is after the final norm, so the last block's output comes from its hook.
        states = [*out.hidden_states[1:-1], last[0]]
        assert len(states) == len(self.blocks)
        return torch.cat(states).numpy(), out.logits[0].numpy()


def first_of(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


def ours(model: Model, ids: Sequence[int], end: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    seen: list[mx.array] = []

    def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        seen.append(hidden)
        return hidden

    with model.stream.tapped(look), model.stream.prompt(end):
        logits = model.network(mx.array([list(ids)]), cache=make_prompt_cache(model.network))
    return np.array(mx.concatenate(seen)), np.array(logits[0])


@pytest.fixture(scope="module", params=["demo", *BLOCKS])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Oracle]:
    """Our model and the oracle's of the same folder."""
    name = request.param
    folder = demo_model_folder()
    if name != "demo":
        folder = build(tmp_path_factory.mktemp("oracle") / name, name, chat=CHAT)
    model = load("demo" if name == "demo" else folder, dtype="float32")
    return model, Oracle(folder, BLOCKS[model.info.architecture])


def completed(model: Model) -> list[CompletedTokens]:
    template = model.template()
    return [template.complete(p.prompt, side) for p in PAIRS for side in (p.positive, p.negative)]


def test_hidden_states_of_every_block_and_logits(both: tuple[Model, Oracle]) -> None:
    model, oracle = both
    for tokens in completed(model):
        states, logits = ours(model, tokens.ids)
        wanted, wanted_logits = oracle.run(tokens.ids)
        np.testing.assert_allclose(states, wanted, **CLOSE)
        np.testing.assert_allclose(logits, wanted_logits, **CLOSE)


def test_token_ids_are_those_of_the_chat_template(both: tuple[Model, Oracle]) -> None:
    model, _ = both
    for pair in PAIRS:
        wanted = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": pair.prompt}], add_generation_prompt=True, return_dict=False
        )
        assert list(model.template().prompt(pair.prompt).ids) == list(wanted)


def test_mean_difference(both: tuple[Model, Oracle]) -> None:
    model, oracle = both
    sides = completed(model)
    read = np.stack([oracle.run(tokens.ids)[0][:, tokens.answer] for tokens in sides])
    wanted = (read[0::2] - read[1::2]).mean(axis=0)
    kept, _ = encode_pairs(PAIRS, model.template(), model)
    found = mean_difference(model, kept, range(model.n_layers), "answer")
    np.testing.assert_allclose(np.stack([v.values for v in found.layers]), wanted, **CLOSE)


def test_steered_hidden_states_and_logits(both: tuple[Model, Oracle]) -> None:
    model, oracle = both
    tokens = completed(model)[0]
    layer = model.n_layers // 2
    vector = np.random.default_rng(0).standard_normal(model.d_model).astype(np.float32)
    _, wanted = oracle.run(tokens.ids, (layer, vector, tokens.prompt_end))
    with steering(model, [Addition(layer, vector)]):
        _, logits = ours(model, tokens.ids, tokens.prompt_end)
    np.testing.assert_allclose(logits, wanted, **CLOSE)
    assert np.abs(logits - ours(model, tokens.ids)[1]).max() > 1e-3
