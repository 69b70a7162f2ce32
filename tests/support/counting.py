"""What is run of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import pytest

from caa_registry.models.model import Model


@contextmanager
def first_block_shapes(model: Model) -> Iterator[list[tuple[int, int]]]:
    """Rows and tokens of every call of the network's first block while the context lasts."""
    first, cls = model.network.layers[0], type(model.network.layers[0])
    original, shapes = cls.__call__, []

    def counting(block: Any, x: mx.array, *args: Any, **kwargs: Any) -> Any:
        if block is first:
            shapes.append(x.shape[:2])
        return original(block, x, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "__call__", counting)
        yield shapes


def tokens_in(shapes: list[tuple[int, int]]) -> int:
    return sum(rows * tokens for rows, tokens in shapes)
