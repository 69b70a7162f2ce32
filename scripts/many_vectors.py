"""A registry of many vector versions with numbers of the usual size, stored as a computation stores them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.registry import Registry
from caa_registry.registry.vectors.store import Making, add, store_bytes
from caa_registry.vectors import LayerVector, VectorSet

LAYERS, WIDTH = 26, 2048
_AT_ONCE = 500


def fill(registry: Registry, versions: int, first: int = 0, layers: int = LAYERS, width: int = WIDTH) -> None:
    """Add ``versions`` vector versions of ``layers`` x ``width`` random numbers, ``bench/v<N>`` from ``first`` on, made
    from pairs of the demo on its model."""
    dataset = registry.datasets.import_("seed:demo-sentiment", name="bench/pairs")
    template = registry.vectors.compute("bench/template", dataset=dataset, model="demo")
    model = registry.models.get("demo")
    quality = template.layers[-1].quality
    chance = np.random.default_rng(first)
    for begin in range(first, first + versions, _AT_ONCE):
        stored = []
        for number in range(begin, min(begin + _AT_ONCE, first + versions)):
            values = chance.standard_normal((layers, width), dtype=np.float32)
            vectors = VectorSet.of(LayerVector(layer, row, 30.0, quality) for layer, row in enumerate(values))
            making = Making(dataset.digest, model.info.fingerprint.digest, replace(template.recipe, pairs=number + 1))
            stored.append((f"bench/v{number}", store_bytes(registry.blobs, vectors, making, model.info.name)))
        with registry.database.write() as session:
            for name, each in stored:
                row, _ = add(registry.workspace, session, name, each, dataset.id, model.id)
                record_run(
                    session,
                    Activity("compute", registry.actor, {}),
                    inputs=[("dataset", dataset.id), ("model", model.id)],
                    outputs=[("vector", row.id)],
                    subject={"vector": f"{name}:v{row.number}", "digest": each.digest},
                )
