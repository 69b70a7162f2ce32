"""A vector and the model that it is evaluated on: looked up, loaded and checked, once for all kinds of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from caa_registry.errors import UsageError
from caa_registry.registry.provenance.recalls import warn_of_vector
from caa_registry.registry.records import VectorVersion, check_multiplier
from caa_registry.registry.vectors.steering import check_model

if TYPE_CHECKING:
    from caa_registry.models.fingerprint import Verdict
    from caa_registry.models.model import Model
    from caa_registry.registry.registry import Registry
    from caa_registry.vectors import VectorSet


@dataclass(frozen=True)
class Applied:
    """What is steered with what. ``layers`` ascending, ``multipliers`` ascending and each once."""

    version: VectorVersion
    vectors: VectorSet
    model: Model
    verdict: Verdict
    layers: list[int]
    multipliers: list[float]


def applied(
    registry: Registry,
    vector: str | VectorVersion,
    model: str | Path | Model,
    layers: Sequence[int] | Literal["all"],
    multipliers: Sequence[float],
    *,
    allow_mismatch: bool,
) -> Applied:
    """Raises ``UsageError`` for no multiplier or layer, or a layer that there is not; ``ModelMismatchError`` for
    another model, unless the mismatch is allowed."""
    version = registry.vectors.get(vector)
    if not multipliers:
        raise UsageError("no multiplier is given", "For example --multipliers -1,0,1.")
    steps = sorted({check_multiplier(multiplier) for multiplier in multipliers})
    loaded = model if not isinstance(model, str | Path) else registry.models.load(model)
    verdict = check_model(version, loaded, allow_mismatch=allow_mismatch)
    warn_of_vector(registry.workspace, version)
    stored = registry.vectors.load(version)
    wanted = stored.layer_numbers if layers == "all" else sorted(set(layers))
    if not wanted:
        raise UsageError("no layer is given", "For example --layers 0-3,7, or all.")
    loaded.check_layers(wanted)
    for layer in wanted:
        stored[layer]  # refused where it was not computed
    return Applied(version, stored, loaded, verdict, wanted, steps)
