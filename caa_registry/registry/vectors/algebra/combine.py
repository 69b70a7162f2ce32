"""One vector of several of the same model, layer by layer, as a version that knows what it was made of."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from caa_registry.errors import ModelMismatchError, NotFoundError, UsageError
from caa_registry.registry.lookup import find_version
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.recalls import warn_of_vector
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import (
    CombinedOrigin,
    CombinedTerm,
    CombineOperation,
    VectorVersion,
    behavior_of,
    check_multiplier,
)
from caa_registry.registry.rows import vector_record
from caa_registry.registry.vectors.algebra.operations import check_terms, combined
from caa_registry.registry.vectors.store import Making, add, check_target, find, store_bytes
from caa_registry.registry.vectors.tensors import load_set
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import named_layers

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.vectors import VectorSet

_log = logging.getLogger(__name__)
_WEIGHTED = re.compile(r"(.+)(?<!@sha256):([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
# A result this much shorter than what it was made of is what rounding leaves of nothing.
_NOTHING = 1e-6


@dataclass(frozen=True)
class WeightedVector:
    """One of the vectors to combine, looked up, and its weight."""

    version: VectorVersion
    weight: float

    @property
    def text(self) -> str:
        """As it is written, with its version."""
        return self.version.reference if self.weight == 1 else f"{self.version.reference}:{self.weight!r}"


def weighted(workspace: Workspace, text: str) -> tuple[str, float]:
    """A reference and its weight, 1 where none is given: ``team/x:v2:-0.5`` is minus half of ``team/x:v2``. Raises
    ``UsageError`` where the number is also an alias."""
    match = _WEIGHTED.fullmatch(text)
    if match is None:
        return text, 1.0
    with workspace.database.read() as session:
        if _is_alias(session, text):
            raise UsageError(
                f"{text} may be the alias {match[2]!r}, or a weight", f"Write {text}:1, or {match[1]}:vN:{match[2]}."
            )
    return match[1], check_multiplier(float(match[2]))


def _is_alias(session: Session, text: str) -> bool:
    try:
        find_version(session, text, "vector")
    except (NotFoundError, UsageError):
        return False
    return True


def combine(
    workspace: Workspace,
    name: str,
    terms: Sequence[WeightedVector],
    operation: CombineOperation,
    layers: Sequence[int] | None,
    behavior: str,
    message: str,
) -> VectorVersion:
    """See ``Vectors.combine``."""
    check_terms(operation, [term.weight for term in terms])
    model = _model(terms)
    for term in terms:
        warn_of_vector(workspace, term.version)
    numbers = _layers(terms, layers)
    contrasted = {term.version.behavior for term in terms}
    origin = CombinedOrigin(
        operation,
        tuple(CombinedTerm(term.version.digest, term.weight) for term in terms),
        behavior or (contrasted.pop() if len(contrasted) == 1 else behavior_of(name, "")),
    )
    vectors = _combined(operation, [load_set(workspace.blobs, term.version) for term in terms], terms, numbers)
    making = Making("", model.fingerprint.digest, origin, vectors.tensor_digest)
    with workspace.database.read() as session:
        check_target(session, name)
        existing = find(session, name, making)
        if existing is not None:
            return vector_record(session, existing, existing=True)
    activity = Activity(
        "combine",
        workspace.actor,
        {
            "operation": operation,
            "terms": [term.text for term in terms],
            "layers": list(numbers),
            "behavior": origin.behavior,
        },
    )
    stored = store_bytes(workspace.blobs, vectors, making, model.name)
    with workspace.database.write() as session:
        known = ensure_model(session, model)[0].id
        row, is_new = add(workspace, session, name, stored, None, known, message)
        if is_new:
            ids = dict.fromkeys(term.version.id for term in terms)
            record_run(
                session,
                activity,
                inputs=[*(("vector", id) for id in ids), ("model", known)],
                outputs=[("vector", row.id)],
                subject={"vector": f"{name}:v{row.number}", "digest": stored.digest},
            )
        return vector_record(session, row, existing=not is_new)


def _model(terms: Sequence[WeightedVector]) -> ModelInfo:
    first = terms[0].version
    model = first.known_model()
    for term in terms:
        term.version.check_addable()
        if not term.version.known_model().fingerprint.same_weights(model.fingerprint):
            raise ModelMismatchError(
                f"{first.reference} is of {model.name}, and {term.version.reference} of {term.version.model_name}",
                "Combine vectors of one model.",
            )
    return model


def _layers(terms: Sequence[WeightedVector], layers: Sequence[int] | None) -> list[int]:
    first = terms[0].version
    if layers is not None:
        chosen = sorted(set(layers))
        if not chosen:
            raise UsageError("no layer is given", "For example --layers 0-3,7.")
        for term in terms:
            missing = [layer for layer in chosen if layer not in term.version.layer_numbers]
            if missing:
                raise UsageError(
                    f"{term.version.reference} has no {named_layers(missing)}",
                    f"It has {named_layers(term.version.layer_numbers)}.",
                )
        return chosen
    for term in terms:
        if term.version.layer_numbers != first.layer_numbers:
            raise UsageError(
                f"{first.reference} has {named_layers(first.layer_numbers)}, and {term.version.reference} has "
                f"{named_layers(term.version.layer_numbers)}",
                "Say which to combine: --layers.",
            )
    return first.layer_numbers


def _combined(
    operation: CombineOperation, sets: Sequence[VectorSet], terms: Sequence[WeightedVector], layers: Sequence[int]
) -> VectorSet:
    import numpy as np

    from caa_registry.vectors import LayerVector, VectorSet

    made, nothing = [], []
    for layer in layers:
        parts = [vectors[layer] for vectors in sets]
        rows = [part.values.astype(np.float64) for part in parts]
        row = combined(operation, rows, [term.weight for term in terms])
        longest = max(part.norm for part in parts)
        if operation != "normalize" and np.linalg.norm(row) <= _NOTHING * longest:
            nothing.append(layer)
            row = np.zeros_like(row)
        if np.abs(row).max() > np.finfo(np.float32).max:
            raise UsageError(f"layer {layer} of the result is beyond what float32 holds", "Choose smaller weights.")
        norms = [part.residual_norm for part in parts if part.residual_norm is not None]
        residual_norm = float(np.mean(norms)) if len(norms) == len(parts) else None
        made.append(LayerVector(layer, row.astype(np.float32), residual_norm))
    if nothing:
        _log.warning(
            "%s: nothing is left there but rounding, and the result is zero.", named_layers(nothing).capitalize()
        )
    return VectorSet.of(made)
