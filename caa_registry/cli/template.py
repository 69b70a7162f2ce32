"""``caa model show --template``: a sample conversation as the model reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings
from caa_registry.digests import short
from caa_registry.wire.models import sample_json

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.rendering.sample import Sample

# How many tokens of the prompt are listed before the answer's.
_BEFORE = 4


def show_template(settings: Settings, name: str) -> None:
    """Print how the template of a model renders a conversation. The model need not be in the registry."""
    from caa_registry.models.rendering.sample import sample

    shown = sample(_loaded(settings, name).template())
    if settings.as_json:
        output.print_json(sample_json(name, shown))
        return
    output.fields(
        {
            "template": f"{shown.template} ({short(shown.rendering.digest)})",
            "system prompt": "at the start of the first user message" if shown.folded else "in a place of its own",
            "messages": f"as parts: {', '.join(shown.parts)}" if shown.parts else None,
            "corrections": "; ".join(shown.rendering.differences) or None,
        }
    )
    click.echo()
    output.line(_marked(shown))
    click.echo()
    rows = [
        (place, shown.tokens[place].id, repr(shown.tokens[place].text), _mark(shown, place))
        for place in range(max(0, shown.first_steered - _BEFORE), len(shown.tokens))
    ]
    output.table(["position", "id", "token", ""], rows, empty="")


def _loaded(settings: Settings, name: str) -> Model:
    from caa_registry.models.loading import is_place, load

    if is_place(name):
        return load(name)
    with settings.open() as registry:
        return registry.models.load(name)


def _marked(shown: Sample) -> str:
    """The whole text, the marked tokens between brackets that no template uses."""
    marks = {shown.first_steered: ("\u27e6", "\u27e7"), shown.read: ("\u27ea", "\u27eb")}
    pieces = []
    for place, token in enumerate(shown.tokens):
        before, after = marks.get(place, ("", ""))
        text = token.text.replace("\n", "\\n") if before else token.text
        pieces.append(before + text + after)
    return "".join(pieces)


def _mark(shown: Sample, place: int) -> str:
    said = {
        shown.first_steered: "\u27e6\u27e7 first steered",
        shown.read: "\u27ea\u27eb read and scored",
    }
    return said.get(place, "the answer" if place >= shown.start else "")
