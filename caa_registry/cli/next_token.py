"""``caa next-token``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import ModelChoice, Settings, common
from caa_registry.cli.steered import check_prompt, say_applied, session, steering_options, wanted
from caa_registry.wire.vectors import next_tokens_json, plan_json, results_json

if TYPE_CHECKING:
    from caa_registry.models.generation import NextToken


@click.command("next-token", epilog="Example: caa next-token --vector team/mood:best --multipliers -1,1 'It was'")
@click.argument("prompt")
@steering_options
@click.option("--top", default=10, show_default=True, type=click.IntRange(min=1), help="Number of candidates to show.")
@common
def next_token(
    settings: Settings,
    prompt: str,
    model: ModelChoice,
    vectors: tuple[str, ...],
    layers: tuple[tuple[int, ...], ...],
    multiplier: tuple[float, ...],
    multipliers: tuple[float, ...] | None,
    positions: Any,
    template: Any,
    system: str,
    allow_mismatch: bool,
    top: int,
) -> None:
    """Show the most probable next tokens after PROMPT, unsteered and at each multiplier."""
    check_prompt(prompt)
    asked = wanted(vectors, layers, multiplier, multipliers)
    columns: list[tuple[str, dict[str, Any], Sequence[NextToken]]] = []
    with session(settings, model, asked) as opened:
        loaded = opened.model
        ask: dict[str, Any] = {"top": top, "system": system, "template": template or opened.template}
        columns.append(("unsteered", plan_json(None), loaded.next_tokens(prompt, **ask)))
        strengths: list[float | None] = list(asked.multipliers) if asked.multipliers else [None]
        if not settings.as_json:  # in a table, 0 would be the unsteered column again
            strengths = [strength for strength in strengths if strength != 0]
        for strength in strengths if asked.steers else []:
            steers = asked.steers if strength is None else asked.at(strength)
            with opened.steer(steers, positions, allow_mismatch=allow_mismatch) as plan:
                if len(columns) == 1 and not settings.as_json:
                    say_applied(plan, strengths=False)
                applied = plan_json(plan)
                label = ", ".join(sorted({output.strength(a["multiplier"]) for a in applied["additions"]}))
                columns.append((label, applied, loaded.next_tokens(prompt, **ask)))
    if settings.as_json:
        results = [{**applied, "tokens": next_tokens_json(tokens)} for _, applied, tokens in columns]
        output.print_json(results_json(prompt, loaded.info, results))
        return
    rows = []
    for rank in range(max(len(tokens) for _, _, tokens in columns)):
        row: list[object] = [rank + 1]
        for _, _, tokens in columns:
            row.append(f"{tokens[rank].probability:.3f} {tokens[rank].text!r}" if rank < len(tokens) else "")
        rows.append(row)
    output.table(["#", *(label for label, _, _ in columns)], rows, empty="")
