"""Answers to questions, each at several multipliers of one vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from caa_registry import mx_thread
from caa_registry.engine.decoding.answers import decoded
from caa_registry.engine.decoding.request import Finish, Request, Row, Strength
from caa_registry.errors import ModelError, UsageError
from caa_registry.models.generation import check_sampling
from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import TemplateName
from caa_registry.progress import Progress, silent
from caa_registry.steering.additions import Addition, sums
from caa_registry.steering.positions import SteeredPositions, check_positions


@dataclass(frozen=True)
class Response:
    """A generated answer. ``question``: the index of its question. ``ids``: its tokens without the end token.
    ``finish``: ``stop`` at an end token, ``length`` where as many tokens as asked for, or as fit, came before one."""

    question: int
    multiplier: float
    text: str
    ids: tuple[int, ...]
    finish: Finish


def responses(
    model: Model,
    questions: Sequence[str],
    steered: Mapping[float, Sequence[Addition]],
    *,
    positions: SteeredPositions = "after_prompt",
    system: str = "",
    template: TemplateName | None = None,
    max_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Iterator[list[Response]]:
    """Answers to every question at every multiplier, some at a time, as they end.

    ``steered``: multiplier to what is added, multiplied already; nothing for the unsteered model. With greedy decoding
    (``temperature`` 0) an answer is what ``model.generate`` gives in a ``steering`` context, one at a time. Above,
    what is drawn depends on ``seed``, the rendered prompt and the multiplier alone. ``progress`` counts work.

    Questions and multipliers are rows of a batch. The longest prompt and the shortest are checked against answers
    generated alone. Where an architecture computes something else in a batch, a warning says so, and only prompts of
    one length go together, or none.

    Raises ``UsageError`` or ``ModelError`` before anything runs for a question, an addition or a setting that does not
    fit; ``ModelError`` on the way where values are not finite.
    """
    check_positions(positions)
    check_sampling(max_tokens, temperature)
    strengths = [Strength(float(m) + 0.0, sums(model, additions)) for m, additions in steered.items()]
    prompts = _prompts(model, questions, system, template, max_tokens)
    request = Request(model, prompts, strengths, positions, max_tokens, temperature, seed)
    return mx_thread.each(_generated, request, progress)


def _prompts(
    model: Model, questions: Sequence[str], system: str, template: TemplateName | None, max_tokens: int
) -> list[tuple[int, ...]]:
    rendering = model.template(template)
    prompts = []
    longest = model.longest_prompt()
    for number, question in enumerate(questions, start=1):
        try:
            prompts.append(rendering.prompt(question, system).ids)
            model.room(len(prompts[-1]), max_tokens)
            longest.check(len(prompts[-1]))
        except (UsageError, ModelError) as error:
            raise type(error)(f"question {number}: {error.message}", error.hint) from error
    return prompts


def _generated(request: Request, progress: Progress) -> Iterator[list[Response]]:
    for rows in decoded(request, mx_thread.at_caller(progress)):
        yield [_response(request, row) for row in rows]


def _response(request: Request, row: Row) -> Response:
    prompt, strength = row.place
    text = _text(request.model, row.ids)
    return Response(prompt, request.strengths[strength].multiplier, text, tuple(row.ids), row.finish)


def _text(model: Model, ids: Sequence[int]) -> str:
    """The tokens as ``model.generate`` writes them."""
    detokenizer = model.wrapped_tokenizer.detokenizer
    detokenizer.reset()
    pieces = []
    for token in ids:
        detokenizer.add_token(token)
        pieces.append(detokenizer.last_segment)
    detokenizer.finalize()
    return "".join([*pieces, detokenizer.last_segment])
