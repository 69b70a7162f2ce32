"""``caa dataset diff``, ``log``, ``blame`` and ``recall``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.digests import short
from caa_registry.wire.curation import blame_json, diff_json, log_entry_json, recall_json

if TYPE_CHECKING:
    from caa_registry.pairs.diff import Change, Piece
    from caa_registry.pairs.record import PairItem

_CONTEXT = 30
_LINE = 100


@click.command(epilog="Example: caa dataset diff team/refusal:v1 team/refusal:v2 --only changed")
@click.argument("one")
@click.argument("other")
@click.option(
    "--only",
    type=click.Choice(["added", "removed", "moved", "changed"]),
    help="Show only changes of this kind.",
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(0), help="Rows of each kind to show.")
@common
def diff(settings: Settings, one: str, other: str, only: str | None, limit: int) -> None:
    """Show what changed from ONE version to OTHER: rows added, removed, moved between splits, and changed.

    A changed row has the same question or the same answers in other words, swapped sides, or exchanged choices. Its
    texts are compared word by word: [-removed-] {+added+}.
    """
    with settings.open() as registry:
        found = registry.datasets.diff(one, other)
    moved = [change for change in found.changes if change.kind == "moved"]
    changed = [change for change in found.changes if change.kind != "moved"]
    counts = {
        "added": len(found.added), "removed": len(found.removed), "moved": len(moved), "changed": len(changed),
        "unchanged": found.unchanged,
    }  # fmt: skip
    if settings.as_json:
        output.print_json(diff_json(found, counts))
        return
    shown: dict[str, Sequence[Any]] = {
        "removed": found.removed, "added": found.added, "moved": moved, "changed": changed,
    }  # fmt: skip
    for what, rows in shown.items():
        if only in (None, what):
            for row in rows[:limit]:
                _say_change(row) if what in ("moved", "changed") else _say_row(row, what)
            if len(rows) > limit:
                click.echo(f"... and {len(rows) - limit} more {what} (--limit)")
    click.echo(", ".join(f"{n} {what}" for what, n in counts.items()))


def _say_row(item: PairItem, what: str) -> None:
    sign, color = ("+", "green") if what == "added" else ("-", "red")
    pair = item.pair
    text = " / ".join(part for part in (pair.prompt, pair.positive, pair.negative) if part)
    line = f"{sign} {item.split}{_number(item)}  {_short(text)}"
    output.line(line, fg=color)


def _say_change(change: Change) -> None:
    before, after = change.before, change.after
    split = before.split if before.split == after.split else f"{before.split} -> {after.split}"
    kind = "" if change.kind == "edited" else f"{change.kind}  "
    output.line(f"~ {split}{_number(before)}  {kind}{_short(before.pair.prompt or before.pair.positive)}")
    if change.kind == "edited":
        for name, pieces in change.words.items():
            click.echo(f"    {name}: {''.join(_piece(piece) for piece in pieces)}")


def _piece(piece: Piece) -> str:
    kind, text = piece
    if kind == "old":
        return click.style(f"[-{_one_line(text)}-]", fg="red")
    if kind == "new":
        return click.style(f"{{+{_one_line(text)}+}}", fg="green")
    plain = _one_line(text)
    if len(plain) > 2 * _CONTEXT + 5:
        plain = f"{plain[:_CONTEXT]} ... {plain[-_CONTEXT:]}"
    return plain


def _number(item: PairItem) -> str:
    return "" if item.row is None else f" row {item.row}"


def _short(text: str) -> str:
    line = _one_line(text)
    return line if len(line) <= _LINE else f"{line[:_LINE]} ..."


def _one_line(text: str) -> str:
    return output.visible(text).replace("\n", "\\n")


@click.command(epilog="Example: caa dataset log team/refusal")
@click.argument("name")
@common
def log(settings: Settings, name: str) -> None:
    """List the versions of a dataset, newest first: who made each, how, and how many rows it added and removed."""
    with settings.open() as registry:
        entries = registry.datasets.log(name)
    if settings.as_json:
        output.print_json([log_entry_json(entry) for entry in entries])
        return
    rows = [
        (
            f"v{e.version.number}",
            short(e.version.digest),
            e.version.n_items,
            f"+{e.added} -{e.removed}",
            e.what,
            e.actor,
            f"{e.version.created_at:%Y-%m-%d %H:%M}",
            e.version.message or e.version.source.why,
        )
        for e in entries
    ]
    output.table(["version", "digest", "pairs", "rows", "how", "by", "when", "message"], rows, empty="")


@click.command(epilog="Example: caa dataset blame 3f2a90bc41de")
@click.argument("pair")
@common
def blame(settings: Settings, pair: str) -> None:
    """Show where a pair is used: versions, vectors, evaluations, reviews, recalls.

    PAIR is the beginning of its digest.
    """
    with settings.open() as registry:
        found = registry.datasets.blame(pair)
    if settings.as_json:
        output.print_json(blame_json(found))
        return
    said = [f"{d.reviewer} in {name}: {d.state}{f' ({d.reason})' if d.reason else ''}" for name, d in found.reviews]
    output.fields(
        {
            "pair": found.digest,
            "turns": "\n".join(f"{turn.role}: {_short(turn.text)}" for turn in found.pair.turns),
            "prompt": _short(found.pair.prompt),
            "positive": _short(found.pair.positive),
            "negative": _short(found.pair.negative),
            "recalled": "; ".join(f"{one.why} ({one.actor})" for one in found.recalls),
            "versions": "\n".join(f"{r} ({s}{f' row {n}' if n else ''})" for r, s, n in found.versions) or "none",
            "vectors": "\n".join(found.vectors) or "none",
            "evaluations": ", ".join(map(str, found.evaluations)) or "none",
            "reviews": "\n".join(said),
        }
    )


@click.command(epilog="Example: caa dataset recall 3f2a90bc41de --why 'the label is wrong'")
@click.argument("what", metavar="PAIR|REF")
@click.option(
    "--why", default="", metavar="TEXT", help="The reason, shown in every warning; required unless --lift is given."
)
@click.option("--lift", is_flag=True, help="Lift the recall.")
@click.option("--dry-run", is_flag=True, help="Only list what a recall would affect.")
@common
def recall(settings: Settings, what: str, why: str, lift: bool, dry_run: bool) -> None:
    """Recall a pair (PAIR is the beginning of its digest) or the dataset version REF.

    Every vector and evaluation that descends from it is listed, and quarantined until the recall is lifted: listings
    mark it, and applying such a vector gives a warning.
    """
    with settings.open() as registry:
        found = registry.datasets.recall(what, why=why, lift=lift, dry_run=dry_run)
    if settings.as_json:
        output.print_json(recall_json(found, lifted=lift, dry_run=dry_run))
        return
    output.fields(
        {
            "recalled" if not lift else "recall lifted": found.what,
            "datasets": "\n".join(found.datasets) or "none",
            "vectors": "\n".join(found.vectors) or "none",
            "evaluations": ", ".join(map(str, found.evaluations)) or "none",
        }
    )
    if dry_run:
        output.message("Nothing was recalled.")
    else:
        output.message("They are quarantined." if not lift else "They are no longer quarantined because of it.")
