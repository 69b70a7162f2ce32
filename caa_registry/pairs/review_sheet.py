"""Reviews on a CSV sheet, for people who review in a spreadsheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from caa_registry.errors import InputError
from caa_registry.pairs import spreadsheet
from caa_registry.pairs.agreement import STATES, State
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources.csv_rows import csv_rows
from caa_registry.pairs.sources.files import read_file
from caa_registry.pairs.sources.rows import listed
from caa_registry.pairs.turns import turns_text

COLUMNS = ("digest", "split", "prompt", "positive", "negative", "state", "reason")

# The states, and the verbs that people write for them.
_STATES: Mapping[str, State] = {
    **{state: state for state in STATES},
    "accept": "accepted",
    "reject": "rejected",
    "need-work": "needs-work",
    "propose": "proposed",
}


def write_sheet(
    path: Path, items: Sequence[PairItem], decisions: Mapping[str, tuple[str, str]], *, force: bool = False
) -> int:
    """Write the pairs, each once, with the reviewer's ``decisions`` so far, (state, reason) by digest; how many pairs.

    A column ``turns`` shows what was said before the prompts, where anything was. Raises ``UsageError`` for a file that
    exists, unless ``force`` is set.
    """
    earlier = any(item.pair.turns for item in items)
    columns = (*COLUMNS[:2], "turns", *COLUMNS[2:]) if earlier else COLUMNS
    rows = {
        item.digest: (
            item.digest,
            item.split,
            *([turns_text(item.pair.turns)] if earlier else []),
            item.pair.prompt,
            item.pair.positive,
            item.pair.negative,
            *decisions.get(item.digest, ("", "")),
        )
        for item in items
    }
    spreadsheet.write_sheet(path, columns, rows.values(), "somebody's reviews", force=force)
    return len(rows)


def read_sheet(path: Path) -> list[tuple[str, State, str]]:
    """The decisions of a sheet that was filled in: (pair digest, state, reason); rows without a state are passed over.

    Raises ``InputError`` naming the row: for a column that is missing, an unknown state, a pair that is named twice.
    """
    file = read_file(path)
    spreadsheet.check_commas(file)
    rows: dict[str, int] = {}
    decisions = []
    for row in csv_rows(file):
        absent = [column for column in ("digest", "state") if column not in row.values]
        if absent:
            raise InputError(
                f"it has no column {absent[0]!r}; columns: {listed(row.values)}",
                f"The first line of a sheet is {','.join(COLUMNS)}.",
                source=file.label,
            )
        digest = row.values["digest"].strip()
        word = "-".join(row.values["state"].lower().split())
        if digest in rows:
            raise InputError(
                f"the pair is in row {rows[digest]} too", "Keep one of the rows.", source=file.label, row=row.number
            )
        rows[digest] = row.number
        if not word:
            continue
        if word not in _STATES:
            raise InputError(
                f"{word[:40]!r} is not a state",
                f"Write one of {', '.join(STATES)}, or leave it empty.",
                source=file.label,
                row=row.number,
                field="state",
            )
        decisions.append((digest, _STATES[word], row.values.get("reason", "").strip()))
    return decisions
