"""Pictures of what the registry holds: of an evaluation, of a vector, between vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from caa_registry.digests import short
from caa_registry.errors import UsageError
from caa_registry.progress import Progress, silent
from caa_registry.references import ranges
from caa_registry.registry.records import Evaluation, Score, VectorVersion
from caa_registry.registry.vectors.computation import computation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from caa_registry.evaluation.intervals import Interval
    from caa_registry.models.model import Model
    from caa_registry.plots.ranges import Band
    from caa_registry.registry.registry import Registry

_BASELINES = ("system-positive", "system-negative", "few-shot")
_YLABEL = {"propensity": "propensity, p(matching)", "propensity_completion": "propensity of the completion"}


def chosen_layer(evaluation: Evaluation, layer: int | None = None) -> int:
    """``layer`` if it was evaluated; by default the one with the largest steerability, or the first where there is one
    multiplier only."""
    layers = evaluation.parameters["layers"]
    if layer is None:
        slopes = evaluation.of("steerability")
        return max(slopes, key=lambda score: score.value).layer if slopes else int(layers[0])
    if layer not in layers:
        raise UsageError(f"evaluation {evaluation.id} has no layer {layer}", f"Its layers are {ranges(layers)}.")
    return layer


def evaluation_pictures(registry: Registry, id: int, layer: int | None = None) -> dict[str, Figure]:
    """The pictures of an evaluation by name: ``dose-response`` and ``items`` at one layer (``chosen_layer``), and where
    there are several layers ``layers`` and ``heat-map``. What needs two multipliers is left out where there is one."""
    evaluation = registry.evaluations.get(id)
    if evaluation.kind != "propensity":
        raise UsageError(f"evaluation {id} is of {evaluation.kind}", "Those by propensity are drawn (caa eval ls).")
    at = chosen_layer(evaluation, layer)
    caption = caption_of(registry, evaluation)
    found = {"dose-response": _dose_response(evaluation, at, caption)}
    several, dosed = len(evaluation.parameters["layers"]) > 1, len(evaluation.parameters["multipliers"]) > 1
    if several and dosed and evaluation.of("steerability"):
        found["layers"] = _layers(evaluation, at, caption)
    if several:
        found["heat-map"] = _heat_map(evaluation, caption)
    if dosed and evaluation.measurements:
        found["items"] = _items(registry, evaluation, at, caption)
    return found


def caption_of(registry: Registry, evaluation: Evaluation) -> str:
    """The references that every number of an evaluation goes with."""
    version = registry.vectors.get(f"vector:{evaluation.vector}")
    rows = evaluation.parameters["rows"]
    half = "" if rows == "all" else f", {rows} rows"
    beside = evaluation.parameters.get("beside", {})
    seeds = f" Controls: {beside['seeds']} vectors each." if beside.get("controls") else ""
    leaked = f" LEAKED: {evaluation.leaked} questions are among the vector's own pairs." if evaluation.leaked else ""
    return (
        f"{evaluation.vector} ({short(version.digest)}) on {evaluation.dataset} ({evaluation.split}{half}, n = "
        f"{evaluation.n}); model {evaluation.model.name} ({short(evaluation.model.fingerprint.digest)}); "
        f"positions {evaluation.positions}, template {evaluation.template}; evaluation {evaluation.id}. Intervals: "
        f"95 % bootstrap over items.{seeds}{leaked}"
    )


def vector_pictures(
    registry: Registry,
    references: Sequence[str | VectorVersion],
    *,
    layer: int | None = None,
    model: Model | None = None,
    reading: Progress = silent,
) -> dict[str, Figure]:
    """The pictures of vectors by name.

    Of one: ``cosines`` between its layers, and with its ``model`` the ``projection`` of its pairs' activations. Of
    several: ``cosines`` between them at ``layer``. Raises ``UsageError`` for several without a layer, or of different
    widths.
    """
    versions = [registry.vectors.get(reference) for reference in references]
    if len(versions) > 1:
        return {"cosines": _between(registry, versions, layer)}
    version = versions[0]
    found = {"cosines": _between_layers(registry, version)}
    if model is not None:
        found["projection"] = _projection(registry, version, model, layer, reading)
    return found


def _interval(score: Score) -> Interval:
    from caa_registry.evaluation.intervals import Interval

    low, high = (score.value if x is None else x for x in (score.ci_low, score.ci_high))
    return Interval(score.value, low, high, score.n)


def _bands(evaluation: Evaluation, metric: str | None, layer: int | None) -> list[Band]:
    from caa_registry.plots.ranges import Band

    bands = []
    for name, label in (("random", "random, 95 %"), ("shuffled", "shuffled labels, 95 %")):
        points = [_interval(s) for s in evaluation.of(metric, name) if layer is None or s.layer == layer]
        if points:
            bands.append(Band(label, points, hatched=name == "shuffled"))
    return bands


def _dose_response(evaluation: Evaluation, layer: int, caption: str) -> Figure:
    from caa_registry.plots.dose_response import Curve, dose_response

    curves = []
    for condition in ("vector", *_BASELINES):
        points = [_interval(score) for score in evaluation.of(condition=condition) if score.layer == layer]
        if points:
            curves.append(Curve("vector" if condition == "vector" else f"{condition} and vector", points))
    multipliers = evaluation.parameters["multipliers"]
    unsteered = next((p.value for p, m in zip(curves[0].points, multipliers, strict=True) if m == 0), None)
    return dose_response(
        multipliers,
        curves,
        title=f"{evaluation.vector}, layer {layer}",
        ylabel=_YLABEL.get(evaluation.metric, evaluation.metric),
        caption=caption,
        bands=_bands(evaluation, None, layer),
        unsteered=unsteered,
    )


def _layers(evaluation: Evaluation, layer: int, caption: str) -> Figure:
    from caa_registry.plots.layer_sweep import layer_sweep

    scores = evaluation.of("steerability")
    return layer_sweep(
        [score.layer for score in scores],
        [_interval(score) for score in scores],
        title=f"{evaluation.vector}: steerability by layer",
        ylabel="log-odds a unit of multiplier (nats)",
        caption=caption,
        bands=_bands(evaluation, "steerability", None),
        chosen=layer,
    )


def _heat_map(evaluation: Evaluation, caption: str) -> Figure:
    from caa_registry.plots.heat_map import heat_map

    layers, multipliers = evaluation.parameters["layers"], evaluation.parameters["multipliers"]
    cells = [_interval(score) for score in evaluation.of()]
    nulls = [_interval(score) for score in evaluation.of(condition="random")]
    shape = len(layers), len(multipliers)
    outside = None
    if nulls:
        pairs = zip(cells, nulls, strict=True)
        outside = np.array([cell.low > null.high or cell.high < null.low for cell, null in pairs]).reshape(shape)
        caption += " Bold with a dot: the whole interval is outside that of random directions."
    values = np.array([cell.value for cell in cells]).reshape(shape)
    best = np.unravel_index(values.argmax(), shape)
    caption += " Framed: the largest score."
    return heat_map(
        layers,
        multipliers,
        values,
        title=f"{evaluation.vector}: every layer and multiplier",
        label=_YLABEL.get(evaluation.metric, evaluation.metric),
        caption=caption,
        outside=outside,
        best=(int(best[0]), int(best[1])),
    )


def _items(registry: Registry, evaluation: Evaluation, layer: int, caption: str) -> Figure:
    from caa_registry.evaluation.statistics import effects
    from caa_registry.plots.item_effects import item_effects
    from caa_registry.plots.style import signed

    found = registry.evaluations.measurements(evaluation.id)
    low, high = found.multipliers[0], found.multipliers[-1]
    return item_effects(
        effects(found.vector)[found.layers.index(layer)],
        title=f"{evaluation.vector}, layer {layer}: each item from {signed(low)} to {signed(high)}",
        xlabel=f"propensity at {signed(high)} minus at {signed(low)}",
        caption=caption,
    )


def _vector_caption(version: VectorVersion) -> str:
    recipe = version.recipe
    return (
        f"{version.reference} ({short(version.digest)}): {recipe.method} of {recipe.pairs} pairs of "
        f"{version.dataset} ({recipe.split}), read at '{recipe.read}', template {recipe.template}; model "
        f"{version.model.name} ({short(version.model.fingerprint.digest)})."
    )


def _between_layers(registry: Registry, version: VectorVersion) -> Figure:
    from caa_registry.plots.cosine_matrix import cosine_matrix, cosines

    stored = registry.vectors.load(version)
    return cosine_matrix(
        [str(layer) for layer in stored.layer_numbers],
        cosines(np.stack([vector.values for vector in stored.layers])),
        title=f"{version.reference}: between layers",
        caption=_vector_caption(version),
    )


def _between(registry: Registry, versions: Sequence[VectorVersion], layer: int | None) -> Figure:
    from caa_registry.plots.cosine_matrix import cosine_matrix, cosines

    if layer is None:
        raise UsageError("at which layer shall the vectors be compared?", "Give --layer.")
    wide = {version.d_model for version in versions}
    if len(wide) > 1:
        raise UsageError(f"the vectors are of different widths ({', '.join(map(str, sorted(wide)))})")
    rows = np.stack([registry.vectors.layer(version, layer).values for version in versions])
    models = sorted({f"{v.model.name} ({short(v.model.fingerprint.digest)})" for v in versions})
    digests = ", ".join(f"{version.reference} ({short(version.digest)})" for version in versions)
    return cosine_matrix(
        [version.reference for version in versions],
        cosines(rows),
        title=f"Between vectors, layer {layer}",
        caption=f"{digests}; model {', '.join(models)}.",
    )


def _projection(
    registry: Registry, version: VectorVersion, model: Model, layer: int | None, reading: Progress
) -> Figure:
    from caa_registry.engine.reading import Work
    from caa_registry.pairs.answers import letter_of
    from caa_registry.plots.projection import principal_components, projection

    recipe = version.recipe
    layers = version.layer_numbers if layer is None else [layer]
    pairs = registry.datasets.pairs(version.dataset, recipe.split)
    made = computation(
        registry.datasets.get(version.dataset),
        [item.pair for item in pairs],
        model,
        split=recipe.split,
        method=recipe.method,
        read=recipe.read,
        layers=layers,
        template=recipe.template,
    )
    with made.activations(Work(), fresh=False, progress=reading) as activations:
        placed = {layer: principal_components(*activations.layer(layer)) for layer in layers}
    letters = [
        (letter_of(pairs[p.index].pair.positive) or "", letter_of(pairs[p.index].pair.negative) or "")
        for p in made.pairs
    ]
    return projection(
        placed,
        title=f"{version.reference}: activations of its pairs",
        caption=_vector_caption(version) + " First two principal components of both sides together.",
        letters=letters if any(any(both) for both in letters) else (),
    )
