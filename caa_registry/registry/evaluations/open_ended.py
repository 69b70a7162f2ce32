"""Open-ended evaluations: answers generated at each multiplier, with how coherent they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.catalog.integrity.row_digests import digest_of_rows
from caa_registry.progress import Progress
from caa_registry.registry.evaluations.sharing import Division, request_as_json
from caa_registry.registry.evaluations.store import Measured, begin, store, underway_kept
from caa_registry.registry.evaluations.target import Target
from caa_registry.registry.records import Answer, DatasetVersion, Evaluation, OpenEndedSettings
from caa_registry.registry.records.evaluation_settings import RecordedOpenEnded, Sampling
from caa_registry.registry.rows import RESPONSE
from caa_registry.registry.vectors.computation import way_of_computing
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.open_ended.generation import Response as Generated
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.models.rendering.prompts import Template

# Raised with every change that generates or measures the same otherwise.
_GENERATOR = 1


@dataclass(frozen=True, eq=False)
class OpenEndedRequest:
    """What is to be answered, understood and loaded. ``questions``: those that are asked; ``places``: where they stand
    in their split; ``division``: what this call does of it."""

    target: Target
    dataset: DatasetVersion
    split: str
    questions: Sequence[str]
    places: Sequence[int]
    template: Template
    settings: OpenEndedSettings
    division: Division

    @property
    def template_digest(self) -> str:
        """The identity of how the questions are rendered."""
        return self.template.rendering(system=bool(self.settings.system)).digest


def open_ended_request(
    target: Target,
    dataset: DatasetVersion,
    split: str,
    questions: Sequence[str],
    asked: OpenEndedSettings,
    division: Division,
) -> OpenEndedRequest:
    """Understand a request. ``questions``: all of the split. Raises ``UsageError`` for a template that the model does
    not have."""
    template = target.model.template(asked.template or target.version.template)
    places = [i for i, question in enumerate(questions) if asked.only is None or question in asked.only][: asked.limit]
    return OpenEndedRequest(target, dataset, split, [questions[i] for i in places], places, template, asked, division)


def generate_answers(workspace: Workspace, request: OpenEndedRequest, progress: Progress) -> Evaluation:
    """Generate and store.

    Questions that an interrupted call of the same request had answered are not asked again. Nothing is written to the
    registry before all are answered.
    """
    asked, recorded = request.settings, _recorded(request)
    underway = begin(
        workspace,
        request.target,
        "open-ended",
        recorded,
        positions=asked.positions,
        template=request.template.name,
        dataset=request.dataset,
        split=request.split,
    )
    named = request_as_json(
        "open-ended",
        request.target,
        dataset=request.dataset.reference,
        split=request.split,
        settings=asdict(asked),
    )
    unfinished = request.division.unfinished(_identity(request, recorded.sampling), named)

    def write() -> int:
        answered = _in_order(unfinished)
        rows = _responses(request, answered)
        return store(workspace, underway, "perplexity", _figures(request, answered), responses=rows)

    with underway_kept(workspace, underway):
        if request.division.measures:
            _measure(request, unfinished, progress)
        return request.division.finish(
            workspace,
            request.target,
            unfinished,
            lambda: {question for question, _ in _missing(request, unfinished)},
            write,
        )


def answers_again(request: OpenEndedRequest, progress: Progress) -> Measured:
    """Generate and store nothing."""
    recorded = _recorded(request)
    unfinished = request.division.unfinished(_identity(request, recorded.sampling), {})
    _measure(request, unfinished, progress)
    answered = _in_order(unfinished)
    return Measured(recorded, list(_figures(request, answered)), responses=_responses(request, answered))


def _recorded(request: OpenEndedRequest) -> RecordedOpenEnded:
    from caa_registry.evaluation.inference.intervals import METHOD

    asked = request.settings
    return RecordedOpenEnded(
        **request.target.recorded,
        rows="all",
        interval=METHOD.format("answers"),
        template_digest=request.template_digest,
        questions=len(request.questions),
        system=asked.system,
        sampling=Sampling(asked.max_tokens, asked.temperature, asked.seed),
    )


def _in_order(unfinished: Unfinished) -> list[_Answered]:
    return sorted(_answered(unfinished).values(), key=lambda each: (each.generated.question, each.generated.multiplier))


def _responses(request: OpenEndedRequest, answered: Sequence[_Answered]) -> list[t.Response]:
    return [
        t.Response(
            position=place,
            question=request.places[answer.generated.question],
            multiplier=answer.generated.multiplier,
            # No database stores NUL in a text.
            text=answer.generated.text.replace("\x00", "\ufffd"),
            finish=answer.generated.finish,
            coherence=answer.coherence,
        )
        for place, answer in enumerate(answered)
    ]


def answers(session: Session, evaluation: Evaluation, questions: Sequence[str]) -> list[Answer]:
    """The answers of an open-ended evaluation, by question, then multiplier. ``questions``: all of its split."""
    r = t.Response
    query = (
        select(*(getattr(r, column) for column in RESPONSE))
        .where(r.evaluation_id == evaluation.id)
        .order_by(r.position)
    )
    rows = session.execute(query).all()
    stored = session.get_one(t.Evaluation, evaluation.id).responses_digest
    if (digest_of_rows("response", rows) if rows else None) != stored:
        raise damaged(f"evaluation {evaluation.id}", "its answers are not those that were stored")
    return [
        Answer(position, questions[question], multiplier, text, finish, coherence)
        for position, question, multiplier, text, finish, coherence in rows
    ]


@dataclass(frozen=True)
class _Answered:
    """An answer and how coherent it is."""

    generated: Generated
    coherence: dict[str, Any]


def _generated(unfinished: Unfinished) -> dict[tuple[int, float], Generated]:
    """The answers that are kept, by question and multiplier."""
    from caa_registry.evaluation.open_ended.generation import Response

    kept = [
        Response(each["question"], each["multiplier"], each["text"], tuple(each["ids"]), each["finish"])
        for each in unfinished.kept("answers")
    ]
    return {(answer.question, answer.multiplier): answer for answer in kept}


def _answered(unfinished: Unfinished) -> dict[tuple[int, float], _Answered]:
    """The answers that are kept with their coherence."""
    generated = _generated(unfinished)
    return {
        place: _Answered(generated[place], kept["coherence"])
        for kept in unfinished.kept("coherence")
        if (place := (kept["question"], kept["multiplier"])) in generated
    }


def _missing(request: OpenEndedRequest, unfinished: Unfinished) -> set[tuple[int, float]]:
    asked = itertools.product(range(len(request.questions)), request.target.multipliers)
    return set(asked) - set(_answered(unfinished))


def _measure(request: OpenEndedRequest, unfinished: Unfinished, progress: Progress) -> None:
    """Answer this call's questions, and see how coherent the answers are."""
    mine = request.division.shard.questions(len(request.questions))
    _generate(request, sorted(mine), unfinished, progress)
    missing = {place for place in _missing(request, unfinished) if place[0] in mine}
    generated = [answer for place, answer in sorted(_generated(unfinished).items()) if place in missing]
    for answer, coherence in zip(generated, _coherences(request, generated), strict=True):
        kept = {"question": answer.question, "multiplier": answer.multiplier, "coherence": coherence}
        unfinished.add("coherence", kept)


def _generate(request: OpenEndedRequest, mine: Sequence[int], unfinished: Unfinished, progress: Progress) -> None:
    from caa_registry.evaluation.open_ended.generation import responses
    from caa_registry.steering.additions import Addition

    multipliers = request.target.multipliers
    there = _generated(unfinished)
    missing = [i for i in mine if any((i, multiplier) not in there for multiplier in multipliers)]
    held, total = len(mine) - len(missing), len(mine)
    if not missing:
        progress(total, total)
        return
    steered = {
        multiplier: [
            Addition(layer, request.target.vectors[layer].values, multiplier)
            for layer in request.target.layers
            if multiplier != 0
        ]
        for multiplier in multipliers
    }

    def told(done: int, of: int) -> None:
        # What was kept counts as much as what is to come.
        progress(held * of + done * len(missing), total * of)

    for group in responses(
        request.target.model,
        [request.questions[i] for i in missing],
        steered,
        positions=request.settings.positions,
        system=request.settings.system,
        template=request.template.name,
        max_tokens=request.settings.max_tokens,
        temperature=request.settings.temperature,
        seed=request.settings.seed,
        progress=told,
    ):
        for answer in group:
            unfinished.add("answers", asdict(replace(answer, question=missing[answer.question])))


def _coherences(request: OpenEndedRequest, generated: Sequence[Generated]) -> list[dict[str, Any]]:
    from caa_registry.evaluation.open_ended.coherence import repetition
    from caa_registry.evaluation.open_ended.perplexity import Continuation, mean_log_probabilities

    asked = sorted({answer.question for answer in generated})
    prompts = {i: request.template.prompt(request.questions[i], request.settings.system).ids for i in asked}
    texts = [Continuation(prompts[answer.question], answer.ids) for answer in generated]
    return [
        {**asdict(repetition(answer.ids)), "mean_log_probability": mean}
        for answer, mean in zip(generated, mean_log_probabilities(request.target.model, texts), strict=True)
    ]


def _figures(request: OpenEndedRequest, answered: Sequence[_Answered]) -> Iterator[Figure]:
    """By multiplier: means over answers, of perplexity the exponential of the mean cross-entropy."""
    import numpy as np

    from caa_registry.evaluation.inference.intervals import mean
    from caa_registry.evaluation.measurements import VECTOR
    from caa_registry.evaluation.open_ended.perplexity import perplexity_of
    from caa_registry.evaluation.statistics import Figure

    for key, metric in (
        ("mean_log_probability", "perplexity"),
        ("repeated_4", "repeated_4"),
        ("distinct_2", "distinct_2"),
        ("n_tokens", "tokens"),
    ):
        for multiplier in request.target.multipliers:
            values = [each.coherence[key] for each in answered if each.generated.multiplier == multiplier]
            measured = [value for value in values if value is not None]
            if not measured:
                continue
            interval = mean(np.array(measured, dtype=np.float64))
            if metric == "perplexity":
                interval = perplexity_of(interval)
            yield Figure(VECTOR, request.target.layers[0], multiplier, metric, interval)


def _identity(request: OpenEndedRequest, sampling: Sampling) -> dict[str, Any]:
    return {
        **way_of_computing(request.target.model),
        "vector": request.target.version.digest,
        "questions": list(request.questions),
        "template": request.template_digest,
        "system": request.settings.system,
        "layers": list(request.target.layers),
        "multipliers": [repr(multiplier) for multiplier in request.target.multipliers],
        "positions": request.settings.positions,
        "sampling": {name: repr(value) for name, value in sampling.to_json().items()},
        "generator": _GENERATOR,
    }
