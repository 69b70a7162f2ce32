"""``caa vector verify``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.options import ModelChoice, Settings, common, with_adapter
from caa_registry.errors import UsageError
from caa_registry.progress import silent
from caa_registry.wire.vectors import verification_json
from caa_registry.wording import count, named_layers

if TYPE_CHECKING:
    from caa_registry.registry.records import Verification


@click.command(epilog="Example: caa vector verify team/sycophancy:best --recompute")
@click.argument("reference")
@click.option("--recompute", is_flag=True, help="Compute it again from its pairs and model, and compare the layers.")
@click.option("--model", metavar="M", help="Where the model's files are now.  [default: where they were last seen]")
@with_adapter
@common
def verify(settings: Settings, reference: str, recompute: bool, model: ModelChoice) -> None:
    """Check a vector and the pairs that it was made from against their digests.

    --recompute also compares every byte of the model with its fingerprint, computes the vector again by its recipe
    without any cache, and names what differs. The outcome is kept as a run (caa run show). The exit code is 1 if
    something differs.
    """
    if (model.name or model.adapter) and not recompute:
        raise UsageError(
            "without --recompute no model is used", "Give --recompute too, or leave --model and --adapter out."
        )
    bars = (output.progress("activations"), output.progress("layers")) if recompute else (nullcontext(silent),) * 2
    with settings.open() as registry, bars[0] as progress, bars[1] as measuring:
        found = registry.vectors.verify(
            reference,
            recompute=recompute,
            model=model.name,
            adapter=model.adapter,
            progress=progress,
            measuring=measuring,
        )
    if settings.as_json:
        output.print_json(verification_json(found))
    else:
        _say(found)
    sys.exit(0 if found.holds else 1)


def _say(found: Verification) -> None:
    pairs = f" and {count(found.pairs, 'pair')}" if found.pairs else ""
    output.paragraph(f"{found.reference}: its numbers{pairs} are those that were stored.")
    if found.run is None:
        return
    say_layers(found)
    if found.holds:
        output.paragraph(f"{found.reference} holds (run {found.run}).")
        return
    output.paragraph(f"{found.reference} does not hold (run {found.run}): {outcome_of(found)}.")


def say_layers(found: Verification) -> None:
    """The layers that were computed again, and what is otherwise."""
    if found.layers:
        rows = [
            (
                each.layer,
                "the same bits"
                if each.same_bits
                else "DIFFERS"
                if each in found.apart
                else "the same but for rounding",
                "" if each.cosine is None else f"{each.cosine:.9f}",
                f"{each.difference:.1e}",
            )
            for each in found.layers
        ]
        output.table(["layer", "computed again", "cosine", "largest difference"], rows, empty="")
        output.paragraph(
            f"largest difference: of a coordinate, relative to the largest norm; {found.tolerance:g} may be rounding"
        )
        if not (found.same_bits or found.apart or found.environment or found.differences):
            output.paragraph(
                "Only last digits differ: some activations came from the cache, where they had been read with other "
                "pairs, or another machine made the vector. caa vector compute --force reads all pairs anew."
            )
    for difference in found.differences:
        output.paragraph(f"DIFFERS: {difference}.")
    if found.environment:
        output.paragraph(f"The environment is not the same: {'; '.join(found.environment)}.")


def outcome_of(found: Verification) -> str:
    """What came out, of a computation that does not hold."""
    if not found.layers:
        return "nothing was computed again"
    apart = [each.layer for each in found.apart]
    if not apart:
        return "every layer comes out as before"
    return f"{named_layers(apart)} {'comes' if len(apart) == 1 else 'come'} out otherwise"
