"""From vector versions to what is added to a model: the right layers, on the right model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry.catalog.events import append_event
from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.models.folder.fingerprint import Verdict, compare
from caa_registry.registry.provenance.recalls import warn_of_vector
from caa_registry.registry.records import (
    NextTokenTable,
    Recommendation,
    Steer,
    Steering,
    VectorVersion,
    check_multiplier,
)
from caa_registry.registry.vectors.rendering import warn_of_rendering
from caa_registry.registry.vectors.tensors import load_layer
from caa_registry.registry.workspace import Workspace
from caa_registry.steering.positions import SteeredPositions, check_positions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.models.generation import NextToken
    from caa_registry.models.model import Model
    from caa_registry.models.rendering.prompts import TemplateName
    from caa_registry.steering.additions import Addition


_log = logging.getLogger(__name__)

_SAME: tuple[Verdict, ...] = ("exact", "same-weights")


@dataclass(frozen=True)
class SteeringPart:
    """One of the vectors to apply, looked up. ``advice``: what the alias recommends by which it was named."""

    steer: Steer
    version: VectorVersion
    advice: Recommendation | None


@dataclass(frozen=True)
class SteeringRequest:
    """Which vectors a model is steered with. ``positions``: ``None`` takes what the aliases recommend."""

    model: Model
    vectors: Sequence[SteeringPart]
    positions: SteeredPositions | None
    allow_mismatch: bool


def steering(workspace: Workspace, request: SteeringRequest) -> Steering:
    """What is added to the model, checked and read from the registry.

    Raises ``ModelMismatchError`` where a vector was computed on other weights and the mismatch is not allowed; where it
    is, that is recorded as an event. Raises ``UsageError`` where no layer is known.
    """
    from caa_registry.steering.additions import Addition

    model = request.model
    additions: list[Addition] = []
    verdicts: list[Verdict] = []
    for part in request.vectors:
        version = part.version
        verdicts.append(check_model(version, model, allow_mismatch=request.allow_mismatch))
        warn_of_vector(workspace, version)
        if part.advice is not None and part.advice.caveat:
            _log.warning("%s: %s.", part.version.reference, part.advice.caveat)
        multiplier = _multiplier(part)
        for layer in _layers(part):
            additions.append(Addition(layer, load_layer(workspace, version, layer).values, multiplier))
    model.check_layers([addition.layer for addition in additions])
    positions = _positions(request)
    # Last, so that nothing is recorded of a request that was refused.
    versions = [part.version for part in request.vectors]
    if any(verdict not in _SAME for verdict in verdicts):
        with workspace.database.write() as session:
            for version, verdict in zip(versions, verdicts, strict=True):
                record_mismatch(session, workspace.actor, version, model, verdict)
    return Steering(additions, positions, versions)


@contextmanager
def steered(workspace: Workspace, request: SteeringRequest) -> Iterator[Steering]:
    """Steer the model while the context lasts."""
    from caa_registry.steering import additions

    applied = steering(workspace, request)
    with additions.steering(request.model, applied.additions, applied.positions):
        yield applied


@dataclass(frozen=True)
class TableRequest:
    """Which next tokens are listed. ``steering``: one vector with the layers to try, each by itself. ``multipliers``:
    ``None`` takes the one that the alias recommends, else 1. ``template``: ``None`` takes the vector's. ``tokens``:
    those to list, else the ``top`` most probable."""

    steering: SteeringRequest
    prompt: str
    multipliers: Sequence[float] | None
    system: str
    template: TemplateName | None
    top: int
    tokens: Sequence[str]


def next_token_table(workspace: Workspace, request: TableRequest) -> NextTokenTable:
    """The next tokens at every layer and multiplier. Raises what ``steering`` raises, and what ``Model.next_tokens``
    does."""
    from caa_registry.engine.decoding.next_tokens import Work, next_logits
    from caa_registry.models.generation import check_top

    (part,), model = request.steering.vectors, request.steering.model
    check_top(request.top)
    asked = [_multiplier(part)] if request.multipliers is None else request.multipliers
    multipliers = [check_multiplier(multiplier) for multiplier in asked]
    ids = model.ids_of(request.tokens)
    prompt = model.prompt_tokens(request.prompt, request.system, request.template or part.version.template)
    applied = steering(workspace, request.steering)
    vectors = {addition.layer: addition.vector for addition in applied.additions}
    steered = [multiplier for multiplier in multipliers if multiplier != 0]
    found: dict[int | None, list[list[NextToken]]] = {}

    def give(layer: int | None, logits: NDArray[np.float64]) -> None:
        found[layer] = [model.candidates(row, request.top, ids) for row in logits]

    next_logits(Work(model, prompt, vectors, steered, applied.positions), give)
    (unsteered,) = found[None]
    return NextTokenTable(
        prompt=request.prompt,
        model=model.info,
        vector=part.version,
        positions=applied.positions,
        multipliers=multipliers,
        unsteered=unsteered,
        layers={layer: _with_unsteered(found.get(layer, []), multipliers, unsteered) for layer in vectors},
    )


def _with_unsteered(
    steered: Sequence[Sequence[NextToken]], multipliers: Sequence[float], unsteered: Sequence[NextToken]
) -> list[Sequence[NextToken]]:
    """What each of ``multipliers`` gives, where ``steered`` has one for each that is not 0."""
    rest = iter(steered)
    return [unsteered if multiplier == 0 else next(rest) for multiplier in multipliers]


def _layers(part: SteeringPart) -> list[int]:
    """The layers that were asked for, each once, else those that are recommended."""
    layers, reference = part.steer.layers, part.version.reference
    if isinstance(layers, int):
        return [layers]
    if layers is None:
        if part.advice is None:
            raise UsageError(
                f"no layer is given for {reference}",
                "Give --layer (its layers and scores: caa vector show, caa eval ls), or use an alias that recommends "
                "one (caa alias set).",
            )
        layers = part.advice.layers
    if not layers:
        raise UsageError(f"no layer is given for {reference}", "Give at least one.")
    return list(dict.fromkeys(layers))


def _multiplier(part: SteeringPart) -> float:
    if part.steer.multiplier is not None:
        return check_multiplier(part.steer.multiplier)
    return part.advice.multiplier if part.advice else 1.0


def _positions(request: SteeringRequest) -> SteeredPositions:
    advised = [part.advice.positions for part in request.vectors if part.advice is not None]
    if request.positions is None and len(set(advised)) > 1:
        raise UsageError(f"the aliases recommend different positions: {', '.join(advised)}", "Give --positions.")
    return check_positions(request.positions or (advised[0] if advised else "after_prompt"))


def check_model(version: VectorVersion, model: Model, *, allow_mismatch: bool) -> Verdict:
    """How far ``model`` is the one that the vector is of. Raises ``ModelMismatchError`` below the same weights, unless
    ``allow_mismatch`` is set: then ``record_mismatch`` belongs to the use; ``UsageError`` for a vector that must not be
    added."""
    version.check_addable()
    if version.model is None:
        return _claimed(version, model, allow_mismatch=allow_mismatch)
    verdict = compare(version.model, model.info)
    if verdict in _SAME:
        warn_of_rendering(version, model)
        return verdict
    if not allow_mismatch:
        raise ModelMismatchError(
            f"{version.reference} {'was computed on' if version.recipe else 'is of'} {version.model.name} "
            f"({version.model.fingerprint.digest[:19]}), not on {model.info.name} "
            f"({model.info.fingerprint.digest[:19]}): {verdict}",
            "Load that model; or give --allow-mismatch, where the command has it, which is recorded.",
        )
    check_shape(version.reference, version.d_model, version.layer_numbers[:1], model.info)
    return verdict


def _claimed(version: VectorVersion, model: Model, *, allow_mismatch: bool) -> Verdict:
    """The verdict on a vector of which nobody said here which model it is of."""
    if not allow_mismatch:
        error = version.claimed_error()
        raise ModelMismatchError(
            error.message,
            f"{error.hint} Or give --allow-mismatch, where the command has it, which is recorded.",
        )
    check_shape(version.reference, version.d_model, version.layer_numbers, model.info)
    return "mismatch"


def check_shape(what: str, width: int, layers: Sequence[int], model: ModelInfo) -> None:
    """Raise ``ModelMismatchError`` where a vector of this width and these layers does not fit into ``model``."""
    if width != model.d_model:
        raise ModelMismatchError(
            f"{what} is {width} wide; {model.name} is {model.d_model} wide",
            "A vector can be added to a stream of its own width only.",
        )
    if max(layers) >= model.n_layers:
        raise ModelMismatchError(
            f"{what} has layer {max(layers)}; {model.name} has {model.n_layers} layers, 0 to {model.n_layers - 1}",
            "Name the model that the vector is of.",
        )


def same_weights(verdict: Verdict) -> bool:
    """Whether a verdict says that a vector was computed on these very weights."""
    return verdict in _SAME


def record_mismatch(session: Session, actor: str, version: VectorVersion, model: Model, verdict: Verdict) -> None:
    """Note in the audit that a vector is part to another model than its own. Says nothing where it is its own."""
    if verdict in _SAME:
        return
    subject = {
        "vector": version.reference,
        "digest": version.digest,
        "model": model.info.name,
        "fingerprint": model.info.fingerprint.digest,
        "verdict": verdict,
    }
    append_event(session, actor, "apply-to-mismatched-model", subject)
