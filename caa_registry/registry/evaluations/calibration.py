"""Calibration in the registry: the layer and multiplier to use, with what says so, as an alias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from caa_registry.progress import Progress, silent
from caa_registry.registry.evaluations.reuse import earlier
from caa_registry.registry.evaluations.side_effects import neutral_text
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import (
    Alias,
    DatasetVersion,
    Evaluation,
    Recommendation,
    VectorVersion,
    check_multiplier,
)

if TYPE_CHECKING:
    from caa_registry.evaluation.calibration import Calibration, Direction, MeasuredCell
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.models.model import Model
    from caa_registry.models.prompts import TemplateName
    from caa_registry.registry.registry import Registry
    from caa_registry.steering.positions import SteeredPositions

MULTIPLIERS = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)

# A cell is coherent where its answers repeat themselves and surprise the unsteered model not much more than its own do.
_REPEATED = 0.1
_SURPRISE = 1.0
_ANSWER_TOKENS = 48
_COHERENT = (
    f"of answers of at most {_ANSWER_TOKENS} tokens to questions of half A the share of repeated 4-grams is at most "
    f"{_REPEATED} above that of the unsteered model's answers, and their mean log-probability under it at most "
    f"{_SURPRISE} nats a token below that of its own"
)


@dataclass(frozen=True)
class Calibrated:
    """What a calibration found. ``alias`` is ``None`` where no cell qualified; ``found.reason`` says why then.

    ``answers``: the open-ended evaluations of the cells whose coherence was looked at, the one chosen last.
    """

    vector: VectorVersion
    propensity: Evaluation
    side_effects: Evaluation
    answers: tuple[Evaluation, ...]
    found: Calibration
    alias: Alias | None


def calibrate(
    registry: Registry,
    vector: str | VectorVersion,
    *,
    model: str | Path | Model,
    dataset: str | DatasetVersion | None = None,
    split: str = "test",
    layers: Sequence[int] | Literal["all"] = "all",
    multipliers: Sequence[float] = MULTIPLIERS,
    positions: SteeredPositions = "after_prompt",
    template: TemplateName | None = None,
    text: str = "english",
    target_kl: float | None = None,
    direction: Direction = "more",
    coherence: int = 8,
    alias: str = "best",
    progress: Progress = silent,
) -> Calibrated:
    """Measure propensity and side effects, choose a cell by the rule of ``evaluation.calibration``, and set the alias.

    Evaluations that say already what would be measured are used: what an interrupted calibration had stored, or one
    with another target.

    The rule's ``coherent``: of a cell that would be chosen, answers to the first ``coherence`` questions of half A are
    generated; where they repeat themselves or surprise the unsteered model clearly more than its own answers do, the
    cell is out, and the next one is looked at. 0 looks at none.
    """
    from caa_registry.evaluation.calibration import TARGET_KL, halves
    from caa_registry.evaluation.calibration import calibrate as choose

    version = registry.vectors.get(vector)
    loaded = model if not isinstance(model, str | Path) else registry.models.load(model)
    steps = sorted({0.0, *(check_multiplier(multiplier) for multiplier in multipliers)})
    activity = Activity("calibrate", registry.actor, {"vector": version.reference, "direction": direction})
    data = registry.datasets.get(dataset if dataset is not None else version.dataset)
    wanted = version.layer_numbers if layers == "all" else sorted(set(layers))
    rendered = loaded.template(template or version.recipe.template)
    asked = earlier(
        registry,
        version,
        loaded,
        "propensity",
        {"dataset": data.reference, "split": split, "positions": positions, "template": rendered.name},
        {"paper": False, "template_digest": rendered.digest},
        wanted,
        steps,
    ) or registry.evaluations.propensity(
        version,
        dataset=data,
        split=split,
        model=loaded,
        layers=wanted,
        multipliers=steps,
        positions=positions,
        template=rendered.name,
        controls=(),
        progress=progress,
    )
    effects = earlier(
        registry,
        version,
        loaded,
        "side-effects",
        {},
        {"text_digest": neutral_text(text).digest},
        wanted,
        steps,
    ) or registry.evaluations.side_effects(
        version, model=loaded, text=text, layers=wanted, multipliers=steps, progress=progress
    )
    measured = registry.evaluations.measurements(asked.id)
    items = registry.evaluations.items(asked)
    digests = [items[row].digest for row in measured.vector.rows]
    divided = halves(digests, [letter or None for letter in measured.vector.letters])
    cells = _cells(measured, effects)
    unsteered = measured.vector.propensity[0, measured.multipliers.index(0.0)]
    target = TARGET_KL if target_kl is None else target_kl
    prompts = [items[measured.vector.rows[i]].pair.prompt for i in divided.a]
    shown = [prompt for prompt in dict.fromkeys(prompts) if prompt.strip()]
    answers: list[Evaluation] = []
    while True:
        found = choose(cells, unsteered, divided, direction, target)
        if found.choice is None or coherence == 0 or not shown[:coherence]:
            break
        written, coherent = _coherent(registry, version, loaded, asked, found, shown[:coherence], progress)
        answers.append(written)
        place = next(i for i, cell in enumerate(cells) if (cell.layer, cell.multiplier) == _at(found))
        cells[place] = replace(cells[place], coherent=coherent)
        if coherent:
            break
    set_alias = None
    if found.choice is not None:
        evidence = _evidence(asked, effects, answers, found)
        advice = Recommendation((found.choice.layer,), found.choice.multiplier, positions, evidence)
        set_alias = registry.aliases.set(f"vector:{version.reference}", alias, advice)
    with registry.database.write() as session:
        record_run(
            session,
            activity,
            inputs=[("vector", version.id), *(("evaluation", e.id) for e in (asked, effects, *answers))],
            subject={"vector": version.reference, "alias": alias if set_alias else "", "reason": found.reason},
        )
    return Calibrated(version, asked, effects, tuple(answers), found, set_alias)


def _at(found: Calibration) -> tuple[int, float]:
    assert found.choice is not None
    return found.choice.layer, found.choice.multiplier


def _cells(measured: Measurements, effects: Evaluation) -> list[MeasuredCell]:
    from caa_registry.evaluation.calibration import MeasuredCell
    from caa_registry.evaluation.intervals import Interval

    kl = {
        (score.layer, score.multiplier): Interval(score.value, score.ci_low or 0.0, score.ci_high or 0.0, score.n)
        for score in effects.of("kl")
    }
    propensity = measured.vector.propensity
    return [
        MeasuredCell(layer, multiplier, propensity[i, j], kl[layer, multiplier])
        for i, layer in enumerate(measured.layers)
        for j, multiplier in enumerate(measured.multipliers)
    ]


def _coherent(
    registry: Registry,
    version: VectorVersion,
    model: Model,
    asked: Evaluation,
    found: Calibration,
    questions: Sequence[str],
    progress: Progress,
) -> tuple[Evaluation, bool]:
    """Answers at the chosen cell and without steering, and whether they read as well."""
    layer, multiplier = _at(found)
    written = registry.evaluations.open_ended(
        version,
        dataset=asked.dataset,
        split=asked.split,
        model=model,
        layers=[layer],
        multipliers=[0.0, multiplier],
        positions=asked.positions,  # type: ignore[arg-type]
        template=asked.template,  # type: ignore[arg-type]
        max_tokens=_ANSWER_TOKENS,
        only=questions,
        progress=progress,
    )
    by_multiplier: dict[float, list[dict[str, Any]]] = {}
    for answer in registry.evaluations.answers(written):
        by_multiplier.setdefault(answer.multiplier, []).append(answer.coherence)

    def mean(of: float, key: str) -> float:
        values = [said[key] for said in by_multiplier[of] if said[key] is not None]
        return float(np.mean(values)) if values else 0.0

    repeats = mean(multiplier, "repeated_4") <= mean(0.0, "repeated_4") + _REPEATED
    surprises = mean(multiplier, "mean_log_probability") >= mean(0.0, "mean_log_probability") - _SURPRISE
    return written, repeats and surprises


def _evidence(
    asked: Evaluation, effects: Evaluation, answers: Sequence[Evaluation], found: Calibration
) -> dict[str, Any]:
    choice = found.choice
    assert choice is not None
    bounds = next(each for each in found.ranges if each.layer == choice.layer)
    return {
        "propensity": asked.id,
        "side_effects": effects.id,
        "answers": [each.id for each in answers],
        "rule": found.rule,
        "coherence": _COHERENT if answers else "not looked at",
        "direction": found.direction,
        "target_kl": found.target_kl,
        "items": {"a": found.n_a, "b": found.n_b},
        "range": asdict(bounds),
        "kl": asdict(choice.kl),
        "score_a": asdict(choice.score_a),
        "score_b": asdict(choice.score_b),
        "effect_a": asdict(choice.effect_a),
        "effect_b": asdict(choice.effect_b),
        "tied": [list(cell) for cell in choice.tied],
    }
