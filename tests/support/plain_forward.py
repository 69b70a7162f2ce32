"""Hidden states of one sequence without anything of ours in between: the yardstick for what the package reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.base import create_attention_mask
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray


def hidden_states(network: Any, ids: Sequence[int]) -> NDArray[np.float32]:
    """``(layers, tokens, d_model)``, caught by patching the blocks' class for one plain call."""
    blocks = list(network.layers)
    caught: dict[int, mx.array] = {}
    with pytest.MonkeyPatch.context() as patch:
        for cls in {type(block) for block in blocks}:

            def call(self: Any, *args: Any, _original: Any = cls.__call__, **kwargs: Any) -> Any:
                out = _original(self, *args, **kwargs)
                caught[id(self)] = out[0] if isinstance(out, tuple) else out
                return out

            patch.setattr(cls, "__call__", call)
        network(mx.array([list(ids)]), cache=make_prompt_cache(network))
    return np.array(mx.concatenate([caught[id(block)].astype(mx.float32) for block in blocks]))


def llama_states(network: Any, ids: Sequence[int]) -> NDArray[np.float32]:
    """The same for a llama, written out: embedding, then block after block, no cache."""
    hidden = network.model.embed_tokens(mx.array([list(ids)]))
    mask = create_attention_mask(hidden, None)
    states = []
    for block in network.model.layers:
        hidden = block(hidden, mask, None)
        states.append(hidden)
    return np.array(mx.concatenate(states).astype(mx.float32))


def logits(network: Any, ids: Sequence[int]) -> NDArray[np.float64]:
    """``(tokens, vocabulary)``, one plain call without a cache."""
    return np.array(network(mx.array([list(ids)])).astype(mx.float32))[0].astype(np.float64)
