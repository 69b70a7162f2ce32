"""Evaluations that several machines share: ``--shard``, ``caa eval merge``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import ModelChoice, Settings, common, with_adapter
from caa_registry.cli.score_tables import say_evaluation
from caa_registry.errors import UsageError
from caa_registry.evaluation.shards import MissingShardsError, Shard


class _Shard(click.ParamType[Shard]):
    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        if isinstance(value, Shard):
            return value
        try:
            return Shard.parse(value)
        except UsageError as error:
            self.fail(f"{error.message}. {error.hint}", param, ctx)


SHARD = click.option(
    "--shard", type=_Shard(), metavar="I/N", help="Measure only part I of N of the questions, and keep it."
)


@contextmanager
def kept_shard(settings: Settings, shard: Shard | None) -> Iterator[None]:
    """Say what a shard has kept, and end the command, where others are still to come."""
    try:
        yield
    except MissingShardsError as waiting:
        if shard is None:
            raise
        if settings.as_json:
            missing = [str(each) for each in waiting.missing]
            output.print_json({"shard": str(shard), "kept": waiting.kept, "missing": missing})
        else:
            output.message(f"{waiting.message[:1].upper()}{waiting.message[1:]}.")
            output.paragraph(waiting.hint)
        raise click.exceptions.Exit(0) from None


@click.command("merge", epilog="Example: caa eval merge one.1-of-2.parts two.2-of-2.parts")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--model", metavar="M", help="Where the model is here.  [default: where it was measured]")
@with_adapter
@common
def merge(settings: Settings, files: tuple[str, ...], model: ModelChoice) -> None:
    """Store an evaluation whose shards were measured on several machines.

    Each FILE is what one run with --shard kept; it prints the path. Nothing is measured, and the model's weights are
    not read.
    """
    with settings.open() as registry:
        evaluation = registry.evaluations.merge(
            files, model=model.given(registry) if model.name or model.adapter else None
        )
        answers = registry.evaluations.answers(evaluation) if evaluation.kind == "open-ended" else []
        caveats, shapes = registry.evaluations.caveats(evaluation), registry.evaluations.shapes(evaluation)
    say_evaluation(settings, evaluation, [] if answers else None, answers, caveats, shapes)
