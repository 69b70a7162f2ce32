"""Damage copies of a registry, read them in every way that there is, and say what was noticed.

    python scripts/check_damage.py                       # 2,000 damages; about ten minutes
    python scripts/check_damage.py --count 100 --first 7 # fewer, beginning with another
    python scripts/check_damage.py --json                # figures as one flat JSON object on stdout

Bytes of the file, pages, and cells of all tables are damaged. Each reading must give what it gave before, or a typed
error that names the object. ``uncovered`` counts wrong readings of columns that no check covers, which
docs/durability.md lists. The exit code is 1 where anything else was silently wrong, or an error had no type.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from damage import make, outcome, views


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="how many damages (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (default 0)")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole, copy = Path(folder, "whole.db"), Path(folder, "copy.db")
        make(whole)
        before = views(whole)
        for seed in range(arguments.first, arguments.first + arguments.count):
            found = outcome(whole, before, copy, seed)
            counts[found.kind] += 1
            if found.kind in ("silent", "untyped"):
                print(f"{seed}: {found.kind}: {found.damage}\n    {found.detail}", file=sys.stderr)
    figures = {kind: counts[kind] for kind in ("harmless", "reported", "uncovered", "silent", "untyped")}
    if arguments.json:
        print(json.dumps({"damages": arguments.count, **figures}))
    else:
        print(f"{arguments.count} damages: " + ", ".join(f"{count} {kind}" for kind, count in figures.items()))
    return 1 if counts["silent"] or counts["untyped"] else 0


if __name__ == "__main__":
    sys.exit(main())
