"""Which computations share activations that were read before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.tiny_models import build

from caa_registry.models.loading import load
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry


def test_a_model_in_two_dtypes_shares_no_activations(registry: Registry, pairs: DatasetVersion, tmp_path: Path) -> None:
    folder = build(tmp_path / "model", "llama")
    wide, narrow = load(folder, dtype="float32"), load(folder, dtype="bfloat16")
    assert wide.info.fingerprint == narrow.info.fingerprint
    first = registry.vectors.compute("team/wide", dataset=pairs, model=wide)
    second = registry.vectors.compute("team/narrow", dataset=pairs, model=narrow)
    read_anew = registry.vectors.compute("team/anew", dataset=pairs, model=narrow, force=True)
    for layer in second.layer_numbers:
        values = registry.vectors.layer(second, layer).values
        np.testing.assert_array_equal(values, registry.vectors.layer(read_anew, layer).values)
        assert not np.array_equal(values, registry.vectors.layer(first, layer).values)
