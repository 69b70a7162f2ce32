"""An evaluation measured again as it was recorded, by its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from caa_registry.errors import UsageError
from caa_registry.evaluation.nulls.names import DRAWS, NULLS
from caa_registry.models.rendering.prompts import check_template
from caa_registry.progress import Progress
from caa_registry.registry.evaluations.open_ended import OpenEndedRequest, answers_again, open_ended_request
from caa_registry.registry.evaluations.propensity.measurement import measured_again
from caa_registry.registry.evaluations.propensity.request import PropensityRequest, propensity_request
from caa_registry.registry.evaluations.sharing import Division
from caa_registry.registry.evaluations.side_effects import SideEffectsRequest, neutral_text, side_effects_again
from caa_registry.registry.evaluations.store import Measured
from caa_registry.registry.evaluations.target import Lookup, Questions, Target
from caa_registry.registry.evaluations.verification.stored import StoredEvaluation
from caa_registry.registry.records import (
    EvaluationSettings,
    OpenEndedSettings,
    PropensitySettings,
    RecordedOpenEnded,
    RecordedPropensity,
    RecordedSideEffects,
)
from caa_registry.steering.positions import check_positions

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import Verdict
    from caa_registry.models.model import Model

_VERDICTS: Mapping[str, Verdict] = {
    "exact": "exact",
    "same-weights": "same-weights",
    "same-architecture": "same-architecture",
    "mismatch": "mismatch",
}


def check_repeatable(stored: StoredEvaluation) -> None:
    """Raise ``UsageError`` for what cannot be measured again as it was, with what can be done instead."""
    evaluation, settings = stored.evaluation, stored.evaluation.settings
    if isinstance(settings, RecordedSideEffects):
        from caa_registry.evaluation.side_effects.neutral_text import packaged_sets

        if settings.text not in packaged_sets():
            raise UsageError(
                f"evaluation {evaluation.id} measured the text of a file, {settings.text}, which the registry does not "
                "hold",
                "Without --recompute what is stored is checked. With the file, measure again: caa eval side-effects "
                f"{evaluation.vector} --text FILE",
            )
    if isinstance(settings, RecordedPropensity) and (settings.shape < 4 or set(settings.beside.controls) - set(NULLS)):
        raise UsageError(
            f"evaluation {evaluation.id} was made by an earlier release, which measured otherwise",
            "Without --recompute what is stored is checked. Measure again: caa eval propensity "
            f"{evaluation.vector} --dataset {evaluation.dataset} --split {evaluation.split}",
        )


def repeated(
    lookup: Lookup, stored: StoredEvaluation, model: Model, measuring: Progress, reading: Progress
) -> Measured:
    """Measure what is ``stored`` again on ``model``; nothing is stored, and nothing is used that was kept before."""
    settings = stored.evaluation.settings
    target = lookup.target(stored.version, model, settings.layers, settings.multipliers, allow_mismatch=True)
    # What is measured beside the vector depends on it, and another model than before shows in its files.
    target = replace(target, verdict=_VERDICTS.get(settings.verdict, target.verdict))
    with _afresh() as division:
        if isinstance(settings, RecordedPropensity):
            request = _propensity(lookup, stored, settings, target, division)
            return measured_again(request, measuring, reading)
        if isinstance(settings, RecordedSideEffects):
            return side_effects_again(SideEffectsRequest(target, neutral_text(settings.text), division), measuring)
        assert isinstance(settings, RecordedOpenEnded)
        return answers_again(_open_ended(stored, settings, target, division), measuring)


@contextmanager
def _afresh() -> Iterator[Division]:
    with TemporaryDirectory(prefix="caa-verify-") as folder:
        yield Division(afresh=Path(folder))


def _propensity(
    lookup: Lookup,
    stored: StoredEvaluation,
    settings: RecordedPropensity,
    target: Target,
    division: Division,
) -> PropensityRequest:
    evaluation, beside = stored.evaluation, settings.beside
    assert stored.dataset is not None
    # Before the seed was recorded beside the nulls, only a plan kept it.
    seed = stored.plan.terms.settings.seed if beside.seed is None and stored.plan else beside.seed
    asked = PropensitySettings(
        positions=check_positions(evaluation.positions),
        template=check_template(evaluation.template),
        rows=settings.rows,
        paper=settings.paper,
        orders=settings.orders,
        controls=beside.controls,
        draws=beside.seeds or DRAWS,
        seed=seed,
        system_positive=beside.system_positive,
        system_negative=beside.system_negative,
        few_shot=beside.few_shot,
        untrained=beside.untrained,
        allow_mismatch=True,
    )
    questions = Questions(stored.dataset, evaluation.split, stored.pairs)
    own = lookup.own(stored.version, questions)
    return replace(propensity_request(target, questions, own, asked, division), plan=stored.plan)


def _open_ended(
    stored: StoredEvaluation, settings: RecordedOpenEnded, target: Target, division: Division
) -> OpenEndedRequest:
    evaluation, sampling = stored.evaluation, settings.sampling
    assert stored.dataset is not None
    asked = OpenEndedSettings(
        positions=check_positions(evaluation.positions),
        template=check_template(evaluation.template),
        system=settings.system,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        seed=sampling.seed,
        allow_mismatch=True,
    )
    # Those of the split that were asked are known by what was answered.
    places = stored.places
    request = open_ended_request(target, stored.dataset, evaluation.split, stored.prompts, asked, division)
    return replace(request, questions=[stored.prompts[place] for place in places], places=places)


_SETTINGS = {
    "template_digest": "questions are rendered with another template",
    "dtype": "it is measured in {new}, and was in {old}",
    "text_digest": "the neutral text is another one",
    "passages": "it measures {new} passages, and measured {old}",
    "questions": "{new} questions are asked, and {old} were",
    "too_long": "{new} of what is asked are too long for the model, and {old} were",
    "too_short": "{new} passages are too short, and {old} were",
    "unscorable": "{new} questions cannot be scored, and {old} could not",
    "more_choices": "{new} questions are scored over more than two letters, and {old} were",
    "beyond_letters": "{new} questions match a letter beyond A and B, and {old} did",
    "leaked": "other questions are found among the vector's own pairs",
    "interval": "intervals are now {new}, and were {old}",
    "operator": "the operator is {new}, and was {old}",
}


def settings_differences(stored: EvaluationSettings, again: EvaluationSettings) -> Iterator[str]:
    """What an evaluation is made otherwise by now, in words."""
    for name, words in _SETTINGS.items():
        old, new = getattr(stored, name, None), getattr(again, name, None)
        if old != new:
            yield words.format(old=old, new=new)
