"""``caa next-token``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import ModelChoice, Settings, common
from caa_registry.cli.steered import Session, Wanted, check_prompt, say_applied, session, steering_options, wanted
from caa_registry.errors import UsageError
from caa_registry.wire.vectors import next_token_table_json, next_tokens_json, plan_json, results_json

if TYPE_CHECKING:
    from caa_registry.models.generation import NextToken
    from caa_registry.registry.records import NextTokenTable

_TOP = 10


@click.command("next-token", epilog="Example: caa next-token --vector team/mood:best --multipliers -1,1 'It was'")
@click.argument("prompt")
@steering_options(all_layers=" all: every layer by itself, as a table of layers by multipliers.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help=f"Number of candidates to show.  [default: {_TOP}; 1 with --layer all]",
)
@click.option("--token", "tokens", multiple=True, metavar="TEXT", help="Token to show instead; repeatable.")
@common
def next_token(
    settings: Settings,
    prompt: str,
    model: ModelChoice,
    vectors: tuple[str, ...],
    layers: tuple[Any, ...],
    multiplier: tuple[float, ...],
    multipliers: tuple[float, ...] | None,
    positions: Any,
    template: Any,
    system: str,
    allow_mismatch: bool,
    top: int | None,
    tokens: tuple[str, ...],
) -> None:
    """Show the most probable next tokens after PROMPT, unsteered and at each multiplier.

    Each candidate has its probability and its logit.
    """
    check_prompt(prompt)
    if tokens and top is not None:
        raise UsageError("--token and --top are given", "Give one of the two.")
    every_layer = "all" in layers
    if every_layer and (len(vectors) > 1 or len(layers) > 1):
        raise UsageError("--layer all is for one vector", "Give one --vector and one --layer, or layers by number.")
    asked = wanted(vectors, () if every_layer else layers, multiplier, multipliers)
    if every_layer and not asked.steers:
        raise UsageError("a layer is given without a vector", "Give --vector REF.")
    ask: dict[str, Any] = {"system": system, "template": template, "tokens": tokens}
    with session(settings, model, asked) as opened:
        if every_layer:
            assert opened.registry is not None
            _print_layers(
                settings,
                opened.registry.next_tokens(
                    opened.model,
                    vectors[0],
                    prompt,
                    multipliers=multipliers or multiplier or None,
                    positions=positions,
                    top=top or 1,
                    allow_mismatch=allow_mismatch,
                    **ask,
                ),
                named=bool(tokens),
            )
            return
        ask |= {"top": top or _TOP, "template": template or opened.template}
        columns = _columns(settings, opened, asked, positions, allow_mismatch, prompt, ask)
        info = opened.model.info
    if settings.as_json:
        results = [{**applied, "tokens": next_tokens_json(found)} for _, applied, found in columns]
        output.print_json(results_json(prompt, info, results))
        return
    rows = _rows([found for _, _, found in columns], named=bool(tokens))
    output.table(["#", "token", *(label for label, _, _ in columns)], rows, empty="")


def _columns(
    settings: Settings,
    opened: Session,
    asked: Wanted,
    positions: Any,
    allow_mismatch: bool,
    prompt: str,
    ask: dict[str, Any],
) -> list[tuple[str, dict[str, Any], Sequence[NextToken]]]:
    """What is listed without steering and at each strength: its label, what is applied as JSON, and the tokens."""
    columns: list[tuple[str, dict[str, Any], Sequence[NextToken]]] = [
        ("unsteered", plan_json(None), opened.model.next_tokens(prompt, **ask))
    ]
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
            columns.append((label, applied, opened.model.next_tokens(prompt, **ask)))
    return columns


def _print_layers(settings: Settings, table: NextTokenTable, *, named: bool) -> None:
    if settings.as_json:
        output.print_json(next_token_table_json(table))
        return
    output.message(f"Applying {table.vector.reference} at each layer by itself, positions {table.positions}.")
    shown = [i for i, multiplier in enumerate(table.multipliers) if multiplier != 0]
    rows: list[list[object]] = []
    for layer, found in table.layers.items():
        places = _rows([table.unsteered, *(found[i] for i in shown)], named=named)
        if len(places) == 1 and not named:
            places[0][0] = ""  # the only rank says nothing
        rows += [[layer, *place] for place in places]
    labels = [output.strength(table.multipliers[i]) for i in shown]
    output.table(["layer", "#", "token", "unsteered", *labels], rows, empty="")


def _rows(columns: Sequence[Sequence[NextToken]], *, named: bool) -> list[list[object]]:
    """A row a rank, or a named token: the rank, the token's text, and what each column has there."""
    rows: list[list[object]] = []
    for rank, token in enumerate(columns[0]):
        figures = [f"{found[rank].probability:.3f} {found[rank].logit:.2f}" for found in columns]
        if named:
            rows.append(["", repr(token.text), *figures])
        else:
            texts = [repr(found[rank].text) for found in columns]
            rows.append([rank + 1, "", *(f"{each} {text}" for each, text in zip(figures, texts, strict=True))])
    return rows
