"""``caa vector compute``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from caa_registry.cli import output
from caa_registry.cli.layer_table import layer_table
from caa_registry.cli.options import (
    MESSAGE,
    METHOD,
    READ,
    TEMPLATE,
    LayerList,
    ModelChoice,
    Settings,
    common,
    with_adapter,
)
from caa_registry.errors import UsageError
from caa_registry.progress import silent
from caa_registry.settings import activation_cache
from caa_registry.wire.vectors import computed_json
from caa_registry.wording import count, named_layers

if TYPE_CHECKING:
    from caa_registry.progress import Progress
    from caa_registry.registry.records import VectorVersion


_FULL = "Write caa vector compute NAME --dataset REF --model M, or caa vector compute --lock FILE."
# What a lock says itself.
_LOCKED = ("dataset", "split", "method", "read", "layers", "template")


@click.command(
    epilog="Example: caa vector compute team/refusal --dataset team/refusal --model demo",
)
@click.argument("name", required=False)
@click.option("--dataset", metavar="REF", help="Dataset to compute from.")
@click.option("--model", metavar="M", help="Folder, ORG/NAME on a hub, or demo.")
@with_adapter
@click.option(
    "--lock",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Follow the lock in this file, which says everything else (caa vector lock).",
)
@click.option("--split", help="Split to compute from.  [default: generate]")
@click.option(
    "--method", type=METHOD, default="mean-difference", show_default=True, help="How the direction is estimated."
)
@click.option("--read", type=READ, help="Token to read.  [default: answer for letters and Yes/No, last for free text]")
@click.option("--layers", type=LayerList(allow_all=True), default="all", show_default=True, help="0-3,7 or all.")
@click.option("--template", type=TEMPLATE, help="How prompts are rendered.  [default: chat, else plain]")
@MESSAGE
@click.option("--force", is_flag=True, help="Compute again even if the version exists, and compare.")
@common
@click.pass_context
def compute(
    context: click.Context,
    settings: Settings,
    name: str | None,
    dataset: str | None,
    model: ModelChoice,
    lock: Path | None,
    split: str | None,
    method: Any,
    read: Any,
    layers: Any,
    template: Any,
    message: str,
    force: bool,
) -> None:
    """Compute a steering vector for every layer from contrastive pairs, and measure how far to trust each.

    The default method is the paper's: the mean difference of activations, stored raw. The directions of pca, logistic
    and lda are given the same length. The same recipe again returns the version that exists. Activations are cached on
    disk: another method on the same pairs runs no forward pass, and an interrupted computation resumes where it
    stopped.

    With --lock the vector of a lock is computed, in any registry, exactly as the lock says, and compared layer by layer
    with what it came to there. It is stored, with its pairs, if it comes out to the same bits or but for rounding; the
    exit code is 1 if it does not. NAME and --model then default to what the lock says.

    On several processes or hosts: mlx.launch -n 2 -- caa vector compute ... (all must reach the registry).
    """
    if lock is not None:
        from caa_registry.cli.vector_lock import follow

        clashing = [each for each in _LOCKED if context.get_parameter_source(each) is not ParameterSource.DEFAULT]
        if clashing:
            options = ", ".join(f"--{each}" for each in clashing)
            raise UsageError(f"the lock says what {options} would", "Leave them out, or leave out --lock.")
        follow(settings, lock, name, model, message, fresh=force)
        return
    given = (("NAME", name), ("--dataset", dataset), ("--model", model.name))
    missing = [what for what, value in given if value is None]
    if name is None or dataset is None or missing:
        raise UsageError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing", _FULL)
    first = settings.prints
    keeps = not force and activation_cache()[1] > 0
    with settings.open() as registry, _bars(keeps) if first else nullcontext((silent, silent)) as (progress, measuring):
        version = registry.vectors.compute(
            name,
            dataset=dataset,
            model=model.given(registry),
            split=split,
            method=method,
            read=read,
            layers=layers,
            template=template,
            message=message,
            force=force,
            progress=progress,
            measuring=measuring,
        )
    if not first:
        return
    comparison = version.comparison
    if settings.as_json:
        output.print_json(computed_json(version))
    elif comparison:
        output.paragraph(
            f"Computed {version.reference} again: {'the same' if comparison.holds else 'DIFFERENT'} "
            f"(largest difference {comparison.max_difference:.1e} of the largest norm, smallest cosine "
            f"{comparison.min_cosine:.7f})."
        )
    elif version.existing:
        output.message(f"{version.reference} has exactly this recipe; nothing was computed (--force computes again).")
    else:
        _say_computed(version)
    if comparison and not comparison.holds:
        sys.exit(1)


@contextmanager
def _bars(keeps: bool) -> Iterator[tuple[Progress, Progress]]:
    """Bars for reading and for measuring. ``keeps``: what was read is kept, which a message says on interruption."""
    read = 0

    def counted(done: int, total: int) -> None:
        nonlocal read
        read = done
        progress(done, total)

    with output.progress("activations") as progress, output.progress("layers") as measuring:
        try:
            yield counted, measuring
        except KeyboardInterrupt:
            if read and keeps:
                output.message("What was read is kept: run the same command again to resume.")
            raise


def _say_computed(version: VectorVersion) -> None:
    recipe = version.known_recipe()
    output.paragraph(
        f"Computed {version.reference} from {count(recipe.pairs, 'pair')} of {version.dataset} ({recipe.split}) on "
        f"{version.model_name}: {named_layers(version.layer_numbers)}, read at '{recipe.read}', "
        f"template {recipe.template}."
    )
    reading = version.reading
    if reading is not None and reading.forward_passes:
        by = f" in each of {reading.processes} processes" if reading.processes > 1 else ""
        passes = count(reading.forward_passes, "forward pass", "forward passes")
        output.message(f"Activations read in {passes} over {count(reading.tokens, 'token')}{by}.")
    else:
        output.message("All activations came from the cache: 0 forward passes.")
    layer_table(version)
