"""Calibration in the registry: the layer and multiplier to use, set as an alias with the evidence for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from caa_registry.errors import UsageError
from caa_registry.evaluation.conditions import check_conditions
from caa_registry.progress import Progress, silent
from caa_registry.registry.evaluations.calibration.null import NullRequest, null_of_effect
from caa_registry.registry.evaluations.calibration.outcomes import CALIBRATED
from caa_registry.registry.evaluations.open_ended import answers, generate_answers, open_ended_request
from caa_registry.registry.evaluations.propensity.measurement import measure
from caa_registry.registry.evaluations.propensity.request import propensity_request
from caa_registry.registry.evaluations.reuse import earlier
from caa_registry.registry.evaluations.sharing import Division
from caa_registry.registry.evaluations.side_effects import SideEffectsRequest, measure_side_effects
from caa_registry.registry.evaluations.store import measurements
from caa_registry.registry.evaluations.target import OwnPairs, Questions, Target
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
    import numpy as np
    from numpy.typing import NDArray

    from caa_registry.evaluation.calibration import Calibration, Choice, Halves, MeasuredCell
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.evaluation.side_effects.neutral_text import NeutralText
    from caa_registry.evaluation.verdict import Verdict

MULTIPLIERS = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)

# A cell is coherent where its answers repeat themselves and surprise the unsteered model not much more than its own do.
_REPEATED = 0.1
_SURPRISE = 1.0
_ANSWER_TOKENS = 48
# A multiplier further out than the best is this many times as large, and so often it is tried.
_FURTHER, _EXTENSIONS = 1.5, 3
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
    own: OwnPairs
    text: NeutralText
    settings: CalibrationSettings


def calibrate(workspace: Workspace, aliases: Aliases, request: CalibrationRequest, progress: Progress) -> Calibrated:
    """Measure propensity and side effects, choose a cell by the rule of ``evaluation.calibration``, and set the alias
    where the verdict about it allows that.

    Earlier evaluations that measured the same are used: those that an interrupted calibration had stored, or those of
    a calibration with another target. Where the best multiplier is the last one measured, larger ones are measured at
    its layer, as long as they do more.

    The rule's ``coherent``: at a cell that would be chosen, answers to the first ``coherence`` questions of half A are
    generated. Where they repeat themselves or surprise the unsteered model clearly more than its own answers do, the
    cell is out and the next one is looked at.
    """
    from caa_registry.engine import processes

    asked, version = request.settings, request.target.version
    workspace.database.check_writable()
    known = aliases.get(f"vector:{version.name}:{asked.alias}")
    if known is not None and known.protected:
        # Said before anything is measured.
        raise UsageError(
            f"{known.reference} is protected, and a calibration would move it",
            f"Choose another alias; or first: caa alias set vector:{known.target} {known.alias} --override --unprotect",
        )
    activity = Activity("calibrate", workspace.actor, {"vector": version.reference, "direction": asked.direction})
    found = _measure(workspace, request, progress)
    calibration = _choose(workspace, request, found, progress)
    while calibration.choice is not None and found.extended < _EXTENSIONS and found.at_the_end(calibration.choice):
        _extend(workspace, request, found, calibration.choice, progress)
        calibration = _choose(workspace, request, found, progress)
    verdict = None
    if calibration.choice is not None:
        verdict = _verdict(request, found, calibration, calibration.choice, progress)
    failed = verdict.failed if verdict else ()
    reason = calibration.reason or "; ".join(f"{each.name}: {each.figure}" for each in failed)
    evidence = None
    if calibration.choice is not None and verdict is not None:
        evidence = _evidence(found, calibration, calibration.choice, verdict)
    # Of several processes the first writes.
    first, alias = processes.rank() == 0, None
    if first and calibration.choice is not None and not reason:
        advice = Recommendation((calibration.choice.layer,), calibration.choice.multiplier, asked.positions, evidence)
        alias = aliases.set(f"vector:{version.reference}", asked.alias, advice, replace=True)
    if first:
        evaluations = (*found.propensity, *found.side_effects, *found.answers)
        inputs = [("vector", version.id), *(("evaluation", e.id) for e in evaluations)]
        subject = {"vector": version.reference, "alias": asked.alias if alias else "", "reason": reason}
        choice = calibration.choice
        cell = None if choice is None else {"layer": choice.layer, "multiplier": choice.multiplier}
        outcome = {"reason": reason, "cell": cell, "evidence": evidence}
        ended = replace(activity, parameters={**activity.parameters, "outcome": outcome})
        with workspace.database.write() as session:
            record_run(session, ended, inputs=inputs, subject=subject, roles={("vector", version.id): CALIBRATED})
    return Calibrated(
        version,
        found.propensity[0],
        found.side_effects[0],
        tuple(found.answers),
        calibration,
        verdict,
        alias,
        (*found.propensity[1:], *found.side_effects[1:]),
    )


@dataclass(eq=False)
class _Found:
    """What has been measured: evaluations, cells, items. ``unsteered``: of every item its propensity. ``extended``: how
    often a larger multiplier was measured."""

    propensity: list[Evaluation]
    side_effects: list[Evaluation]
    cells: list[MeasuredCell]
    unsteered: NDArray[np.float64]
    divided: Halves
    prompts: Sequence[str]
    answers: list[Evaluation] = field(default_factory=list)
    extended: int = 0

    def cell(self, choice: Choice) -> int:
        """The place of the chosen cell."""
        at = choice.layer, choice.multiplier
        return next(i for i, cell in enumerate(self.cells) if (cell.layer, cell.multiplier) == at)

    def at_the_end(self, choice: Choice) -> bool:
        """Whether no multiplier further out was measured at the chosen layer."""
        measured = [cell.multiplier for cell in self.cells if cell.layer == choice.layer]
        return choice.multiplier in (min(measured), max(measured))


def _measure(workspace: Workspace, request: CalibrationRequest, progress: Progress) -> _Found:
    from caa_registry.evaluation.calibration import halves

    propensity = _propensity(workspace, request, request.target, progress)
    side_effects = _side_effects(workspace, request, request.target, progress)
    measured = measurements(workspace, propensity)
    items = [request.questions.items[row] for row in measured.vector.rows]
    divided = halves([item.digest for item in items], measured.vector.letters, measured.vector.clusters)
    prompts = dict.fromkeys(items[i].pair.prompt for i in divided.a)
    return _Found(
        [propensity],
        [side_effects],
        _cells(measured, side_effects),
        measured.vector.propensity[0, measured.multipliers.index(0.0)],
        divided,
        [prompt for prompt in prompts if prompt.strip()][: request.settings.coherence],
    )


def _choose(workspace: Workspace, request: CalibrationRequest, found: _Found, progress: Progress) -> Calibration:
    """The choice among the cells whose answers read well, as far as that was looked at."""
    from caa_registry.evaluation.calibration import TARGET_KL
    from caa_registry.evaluation.calibration import calibrate as choose

    asked = request.settings
    target_kl = TARGET_KL if asked.target_kl is None else asked.target_kl
    while True:
        calibration = choose(found.cells, found.unsteered, found.divided, asked.direction, target_kl)
        if calibration.choice is None or not found.prompts:
            return calibration
        place = found.cell(calibration.choice)
        if found.cells[place].coherent is None:
            answered, coherent = _coherent(workspace, request, calibration.choice, found.prompts, progress)
            found.answers.append(answered)
            found.cells[place] = replace(found.cells[place], coherent=coherent)
        if found.cells[place].coherent:
            return calibration


def _extend(
    workspace: Workspace, request: CalibrationRequest, found: _Found, choice: Choice, progress: Progress
) -> None:
    """Measure a multiplier further out at the chosen layer."""
    further = choice.multiplier * _FURTHER
    target = replace(request.target, layers=(choice.layer,), multipliers=tuple(sorted((0.0, further))))
    propensity = _propensity(workspace, request, target, progress)
    side_effects = _side_effects(workspace, request, target, progress)
    found.propensity.append(propensity)
    found.side_effects.append(side_effects)
    found.cells += [c for c in _cells(measurements(workspace, propensity), side_effects) if c.multiplier != 0]
    found.extended += 1


def _verdict(
    request: CalibrationRequest, found: _Found, calibration: Calibration, choice: Choice, progress: Progress
) -> Verdict:
    import numpy as np

    from caa_registry.evaluation.propensity import saturated
    from caa_registry.evaluation.verdict import Answering, verdict

    half, cell = list(found.divided.b), found.cells[found.cell(choice)]
    null = null_of_effect(
        NullRequest(
            request.target,
            request.own,
            propensity_request(request.target, request.questions, request.own, _asked(request), Division.asked(None)),
            calibration,
            found.divided,
            found.unsteered,
        ),
        choice,
        progress,
    )
    lettered = found.propensity[0].metric == "propensity"
    sure = saturated(np.stack([cell.items[half], found.unsteered[half]]))
    answering = Answering(float(cell.mass[half].mean()) if lettered else None, sure)
    return verdict(
        choice,
        null,
        answering,
        leaked=found.propensity[0].leaked,
        leaks_unknown=found.propensity[0].leaks_unknown,
        target_kl=calibration.target_kl,
        at_the_end=found.at_the_end(choice),
        accepted=check_conditions(request.settings.accept),
    )


def _asked(request: CalibrationRequest) -> PropensitySettings:
    asked = request.settings
    return PropensitySettings(asked.positions, asked.template, orders=asked.orders, controls=())


def _propensity(workspace: Workspace, request: CalibrationRequest, target: Target, progress: Progress) -> Evaluation:
    needed = propensity_request(target, request.questions, request.own, _asked(request), Division.asked(None))
    return earlier(workspace, needed) or measure(workspace, needed, progress, silent)


def _side_effects(workspace: Workspace, request: CalibrationRequest, target: Target, progress: Progress) -> Evaluation:
    needed = SideEffectsRequest(target, request.text, Division.asked(None))
    return earlier(workspace, needed) or measure_side_effects(workspace, needed, progress)


def _cells(measured: Measurements, side_effects: Evaluation) -> list[MeasuredCell]:
    from caa_registry.evaluation.calibration import MeasuredCell
    from caa_registry.evaluation.inference.intervals import Interval

    kl = {
        (score.layer, score.multiplier): Interval(score.value, score.ci_low, score.ci_high, score.n)
        for score in side_effects.of("kl")
    }
    propensity, mass = measured.vector.propensity, measured.vector.mass
    return [
        MeasuredCell(layer, multiplier, propensity[i, j], mass[i, j], kl[layer, multiplier])
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


def _evidence(found: _Found, calibration: Calibration, choice: Choice, verdict: Verdict) -> dict[str, Any]:
    bounds = next(each for each in calibration.ranges if each.layer == choice.layer)
    return {
        "propensity": found.propensity[0].id,
        "side_effects": found.side_effects[0].id,
        "extended": [each.id for each in (*found.propensity[1:], *found.side_effects[1:])],
        "answers": [each.id for each in found.answers],
        "rule": calibration.rule,
        "coherence": _COHERENT if found.answers else "not looked at",
        "direction": calibration.direction,
        "target_kl": calibration.target_kl,
        "items": {"a": calibration.n_a, "b": calibration.n_b},
        "range": asdict(bounds),
        "kl": asdict(choice.kl),
        "score_a": asdict(choice.score_a),
        "score_b": asdict(choice.score_b),
        "effect_a": asdict(choice.effect_a),
        "effect_b": asdict(choice.effect_b),
        "power_b": asdict(choice.power_b),
        "tied": [list(cell) for cell in choice.tied],
        "verdict": [asdict(condition) for condition in verdict.conditions],
    }
