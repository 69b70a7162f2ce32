"""``caa dataset import``."""

from __future__ import annotations

from contextlib import suppress

import click

from caa_registry.cli import output
from caa_registry.cli.dataset_show import PREVIEW, print_items, say_notes
from caa_registry.cli.options import MESSAGE, Settings, common
from caa_registry.errors import NotFoundError, RegistryError, UsageError
from caa_registry.references import check_new_name
from caa_registry.wire.datasets import dataset_json
from caa_registry.wording import count


@click.command("import", epilog="Example: caa dataset import seed:sycophancy --name team/sycophancy")
@click.argument("source", required=False)
@click.option("--name", required=True, help="Name of the dataset, for example team/sycophancy.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="SPLIT or SPLIT=SOURCE",
    help="Split for the rows [default: generate]. SPLIT=SOURCE, repeated, imports several splits as one version.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="The column that a field is read from, such as prompt=question; repeatable.",
)
@click.option("--format", "format_", help="Format of the file.  [default: recognized by content]")
@click.option("--mapping", metavar="NAME|FILE", help="How rows become pairs: one of caa dataset mappings, or a file.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows of a file.")
@click.option("--licence", default="", help="Licence of the data, if the source does not state it.")
@click.option("--behavior", default="", help="What the pairs contrast.  [default: the last part of the name]")
@MESSAGE
@common
def import_(
    settings: Settings,
    source: str | None,
    name: str,
    splits: tuple[str, ...],
    columns: tuple[str, ...],
    format_: str | None,
    mapping: str | None,
    limit: int | None,
    licence: str,
    behavior: str,
    message: str,
) -> None:
    """Import SOURCE as a new version of a dataset.

    \b
    SOURCE is one of
      FILE                      JSON, JSONL, CSV, Parquet; also as in the CAA
                                repository and Anthropic's evaluations;
                                .gz and .zst are unpacked
      FOLDER                    as save_to_disk of datasets writes it
      lines:POSITIVE,NEGATIVE   two text files, one side each, line by line
      hf:ORG/NAME[@REVISION][/FILE]
                                a dataset on the Hugging Face hub
      seed:NAME                 a set that ships with caa (caa dataset seeds)

    All rows are checked before anything is written. Importing the same rows again returns the existing version.
    """
    from caa_registry.pairs.sources import read_source

    _check_target(settings, name)
    wanted, split = _sources(source, splits)
    # Read before the registry is opened: a bad source must not even leave a new registry behind.
    imported = read_source(
        wanted,
        split=split,
        columns=_columns(columns) or None,
        format=format_,
        licence=licence,
        mapping=mapping,
        limit=limit,
    )
    with settings.open(create=True) as registry:
        version = registry.datasets.register(imported, name=name, behavior=behavior, message=message)
    if settings.as_json:
        output.print_json({**dataset_json(version), "existing": version.existing})
        return
    noun = "pair" if version.kind == "pairs" else "question"
    splits_text = ", ".join(f"{split} {rows}" for split, rows in version.splits.items())
    if version.existing:
        output.message(f"{version.reference} already holds exactly these {noun}s; nothing was added.")
    else:
        output.message(f"Imported {count(version.n_items, noun)} as {version.reference} ({splits_text}).")
    say_notes(version)
    print_items(list(imported.items[:PREVIEW]))


def _sources(source: str | None, splits: tuple[str, ...]) -> tuple[str | dict[str, str], str | None]:
    assigned = [split for split in splits if "=" in split]
    if assigned:
        if source is not None or len(assigned) != len(splits):
            raise UsageError(
                "a source is given both as SOURCE and with --split",
                "Give SOURCE with --split NAME, or only --split NAME=SOURCE.",
            )
        pairs = [_assignment(split, "--split NAME=SOURCE") for split in assigned]
        if len({name for name, _ in pairs}) != len(pairs):
            raise UsageError("a split is given twice", "Give each --split NAME=SOURCE a different name.")
        return dict(pairs), None
    if source is None:
        raise UsageError("no source is given", "For example: caa dataset import pairs.jsonl --name team/refusal")
    if len(splits) > 1:
        raise UsageError("one source cannot go to several splits", "Give --split NAME=SOURCE for each.")
    return source, splits[0] if splits else None


def _check_target(settings: Settings, name: str) -> None:
    """Refuse a name that nothing new may have, unless there is a dataset of it, before a registry is made."""
    try:
        check_new_name(name)
    except UsageError:
        with suppress(NotFoundError, RegistryError), settings.open() as registry:
            registry.datasets.get(f"dataset:{name}")
            return
        raise


def _columns(columns: tuple[str, ...]) -> dict[str, str]:
    # An empty column says that the source has none for this field.
    pairs = [_assignment(column, "--column FIELD=COLUMN", empty=True) for column in columns]
    if len({field for field, _ in pairs}) != len(pairs):
        raise UsageError("a field is given twice", "Give each --column FIELD=COLUMN a different field.")
    return dict(pairs)


def _assignment(text: str, form: str, *, empty: bool = False) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not (value or empty):
        raise UsageError(f"{text!r} is not of the form {form}")
    return name, value
