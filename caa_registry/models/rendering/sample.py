"""A sample conversation as a template renders it, with the places that matter: what a wrong template looks like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caa_registry.models.rendering.prompts import Rendering, Template, TemplateName

SYSTEM = "Be brief."
QUESTION = "Is tea good?\n\nChoices:\n (A) Yes\n (B) No"
ANSWER = "(A)"


@dataclass(frozen=True)
class SampleToken:
    """A token of the sample: its id and the text it stands for, a blank before it included."""

    id: int
    text: str


@dataclass(frozen=True)
class Sample:
    """A system prompt, a question and its answer as ``template`` renders them.

    ``folded``: the system prompt is in the first user message. ``parts``: roles whose messages are given as a list of
    parts. ``first_steered``, ``start`` and ``read``: the places in ``tokens`` of the first steered token, of the
    answer's first token, and of the token that holds its letter.
    """

    template: TemplateName
    rendering: Rendering
    folded: bool
    parts: tuple[str, ...]
    tokens: tuple[SampleToken, ...]
    first_steered: int
    start: int
    read: int


def sample(template: Template) -> Sample:
    """The sample as ``template`` renders it. Raises ``ModelError`` where the template cannot be used."""
    rendered = template.complete(QUESTION, ANSWER, SYSTEM)
    head, gap = template.render(QUESTION, SYSTEM)
    text = head + gap + ANSWER
    ids, offsets = template.encode(text, special=template.chat is None)
    layout = template.chat.layout(system=True) if template.chat is not None else None
    return Sample(
        template=template.name,
        rendering=template.rendering(system=True),
        folded=layout is not None and layout.folded,
        parts=tuple(sorted(layout.parts)) if layout is not None else (),
        tokens=tuple(_tokens(text, ids, offsets, template)),
        first_steered=rendered.prompt_end,
        start=rendered.start,
        read=rendered.answer,
    )


def _tokens(
    text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], template: Template
) -> Iterator[SampleToken]:
    place = 0
    for token, (_, stop) in zip(ids, offsets, strict=True):
        # A token that the tokenizer puts before the text stands for none of it.
        yield SampleToken(token, text[place:stop] or template.tokenizer.decode([token]))
        place = max(place, stop)
