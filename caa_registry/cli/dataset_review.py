"""``caa dataset review``, ``reviews`` and ``cut``."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.dataset_curate import say_curated
from caa_registry.cli.dataset_show import print_item
from caa_registry.cli.options import FORCE, MESSAGE, Settings, common
from caa_registry.digests import short
from caa_registry.errors import UsageError
from caa_registry.wire.curation import reviews_json
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.pairs.record import PairItem
    from caa_registry.registry.records import DatasetVersion
    from caa_registry.registry.registry import Registry

_KEYS = {"a": "accepted", "r": "rejected", "w": "needs-work"}
_HELP = "a accept, r reject, w needs work, s skip, b back, q quit"
CSV = click.Path(path_type=Path, dir_okay=False)


@click.command(epilog="Example: caa dataset review team/refusal --split generate")
@click.argument("reference")
@click.option("--reviewer", metavar="NAME", help="Who reviews.  [default: the actor]")
@click.option("--split", metavar="S", help="Only pairs of this split.")
@click.option("--all", "everything", is_flag=True, help="Include pairs that you have decided on.")
@click.option("--to-csv", type=CSV, metavar="FILE", help="Write the pairs as a CSV to fill in instead.")
@click.option("--from-csv", type=CSV, metavar="FILE", help="Read a filled-in CSV.")
@FORCE
@common
def review(
    settings: Settings,
    reference: str,
    reviewer: str | None,
    split: str | None,
    everything: bool,
    to_csv: Path | None,
    from_csv: Path | None,
    force: bool,
) -> None:
    """Decide on each pair that you have not reviewed yet, with one key.

    \b
    a accept   r reject   w needs work   s skip   b back   q quit

    Each decision is stored at once: stop whenever you like, and the next call continues there. Reviews belong to the
    dataset, so they also hold for later versions with the same pairs. Keys can come from a pipe, one per line, with
    the reason after r or w on the same line.
    """
    with settings.open() as registry:
        version = registry.datasets.get(reference)
        name = reviewer or registry.actor
        if to_csv and from_csv:
            raise UsageError("--to-csv and --from-csv are given", "Give one of the two.")
        if to_csv:
            written = registry.datasets.review_sheet(version, to_csv, reviewer=name, split=split, force=force)
            done: dict[str, Any] = {"out": str(to_csv), "pairs": written}
            states = "accepted, rejected, needs-work"
            said = f"Wrote {count(written, 'pair')} to {to_csv}. Fill in state ({states}) and reason."
        elif from_csv:
            stored = registry.datasets.review_from(version, from_csv, reviewer=name)
            done = {"decisions": stored}
            said = f"Stored {count(stored, 'new decision')} of {name}."
        else:
            if settings.as_json:
                raise UsageError("an interactive review prints no JSON", "Use caa dataset reviews --json.")
            stored = _walk(registry, version, name, split, everything)
            done, said = {}, f"Stored {count(stored, 'decision')} of {name}."
    if settings.as_json:
        output.print_json(done)
    else:
        output.message(said)


def _walk(registry: Registry, version: DatasetVersion, name: str, split: str | None, everything: bool) -> int:
    """Ask for each pair in turn; how many decisions were stored."""
    from caa_registry.registry.datasets.review import undecided

    items = registry.datasets.pairs(version, split)
    found = registry.datasets.reviews(version)
    todo = list({item.digest: item for item in items}.values()) if everything else undecided(items, found, name)
    total = len({item.digest for item in items})
    if not todo:
        output.message(f"{name} has reviewed every pair of {version.reference} ({total}).")
        return 0
    findings = _findings(registry, version)
    before = total - len(todo)
    place = stored = 0
    while place < len(todo):
        item = todo[place]
        print_item(f"{before + place + 1} of {total}", item)
        for line in findings[item.digest]:
            click.echo(f"  {click.style('lint', bold=True)}      {output.visible(line)}")
        key, reason = _asked()
        if key == "q":
            break
        if key == "b":
            place = max(0, place - 1)
            continue
        if key in _KEYS:
            stored += registry.datasets.review(version, [(item.digest, _KEYS[key], reason)], reviewer=name)
        place += 1
    return stored


def _asked() -> tuple[str, str]:
    """A key that means something, and the reason given with it. The end of the input quits."""
    while True:
        if sys.stdin.isatty():
            click.echo(f"[{_HELP}] ", nl=False, err=True)
            line = click.getchar()
            click.echo(line if line.isprintable() else "", err=True)
        else:
            line = sys.stdin.readline()
            if not line:
                return "q", ""
        key, reason = line[:1].lower(), line[1:].strip()
        if key in "rw" and key and not reason and sys.stdin.isatty():
            reason = click.prompt("Reason", default="", show_default=False, err=True).strip()
        if key and key in "arwsbq":
            return key, reason


def _findings(registry: Registry, version: DatasetVersion) -> dict[str, list[str]]:
    report = registry.datasets.lint_report(version)
    found: dict[str, list[str]] = defaultdict(list)
    for finding in report.findings if report else ():
        found[finding.pair].append(f"{finding.rule}: {finding.message}")
    return found


@click.command(epilog="Example: caa dataset reviews team/refusal")
@click.argument("reference")
@common
def reviews(settings: Settings, reference: str) -> None:
    """Show how far a dataset is reviewed, how well reviewers agree, and where they do not."""
    with settings.open() as registry:
        found = registry.datasets.reviews(reference)
        items = {item.digest: item for item in registry.datasets.pairs(reference)}
    agreements = found.agreements()
    if settings.as_json:
        output.print_json(reviews_json(found))
        return
    states = ["accepted", "rejected", "needs-work", "proposed"]
    rows = [(name, *(found.counts(name).get(state, 0) for state in states)) for name in found.reviewers]
    empty = f"Nobody has reviewed {found.dataset} yet: caa dataset review {found.dataset}"
    output.table(["reviewer", "accepted", "rejected", "needs work", "undecided"], rows, empty=empty)
    for one in agreements:
        kappa = "not defined (all the same)" if one.kappa is None else f"{one.kappa:.2f}"
        share = f"{one.same} of {one.n}" if one.n else "no pair in common"
        output.line(f"{one.one} and {one.other}: {share} the same, Cohen's kappa {kappa}")
    different = found.disagreements()
    if different:
        click.echo()
        shown = [
            (short(said[0].pair), _text(items[said[0].pair]), "; ".join(f"{d.reviewer}: {_said(d)}" for d in said))
            for said in different
        ]
        output.table(["pair", "prompt", "decisions"], shown, empty="")


def _said(decision: Any) -> str:
    return f"{decision.state} ({decision.reason})" if decision.reason else str(decision.state)


def _text(item: PairItem) -> str:
    text = " ".join((item.pair.prompt or item.pair.positive).split())
    return text if len(text) <= 60 else f"{text[:60]} ..."


@click.command(epilog="Example: caa dataset cut team/refusal --rule majority --name team/reviewed")
@click.argument("reference")
@click.option(
    "--rule",
    type=click.Choice(["all", "majority", "any"]),
    default="all",
    show_default=True,
    help="Which of a pair's reviewers must have accepted it.",
)
@click.option("--reviewer", "reviewers", multiple=True, metavar="NAME", help="Count only this reviewer; repeatable.")
@click.option("--name", metavar="N", help="Dataset of the result.  [default: the same, its next version]")
@MESSAGE
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@common
def cut(
    settings: Settings,
    reference: str,
    rule: Any,
    reviewers: Sequence[str],
    name: str | None,
    message: str,
    dry_run: bool,
) -> None:
    """Make a version that holds the pairs that reviewers accepted."""
    with settings.open() as registry:
        curated = registry.datasets.cut(
            reference, rule=rule, reviewers=reviewers, name=name, message=message, dry_run=dry_run
        )
    say_curated(settings, curated, dry_run=dry_run)
