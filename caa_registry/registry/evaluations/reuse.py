"""An evaluation that says already what is about to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from caa_registry.registry.records import Evaluation, VectorVersion

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.registry import Registry


def earlier(
    registry: Registry,
    version: VectorVersion,
    model: Model,
    kind: str,
    fields: dict[str, Any],
    parameters: dict[str, Any],
    layers: Sequence[int],
    multipliers: Sequence[float],
) -> Evaluation | None:
    """The newest evaluation of that kind of the vector on the very same model in the same dtype, at the same layers and
    multipliers, whose ``fields`` and ``parameters`` are these."""
    parameters = {
        **parameters,
        "layers": list(layers),
        "multipliers": list(multipliers),
        "rows": "all",
        "dtype": model.dtype,
    }
    for evaluation in reversed(registry.evaluations.ls(f"vector:{version.reference}")):
        if (
            evaluation.kind == kind
            and evaluation.model.fingerprint == model.info.fingerprint
            and all(getattr(evaluation, name) == value for name, value in fields.items())
            and all(evaluation.parameters.get(name) == value for name, value in parameters.items())
        ):
            return registry.evaluations.get(evaluation.id)
    return None
