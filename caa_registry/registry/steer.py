"""From references to what is added to a model: the right version, the right model, the right layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry.catalog.events import append_event
from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.models.fingerprint import Verdict, compare
from caa_registry.registry.records import VectorVersion

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.registry import Registry
    from caa_registry.steering.additions import Addition, SteeredPositions


@dataclass(frozen=True)
class Steer:
    """One vector to apply.

    ``layers``: where it acts, each layer with its own vector; ``None`` takes what the alias recommends.
    ``multiplier``: ``None`` takes the recommendation's, else 1.
    """

    vector: str | VectorVersion
    layers: int | Sequence[int] | None = None
    multiplier: float | None = None


@dataclass(frozen=True)
class Plan:
    """What will be added, and where. ``vectors``: the versions, in the order given."""

    additions: Sequence[Addition]
    positions: SteeredPositions
    vectors: Sequence[VectorVersion]


def plan(
    registry: Registry,
    model: Model,
    wanted: Sequence[Steer],
    positions: SteeredPositions | None,
    *,
    allow_mismatch: bool,
) -> Plan:
    """Look up and check everything that ``wanted`` names.

    Raises ``ModelMismatchError`` where a vector was computed on other weights and ``allow_mismatch`` is not set;
    where it is set, the exception is recorded as an event. Raises ``UsageError`` where no layer is known.
    """
    from caa_registry.steering.additions import Addition

    additions: list[Addition] = []
    versions: list[VectorVersion] = []
    chosen = positions
    for steer in wanted:
        version = registry.vectors.get(steer.vector)
        check_model(registry, version, model, allow_mismatch=allow_mismatch)
        alias = registry.aliases.get(steer.vector) if isinstance(steer.vector, str) else None
        advice = alias.recommendation if alias else None
        layers = [steer.layers] if isinstance(steer.layers, int) else steer.layers
        if layers is None and advice is None:
            raise UsageError(
                f"at which layer shall {version.reference} act?",
                "Give --layer (its layers and scores: caa vector show, caa eval ls), or use an alias that recommends "
                "one (caa alias set).",
            )
        if layers is None and advice is not None:
            layers = advice.layers
            chosen = chosen or advice.positions  # type: ignore[assignment]
        multiplier = steer.multiplier
        if multiplier is None:
            multiplier = advice.multiplier if advice else 1.0
        for layer in layers or ():
            additions.append(Addition(layer, registry.vectors.layer(version, layer).values, multiplier))
        versions.append(version)
    return Plan(additions, chosen or "after_prompt", versions)


def check_model(registry: Registry, version: VectorVersion, model: Model, *, allow_mismatch: bool) -> Verdict:
    """How far ``model`` is the one the vector was computed on. Raises ``ModelMismatchError`` below the same weights,
    unless ``allow_mismatch`` is set: then the use is recorded."""
    verdict = compare(version.model, model.info)
    if verdict in ("exact", "same-weights"):
        return verdict
    if not allow_mismatch:
        raise ModelMismatchError(
            f"{version.reference} was computed on {version.model.name} "
            f"({version.model.fingerprint.digest[:19]}), not on {model.info.name} "
            f"({model.info.fingerprint.digest[:19]}): {verdict}",
            "Load that model, or allow the mismatch on purpose (--allow-mismatch); it will be recorded.",
        )
    if version.model.d_model != model.d_model:
        raise ModelMismatchError(
            f"{version.reference} is {version.model.d_model} wide; {model.info.name} is {model.d_model} wide"
        )
    subject = {
        "vector": version.reference,
        "digest": version.digest,
        "model": model.info.name,
        "fingerprint": model.info.fingerprint.digest,
        "verdict": verdict,
    }
    with registry.database.write() as session:
        append_event(session, registry.actor, "apply-to-mismatched-model", subject)
    return verdict


@contextmanager
def steer(
    registry: Registry,
    model: Model,
    wanted: Sequence[Steer],
    positions: SteeredPositions | None,
    *,
    allow_mismatch: bool,
) -> Iterator[Plan]:
    """Steer ``model`` while the context lasts."""
    from caa_registry.steering.additions import steering

    found = plan(registry, model, wanted, positions, allow_mismatch=allow_mismatch)
    with steering(model, found.additions, found.positions):
        yield found
