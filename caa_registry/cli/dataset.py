"""``caa dataset``."""

from __future__ import annotations

import click

from caa_registry.cli import output
from caa_registry.cli.dataset_curate import COMMANDS as CURATING
from caa_registry.cli.dataset_export import export, push
from caa_registry.cli.dataset_history import blame, diff, log, recall
from caa_registry.cli.dataset_lint import lint
from caa_registry.cli.dataset_replay import recipe, replay
from caa_registry.cli.dataset_review import cut, review, reviews
from caa_registry.cli.dataset_show import PREVIEW, print_items, say_notes, show
from caa_registry.cli.options import Settings, common
from caa_registry.digests import short
from caa_registry.errors import UsageError
from caa_registry.references import check_name


@click.group()
def dataset() -> None:
    """Contrastive pair datasets."""


for command in (show, lint, *CURATING, recipe, replay, review, reviews, cut, diff, log, blame, recall, export, push):
    dataset.add_command(command)


@dataset.command("import", epilog="Example: caa dataset import seed:sycophancy --name team/sycophancy")
@click.argument("source", required=False)
@click.option("--name", required=True, help="Name of the dataset, for example team/sycophancy.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="SPLIT or SPLIT=SOURCE",
    help="Split the rows go to [default: generate]. SPLIT=SOURCE, repeated, imports several as one version.",
)
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="prompt=question, positive=good, ...")
@click.option("--format", "format_", help="Format of the file, where its content does not tell.")
@click.option("--mapping", metavar="NAME|FILE", help="How a public dataset's rows are read: caa dataset mappings.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows of a file.")
@click.option("--licence", default="", help="Licence of the data, where the source does not state it.")
@click.option("--behavior", default="", help="What the pairs contrast.  [default: the last part of the name]")
@click.option("--message", default="", help="A note for the version.")
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
      FILE                        the CAA repository's JSON, Anthropic evals, JSONL, JSON, CSV, Parquet
      lines:POSITIVE,NEGATIVE     two text files, one side each, line by line
      hf:ORG/NAME[@REVISION][/FILE]   a dataset on the Hugging Face hub
      seed:NAME                   a set that ships with caa (caa dataset seeds)

    All rows are checked before anything is written. The same rows again give the version that exists.
    """
    from caa_registry.registry.datasets.datasets import read_source

    check_name(name)
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
        output.print_json({**output.dataset_json(version), "existing": version.existing})
        return
    noun = "pairs" if version.kind == "pairs" else "questions"
    splits_text = ", ".join(f"{split} {count}" for split, count in version.splits.items())
    if version.existing:
        output.message(f"{version.reference} already holds exactly these {noun}; nothing was added.")
    else:
        output.message(f"Imported {version.n_items} {noun} as {version.reference} ({splits_text}).")
    say_notes(version)
    print_items(list(imported.items[:PREVIEW]))


@dataset.command(epilog="Example: caa dataset seeds")
@common
def seeds(settings: Settings) -> None:
    """List the pair sets that ship with caa. Import them with seed:NAME."""
    from caa_registry.pairs.sources import seed_sets

    sets = seed_sets()
    if settings.as_json:
        output.print_json(
            [{"name": s.name, "behavior": s.behavior, "form": s.form, "splits": dict(s.counts)} for s in sets]
        )
        return
    rows = [
        (f"seed:{s.name}", s.behavior, s.form, ", ".join(f"{split} {count}" for split, count in s.counts.items()))
        for s in sets
    ]
    output.table(["source", "behavior", "form", "pairs"], rows, empty="No seed sets are installed.")


@dataset.command(epilog="Example: caa dataset mappings")
@common
def mappings(settings: Settings) -> None:
    """List the saved mappings: how rows of public datasets become pairs. --mapping NAME, or by itself for its hub."""
    from caa_registry.pairs.sources.mappings import shipped

    found = shipped()
    if settings.as_json:
        output.print_json([{**m.as_json(), "repos": list(m.repos), "documentation": m.documentation} for m in found])
        return
    rows = [(m.name, ", ".join(m.repos), "; ".join(str(part["match"]) for part in m.files), m.licence) for m in found]
    output.table(["mapping", "hub", "files", "licence"], rows, empty="No mappings are installed.")


@dataset.command(epilog="Example: caa dataset ls")
@common
def ls(settings: Settings) -> None:
    """List datasets, the newest version of each."""
    with settings.open() as registry:
        versions = registry.datasets.ls()
    if settings.as_json:
        output.print_json([output.dataset_json(version) for version in versions])
        return
    rows = [
        (
            v.name,
            f"v{v.number}",
            short(v.digest),
            v.n_items,
            ", ".join(f"{split} {count}" for split, count in v.splits.items()),
            v.kind,
            ", ".join(v.aliases),
            "recalled" if v.recalled else "",
        )
        for v in versions
    ]
    output.table(
        ["name", "version", "digest", "pairs", "splits", "kind", "aliases", "note"],
        rows,
        empty="No datasets yet. Import one: caa dataset import seed:sycophancy --name team/sycophancy",
    )


def _sources(source: str | None, splits: tuple[str, ...]) -> tuple[str | dict[str, str], str | None]:
    assigned = [split for split in splits if "=" in split]
    if assigned:
        if source is not None or len(assigned) != len(splits):
            raise UsageError(
                "sources are given twice", "Write either SOURCE with --split NAME, or only --split NAME=SOURCE."
            )
        pairs = [_assignment(split, "--split NAME=SOURCE") for split in assigned]
        if len({name for name, _ in pairs}) != len(pairs):
            raise UsageError("a split is given twice", "Each --split NAME=SOURCE needs a name of its own.")
        return dict(pairs), None
    if source is None:
        raise UsageError("no source is given", "For example: caa dataset import pairs.jsonl --name team/refusal")
    if len(splits) > 1:
        raise UsageError("one source goes to one split", "Write --split NAME=SOURCE for each.")
    return source, splits[0] if splits else None


def _columns(columns: tuple[str, ...]) -> dict[str, str]:
    # An empty column is a statement of its own: the source has none for this field.
    pairs = [_assignment(column, "--column FIELD=COLUMN", empty=True) for column in columns]
    if len({field for field, _ in pairs}) != len(pairs):
        raise UsageError("a field is given twice", "Each --column FIELD=COLUMN needs a field of its own.")
    return dict(pairs)


def _assignment(text: str, form: str, *, empty: bool = False) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not (value or empty):
        raise UsageError(f"{text!r} is not of the form {form}")
    return name, value
