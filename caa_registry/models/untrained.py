"""A network of a model's shape with random weights: what architecture, tokens and texts do by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from caa_registry import mx_thread
from caa_registry.digests import digest_object
from caa_registry.models.folder.build import bounded, network_classes
from caa_registry.models.folder.json_files import json_object
from caa_registry.models.model import Model
from caa_registry.models.stream import ResidualStream
from caa_registry.models.weights import mlx_lm_errors, prepare
from caa_registry.mx import mx


def untrained(model: Model, seed: int) -> Model:
    """A model of the architecture, config and tokenizer of ``model``, as mlx-lm initialises it: the same weights for
    the same ``seed``, of 64 bits.

    It computes in the dtype of ``model``; nothing of it is quantized, and no adapter is on it. Its fingerprint is its
    own. Raises ``ModelError`` where its weights do not fit into memory beside those of ``model``.
    """
    _ = model.network  # what is free is what its weights leave
    return mx_thread.run(_untrained, model, seed)


def _untrained(model: Model, seed: int) -> Model:
    folder, info = next(iter(model.looks)).parent, model.info
    name = f"{info.name}, untrained"
    with mlx_lm_errors(folder):
        config = json_object(folder / "config.json")
        network_class, settings_class = network_classes(folder, config)
        with bounded(folder), _seeded(seed):
            network = network_class(settings_class.from_dict(config))
    network.eval()
    dtype = prepare(network, model.dtype, name)
    stream = ResidualStream(network)
    weights = digest_object("untrained", {"weights": info.fingerprint.weights, "seed": str(seed)})
    fingerprint = replace(info.fingerprint, weights=weights, tensors=None, adapter=None)
    described = replace(info, name=name, fingerprint=fingerprint, quantization=None, adapter_path=None)
    return Model(described, network, model.wrapped_tokenizer, stream, dtype)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """What is drawn inside depends on ``seed``; what is drawn later is not changed by it."""
    state: Any = mx.random.state
    before = np.array(state[0])  # the two halves of 64 bits
    mx.random.seed(seed)
    try:
        yield
    finally:
        mx.random.seed(int(before[0]) << 32 | int(before[1]))
