"""Pictures and reports: ``caa eval plot``, ``caa eval report``, ``caa vector plot``, ``caa vector tokens``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import FORCE, TEMPLATE, ModelChoice, Settings, common, with_adapter
from caa_registry.disk import check_new, explained, write_new
from caa_registry.wire.vectors import projection_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = click.option(
    "--format",
    "format_",
    type=click.Choice(["png", "svg"]),
    default="png",
    show_default=True,
    help="Format of the pictures.",
)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("plot", epilog="Example: caa eval plot 3 --layer 2 --out pictures")
@click.argument("id", type=int)
@click.option("--layer", type=click.IntRange(0), help="Layer to draw.  [default: the most steerable]")
@click.option("--out", type=FOLDER, default=".", show_default=True, metavar="FOLDER", help="Folder for the pictures.")
@FORMAT
@FORCE
@common
def plot_evaluation(settings: Settings, id: int, layer: int | None, out: Path, format_: str, force: bool) -> None:
    """Draw an evaluation: score against multiplier, layers, every cell, every item.

    Files are named after what they show: evaluation-ID-dose-response.png and so on. Intervals, nulls and baselines
    are drawn where they were measured.
    """
    with settings.open() as registry:
        pictures = registry.reports.evaluation_pictures(id, layer=layer)
    _write(settings, pictures, out, f"evaluation-{id}", format_, force=force)


@click.command("report", epilog="Example: caa eval report team/sycophancy --out report")
@click.argument("vector")
@click.option(
    "--layer", type=click.IntRange(0), help="Layer to report.  [default: that of the verdict, else the most steerable]"
)
@click.option(
    "--out", type=FOLDER, required=True, metavar="FOLDER", help="Folder for report.md, its pictures and tables."
)
@FORCE
@common
def report(settings: Settings, vector: str, layer: int | None, out: Path, force: bool) -> None:
    """Write a Markdown report of a vector with pictures, every number with its reference.

    It begins with the verdict of the newest calibration. The numbers lie beside it as CSV.
    """
    with settings.open() as registry:
        path = registry.reports.write(vector, out, layer=layer, force=force)
    if settings.as_json:
        output.print_json({"report": str(path)})
    else:
        output.message(f"Wrote {path}, its pictures and its tables.")


@click.command("plot", epilog="Example: caa vector plot team/sycophancy --out pictures")
@click.argument("references", nargs=-1, required=True)
@click.option("--layer", type=click.IntRange(0), help="Layer to draw; required for several vectors.")
@click.option("--pairs", is_flag=True, help="Also draw the pairs' activations in two dimensions; this loads the model.")
@click.option("--model", metavar="M", help="Model for --pairs.  [default: the one the vector was computed on]")
@with_adapter
@click.option("--out", type=FOLDER, default=".", show_default=True, metavar="FOLDER", help="Folder for the pictures.")
@FORMAT
@FORCE
@common
def plot_vector(
    settings: Settings,
    references: tuple[str, ...],
    layer: int | None,
    pairs: bool,
    model: ModelChoice,
    out: Path,
    format_: str,
    force: bool,
) -> None:
    """Draw the cosines between the layers of a vector, or between several vectors at one layer."""
    with settings.open() as registry, output.progress("activations") as reading:
        versions = [registry.vectors.get(reference) for reference in references]
        loaded = None
        if pairs:
            loaded = model.or_recorded(registry, versions[0])
        pictures = registry.reports.vector_pictures(versions, layer=layer, model=loaded, reading=reading)
    name = versions[0].reference.replace("/", "-").replace(":", "-") if len(versions) == 1 else "vectors"
    _write(settings, pictures, out, name, format_, force=force)


@click.command("tokens", epilog='Example: caa vector tokens team/sycophancy --layer 2 "I agree with you."')
@click.argument("vector")
@click.argument("prompt")
@click.option("--completion", default="", help="An answer that follows the prompt.")
@click.option("--layer", type=click.IntRange(0), required=True, help="Layer to read.")
@click.option("--model", metavar="M", help="Model to read.  [default: the one the vector was computed on]")
@with_adapter
@click.option("--template", type=TEMPLATE, help="How the prompt is rendered.  [default: as for the vector]")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML page instead.")
@FORCE
@common
def tokens(
    settings: Settings,
    vector: str,
    prompt: str,
    completion: str,
    layer: int,
    model: ModelChoice,
    template: Any,
    html: Path | None,
    force: bool,
) -> None:
    """Show how far each token of a text points along a vector.

    Each token is followed by the cosine of its activation with the vector, in hundredths. --json adds dot products.
    """
    from caa_registry.evaluation.token_projection import as_html, as_text

    if html is not None:
        check_new(html, force=force)
    with settings.open() as registry:
        version = registry.vectors.get(vector)
        loaded = model.or_recorded(registry, version)
        projected = registry.vectors.tokens(
            version, loaded, prompt, completion=completion, layer=layer, template=template
        )
    if settings.as_json:
        output.print_json(projection_json(projected))
    elif html is not None:
        caption = f"{version.reference} ({version.digest}), layer {layer}; model {version.model_name}."
        page = as_html(projected, title=f"{version.reference}, layer {layer}", caption=caption)
        write_new(html, page.encode(), force=force)
        output.message(f"Wrote {html}.")
    else:
        output.rich(as_text(projected))


def _write(
    settings: Settings, pictures: Mapping[str, Figure], folder: Path, name: str, format_: str, *, force: bool
) -> None:
    from caa_registry.plots.style import save

    paths = [folder / f"{name}-{what}.{format_}" for what in pictures]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        check_new(path, force=force)
    for path, picture in zip(paths, pictures.values(), strict=True):
        save(picture, path, force=force)
    if settings.as_json:
        output.print_json([str(path) for path in paths])
        return
    for path in paths:
        output.document(f"{path}\n")
