"""Open-ended evaluations: answers generated at each multiplier, with how coherent they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from caa_registry import settings
from caa_registry.catalog import models as t
from caa_registry.errors import UsageError
from caa_registry.progress import Progress
from caa_registry.registry.evaluations.store import begin, store
from caa_registry.registry.evaluations.target import Applied
from caa_registry.registry.records import DatasetVersion, Evaluation
from caa_registry.registry.vectors.computation import way_of_computing

if TYPE_CHECKING:
    from caa_registry.evaluation.open_ended.generation import Response as Generated
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.models.prompts import Template
    from caa_registry.registry.registry import Registry
    from caa_registry.steering.positions import SteeredPositions

# Raised with every change that generates or measures the same otherwise.
_GENERATOR = 1


@dataclass(frozen=True)
class Answer:
    """One generated answer. ``finish``: ``stop`` or ``length``. ``coherence``: ``n_tokens``, ``distinct_1`` to
    ``distinct_3``, ``repeated_4``, ``longest_run`` (``open_ended.coherence``), and ``mean_log_probability`` of its
    tokens under the unsteered model, in nats; ``None`` where the text is too short for it."""

    position: int
    question: str
    multiplier: float
    text: str
    finish: str
    coherence: dict[str, Any]


@dataclass(frozen=True)
class AnswerRequest:
    """A request that was understood. ``places``: of ``questions`` in their split."""

    on: Applied
    dataset: DatasetVersion
    split: str
    questions: Sequence[str]
    places: Sequence[int]
    template: Template
    positions: SteeredPositions
    system: str
    max_tokens: int
    temperature: float
    seed: int


def generate_answers(registry: Registry, request: AnswerRequest, progress: Progress) -> int:
    """Generate and store; the number of the evaluation.

    Questions that an interrupted call of the same request had answered are not asked again. Nothing is written to the
    registry before all are answered.
    """
    from caa_registry.evaluation.unfinished import Unfinished

    sampling = {"max_tokens": request.max_tokens, "temperature": request.temperature, "seed": request.seed}
    underway = begin(
        registry,
        request.on,
        "open-ended",
        positions=request.positions,
        template=request.template.name,
        dataset=request.dataset,
        split=request.split,
        template_digest=request.template.digest,
        questions=len(request.questions),
        system=request.system,
        sampling=sampling,
        interval="percentile bootstrap over answers, 95 %",
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
    evaluation = store(registry, underway, "perplexity", figures, responses=rows)
    unfinished.delete()
    return evaluation


def answers(registry: Registry, evaluation: Evaluation) -> list[Answer]:
    """The answers of an open-ended evaluation, by question, then multiplier. Raises ``UsageError`` for another kind."""
    if evaluation.kind != "open-ended":
        raise UsageError(f"evaluation {evaluation.id} holds no answers", "List the open-ended ones with: caa eval ls")
    asked = questions_of(registry, evaluation.dataset, evaluation.split)
    query = select(t.Response).where(t.Response.evaluation_id == evaluation.id).order_by(t.Response.position)
    with registry.database.read() as session:
        return [
            Answer(row.position, asked[row.question], row.multiplier, row.text, row.finish, row.coherence)
            for row in session.scalars(query)
        ]


def questions_of(registry: Registry, dataset: str | DatasetVersion, split: str) -> list[str]:
    """The open-ended questions of a split, or the prompts of its pairs."""
    version = registry.datasets.get(dataset)
    if version.kind == "questions":
        return [item.text for item in registry.datasets.questions(version) if item.split == split]
    return [item.pair.prompt for item in registry.datasets.pairs(version, split)]


def _generated(request: AnswerRequest, unfinished: Unfinished, progress: Progress) -> list[Generated]:
    """In the order of questions and multipliers."""
    from caa_registry.evaluation.open_ended.generation import Response, responses
    from caa_registry.steering.additions import Addition

    steps = len(request.on.multipliers)
    found: dict[tuple[int, float], Response] = {}
    for kept in unfinished.kept("answers"):
        answer = Response(kept["question"], kept["multiplier"], kept["text"], tuple(kept["ids"]), kept["finish"])
        found[answer.question, answer.multiplier] = answer
    missing = [i for i in range(len(request.questions)) if any((i, m) not in found for m in request.on.multipliers)]
    held = (len(request.questions) - len(missing)) * steps
    total = len(request.questions) * steps
    progress(held, total)
    steered = {
        multiplier: [
            Addition(layer, request.on.vectors[layer].values, multiplier)
            for layer in request.on.layers
            if multiplier != 0
        ]
        for multiplier in request.on.multipliers
    }
    for group in responses(
        request.on.model,
        [request.questions[i] for i in missing],
        steered,
        positions=request.positions,
        system=request.system,
        template=request.template.name,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        seed=request.seed,
        progress=lambda done, _: progress(held + done, total),
    ):
        for answer in group:
            place = missing[answer.question]
            made = Response(place, answer.multiplier, answer.text, answer.ids, answer.finish)
            found[place, answer.multiplier] = made
            unfinished.add("answers", asdict(made))
    return [found[i, m] for i in range(len(request.questions)) for m in request.on.multipliers]


def _coherences(request: AnswerRequest, generated: Sequence[Generated]) -> list[dict[str, Any]]:
    from caa_registry.evaluation.open_ended.coherence import repetition
    from caa_registry.evaluation.open_ended.perplexity import Continuation, mean_log_probabilities

    prompts = [request.template.prompt(question, request.system).ids for question in request.questions]
    texts = [Continuation(prompts[answer.question], answer.ids) for answer in generated]
    return [
        {**asdict(repetition(answer.ids)), "mean_log_probability": mean}
        for answer, mean in zip(generated, mean_log_probabilities(request.on.model, texts), strict=True)
    ]


def _figures(
    request: AnswerRequest, generated: Sequence[Generated], coherences: Sequence[dict[str, Any]]
) -> Iterator[Figure]:
    """By multiplier: means over answers, of perplexity the exponential of the mean cross-entropy."""
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
        for multiplier in request.on.multipliers:
            pairs = zip(generated, coherences, strict=True)
            values = [said[key] for answer, said in pairs if answer.multiplier == multiplier and said[key] is not None]
            if not values:
                continue
            interval = bootstrap_mean(np.array(values, dtype=np.float64))
            if metric == "perplexity":
                # From the least likely to the most likely: the ends change places.
                value, low, high = (perplexity(x) for x in (interval.value, interval.high, interval.low))
                interval = Interval(value, low, high, interval.n)
            yield Figure(VECTOR, request.on.layers[0], multiplier, metric, interval)


def _identity(request: AnswerRequest, sampling: dict[str, Any]) -> dict[str, Any]:
    return {
        **way_of_computing(request.on.model),
        "vector": request.on.version.digest,
        "questions": list(request.questions),
        "template": request.template.digest,
        "system": request.system,
        "layers": list(request.on.layers),
        "multipliers": [repr(multiplier) for multiplier in request.on.multipliers],
        "positions": request.positions,
        "sampling": {name: repr(value) for name, value in sampling.items()},
        "generator": _GENERATOR,
    }
