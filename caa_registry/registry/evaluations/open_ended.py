"""Open-ended evaluations: answers generated at each multiplier, with how coherent they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry import settings
from caa_registry.catalog import models as t
from caa_registry.progress import Progress
from caa_registry.registry.evaluations.store import begin, get, store
from caa_registry.registry.evaluations.target import Target
from caa_registry.registry.records import Answer, DatasetVersion, Evaluation, OpenEndedSettings
from caa_registry.registry.records.evaluation_settings import RecordedOpenEnded, Sampling
from caa_registry.registry.vectors.computation import way_of_computing
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.open_ended.generation import Response as Generated
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.models.prompts import Template

# Raised with every change that generates or measures the same otherwise.
_GENERATOR = 1


@dataclass(frozen=True, eq=False)
class OpenEndedRequest:
    """What is to be answered, understood and loaded. ``questions``: those that are asked; ``places``: where they stand
    in their split."""

    target: Target
    dataset: DatasetVersion
    split: str
    questions: Sequence[str]
    places: Sequence[int]
    template: Template
    settings: OpenEndedSettings


def open_ended_request(
    target: Target, dataset: DatasetVersion, split: str, questions: Sequence[str], asked: OpenEndedSettings
) -> OpenEndedRequest:
    """Understand a request. ``questions``: all of the split. Raises ``UsageError`` for a template that the model does
    not have."""
    template = target.model.template(asked.template or target.version.recipe.template)
    places = [i for i, question in enumerate(questions) if asked.only is None or question in asked.only][: asked.limit]
    return OpenEndedRequest(target, dataset, split, [questions[i] for i in places], places, template, asked)


def generate_answers(workspace: Workspace, request: OpenEndedRequest, progress: Progress) -> Evaluation:
    """Generate and store.

    Questions that an interrupted call of the same request had answered are not asked again. Nothing is written to the
    registry before all are answered.
    """
    from caa_registry.evaluation.unfinished import Unfinished

    asked = request.settings
    sampling = Sampling(asked.max_tokens, asked.temperature, asked.seed)
    recorded = RecordedOpenEnded(
        **request.target.recorded,
        rows="all",
        interval="percentile bootstrap over answers, 95 %",
        template_digest=request.template.digest,
        questions=len(request.questions),
        system=asked.system,
        sampling=sampling,
    )
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
    unfinished = Unfinished(settings.unfinished(), _identity(request, sampling))
    generated = _generated(request, unfinished, progress)
    coherences = _coherences(request, generated)
    rows = [
        t.Response(
            position=place,
            question=request.places[answer.question],
            multiplier=answer.multiplier,
            # No database stores NUL in a text.
            text=answer.text.replace("\x00", "\ufffd"),
            finish=answer.finish,
            coherence=coherence,
        )
        for place, (answer, coherence) in enumerate(zip(generated, coherences, strict=True))
    ]
    figures = _figures(request, generated, coherences)
    number = store(workspace, underway, "perplexity", figures, responses=rows)
    unfinished.delete()
    return get(workspace, number)


def answers(session: Session, evaluation: Evaluation, questions: Sequence[str]) -> list[Answer]:
    """The answers of an open-ended evaluation, by question, then multiplier. ``questions``: all of its split."""
    r = t.Response
    query = (
        select(r.position, r.question, r.multiplier, r.text, r.finish, r.coherence)
        .where(r.evaluation_id == evaluation.id)
        .order_by(r.position)
    )
    return [
        Answer(position, questions[question], multiplier, text, finish, coherence)
        for position, question, multiplier, text, finish, coherence in session.execute(query)
    ]


def _generated(request: OpenEndedRequest, unfinished: Unfinished, progress: Progress) -> list[Generated]:
    """In the order of questions and multipliers."""
    from caa_registry.evaluation.open_ended.generation import Response, responses
    from caa_registry.steering.additions import Addition

    steps = len(request.target.multipliers)
    answers: dict[tuple[int, float], Response] = {}
    for kept in unfinished.kept("answers"):
        answer = Response(kept["question"], kept["multiplier"], kept["text"], tuple(kept["ids"]), kept["finish"])
        answers[answer.question, answer.multiplier] = answer
    missing = [
        i for i in range(len(request.questions)) if any((i, m) not in answers for m in request.target.multipliers)
    ]
    held = (len(request.questions) - len(missing)) * steps
    total = len(request.questions) * steps
    progress(held, total)
    steered = {
        multiplier: [
            Addition(layer, request.target.vectors[layer].values, multiplier)
            for layer in request.target.layers
            if multiplier != 0
        ]
        for multiplier in request.target.multipliers
    }
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
        progress=lambda done, _: progress(held + done, total),
    ):
        for answer in group:
            place = missing[answer.question]
            placed = replace(answer, question=place)
            answers[place, answer.multiplier] = placed
            unfinished.add("answers", asdict(placed))
    return [answers[i, m] for i in range(len(request.questions)) for m in request.target.multipliers]


def _coherences(request: OpenEndedRequest, generated: Sequence[Generated]) -> list[dict[str, Any]]:
    from caa_registry.evaluation.open_ended.coherence import repetition
    from caa_registry.evaluation.open_ended.perplexity import Continuation, mean_log_probabilities

    prompts = [request.template.prompt(question, request.settings.system).ids for question in request.questions]
    texts = [Continuation(prompts[answer.question], answer.ids) for answer in generated]
    return [
        {**asdict(repetition(answer.ids)), "mean_log_probability": mean}
        for answer, mean in zip(generated, mean_log_probabilities(request.target.model, texts), strict=True)
    ]


def _figures(
    request: OpenEndedRequest, generated: Sequence[Generated], coherences: Sequence[dict[str, Any]]
) -> Iterator[Figure]:
    """By multiplier: means over answers, of perplexity the exponential of the mean cross-entropy."""
    import numpy as np

    from caa_registry.evaluation.intervals import Interval, bootstrap_mean
    from caa_registry.evaluation.measurements import VECTOR
    from caa_registry.evaluation.open_ended.perplexity import perplexity
    from caa_registry.evaluation.statistics import Figure

    for key, metric in (
        ("mean_log_probability", "perplexity"),
        ("repeated_4", "repeated_4"),
        ("distinct_2", "distinct_2"),
        ("n_tokens", "tokens"),
    ):
        for multiplier in request.target.multipliers:
            pairs = zip(generated, coherences, strict=True)
            values = [coherence[key] for answer, coherence in pairs if answer.multiplier == multiplier]
            measured = [value for value in values if value is not None]
            if not measured:
                continue
            interval = bootstrap_mean(np.array(measured, dtype=np.float64))
            if metric == "perplexity":
                # From the least likely to the most likely: the ends change places.
                value, low, high = (perplexity(x) for x in (interval.value, interval.high, interval.low))
                interval = Interval(value, low, high, interval.n)
            yield Figure(VECTOR, request.target.layers[0], multiplier, metric, interval)


def _identity(request: OpenEndedRequest, sampling: Sampling) -> dict[str, Any]:
    return {
        **way_of_computing(request.target.model),
        "vector": request.target.version.digest,
        "questions": list(request.questions),
        "template": request.template.digest,
        "system": request.settings.system,
        "layers": list(request.target.layers),
        "multipliers": [repr(multiplier) for multiplier in request.target.multipliers],
        "positions": request.settings.positions,
        "sampling": {name: repr(value) for name, value in sampling.to_json().items()},
        "generator": _GENERATOR,
    }
