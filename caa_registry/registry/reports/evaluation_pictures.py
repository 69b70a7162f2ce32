"""Pictures of an evaluation by propensity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caa_registry.digests import short
from caa_registry.registry.records import Evaluation, RecordedPropensity, Score, VectorVersion
from caa_registry.registry.reports.content import EvaluationContent
from caa_registry.registry.reports.nulls import null_intervals, outside_null
from caa_registry.wording import subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from caa_registry.evaluation.inference.intervals import Interval
    from caa_registry.evaluation.measurements import Measurements

_BASELINES = ("system-positive", "system-negative", "few-shot")
_YLABEL = {"propensity": "propensity, p(matching)", "propensity_completion": "propensity of the completion"}


def evaluation_pictures(shown: EvaluationContent) -> dict[str, Figure]:
    """The pictures of an evaluation by name: ``dose-response``, ``slopes`` and ``items`` at one layer, and
    where there are several layers ``layers`` and ``heat-map``. What needs two multipliers is left out where there is
    one."""
    evaluation, layer = shown.evaluation, shown.layer
    caption = caption_of(shown.version, evaluation)
    pictures = {"dose-response": _dose_response(shown, caption)}
    several, dosed = len(evaluation.settings.layers) > 1, len(evaluation.settings.multipliers) > 1
    if several and dosed and evaluation.of("steerability"):
        pictures["layers"] = _layers(evaluation, layer, caption)
    if several:
        pictures["heat-map"] = _heat_map(shown, caption)
    if dosed and shown.measured is not None:
        pictures["slopes"] = _slopes(shown.measured, evaluation, layer, caption)
        pictures["items"] = _items(shown.measured, evaluation, layer, caption)
    return pictures


def caption_of(version: VectorVersion, evaluation: Evaluation) -> str:
    """The references that every number of an evaluation goes with."""
    recorded, seeds = evaluation.settings, ""
    if isinstance(recorded, RecordedPropensity) and recorded.beside.controls:
        seeds = f" Nulls: {recorded.beside.seeds} vectors each."
    leaked = " Not all of the vector's own pairs are known." if evaluation.leaks_unknown else ""
    if evaluation.leaked:
        leaked = f" LEAKED: {subject(evaluation.leaked, 'question')} among the vector's own pairs."
    return (
        f"{evaluation.vector} ({short(version.digest)}) on {evaluation.dataset} ({evaluation.split}{evaluation.half}, "
        f"n = {evaluation.n}); model {evaluation.model.name} ({short(evaluation.model.fingerprint.digest)}); "
        f"positions {evaluation.positions}, template {evaluation.template}; evaluation {evaluation.id}. Intervals: "
        f"95 %.{seeds}{leaked}"
    )


def _interval(score: Score) -> Interval:
    from caa_registry.evaluation.inference.intervals import Interval

    return Interval(score.value, score.ci_low, score.ci_high, score.n)


def _nulls(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    return (evaluation.null or "", "null, 95 %"), ("shuffled", "shuffled labels, 95 %")


def _dose_response(shown: EvaluationContent, caption: str) -> Figure:
    from caa_registry.plots.dose_response import Curve, dose_response
    from caa_registry.plots.ranges import Band

    evaluation, layer = shown.evaluation, shown.layer
    curves, bands = [], []
    for name, label in _nulls(evaluation):
        ranges = {m: each for m, each in null_intervals(shown, name).items() if each.low is not None}
        if ranges:
            bands.append(Band(label, list(ranges.values()), hatched=name == "shuffled", at=tuple(ranges)))
    for condition in ("vector", *_BASELINES):
        points = [_interval(score) for score in evaluation.of(condition=condition) if score.layer == layer]
        if points:
            curves.append(Curve("vector" if condition == "vector" else f"{condition} and vector", points))
    multipliers = evaluation.settings.multipliers
    unsteered = next((p.value for p, m in zip(curves[0].points, multipliers, strict=True) if m == 0), None)
    return dose_response(
        multipliers,
        curves,
        title=f"{evaluation.vector}, layer {layer}",
        ylabel=_YLABEL.get(evaluation.metric, evaluation.metric),
        caption=caption,
        bands=bands,
        unsteered=unsteered,
    )


def _layers(evaluation: Evaluation, layer: int, caption: str) -> Figure:
    from caa_registry.plots.layer_sweep import layer_sweep
    from caa_registry.plots.ranges import Band

    scores = evaluation.of("steerability")
    bands = []
    for name, label in _nulls(evaluation):
        points = [_interval(score) for score in evaluation.of("steerability", name)]
        # Of too few vectors there is no range.
        if points and all(point.low is not None for point in points):
            bands.append(Band(label, points, hatched=name == "shuffled"))
    return layer_sweep(
        [score.layer for score in scores],
        [_interval(score) for score in scores],
        title=f"{evaluation.vector}: steerability by layer",
        ylabel="log-odds a unit of multiplier (nats)",
        caption=caption,
        bands=bands,
        chosen=layer,
    )


def _heat_map(shown: EvaluationContent, caption: str) -> Figure:
    import numpy as np

    from caa_registry.plots.heat_map import heat_map

    evaluation = shown.evaluation
    layers, multipliers = evaluation.settings.layers, evaluation.settings.multipliers
    shape = len(layers), len(multipliers)
    outside = outside_null(shown)
    if outside is not None:
        caption += " Bold with a dot: the whole interval is outside the null's middle 95 %, measured at both ends."
    values = np.array([score.value for score in evaluation.of()]).reshape(shape)
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


def _slopes(measured: Measurements, evaluation: Evaluation, layer: int, caption: str) -> Figure:
    import numpy as np

    from caa_registry.evaluation.statistics import steerability
    from caa_registry.plots.item_slopes import item_slopes

    slopes = steerability(measured.vector, measured.multipliers)[measured.layers.index(layer)]
    letters = np.array(measured.vector.letters)[measured.vector.counted]
    by_letter = {str(letter): slopes[letters == letter] for letter in np.unique(letters)}
    return item_slopes(by_letter, title=f"{evaluation.vector}, layer {layer}", caption=caption)


def _items(measured: Measurements, evaluation: Evaluation, layer: int, caption: str) -> Figure:
    from caa_registry.evaluation.statistics import effects
    from caa_registry.plots.item_effects import item_effects
    from caa_registry.plots.style import signed

    low, high = measured.multipliers[0], measured.multipliers[-1]
    return item_effects(
        effects(measured.vector)[measured.layers.index(layer)],
        title=f"{evaluation.vector}, layer {layer}: each item from {signed(low)} to {signed(high)}",
        xlabel=f"propensity at {signed(high)} minus at {signed(low)}",
        caption=caption,
    )
