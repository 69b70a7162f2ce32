"""``caa dataset export`` and ``caa dataset push``."""

from __future__ import annotations

from pathlib import Path

import click

from caa_registry.cli import output
from caa_registry.cli.options import FORCE, Settings, common
from caa_registry.wire.datasets import pushed_json
from caa_registry.wording import count


@click.command(epilog="Example: caa dataset export team/refusal refusal.jsonl")
@click.argument("reference")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "csv", "parquet", "caa", "datasets"]),
    help="Format to write.  [default: by the suffix of PATH]",
)
@FORCE
@common
def export(settings: Settings, reference: str, path: Path, format_: str | None, force: bool) -> None:
    """Export a dataset for other programs.

    \b
    jsonl, csv, parquet   one file; importing it gives the same dataset
    datasets              a folder for datasets.load_from_disk
    caa                   the folders generate/ and test/ of the CAA repository

    In a folder that has content, --force replaces only the files that are written anew.
    """
    with settings.open() as registry:
        version = registry.datasets.get(reference)
        registry.datasets.export(version, path, format=format_, force=force)
    if settings.as_json:
        output.print_json({"dataset": version.reference, "digest": version.digest, "path": str(path)})
    else:
        output.message(f"Wrote {count(version.n_items, 'row')} of {version.reference} to {path}.")


@click.command(epilog="Example: caa dataset push team/refusal hf:my-team/refusal-pairs")
@click.argument("reference")
@click.argument("target", metavar="hf:ORG/NAME[@BRANCH]")
@click.option("--public", is_flag=True, help="Make a new repository public.  [default: private]")
@click.option("--licence", default="", help="Licence of the data, if none is recorded.")
@click.option("--message", default="", help="Message of the commit.")
@common
def push(settings: Settings, reference: str, target: str, public: bool, licence: str, message: str) -> None:
    """Upload a dataset with a card to the Hugging Face hub, as one commit.

    The token comes from HF_TOKEN or from the hub's own login, and is not stored. Importing the repository gives the
    same dataset.
    """
    with settings.open() as registry:
        version = registry.datasets.get(reference)
        done = registry.datasets.push(version, target, public=public, licence=licence, message=message)
    if settings.as_json:
        output.print_json(pushed_json(version, done))
    else:
        output.message(f"Pushed {version.reference} to hf:{done.repo} at {done.commit[:12]}.")
