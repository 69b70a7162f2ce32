"""From references to what is added to a model: the right version, the right model, the right layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from caa_registry.catalog.events import append_event
from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.models.fingerprint import Verdict, compare
from caa_registry.references import parse
from caa_registry.registry.provenance.recalls import warn_of_vector
from caa_registry.registry.records import Alias, VectorVersion, check_multiplier
from caa_registry.steering.positions import SteeredPositions, check_positions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from caa_registry.models.model import Model
    from caa_registry.registry.registry import Registry
    from caa_registry.steering.additions import Addition


_SAME: tuple[Verdict, ...] = ("exact", "same-weights")


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
    advised: list[SteeredPositions] = []
    verdicts: list[Verdict] = []
    for steer in wanted:
        alias = _alias(registry, steer.vector)
        # What the alias said a moment ago, even if it moves meanwhile: its advice is for that version.
        version = registry.vectors.get(f"vector:{alias.target}" if alias else steer.vector)
        verdicts.append(check_model(version, model, allow_mismatch=allow_mismatch))
        warn_of_vector(registry, version)
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
        if not layers:
            raise UsageError(f"no layer is given for {version.reference}", "Give at least one.")
        multiplier = steer.multiplier
        if multiplier is None:
            multiplier = advice.multiplier if advice else 1.0
        check_multiplier(multiplier)
        for layer in dict.fromkeys(layers):
            additions.append(Addition(layer, registry.vectors.layer(version, layer).values, multiplier))
        versions.append(version)
        if advice is not None:
            advised.append(advice.positions)
    model.check_layers([addition.layer for addition in additions])
    if positions is None and len(set(advised)) > 1:
        raise UsageError(f"the aliases recommend different positions: {', '.join(advised)}", "Give --positions.")
    chosen = check_positions(positions or (advised[0] if advised else "after_prompt"))
    # Last, so that nothing is recorded of a request that was refused.
    if any(verdict not in _SAME for verdict in verdicts):
        with registry.database.write() as session:
            for version, verdict in zip(versions, verdicts, strict=True):
                record_mismatch(session, registry.actor, version, model, verdict)
    return Plan(additions, chosen, versions)


def _alias(registry: Registry, vector: str | VectorVersion) -> Alias | None:
    if isinstance(vector, VectorVersion) or parse(vector).digest:
        return None
    return registry.aliases.get(str(replace(parse(vector), kind="vector")))


def check_model(version: VectorVersion, model: Model, *, allow_mismatch: bool) -> Verdict:
    """How far ``model`` is the one the vector was computed on. Raises ``ModelMismatchError`` below the same weights,
    unless ``allow_mismatch`` is set: then ``record_mismatch`` belongs to the use."""
    verdict = compare(version.model, model.info)
    if verdict in _SAME:
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
            f"{version.reference} is {version.model.d_model} wide; {model.info.name} is {model.d_model} wide",
            "A vector can be added to a stream of its own width only.",
        )
    return verdict


def same_weights(verdict: Verdict) -> bool:
    """Whether a verdict says that a vector was computed on these very weights."""
    return verdict in _SAME


def record_mismatch(session: Session, actor: str, version: VectorVersion, model: Model, verdict: Verdict) -> None:
    """Note in the audit that a vector is applied to another model than its own. Says nothing where it is its own."""
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
