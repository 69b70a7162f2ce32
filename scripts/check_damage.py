"""Damage copies of a registry, read them in every way that there is, and say what was noticed.

    python scripts/check_damage.py                       # 2,000 damages; about ten minutes
    python scripts/check_damage.py --count 100 --first 7 # fewer, beginning with another
    python scripts/check_damage.py --fsck                # what caa fsck finds; 4,000 damages, about ten minutes
    python scripts/check_damage.py --json                # figures as one flat JSON object on stdout

Bytes of the file, pages, and cells of all tables are damaged. Each reading must give what it gave before, or a typed
error that names the object. ``uncovered`` counts wrong readings of columns that no check covers, which
docs/durability.md lists. The exit code is 1 where anything else was silently wrong, or an error had no type.

With ``--fsck`` every kind of byte of a file, of its log and of a backup is damaged, files are cut, pages exchanged, and
every column of every table edited. Where SQLite then reads anything else, ``fsck`` finds something, opening fails, or
``restore`` makes nothing. ``unknown`` counts edits of what nothing else says, ``dropped`` what was lost from the end of
a damaged log, which the head of the audit shows. Printed is which check finds what.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from damage import make, outcome, views
from damage_fsck import UNKNOWN, Campaign, Found, LogCampaign, prepare
from faults import share_statements
from rich.console import Console
from rich.table import Table

_OUTCOMES = ("harmless", "found", "dropped", "unknown", "silent", "untyped")


def read(options: argparse.Namespace, folder: Path) -> tuple[dict[str, int], bool]:
    """What reading notices."""
    count = options.count or 2000
    counts: Counter[str] = Counter()
    whole, copy = folder / "whole.db", folder / "copy.db"
    make(whole)
    before = views(whole)
    for seed in range(options.first, options.first + count):
        found = outcome(whole, before, copy, seed)
        counts[found.kind] += 1
        if found.kind in ("silent", "untyped"):
            print(f"{seed}: {found.kind}: {found.damage}\n    {found.detail}", file=sys.stderr)
    figures = {kind: counts[kind] for kind in ("harmless", "reported", "uncovered", "silent", "untyped")}
    return {"damages": count, **figures}, not (counts["silent"] or counts["untyped"])


def check(options: argparse.Namespace, folder: Path) -> tuple[dict[str, int], bool]:
    """What fsck and restore find."""
    count = options.count or 4000
    whole, base, backup = folder / "whole.db", folder / "base.db", folder / "backup.db"
    make(whole)
    prepare(whole, base)
    _back_up(base, backup)
    part, first = max(count // 20, 1), options.first
    of_file, of_backup = Campaign(base, folder), Campaign(backup, folder)
    figures: Counter[str] = Counter()
    parts: list[tuple[str, Iterable[Found]]] = [
        ("bytes of a file", of_file.bytes(7 * part, first)),
        ("a file as a whole", of_file.ends(part, first)),
        ("bytes of a backup", of_backup.bytes(3 * part, first, backup=True)),
        ("a backup as a whole", of_backup.ends(part, first, backup=True)),
        ("bytes of a log", LogCampaign(base, folder).run(2 * part, first)),
        ("cells and rows", of_file.cells(max(count // 600, 1), first)),
    ]
    for title, found in parts:
        _tell(title, found, figures, sys.stderr if options.json else sys.stdout)
    return {"damages": sum(figures[name] for name in _OUTCOMES), **figures}, not (
        figures["silent"] or figures["untyped"]
    )


def _back_up(source: Path, target: Path) -> None:
    import caa_registry as caa

    with caa.open(str(source)) as registry:
        registry.backup(target)


def _tell(title: str, found: Iterable[Found], figures: Counter[str], stream: object) -> None:
    """Count what was found and print which check found it."""
    by_kind: dict[str, Counter[str]] = {}
    for each in found:
        figures[each.outcome] += 1
        # Of cells: by table; a column of which nothing is found has a line of its own.
        kind = each.kind if each.outcome in ("unknown", "silent") else each.kind.partition(".")[0]
        by = {"found": each.by, "dropped": f"dropped ({each.by})"}.get(each.outcome, each.outcome)
        by_kind.setdefault(kind, Counter())[by] += 1
        if each.outcome in ("silent", "untyped"):
            print(f"{each.outcome}: {each.detail}", file=sys.stderr, flush=True)
    table = Table("what was damaged", "times", "found by", title=title, title_justify="left")
    for kind, counts in sorted(by_kind.items()):
        table.add_row(kind, str(counts.total()), ", ".join(f"{by} {count}" for by, count in counts.most_common()))
    console = Console(file=stream, width=110)  # type: ignore[arg-type]
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, help="how many damages (default 2000, with --fsck 4000)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (default 0)")
    parser.add_argument("--fsck", action="store_true", help="what caa fsck finds, and caa restore refuses")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    options = parser.parse_args()
    logging.getLogger("caa_registry").setLevel(logging.ERROR)
    share_statements()
    with tempfile.TemporaryDirectory() as folder:
        figures, holds = (check if options.fsck else read)(options, Path(folder))
    if options.fsck and not options.json:
        for (table, column), why in UNKNOWN.items():
            print(f"not to be known: {table}.{column}: {why}")
    if options.json:
        print(json.dumps(figures))
    else:
        damages = figures.pop("damages")
        print(f"{damages} damages: " + ", ".join(f"{count} {kind}" for kind, count in figures.items()))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
