"""How far each token of a text points along a steering vector: in numbers, in a terminal, as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.display.records import Record
from caa_registry.errors import UsageError, visible
from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import Template
from caa_registry.models.stream import Positions
from caa_registry.mx import mx

if TYPE_CHECKING:
    from rich.text import Text


@dataclass(frozen=True)
class TokenProjection(Record):
    """One token of a text. ``dot``: of its activation with the vector; ``cosine``: of the angle between them."""

    text: str
    dot: float
    cosine: float


def token_projections(
    model: Model, template: Template, prompt: str, completion: str, layer: int, vector: NDArray[np.float32]
) -> list[TokenProjection]:
    """Every token of a prompt, or of a prompt with a completion, as it is rendered, against the vector ``(d_model,)``
    of ``layer``: dot product and cosine of the residual stream after that block, in float64.

    Raises ``UsageError`` where it fits neither the model's context nor memory.
    """
    model.check_layers([layer])
    rendered = template.complete(prompt, completion) if completion else template.prompt(prompt)
    ids = rendered.ids
    if not (longest := model.longest(1)).holds(len(ids)):
        raise UsageError(f"the text has {len(ids)} tokens, more than {longest}", "Shorten it.")
    rows = mx_thread.run(_activations, model, ids, layer).astype(np.float64)
    direction = vector.astype(np.float64)
    dots = rows @ direction
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(direction)
    cosines = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    return [
        TokenProjection(text, float(dot), float(cosine))
        for text, dot, cosine in zip(_pieces(model, ids), dots, cosines, strict=True)
    ]


def _activations(model: Model, ids: Sequence[int], layer: int) -> NDArray[np.float32]:
    """The residual stream after block ``layer`` at every token, ``(tokens, d_model)``."""
    streams: list[mx.array] = []

    def keep(at: int, hidden: mx.array, where: Positions) -> mx.array:
        if at == layer:
            streams.append(hidden[0])
        return hidden

    with model.stream.tapped(keep), model.rows([ids], [len(ids) - 1]) as (tokens, cache):
        model.network(tokens, cache=cache)
    return np.array(streams[0].astype(mx.float32))


def _pieces(model: Model, ids: Sequence[int]) -> list[str]:
    """The text of each token, so that together they are the whole: a letter of several tokens stands at its last."""
    pieces: list[str] = []
    before = ""
    for end in range(1, len(ids) + 1):
        whole = model.tokenizer.decode(ids[:end])
        done = whole[: len(whole) - 1] if whole.endswith("\ufffd") and end < len(ids) else whole
        pieces.append(done[len(before) :] if done.startswith(before) else model.tokenizer.decode([ids[end - 1]]))
        before = done if done.startswith(before) else whole
    return pieces


def as_text(tokens: Sequence[TokenProjection]) -> Text:
    """The text for a terminal: each token followed by its cosine in hundredths, and coloured where there is colour."""
    from rich.text import Text

    largest = max((abs(token.cosine) for token in tokens), default=0.0) or 1.0
    written = Text()
    for token in tokens:
        strength = token.cosine / largest
        bold = "bold " if abs(strength) >= 0.5 else ""
        colour = "blue" if strength > 0 else "red"
        written.append(visible(token.text), style=f"{bold}{colour}" if abs(strength) >= 0.1 else "")
        written.append(f"[{100 * token.cosine:+.0f}]", style="dim")
    return written


def as_html(tokens: Sequence[TokenProjection], *, title: str, caption: str) -> str:
    """One page without scripts or anything from elsewhere: every token on a ground that is bluer the more it points
    along the vector, and more orange against it; underlined where it does so most; both numbers when pointed at."""
    largest = max((abs(token.cosine) for token in tokens), default=0.0) or 1.0
    spans = []
    for token in tokens:
        strength = token.cosine / largest
        colour = "0,114,178" if strength > 0 else "213,94,0"
        line = "underline" if strength >= 0.5 else "line-through" if strength <= -0.5 else "none"
        text = html.escape(visible(token.text)).replace("\n", "<br>")
        spans.append(
            f'<span style="background:rgba({colour},{0.75 * abs(strength):.2f});text-decoration:{line}" '
            f'title="dot {token.dot:+.3f}, cosine {token.cosine:+.3f}">{text}</span>'
        )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{html.escape(visible(title))}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/2 system-ui, sans-serif; margin: 2rem auto; max-width: 46rem; padding: 0 1rem; }}
main {{ white-space: pre-wrap; }}
span {{ border-radius: 2px; padding: 0.1em 0; }}
footer, p {{ font-size: 0.85rem; opacity: 0.8; line-height: 1.4; }}
</style>
</head>
<body>
<h1 style="font-size:1.2rem">{html.escape(visible(title))}</h1>
<p><span style="background:rgba(213,94,0,0.75);text-decoration:line-through">against the vector</span>
(cosine {-largest:+.2f}) to <span style="background:rgba(0,114,178,0.75);text-decoration:underline">along it</span>
(cosine {largest:+.2f}). Point at a token for its numbers.</p>
<main>{"".join(spans)}</main>
<footer>{html.escape(visible(caption))}</footer>
</body>
</html>
"""
