"""Calibration in the registry: the layer and multiplier to use, set as an alias with the evidence for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from caa_registry.progress import Progress, silent
from caa_registry.registry.evaluations.open_ended import answers, generate_answers, open_ended_request
from caa_registry.registry.evaluations.propensity import measure, propensity_request
from caa_registry.registry.evaluations.reuse import earlier
from caa_registry.registry.evaluations.sharing import Division
from caa_registry.registry.evaluations.side_effects import SideEffectsRequest, measure_side_effects
from caa_registry.registry.evaluations.store import measurements
from caa_registry.registry.evaluations.target import Questions, Target
from caa_registry.registry.provenance.aliases import Aliases
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import (
    Calibrated,
    CalibrationSettings,
    Evaluation,
    OpenEndedSettings,
    PropensitySettings,
    Recommendation,
)
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.calibration import Calibration, Choice, MeasuredCell
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.evaluation.side_effects.neutral_text import NeutralText

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


@dataclass(frozen=True, eq=False)
class CalibrationRequest:
    """What is to be calibrated, understood and loaded. The multipliers of ``target`` include 0. ``own``: the pairs that
    the vector was made from."""

    target: Target
    questions: Questions
    own: Questions
    text: NeutralText
    settings: CalibrationSettings


def calibrate(workspace: Workspace, aliases: Aliases, request: CalibrationRequest, progress: Progress) -> Calibrated:
    """Measure propensity and side effects, choose a cell by the rule of ``evaluation.calibration``, and set the alias.

    Earlier evaluations that measured the same are used: those that an interrupted calibration had stored, or those of
    a calibration with another target.

    The rule's ``coherent``: at a cell that would be chosen, answers to the first ``coherence`` questions of half A are
    generated. Where they repeat themselves or surprise the unsteered model clearly more than its own answers do, the
    cell is out and the next one is looked at.
    """
    from caa_registry.engine import processes
    from caa_registry.evaluation.calibration import TARGET_KL, halves
    from caa_registry.evaluation.calibration import calibrate as choose

    asked, version = request.settings, request.target.version
    activity = Activity("calibrate", workspace.actor, {"vector": version.reference, "direction": asked.direction})
    propensity = _propensity(workspace, request, progress)
    side_effects = _side_effects(workspace, request, progress)
    measured = measurements(workspace, propensity)
    items = [request.questions.items[row] for row in measured.vector.rows]
    divided = halves([item.digest for item in items], [letter or None for letter in measured.vector.letters])
    cells = _cells(measured, side_effects)
    unsteered = measured.vector.propensity[0, measured.multipliers.index(0.0)]
    target_kl = TARGET_KL if asked.target_kl is None else asked.target_kl
    prompts = dict.fromkeys(items[i].pair.prompt for i in divided.a)
    shown = [prompt for prompt in prompts if prompt.strip()][: asked.coherence]
    written: list[Evaluation] = []
    while True:
        calibration = choose(cells, unsteered, divided, asked.direction, target_kl)
        if calibration.choice is None or not shown:
            break
        answered, coherent = _coherent(workspace, request, calibration.choice, shown, progress)
        written.append(answered)
        at = calibration.choice.layer, calibration.choice.multiplier
        place = next(i for i, cell in enumerate(cells) if (cell.layer, cell.multiplier) == at)
        cells[place] = replace(cells[place], coherent=coherent)
        if coherent:
            break
    # Of several processes the first writes.
    first, alias = processes.rank() == 0, None
    if calibration.choice is not None and first:
        evidence = _evidence(propensity, side_effects, written, calibration, calibration.choice)
        advice = Recommendation((calibration.choice.layer,), calibration.choice.multiplier, asked.positions, evidence)
        alias = aliases.set(f"vector:{version.reference}", asked.alias, advice)
    if first:
        inputs = [("vector", version.id), *(("evaluation", e.id) for e in (propensity, side_effects, *written))]
        subject = {"vector": version.reference, "alias": asked.alias if alias else "", "reason": calibration.reason}
        with workspace.database.write() as session:
            record_run(session, activity, inputs=inputs, subject=subject)
    return Calibrated(version, propensity, side_effects, tuple(written), calibration, alias)


def _propensity(workspace: Workspace, request: CalibrationRequest, progress: Progress) -> Evaluation:
    asked = PropensitySettings(request.settings.positions, request.settings.template, controls=())
    needed = propensity_request(request.target, request.questions, request.own, asked, Division.asked(None))
    return earlier(workspace, needed) or measure(workspace, needed, progress, silent)


def _side_effects(workspace: Workspace, request: CalibrationRequest, progress: Progress) -> Evaluation:
    needed = SideEffectsRequest(request.target, request.text, Division.asked(None))
    return earlier(workspace, needed) or measure_side_effects(workspace, needed, progress)


def _cells(measured: Measurements, side_effects: Evaluation) -> list[MeasuredCell]:
    from caa_registry.evaluation.calibration import MeasuredCell
    from caa_registry.evaluation.intervals import Interval

    kl = {
        (score.layer, score.multiplier): Interval(score.value, score.ci_low or 0.0, score.ci_high or 0.0, score.n)
        for score in side_effects.of("kl")
    }
    propensity = measured.vector.propensity
    return [
        MeasuredCell(layer, multiplier, propensity[i, j], kl[layer, multiplier])
        for i, layer in enumerate(measured.layers)
        for j, multiplier in enumerate(measured.multipliers)
    ]


def _coherent(
    workspace: Workspace, request: CalibrationRequest, choice: Choice, questions: Sequence[str], progress: Progress
) -> tuple[Evaluation, bool]:
    """Answers at the chosen cell and without steering, and whether they read as well."""
    import numpy as np

    target = replace(request.target, layers=(choice.layer,), multipliers=tuple(sorted((0.0, choice.multiplier))))
    asked = OpenEndedSettings(
        request.settings.positions, request.settings.template, max_tokens=_ANSWER_TOKENS, only=questions
    )
    prompts = [pair.prompt for pair in request.questions.pairs]
    needed = open_ended_request(
        target, request.questions.dataset, request.questions.split, prompts, asked, Division.asked(None)
    )
    evaluation = generate_answers(workspace, needed, progress)
    by_multiplier: dict[float, list[dict[str, Any]]] = {}
    with workspace.database.read() as session:
        for answer in answers(session, evaluation, prompts):
            by_multiplier.setdefault(answer.multiplier, []).append(answer.coherence)

    def mean(multiplier: float, key: str) -> float:
        values = [coherence[key] for coherence in by_multiplier[multiplier] if coherence[key] is not None]
        return float(np.mean(values)) if values else 0.0

    steered = choice.multiplier
    repeats = mean(steered, "repeated_4") <= mean(0.0, "repeated_4") + _REPEATED
    surprises = mean(steered, "mean_log_probability") >= mean(0.0, "mean_log_probability") - _SURPRISE
    return evaluation, repeats and surprises


def _evidence(
    propensity: Evaluation,
    side_effects: Evaluation,
    answered: Sequence[Evaluation],
    calibration: Calibration,
    choice: Choice,
) -> dict[str, Any]:
    bounds = next(each for each in calibration.ranges if each.layer == choice.layer)
    return {
        "propensity": propensity.id,
        "side_effects": side_effects.id,
        "answers": [each.id for each in answered],
        "rule": calibration.rule,
        "coherence": _COHERENT if answered else "not looked at",
        "direction": calibration.direction,
        "target_kl": calibration.target_kl,
        "items": {"a": calibration.n_a, "b": calibration.n_b},
        "range": asdict(bounds),
        "kl": asdict(choice.kl),
        "score_a": asdict(choice.score_a),
        "score_b": asdict(choice.score_b),
        "effect_a": asdict(choice.effect_a),
        "effect_b": asdict(choice.effect_b),
        "tied": [list(cell) for cell in choice.tied],
    }
