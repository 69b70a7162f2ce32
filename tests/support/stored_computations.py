"""Ten computations and five evaluations on the demo model, with what they gave before the package was rearranged.

``stored_computations.json`` was written by the commit before, with MLX's own BLAS (``CAA_BLAS=none``), two workers and
``CAA_MEMORY=1GB``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import caa_registry as caa

STORED: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
CASES: list[tuple[str, dict[str, Any]]] = [(vector["seed"], vector["how"]) for vector in STORED["vectors"]]


def import_all(registry: caa.Registry) -> dict[str, caa.DatasetVersion]:
    """The datasets by the name of their seed set."""
    return {seed: registry.datasets.import_(f"seed:{seed}", name=f"d/{seed}") for seed, _ in CASES}


def compute_all(registry: caa.Registry, model: caa.Model) -> list[dict[str, Any]]:
    """Every vector, as ``STORED`` describes it."""
    datasets = import_all(registry)
    return [described(registry, f"v{i}", datasets[seed], seed, how, model) for i, (seed, how) in enumerate(CASES)]


def described(
    registry: caa.Registry, name: str, dataset: caa.DatasetVersion, seed: str, how: dict[str, Any], model: caa.Model
) -> dict[str, Any]:
    version = registry.vectors.compute(name, dataset=dataset, model=model, **how)
    return {
        "seed": seed,
        "how": how,
        "digest": version.digest,
        "tensor_digest": version.tensor_digest,
        "dataset_digest": version.dataset_digest,
        "fingerprint": version.model.fingerprint.digest,
        "recipe": version.recipe.to_json(),
        "blob": version.blob,
        "norms": {str(layer.layer): layer.norm for layer in registry.vectors.load(version).layers},
    }


def evaluations(registry: caa.Registry, model: caa.Model) -> dict[str, Callable[[], caa.Evaluation]]:
    """Each evaluation by the name that ``STORED`` has for it, of the vectors that ``compute_all`` made."""
    evaluations = registry.evaluations
    settings = caa.PropensitySettings
    return {
        "propensity": lambda: evaluations.propensity(
            "v0:v1", model=model, layers=[1, 2, 3], settings=settings(draws=19)
        ),
        "propensity-ab": lambda: evaluations.propensity(
            "v1:v1",
            model=model,
            layers=[2],
            multipliers=[-1, 0, 2],
            settings=settings(controls=(), few_shot=2, system_positive="Be happy."),
        ),
        "propensity-all": lambda: evaluations.propensity(
            "v5:v1", model=model, layers=[3], settings=settings(positions="all", controls=(), rows="even")
        ),
        "side-effects": lambda: evaluations.side_effects(
            "v0:v1", model=model, text="demo", layers=[1, 3], multipliers=[-1, 0, 1]
        ),
        "open-ended": lambda: evaluations.open_ended(
            "v0:v1",
            dataset="d/demo-sentiment",
            model=model,
            layers=[2],
            multipliers=[-0.2, 0, 0.2],
            settings=caa.OpenEndedSettings(limit=4, max_tokens=16),
        ),
    }


# What later releases measure or define otherwise: intervals, vectors that mean nothing, and who moves the wrong way.
_OTHERWISE = {"random", "shuffled", "wrong_way"}


def scores(evaluation: caa.Evaluation) -> list[list[Any]]:
    """The scores as ``STORED`` has them."""
    return [
        [s.layer, s.multiplier, s.metric, s.value, s.ci_low, s.ci_high, s.n, s.condition] for s in evaluation.scores
    ]


def largest_difference(found: list[list[Any]], stored: list[list[Any]]) -> float:
    """The largest difference of a value that both have, absolute below 1 and relative above. Infinite where ``found``
    lacks a stored one."""
    values = {(*row[:3], *row[6:]): row[3] for row in found}
    pairs = [(values.get((*row[:3], *row[6:]), float("inf")), row[3]) for row in stored if not _OTHERWISE & set(row)]
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs)
