"""Ratings by people: a CSV to fill in, and read back.

A sheet has the columns ``id``, ``question``, ``answer`` and ``rating``, which is empty. It says nothing of vectors and
multipliers, and its rows are shuffled. The same answer to the same question is one row, however it came about: the id
is made from both, so that a sheet needs nothing kept beside it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

from caa_registry.digests import digest_object, short
from caa_registry.errors import InputError, UsageError
from caa_registry.evaluation.open_ended.judging import Answered, JudgeIdentity, Rating
from caa_registry.evaluation.open_ended.rubrics import HIGHEST, LOWEST, Rubric
from caa_registry.pairs.sources.csv_rows import csv_rows
from caa_registry.pairs.sources.files import read_file
from caa_registry.pairs.sources.rows import listed
from caa_registry.pairs.spreadsheet import check_commas
from caa_registry.pairs.spreadsheet import write_sheet as sheet_file

COLUMNS = ("id", "question", "answer", "rating")

_NUMBER = re.compile(r"[0-9]{1,2}(?:\.[0-9]+)?")


def write_sheet(path: Path, answers: Sequence[Answered], seed: int, *, force: bool = False) -> int:
    """Write the sheet of ``answers`` to ``path`` and return its number of rows. ``seed`` shuffles them.

    A text that a spreadsheet program would take for a formula gets an apostrophe before it. Raises ``UsageError``
    where ``path`` exists, since it may hold ratings, unless ``force`` is set, ``WriteError`` where it cannot be
    written.
    """
    rows = dict(sorted((sheet_id(answered), answered) for answered in answers))
    order = list(rows)
    random.Random(seed).shuffle(order)
    cells = ([row, rows[row].question, rows[row].answer, ""] for row in order)
    sheet_file(path, COLUMNS, cells, "ratings", force=force)
    return len(order)


def read_sheet(path: Path, answers: Sequence[Answered]) -> list[Rating]:
    """A rating of each of ``answers``, in their order, from one person's sheet.

    An empty rating, or a row that is gone, is a ``value`` of ``None``. Other columns are left alone; question and
    answer are not read. Raises ``InputError`` for an id that is not one of ``answers``, an id that comes twice, and
    a rating that is not a number from 0 to 10.
    """
    file = read_file(path)
    check_commas(file)
    ids = [sheet_id(answered) for answered in answers]
    known = set(ids)
    cells: dict[str, str] = {}
    rows: dict[str, int] = {}
    for row in csv_rows(file):
        absent = [column for column in ("id", "rating") if column not in row.values]
        if absent:
            raise InputError(
                f"it has no column {absent[0]!r}; columns: {listed(row.values)}",
                "The first line of a sheet is id,question,answer,rating.",
                source=file.label,
            )
        row_id, cell = row.values["id"].strip(), row.values["rating"].strip()
        if row_id not in known:
            raise InputError(
                f"{row_id[:40]!r} is the id of none of these answers",
                "Take the sheet that was written for them, with its ids as they are.",
                source=file.label,
                row=row.number,
                field="id",
            )
        if row_id in rows:
            raise InputError(
                f"the id {row_id} stands in row {rows[row_id]} already",
                "Keep one of the two; other raters have a file of their own.",
                source=file.label,
                row=row.number,
                field="id",
            )
        rows[row_id] = row.number
        if cell and not (_NUMBER.fullmatch(cell) and LOWEST <= float(cell) <= HIGHEST):
            raise InputError(
                f"{cell[:40]!r} is not a rating",
                f"Write a number from {LOWEST} to {HIGHEST}, such as 7 or 7.5, or leave it empty.",
                source=file.label,
                row=row.number,
                field="rating",
            )
        cells[row_id] = cell
    written = [cells.get(row_id, "") for row_id in ids]
    return [Rating(index, float(cell) if cell else None, cell) for index, cell in enumerate(written)]


def rater_identity(rater: str, rubric: Rubric) -> JudgeIdentity:
    """A person as a judge by ``rubric``."""
    if not rater.strip():
        raise UsageError("the rater has no name", "Give one, so that raters can be told apart.")
    return JudgeIdentity("human", rater.strip(), rubric.digest)


def sheet_id(answered: Answered) -> str:
    """12 hex digits that stand for a question and an answer."""
    return short(digest_object("answered", {"question": answered.question, "answer": answered.answer}))
