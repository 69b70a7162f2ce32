"""Rules of lint that need a model's tokenizer: whether what will be read or scored is a token of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from caa_registry.errors import InputError, UsageError
from caa_registry.models.rendering.prompts import CompletedTokens, Template, earlier
from caa_registry.pairs.lint.balance import confound
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Row
from caa_registry.progress import Progress

if TYPE_CHECKING:
    from caa_registry.models.model import Model


def token_findings(
    rows: Sequence[Row], template: Template, model: Model, progress: Progress | None = None
) -> list[Finding]:
    """What is wrong with ``rows`` once ``template`` has rendered them and the model's tokenizer encoded them."""
    findings: list[Finding] = []
    lengths = []
    for i, row in enumerate(rows):
        pair = row.pair
        try:
            sides = template.sides(pair)
            head = template.prompt(pair.prompt, pair.system, earlier(pair)).ids if pair.prompt.strip() else ()
        except (InputError, UsageError) as error:
            findings.append(row.finding("answer-not-a-token", error.message))
            continue
        if not model.fits(max(len(side.ids) for side in sides)):
            longest = max(len(side.ids) for side in sides)
            findings.append(row.finding("longer-than-context", f"{longest} tokens of {model.info.context_length}"))
        if head and any(side.ids[: len(head)] != head for side in sides):
            findings.append(row.finding("answer-not-a-token", "the answer shares a token with the end of the prompt"))
        of_letters = row.sides.positive is not None and row.sides.negative is not None
        if (of_letters or not row.speaks) and _token(sides[0]) == _token(sides[1]):
            text = model.tokenizer.decode([_token(sides[0])])
            findings.append(row.finding("same-token-read", f"both sides have {text!r} there"))
        if row.speaks and not of_letters:
            lengths.append((len(sides[0].ids) - sides[0].start, len(sides[1].ids) - sides[1].start))
        if progress is not None and i % 100 == 0:
            progress(i, len(rows))
    return findings + confound("token-length-confound", "tokens", lengths)


def _token(side: CompletedTokens) -> int:
    return side.ids[side.answer]
