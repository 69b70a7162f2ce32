"""``caa model``."""

from __future__ import annotations

import sys
from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.listing import page_options, rows_to_show, say_rest, tag_option, wanted_tags
from caa_registry.cli.options import Settings, common
from caa_registry.digests import short
from caa_registry.wire.models import model_json, verification_json
from caa_registry.wording import count


@click.group()
def model() -> None:
    """Models and their fingerprints: add, list, show, verify."""


@model.command(epilog="Example: caa model add mlx-community/Llama-3.2-1B-Instruct-4bit")
@click.argument("path_or_repo")
@click.option("--revision", help="Branch, tag or commit of a hub repository.")
@click.option("--adapter", metavar="FOLDER", help="LoRA adapter to put on the model.")
@common
def add(settings: Settings, path_or_repo: str, revision: str | None, adapter: str | None) -> None:
    """Record the identity of a model: a folder, ORG/NAME or hf:ORG/NAME[@REVISION] on a hub, or demo.

    Its weights stay where they are."""
    from caa_registry.models.loading import load

    # Loaded before the registry is opened: a bad path must not even leave a new registry behind.
    loaded = load(path_or_repo, revision=revision, adapter=adapter)
    with settings.open(create=True) as registry:
        record = registry.models.add(loaded)
    if settings.as_json:
        output.print_json(model_json(record))
        return
    info = record.info
    output.message(f"{info.name}: {info.architecture}, {count(info.n_layers, 'layer')}, {info.d_model} wide")
    output.message(f"fingerprint {info.fingerprint.digest}")


@model.command(epilog="Example: caa model ls")
@tag_option("models of vectors")
@page_options
@common
def ls(settings: Settings, tag: Any, limit: int | None, all_rows: bool) -> None:
    """List the recorded models."""
    count, tags = rows_to_show(settings, limit, all_rows), wanted_tags(tag)
    with settings.open() as registry:
        records = registry.models.ls(tags=tags, limit=count)
    if settings.as_json:
        output.print_json([model_json(record) for record in records])
        return
    rows = [
        (
            r.info.name,
            short(r.info.fingerprint.digest),
            r.info.architecture,
            r.info.n_layers,
            r.info.d_model,
            f"{r.info.quantization['bits']}-bit" if r.info.quantization else "",
            r.vectors,
        )
        for r in records
    ]
    columns = ["name", "fingerprint", "architecture", "layers", "d_model", "quantized", "vectors"]
    output.table(columns, rows, empty="No models yet. Add one: caa model add demo")
    say_rest(records)


@model.command(epilog="Example: caa model show demo --template")
@click.argument("name")
@click.option(
    "--template", is_flag=True, help="Show a conversation as the model reads it. The model need not be recorded."
)
@common
def show(settings: Settings, name: str, template: bool) -> None:
    """Show a model, given its name, hub repository or fingerprint.

    --template shows a sample conversation as the model reads it, with the first token that is steered and the token
    that is read.
    """
    if template:
        from caa_registry.cli.template import show_template

        show_template(settings, name)
        return
    with settings.open() as registry:
        record = registry.models.get(name)
    if settings.as_json:
        output.print_json(model_json(record))
        return
    values = {key: value for key, value in model_json(record).items() if key != "quantization"}
    quantization = record.info.quantization
    output.fields({**values, "quantization": f"{quantization['bits']}-bit" if quantization else None})


@model.command(epilog="Example: caa model verify demo")
@click.argument("name")
@common
def verify(settings: Settings, name: str) -> None:
    """Compare a model's files with its recorded fingerprint, part by part. The exit code is 1 if one differs.

    Every byte of its weights is read again. The same tensors in other files are the same weights.
    """
    with settings.open() as registry:
        parts = registry.models.verify(name)
    if settings.as_json:
        output.print_json(verification_json(name, parts))
    else:
        rows = [(part, "as recorded" if same else "DIFFERS") for part, same in parts.items()]
        output.table(["part", "now"], rows, empty="")
        if not all(parts.values()):
            output.message("The files differ from those recorded. Restore them, or record the new ones: caa model add")
    sys.exit(0 if all(parts.values()) else 1)
