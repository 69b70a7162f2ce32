"""``caa dataset show``: the statistics page of a dataset version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.wire.datasets import dataset_page_json, item_json
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.pairs.statistics import Lengths
    from caa_registry.registry.records import DatasetStatistics, LintReport

PREVIEW = 3
_LISTED = 8


@click.command(epilog="Example: caa dataset show team/sycophancy:v1 --limit 5")
@click.argument("reference")
@click.option("--split", help="Show pairs of this split only.")
@click.option("--limit", default=PREVIEW, show_default=True, type=click.IntRange(min=0), help="Pairs to show.")
@click.option("--card", is_flag=True, help="Print the dataset card instead, as Markdown.")
@common
def show(settings: Settings, reference: str, split: str | None, limit: int, card: bool) -> None:
    """Show a dataset version: its source, contents and uses, and its first pairs.

    Lengths are in characters: mean (shortest to longest).
    """
    if card:
        with settings.open() as registry:
            text = registry.datasets.card(reference)
        if settings.as_json:
            output.print_json({"card": text})
        else:
            output.document(text)
        return
    with settings.open() as registry:
        version = registry.datasets.get(reference)
        read = registry.datasets.pairs if version.kind == "pairs" else registry.datasets.questions
        items: list[Any] = list(read(version, split, limit=limit))
        statistics = registry.datasets.statistics(version)
        report = registry.datasets.lint_report(version) if version.kind == "pairs" else None
    if settings.as_json:
        output.print_json(dataset_page_json(version, statistics, report, items))
        return
    source = version.source
    output.fields(
        {
            "dataset": version.reference,
            "description": version.description,
            "recalled": version.recalled,
            "deprecated": version.deprecated,
            "digest": version.digest,
            "kind": version.kind,
            "behavior": version.behavior,
            "positive": source.card.positive if source.card else None,
            "negative": source.card.negative if source.card else None,
            "source": source.uri,
            "why": source.why,
            "revision": source.revision,
            "licence": version.licence or "unknown",
            "lint": _lint(report, version.reference) if version.kind == "pairs" else None,
            "message": version.message,
            "by": version.actor,
            "parent": version.parent,
            "aliases": ", ".join(version.aliases),
            "tags": ", ".join(f"{key}={value}" for key, value in version.tags.items()),
            "created": version.created_at.isoformat(timespec="seconds"),
            "unchecked before": f"{version.unchecked_before:%Y-%m-%d}" if version.unchecked_before else None,
            "vectors": _listed(statistics.vectors),
            "evaluations": _listed(list(map(str, statistics.evaluations))),
            "derived datasets": _listed(statistics.versions),
        }
    )
    say_notes(version)
    _say_statistics(statistics)
    print_items(items)


def _say_statistics(statistics: DatasetStatistics) -> None:
    click.echo()
    sides = list(statistics.splits[0].lengths)
    rows = [
        (
            split.split,
            split.rows,
            split.distinct,
            ", ".join(f"{form} {n}" for form, n in split.forms.items()),
            " ".join(f"{letter} {n}" for letter, n in split.letters.items()),
            *(_length(split.lengths[side]) for side in sides),
        )
        for split in statistics.splits
    ]
    lengths = [f"{side} length" for side in sides]
    output.table(["split", "rows", "distinct", "form", "matching letter", *lengths], rows, empty="")
    if statistics.nearest:
        click.echo()
        output.table(
            ["dataset", "shared pairs"], [(other.reference, other.shared) for other in statistics.nearest], empty=""
        )


def _lint(report: LintReport | None, reference: str) -> str:
    if report is None:
        return f"not checked yet (caa dataset lint {reference})"
    summary = report.summary
    counts = f"{count(summary['errors'], 'error')}, {count(summary['warnings'], 'warning')}"
    return f"{summary['score']:g} of 100, {counts}"


def _length(length: Lengths) -> str:
    if length.shortest == length.longest:
        return str(length.shortest)
    return f"{length.mean:.0f} ({length.shortest} to {length.longest})"


def _listed(names: Any) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def print_items(items: list[Any]) -> None:
    """The first pairs or questions, as a person reads them."""
    for number, item in enumerate(items, 1):
        print_item(str(number), item)


def print_item(head: str, item: Any) -> None:
    """One pair or question under ``head``."""
    row = item_json(item)
    click.echo(f"\n{click.style(head, bold=True)}  {output.visible(row['split'])}")
    said = [("system", row.get("system")), *((turn["role"], turn["content"]) for turn in row.get("turns", ()))]
    for key, text in (*said, *((key, row.get(key)) for key in ("prompt", "positive", "negative", "text"))):
        if text:
            # At least one space stands behind the longest key, a turn's "assistant".
            click.echo(f"  {click.style(f'{key:<9}', bold=True)}{' ' * (len(key) > 8)}{_indented(text)}")


def _indented(text: str) -> str:
    limit = 600
    shown = text if len(text) <= limit else text[:limit] + " ..."
    return output.visible(shown).replace("\n", "\n" + " " * 11)


def say_notes(version: Any) -> None:
    """What the import noticed, on stderr."""
    from caa_registry.pairs.sources import shortened

    for note in version.notes:
        said = shortened(note, limit=12)
        more = "" if said == note else f" (all of them: caa dataset show {version.reference} --json)"
        output.message(f"Note: {said}{more}")
