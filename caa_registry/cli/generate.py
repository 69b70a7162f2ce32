"""``caa generate``."""

from __future__ import annotations

from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import ModelChoice, Settings, common
from caa_registry.cli.steered import check_prompt, say_applied, session, steering_options, wanted
from caa_registry.wire.vectors import plan_json, results_json


@click.command(epilog="Example: caa generate --vector team/refusal:best --multipliers -1,0,1 'Why?'")
@click.argument("prompt")
@steering_options()
@click.option(
    "--max-tokens",
    default=128,
    show_default=True,
    type=click.IntRange(min=1),
    help="Maximum number of tokens to generate.",
)
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(min=0), help="0 is greedy.")
@click.option("--seed", type=int, help="Random seed for sampling.")
@click.option(
    "--no-cache", is_flag=True, help="Run without the KV cache: slower, with the same text; a check of steering."
)
@common
def generate(
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
    max_tokens: int,
    temperature: float,
    seed: int | None,
    no_cache: bool,
) -> None:
    """Continue PROMPT, steered by vectors from the registry.

    The layer and multiplier come from the options, else from the alias's recommendation. --multipliers prints the text
    at each multiplier; 0 is the unsteered model.
    """
    check_prompt(prompt)
    asked = wanted(vectors, layers, multiplier, multipliers)
    options: dict[str, Any] = {
        "system": system,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        "cache": not no_cache,
    }
    results: list[dict[str, Any]] = []
    with session(settings, model, asked) as opened:
        loaded = opened.model
        options["template"] = template or opened.template
        strengths: list[float | None] = list(asked.multipliers) if asked.multipliers else [None]
        for strength in strengths:
            steers = asked.steers if strength is None else asked.at(strength)
            with opened.steer(steers, positions, allow_mismatch=allow_mismatch) as plan:
                if not results and not settings.as_json:
                    say_applied(plan, strengths=strength is None)
                if strength is not None and not settings.as_json:
                    click.echo(click.style(f"[{output.strength(strength)}] ", bold=True), nl=False)
                pieces: list[str] = []
                for piece in loaded.stream_text(prompt, **options):
                    pieces.append(piece)
                    if not settings.as_json:
                        output.document(piece)
                if not settings.as_json:
                    click.echo()
                results.append({"text": "".join(pieces), **plan_json(plan)})
    if settings.as_json:
        output.print_json(results_json(prompt, loaded.info, results))
