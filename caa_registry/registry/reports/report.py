"""A report of one vector: what it is, how well it works and beside what, every number with its reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from caa_registry.digests import short
from caa_registry.errors import UsageError
from caa_registry.references import ranges
from caa_registry.registry.evaluations.evidence import speaking_for
from caa_registry.registry.records import Evaluation, Score, VectorVersion
from caa_registry.registry.reports.effects import answers_section, recommendation_section, side_effects_section
from caa_registry.registry.reports.pictures import chosen_layer, evaluation_pictures, vector_pictures
from caa_registry.registry.reports.text import between, change, signed, table

if TYPE_CHECKING:
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.registry.registry import Registry

REPORT = "report.md"

_ALT = {
    "dose-response": "Score against multiplier",
    "layers": "Steerability by layer",
    "heat-map": "Score at every layer and multiplier",
    "items": "Effect on each item, sorted",
    "cosines": "Cosines between the layers",
}


def write_report(registry: Registry, reference: str, folder: Path, *, layer: int | None = None) -> Path:
    """Write ``report.md`` and its pictures into ``folder``; the path of the report.

    The numbers are of the evaluation that ``speaking_for`` chooses, else of the newest; ``layer`` defaults to the one
    with the largest steerability there. Other files in the folder stay. Raises ``UsageError`` for a vector that was
    not evaluated, or a layer that was not.
    """
    from caa_registry.plots.style import save

    version = registry.vectors.get(reference)
    evaluations = registry.evaluations.ls(f"vector:{version.reference}")
    scored = [evaluation for evaluation in evaluations if evaluation.kind == "propensity"]
    if not scored:
        raise UsageError(
            f"{version.reference} has no evaluation to report", f"Make one: caa eval propensity {version.reference}"
        )
    evaluation = registry.evaluations.get((speaking_for(version, scored) or scored[-1]).id)
    at = chosen_layer(evaluation, layer)
    pictures = {**evaluation_pictures(registry, evaluation.id, at), **vector_pictures(registry, [version])}
    text = "\n".join(_lines(registry, version, evaluations, evaluation, at, list(pictures)))
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        save(picture, folder / f"{name}.png")
    part = folder / f"{REPORT}.part"
    part.write_text(text, encoding="utf-8")
    return part.replace(folder / REPORT)


def _lines(
    registry: Registry,
    version: VectorVersion,
    evaluations: Sequence[Evaluation],
    evaluation: Evaluation,
    layer: int,
    pictures: Sequence[str],
) -> Iterator[str]:
    yield f"# {version.reference}"
    yield ""
    reasons = list(dict.fromkeys(filter(None, (version.quarantined, evaluation.quarantined))))
    if reasons:
        yield from (f"**Quarantined**: {'; '.join(reasons)}.", "")
    yield from _identity(version)
    yield f"## How well it works: evaluation {evaluation.id}"
    yield ""
    yield from _asked(evaluation)
    yield from _finding(registry, evaluation, layer)
    for name in ("dose-response", "layers", "heat-map", "items"):
        if name in pictures:
            yield from (f"![{_ALT[name]}]({name}.png)", "")
    yield from _by_layer(evaluation)
    yield from _by_multiplier(evaluation, layer)
    yield from _by_letter(registry, evaluation, layer)
    yield from _baselines(evaluation, layer)
    yield from side_effects_section(evaluations, layer)
    yield from answers_section(registry, evaluations)
    yield from recommendation_section(registry, version)
    yield "## The vector itself"
    yield ""
    yield from _quality(version)
    yield from (f"![{_ALT['cosines']}](cosines.png)", "")
    yield "## All evaluations of this version"
    yield ""
    yield from table(
        ["evaluation", "questions", "split", "metric", "positions", "layers", "n", "note"],
        [
            (
                e.id,
                e.dataset,
                e.split if e.parameters["rows"] == "all" else f"{e.split} ({e.parameters['rows']} rows)",
                e.metric if e.kind == "propensity" else e.kind,
                e.positions,
                ranges(e.parameters["layers"]),
                e.n,
                e.remarks,
            )
            for e in evaluations
        ],
    )
    yield "## Where the numbers are"
    yield ""
    yield f"- every score: `caa eval show {evaluation.id} --json`"
    if evaluation.measurements:
        blob = short(evaluation.measurements)
        yield f"- every item: blob {blob} (`registry.evaluations.measurements({evaluation.id})`)"
    yield f"- pairs, model and runs: `caa lineage vector:{version.reference}`"
    yield f"- the vector: `caa vector show {version.reference}`, digest `{version.digest}`"
    yield ""


def _identity(version: VectorVersion) -> Iterator[str]:
    recipe = version.recipe
    rows = [
        ("digest", f"`{version.digest}`"),
        ("behavior", version.behavior),
        (
            "made from",
            f"{version.dataset} ({recipe.split}, {recipe.pairs} pairs; `{short(version.dataset_digest)}`)",
        ),
        ("method", f"{recipe.method}, read at '{recipe.read}', template {recipe.template}"),
        ("model", f"{version.model.name} (`{version.model.fingerprint.digest}`), computed in {recipe.dtype}"),
        ("layers", ranges(version.layer_numbers)),
        ("created", version.created_at.isoformat(timespec="seconds")),
    ]
    yield from table(["", ""], rows)


def _asked(evaluation: Evaluation) -> Iterator[str]:
    parameters = evaluation.parameters
    rows = "" if parameters["rows"] == "all" else f", {parameters['rows']} rows"
    yield (
        f"{evaluation.n} questions of {evaluation.dataset} ({evaluation.split}{rows}), scored by "
        f"{evaluation.metric}; model {evaluation.model.name} (`{short(evaluation.model.fingerprint.digest)}`, "
        f"{parameters['verdict']}); steered positions {evaluation.positions}; template {evaluation.template}. "
        f"Intervals: {parameters['interval']}."
    )
    yield ""
    notes = [
        (evaluation.leaked, "questions are among the vector's own pairs, the same or nearly: these scores are LEAKED"),
        (parameters.get("more_choices"), "items are scored over more than two letters"),
        (
            parameters.get("beyond_letters"),
            "items have a matching letter beyond A and B and count as 0 (the paper's rule)",
        ),
        (parameters.get("too_long"), "items were left out: longer than the model's context"),
        (parameters.get("unscorable"), "items were left out: nothing predicts the token in which their sides differ"),
    ]
    said = [f"- {count} {what}" for count, what in notes if count]
    if said:
        yield from (*said, "")


def _finding(registry: Registry, evaluation: Evaluation, layer: int) -> Iterator[str]:
    slope = _at(evaluation, "steerability", layer)
    effect, wrong = _at(evaluation, "effect", layer), _at(evaluation, "wrong_way", layer)
    if slope is None or effect is None or wrong is None:
        return
    multipliers = evaluation.parameters["multipliers"]
    yield (
        f"At layer {layer} the log-odds of the matching answer change by **{change(slope.value)}** nats a unit of "
        f"multiplier ({_range(slope)}), and its probability by {change(effect.value)} ({_range(effect)}) from "
        f"multiplier {signed(multipliers[0])} to {signed(multipliers[-1])}. {_share(wrong)} items move the wrong way."
    )
    yield ""
    if evaluation.measurements:
        yield from _against_controls(registry.evaluations.measurements(evaluation.id), slope, layer)
    bias = [score for score in evaluation.of("letter_bias") if score.layer == layer]
    if bias:
        told = ", ".join(f"{signed(score.multiplier)}: {change(score.value)} ({_range(score)})" for score in bias)
        yield f"Preference for a letter (score where A matches minus score where B does), by multiplier: {told}."
        yield ""


def _against_controls(measured: Measurements, slope: Score, layer: int) -> Iterator[str]:
    from caa_registry.evaluation.statistics import control_figures, middle

    drawn = {
        name: control_figures(control, measured.multipliers)["steerability"][:, measured.layers.index(layer)]
        for name, control in measured.controls.items()
    }
    words = {"random": "random directions of its length", "shuffled": "vectors of the same pairs with shuffled labels"}
    null = middle(drawn["random"]) if "random" in drawn else None
    for name, values in drawn.items():
        further = int((np.abs(values) >= abs(slope.value)).sum())
        said = [
            f"- {len(values)} {words[name]}: slopes from {change(values.min())} to {change(values.max())}; {further} "
            f"of them at least as far from 0 as the vector's, so p = {(1 + further) / (1 + len(values)):.3f}."
        ]
        if name == "random" and null is not None:
            place = "outside" if not null.low <= slope.value <= null.high else "INSIDE"
            interval = between(null.low, null.high)
            said.append(f"The middle 95 % of them, the null interval, is {interval}; the vector's slope is {place} it.")
        elif null is not None:
            inside = int(((values >= null.low) & (values <= null.high)).sum())
            said.append(f"{inside} of them lie inside the null interval of the random directions.")
        yield " ".join(said)
    if drawn:
        yield ""


def _by_layer(evaluation: Evaluation) -> Iterator[str]:
    slopes = evaluation.of("steerability")
    if len(slopes) < 2:
        return
    yield "### By layer"
    yield ""
    rows = []
    for slope in slopes:
        effect, wrong = (_at(evaluation, metric, slope.layer) for metric in ("effect", "wrong_way"))
        null, shuffled = (_at(evaluation, "steerability", slope.layer, control) for control in ("random", "shuffled"))
        rows.append(
            (
                slope.layer,
                f"{change(slope.value)}",
                _range(slope),
                _range(null),
                _range(shuffled),
                f"{change(effect.value)}" if effect else "",
                _share(wrong) if wrong else "",
            )
        )
    yield from table(["layer", "steerability", "95 %", "random", "shuffled", "effect", "wrong way"], rows)


def _by_multiplier(evaluation: Evaluation, layer: int) -> Iterator[str]:
    yield f"### By multiplier, layer {layer}"
    yield ""
    rows = []
    for score in evaluation.of():
        if score.layer == layer:
            at = layer, score.multiplier
            random, shuffled, mass = (
                next((s for s in evaluation.of(metric, condition) if (s.layer, s.multiplier) == at), None)
                for metric, condition in ((None, "random"), (None, "shuffled"), ("mass", "vector"))
            )
            value = signed(score.multiplier), f"{score.value:.3f}", _range(score)
            rows.append((*value, _range(random), _range(shuffled), f"{mass.value:.3f}" if mass else ""))
    yield from table(["multiplier", evaluation.metric, "95 %", "random", "shuffled", "p(A) + p(B)"], rows)


def _by_letter(registry: Registry, evaluation: Evaluation, layer: int) -> Iterator[str]:
    from caa_registry.evaluation.statistics import by_letter

    if not evaluation.measurements:
        return
    measured = registry.evaluations.measurements(evaluation.id)
    means = by_letter(measured.vector)
    if len(means) < 2:
        return
    yield f"### By matching letter, layer {layer}"
    yield ""
    place = measured.layers.index(layer)
    rows = [
        (letter, measured.vector.letters.count(letter), *(f"{value:.3f}" for value in values[place]))
        for letter, values in means.items()
    ]
    yield from table(["letter", "n", *(signed(m) for m in measured.multipliers)], rows)


def _baselines(evaluation: Evaluation, layer: int) -> Iterator[str]:
    rows = []
    for condition in ("vector", "system-positive", "system-negative", "few-shot"):
        found = [f"{s.value:.3f} ({_range(s)})" for s in evaluation.of(condition=condition) if s.layer == layer]
        if found:
            rows.append(("no prompt" if condition == "vector" else condition, *found))
    if len(rows) < 2:
        return
    yield f"### Prompts, alone (multiplier 0) and with the vector, layer {layer}"
    yield ""
    yield from table(["prompt", *(signed(m) for m in evaluation.parameters["multipliers"])], rows)
    beside = evaluation.parameters["beside"]
    for key, what in (("system_positive", "system-positive"), ("system_negative", "system-negative")):
        if beside[key]:
            yield f"- {what}: {beside[key]!r}"
    if beside["few_shot"]:
        yield f"- few-shot: {beside['few_shot']} pairs of {evaluation.vector}'s own, drawn by lot"
    yield ""


def _quality(version: VectorVersion) -> Iterator[str]:
    measured = [layer for layer in version.layers if layer.quality]
    if not measured:
        return
    rows = [
        (
            record.layer,
            f"{record.norm:.2f}",
            f"{record.norm / record.residual_norm:.2f}" if record.residual_norm else "",
            f"{quality.auc:.2f}",
            f"{quality.null_auc:.2f}",
            f"{quality.bootstrap_cosine:.2f}",
            "yes" if quality.signal else "NO",
        )
        for record in measured
        if (quality := record.quality)
    ]
    yield (
        "Separation of held-out pairs (AUC), what shuffled labels reach in 1 of 100, and the cosine with the whole "
        "that 95 % of bootstrap resamples of the pairs reach."
    )
    yield ""
    yield from table(["layer", "norm", "norm / residual", "AUC", "AUC, shuffled", "bootstrap cosine", "signal"], rows)


def _at(evaluation: Evaluation, metric: str, layer: int, condition: str = "vector") -> Score | None:
    return next((score for score in evaluation.of(metric, condition) if score.layer == layer), None)


def _share(score: Score) -> str:
    return f"{round(score.value * score.n)} of {score.n}"


def _range(score: Score | None) -> str:
    return "" if score is None else between(score.ci_low, score.ci_high)
