"""Real activations with labels that mean nothing are not reported as signal, and with their own labels they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caa_registry.extraction.activation_cache import ActivationCache
from caa_registry.extraction.activations import collect
from caa_registry.extraction.grouping import Grouping, swaps
from caa_registry.extraction.quality import measure
from caa_registry.extraction.reading import default_read, encode_pairs
from caa_registry.models.model import Model
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources.load import load

SHUFFLES = 20


@pytest.mark.parametrize("name", ["seed:sycophancy", "seed:demo-sentiment"])
def test_shuffled_labels_of_a_seed_set_are_no_signal(name: str, demo: Model, tmp_path: Path) -> None:
    pairs = [item.pair for item in load(name).items if isinstance(item, PairItem) and item.split == "generate"]
    kept, _ = encode_pairs(pairs, demo.template(), demo)
    layers = list(range(demo.n_layers))
    found = collect(demo, kept, layers, default_read(pairs), ActivationCache(tmp_path, 10**9).section({}))
    grouping = Grouping.of(pairs)
    assert len(kept) == len(pairs) and grouping.lettered == (name == "seed:sycophancy")
    swapped = swaps(grouping, SHUFFLES, np.random.default_rng(7)) < 0
    signal = 0
    for layer in layers:
        positive, negative = found.layer(layer)
        if name == "seed:demo-sentiment":
            own = measure("mean-difference", positive, negative, grouping)
            assert own is not None and own.signal
        for swap in swapped:
            turned = swap[:, None]
            sides = np.where(turned, negative, positive), np.where(turned, positive, negative)
            strata = np.where(turned, grouping.strata[:, ::-1], grouping.strata)
            shuffled = measure("mean-difference", *sides, Grouping(grouping.clusters, strata))
            assert shuffled is not None
            signal += bool(shuffled.signal)
    assert signal <= SHUFFLES * len(layers) / 20
