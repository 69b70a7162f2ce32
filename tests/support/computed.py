"""Vectors of pairs without a registry: read, then estimated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from caa_registry.engine.reading import PairTokens
from caa_registry.extraction.activation_cache import ActivationCache
from caa_registry.extraction.activations import collect
from caa_registry.extraction.compute import compute
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.vectors import VectorSet


def mean_difference(
    model: Model, pairs: Sequence[PairTokens], layers: Sequence[int], read: Any, progress: Progress = silent
) -> VectorSet:
    """Mean-difference vectors, every activation read from the model."""
    with TemporaryDirectory() as folder:
        section = ActivationCache(Path(folder), 0).section({})
        return compute(collect(model, pairs, layers, read, section, progress=progress), layers)
