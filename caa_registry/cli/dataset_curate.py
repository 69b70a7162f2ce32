"""The verbs of ``caa dataset`` that make a new version of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from caa_registry.cli import output
from caa_registry.cli.dataset_show import print_items
from caa_registry.cli.options import MESSAGE, Settings, common
from caa_registry.errors import InputError, UsageError
from caa_registry.wire.curation import curated_json
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.pairs.curation.operations import Operation
    from caa_registry.registry.records import Curated, DatasetVersion
    from caa_registry.registry.registry import Registry

    # What a curating verb gives: an operation, and the sets that it is performed on.
    Curation = tuple[Operation, Sequence[str | DatasetVersion]]

F = TypeVar("F", bound=Callable[..., Any])

_SHARE = click.FloatRange(0, 1)
SEED = click.option("--seed", type=int, default=0, show_default=True, help="Choose other rows.")
WHY = click.option("--why", required=True, metavar="TEXT", help="The reason, kept in the recipe.")


def curation(function: F) -> F:
    """Add what every curating verb has; the verb gives the operation and the sets."""

    @click.option("--name", metavar="N", help="Dataset of the result.  [default: the same, its next version]")
    @MESSAGE
    @click.option("--dry-run", is_flag=True, help="Only show what would change.")
    @common
    @wraps(function)
    def command(
        settings: Settings, name: str | None, message: str, dry_run: bool, behavior: str = "", **arguments: Any
    ) -> None:
        with settings.open() as registry:
            operation, references = function(registry=registry, name=name, **arguments)
            with output.progress("Comparing pairs") as progress:
                curated = registry.datasets.curate(
                    operation,
                    *references,
                    name=name,
                    behavior=behavior,
                    message=message,
                    dry_run=dry_run,
                    progress=progress,
                )
        say_curated(settings, curated, dry_run=dry_run)

    return cast(F, command)


def say_curated(settings: Settings, curated: Curated, *, dry_run: bool) -> None:
    """What an operation did or would do."""
    if settings.as_json:
        output.print_json(curated_json(curated, dry_run=dry_run))
        return
    for note in curated.notes:
        output.message(f"Note: {note}")
    splits = sorted({*curated.before, *curated.after})
    rows = [(split, curated.before.get(split, 0), curated.after.get(split, 0)) for split in splits]
    total = ("all", sum(curated.before.values()), sum(curated.after.values()))
    output.table(["split", "before", "after"], [*rows, total] if len(rows) > 1 else rows, empty="")
    if dry_run:
        for what, items in curated.examples.items():
            if items:
                output.line(f"\n{what}, for example:")
                print_items(list(items))
        output.message(f"Dry run: {_change(curated)}. Nothing was stored.")
    elif curated.version is None:
        output.message("Nothing changes, so no version was made.")
    elif curated.version.existing:
        output.message(f"{curated.version.reference} already holds exactly these pairs; nothing was added.")
    else:
        output.message(f"Made {curated.version.reference}: {_change(curated)}.")


def _change(curated: Curated) -> str:
    return f"{count(curated.removed, 'row')} removed, {curated.added} added"


@click.command(epilog="Example: caa dataset split team/refusal --test 0.2")
@click.argument("reference")
@click.option("--test", type=_SHARE, required=True, help="Share of the rows for the split test.")
@click.option("--dev", type=_SHARE, default=0.0, show_default=True, help="Share of the rows for the split dev.")
@SEED
@curation
def split(reference: str, test: float, dev: float, seed: int, **_: Any) -> Curation:
    """Assign every row to one of the splits generate, dev and test.

    Digests decide, so the result is the same everywhere; shares hold within each form, matching letter and category.
    Rows that are nearly the same or ask the same question stay together.
    """
    from caa_registry.pairs.curation.operations import Split

    return Split(test, dev, seed), [reference]


@click.command(epilog="Example: caa dataset dedupe team/refusal --near 0.9")
@click.argument("reference")
@click.option(
    "--near", type=_SHARE, default=0.8, show_default=True, help="Similarity from which two pairs count as the same."
)
@click.option("--exact", is_flag=True, help="Only identical pairs.")
@click.option("--questions", is_flag=True, help="Also pairs that ask the same question.")
@click.option("--against", multiple=True, metavar="REF", help="Also drop pairs that this dataset holds; repeatable.")
@curation
def dedupe(reference: str, near: float, exact: bool, questions: bool, against: tuple[str, ...], **_: Any) -> Curation:
    """Keep one of every group of pairs that are the same or nearly the same.

    Rows of the test split are preferred, so that generate holds none of them.
    """
    from caa_registry.pairs.curation.operations import Dedupe

    return Dedupe(None if exact else near, questions), [reference, *against]


@click.command(epilog="Example: caa dataset balance team/refusal")
@click.argument("reference")
@SEED
@curation
def balance(reference: str, seed: int, **_: Any) -> Curation:
    """Swap the choices A and B within items until both letters match equally often in each split."""
    from caa_registry.pairs.curation.operations import Balance

    return Balance(seed), [reference]


@click.command("filter", epilog="Example: caa dataset filter team/refusal 'letter and words(question) < 60'")
@click.argument("reference")
@click.argument("expression")
@curation
def filter_(reference: str, expression: str, **_: Any) -> Curation:
    """Keep the rows for which EXPRESSION is true.

    \b
    Names:      prompt positive negative system split form letter choices
                question matching other
    Functions:  len(TEXT) lower(TEXT) words(TEXT) matches(PATTERN, TEXT)
                meta('category')
    """
    from caa_registry.pairs.curation.operations import Filter

    return Filter(expression), [reference]


@click.command(epilog="Example: caa dataset sample team/refusal -n 100")
@click.argument("reference")
@click.option("-n", type=click.IntRange(1), required=True, help="Number of rows.")
@click.option("--per-category", is_flag=True, help="Take that many of each category.")
@SEED
@curation
def sample(reference: str, n: int, per_category: bool, seed: int, **_: Any) -> Curation:
    """Keep some rows, chosen by digest: a larger sample of the same seed holds a smaller one."""
    from caa_registry.pairs.curation.operations import Sample

    return Sample(n, seed, per_category), [reference]


@click.command(epilog="Example: caa dataset merge team/refusal anthropic/refusal --name team/all")
@click.argument("references", nargs=-1, required=True)
@click.option("--behavior", default="", help="What the pairs contrast, if the datasets differ in it.")
@curation
def merge(references: tuple[str, ...], name: str | None, **_: Any) -> Curation:
    """Merge several datasets. A row that several hold in the same split is kept once."""
    if name is None:
        raise UsageError("merging needs a name for the result", "Give --name.")
    if len(references) < 2:
        raise UsageError("merging takes two sets or more", "Name another set.")
    from caa_registry.pairs.curation.operations import Merge

    return Merge(), references


@click.command(epilog="Example: caa dataset relabel team/refusal --why 'the sides are swapped'")
@click.argument("reference")
@click.option("--where", metavar="EXPR", help="Only rows for which this is true; see caa dataset filter.")
@WHY
@curation
def relabel(reference: str, where: str | None, why: str, **_: Any) -> Curation:
    """Swap the sides: the positive completion becomes the negative one."""
    from caa_registry.pairs.curation.operations import Relabel

    return Relabel(why, where), [reference]


@click.command(epilog="Example: caa dataset drop team/refusal 4,17-19 --split test --why 'harmless'")
@click.argument("reference")
@click.argument("rows")
@click.option("--split", metavar="S", help="Split that the row numbers refer to.")
@WHY
@curation
def drop(registry: Registry, reference: str, rows: str, split: str | None, why: str, **_: Any) -> Curation:
    """Drop rows of a dataset.

    ROWS are row numbers of the source, ranges of them, or beginnings of digests, separated by commas.
    """
    from caa_registry.pairs.curation.editing import chosen_rows
    from caa_registry.pairs.curation.operations import Drop

    version = registry.datasets.get(reference)
    named = chosen_rows(registry.datasets.pairs(version), rows, split)
    return Drop(named, why), [version]


@click.command(epilog="Example: caa dataset edit team/refusal --why 'typing errors'")
@click.argument("reference")
@click.option("--file", "path", type=click.Path(path_type=Path), help="Read the edited lines from this file.")
@WHY
@curation
def edit(registry: Registry, reference: str, path: Path | None, why: str, **_: Any) -> Curation:
    """Edit the rows as JSON lines, in $EDITOR or from a file.

    A line with a digest replaces the row of that pair, a line without one adds a row, and a row without a line is
    dropped. Nothing is stored unless every line is valid.
    """
    from caa_registry.pairs.curation.editing import editable, edits
    from caa_registry.pairs.curation.operations import Edit
    from caa_registry.pairs.sources.files import decoded, read_file

    version = registry.datasets.get(reference)
    items = registry.datasets.pairs(version)
    if path is not None:
        changes = edits(items, decoded(read_file(path)), str(path))
    else:
        text = click.edit(editable(items), extension=".jsonl", require_save=True)
        if text is None:
            raise UsageError("the editor saved nothing", "Nothing was changed.")
        changes = _kept_if_bad(items, text, edits)
    return Edit(why, **changes), [version]


def _kept_if_bad(items: Any, text: str, edits: Callable[..., Any]) -> Any:
    """The changes; where a line is bad, the text is kept, since somebody worked on it."""
    import tempfile

    try:
        return edits(items, text, "the edited text")
    except InputError as error:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False, encoding="utf-8") as file:
            file.write(text)
        error.hint = f"{error.hint} Your text is in {file.name}: correct it and give --file."
        raise


@click.command("to-ab", epilog="Example: caa dataset to-ab team/formality --name team/formality-ab")
@click.argument("reference")
@SEED
@curation
def to_ab(reference: str, seed: int, **_: Any) -> Curation:
    """Turn free-form pairs into A/B items with balanced letters."""
    from caa_registry.pairs.curation.operations import ToAB

    return ToAB(seed), [reference]


@click.command("to-free-form", epilog="Example: caa dataset to-free-form team/refusal --name team/refusal-free")
@click.argument("reference")
@curation
def to_free_form(reference: str, **_: Any) -> Curation:
    """Turn A/B items into free-form pairs: the question, and the two options as its answers."""
    from caa_registry.pairs.curation.operations import ToFreeForm

    return ToFreeForm(), [reference]


@click.command(epilog="Example: caa dataset expand honesty.yaml --name team/honesty")
@click.argument("template", type=click.Path(path_type=Path))
@click.option("--behavior", default="", help="What the pairs contrast.  [default: the last part of the name]")
@curation
def expand(template: Path, name: str | None, **_: Any) -> Curation:
    """Make pairs from a template: one for every combination of the values of its slots.

    \b
    positive: "Pretend you are {positive} person. {statement}"
    negative: "Pretend you are {negative} person. {statement}"
    contrasts:
      - {positive: an honest, negative: a dishonest}
    slots:
      statement: ["I saw the fire.", "The bridge is old."]
    """
    from caa_registry.pairs.curation.operations import Expand
    from caa_registry.pairs.curation.templates import read_template
    from caa_registry.pairs.sources.files import decoded, read_file

    if name is None:
        raise UsageError("expanding needs a name for the result", "Give --name.")
    return Expand(read_template(decoded(read_file(template)), str(template))), []
