"""Python code that applies a vector in transformers and in mlx-lm, without this package."""

from __future__ import annotations

import base64

import numpy as np

from caa_registry.formats.card import Card
from caa_registry.vectors import VectorSet


def write(vectors: VectorSet, card: Card) -> bytes:
    """A module with the numbers in it: ``steer_transformers(model)`` and ``steer_mlx(model)`` are ``with`` blocks."""
    rows = {v.layer: base64.b64encode(np.ascontiguousarray(v.values, "<f4").tobytes()).decode() for v in vectors.layers}
    entries = "".join(f'    {layer}: "{text}",\n' for layer, text in rows.items())
    said = card.as_text(vectors.tensor_digest)
    return _CODE.replace("@ENTRIES@", entries).replace("@CARD@", repr(said)).encode()


_CODE = '''\
"""A steering vector, written by CAA Registry. Layer L is added to the output of 0-based block L.

    with steer_transformers(model, multiplier=1.5):
        model.generate(**inputs)

    with steer_mlx(model, multiplier=1.5):
        mlx_lm.generate(model, tokenizer, prompt)

positions="after_prompt" steers the last token of the prompt and every token that follows. They are told from the number
of tokens in a step: generate with a KV cache, one sequence at a time. positions="all" steers the prompt too.
"""

import base64
from contextlib import contextmanager

import numpy as np

CARD = @CARD@
VECTORS = {
@ENTRIES@}


def vector(layer):
    return np.frombuffer(base64.b64decode(VECTORS[layer]), "<f4")


@contextmanager
def steer_transformers(model, multiplier=1.0, layers=None, positions="after_prompt"):
    import torch

    body = model.get_decoder() if hasattr(model, "get_decoder") else model.model
    blocks = body.layers if hasattr(body, "layers") else body.h
    handles = []

    def hook(numbers):
        def add(module, inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            delta = (multiplier * torch.tensor(numbers)).to(hidden.device, hidden.dtype)
            steered = hidden + delta
            if positions == "after_prompt" and hidden.shape[1] > 1:
                steered = torch.cat([hidden[:, :-1], steered[:, -1:]], dim=1)
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        return add

    try:
        for layer in VECTORS if layers is None else layers:
            handles.append(blocks[layer].register_forward_hook(hook(vector(layer))))
        yield model
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def steer_mlx(model, multiplier=1.0, layers=None, positions="after_prompt"):
    import mlx.core as mx

    replaced = []

    def steered_class(plain, numbers):
        delta = multiplier * mx.array(numbers)

        class Steered(plain):
            def __call__(self, *args, **kwargs):
                output = super().__call__(*args, **kwargs)
                hidden = output[0] if isinstance(output, tuple) else output
                # mlx-lm runs the prompt but for its last token in steps of several tokens.
                if positions == "all" or hidden.shape[1] == 1:
                    hidden = hidden + delta.astype(hidden.dtype)
                return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return Steered

    try:
        for layer in VECTORS if layers is None else layers:
            block = model.layers[layer]
            replaced.append((block, type(block)))
            block.__class__ = steered_class(type(block), vector(layer))
        yield model
    finally:
        for block, plain in replaced:
            block.__class__ = plain
'''
