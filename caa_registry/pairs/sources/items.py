"""Rows become items: texts picked, cleaned and checked, the rest kept as metadata."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from caa_registry.errors import InputError, UsageError, shortened
from caa_registry.pairs.answers import sides_of
from caa_registry.pairs.choices import place_of
from caa_registry.pairs.record import (
    TEST,
    DatasetKind,
    Imported,
    Pair,
    PairItem,
    QuestionItem,
    check_split_name,
    checked_pair,
    checked_question,
    checked_text,
)
from caa_registry.pairs.source import Source
from caa_registry.pairs.sources import notes as sentences
from caa_registry.pairs.sources.cleaning import VERBATIM, Cleaning
from caa_registry.pairs.sources.columns import (
    OPTIONAL,
    RESERVED,
    Columns,
    find_columns,
    later_columns,
    no_column,
    respelled,
)
from caa_registry.pairs.sources.conversations import Conversations
from caa_registry.pairs.sources.files import SourceData
from caa_registry.pairs.sources.json_values import UnusableJson, json_value
from caa_registry.pairs.sources.replies import Replies
from caa_registry.pairs.sources.rows import Row, counted, listed, no_rows, say_rows_before

MAX_METADATA_DEPTH = 32
# Columns, and values in lists and objects, that rows may keep as metadata: so many, and more for each row.
_MOST_KEPT = 500_000
_KEPT_A_ROW = 40

_UNUSABLE = object()
# The columns of an export (pairs/export/rows.py).
_EXPORTED = {"prompt", "positive", "negative", "system", "turns", "split", "question", "metadata"}

Choice = Callable[[Row], Cleaning]
"""Which convention a row follows: that of the first row, which all have to follow."""


class ItemBuilder:
    """Turns the rows of one source into items of one kind, and collects the notes.

    ``split``: of all rows; one that names another is an error. ``home``: of the rows that name none, where ``split`` is
    ``None``. ``limit``: how many rows are read, all if ``None``."""

    def __init__(
        self,
        file: SourceData,
        choose: Choice,
        split: str | None,
        given: Mapping[str, str],
        *,
        home: str | None = None,
        limit: int | None = None,
    ) -> None:
        self._file = file
        self._choose = choose
        self._split = split
        self._home = home
        self._limit = limit
        self._replies = Replies()
        self._given = given
        self._columns = Columns()
        # The orders of columns that rows have, each with the names that are spelled otherwise.
        self._layouts: dict[tuple[str, ...], Mapping[str, str]] = {}
        self.cleaning = VERBATIM
        self.notes = sentences.Notes()
        self._conversations = Conversations(file, given, self.notes)
        self.kind: DatasetKind = "pairs"
        self._may_keep = _MOST_KEPT

    def build(self, rows: Iterable[Row]) -> list[PairItem] | list[QuestionItem]:
        """The items in row order. The first bad row raises ``InputError``; no rows at all do too."""
        pairs: list[PairItem] = []
        questions: list[QuestionItem] = []
        for row in counted(rows, self._file):
            before = len(pairs) + len(questions)
            try:
                row = self._laid_out(row, first=not before)
                if self.kind == "questions":
                    questions.append(self._question(row))
                else:
                    pairs.append(self._pair(row))
                    self._replies.add(pairs[-1], row.number)
            except InputError as error:
                if error.row is None:
                    error = self._bad(error.message, error.hint, row)
                raise say_rows_before(error, before) from error.__cause__
            if before + 1 == self._limit:
                break
        if not pairs and not questions:
            raise no_rows(self._file)
        for part in OPTIONAL:
            name = self._given.get(part)
            if name and not any(name in layout for layout in self._layouts):
                raise no_column(part, name, list(next(iter(self._layouts))), self._file.label, None)
        return questions if self.kind == "questions" else pairs

    def imported(self, items: Sequence[PairItem] | Sequence[QuestionItem], source: Source, licence: str) -> Imported:
        """The ``items`` that were built, with what a person should know of them."""
        notes = [*self.notes.sentences(), *self._replies.notes.sentences()]
        return Imported(self.kind, items, source, licence, notes, self._replies.mixture)

    def _laid_out(self, row: Row, *, first: bool) -> Row:
        """``row`` with its columns as they are known. The first row decides which they are; what begins in a later one
        counts from there, or is an error."""
        names = tuple(row.values)
        others = self._layouts.get(names)
        new = others is None
        if others is None:
            others = respelled(names, self._given, source=self._file.label, row=row.number)
            self._layouts[names] = others
        if others:
            row = replace(row, values={others.get(name, name): value for name, value in row.values.items()})
        if row.conversation is None:
            row = self._conversations.read(row, exported=_is_exported(row.values))
        if first:
            self.cleaning = self._choose(row)
            self._columns = find_columns(list(row.values), self._given, source=self._file.label, row=row.number)
            self.kind = "questions" if self._columns.question else "pairs"
        elif new:
            self._columns = later_columns(
                self._columns, row.values.keys(), self._given, source=self._file.label, row=row.number
            )
        if not first and self.kind == "pairs" and self._choose(row) is not self.cleaning:
            chosen = self.cleaning.name or "verbatim"
            raise self._bad(
                f"the row is not laid out as those before it, whose texts are read as the format {chosen}",
                "Say how all rows are read: --format NAME, or --column FIELD=COLUMN to keep the texts as they are.",
                row,
            )
        return row

    def _bad(self, message: str, hint: str, row: Row, field: str = "") -> InputError:
        return InputError(message, hint, source=self._file.label, row=row.number, field=field)

    def _pair(self, row: Row) -> PairItem:
        columns, said = self._columns, row.conversation
        prompt = said.prompt if said else self._text(row, columns.prompt) if columns.prompt else ""
        pair = checked_pair(
            Pair(
                prompt=self._cleaned(self.cleaning.prompt, prompt, row),
                positive=self._answer(row, columns.positive),
                negative=self._answer(row, columns.negative),
                system=said.system if said else self._optional(row, columns.system),
                turns=said.turns if said else (),
            ),
            source=self._file.label,
            row=row.number,
        )
        metadata = self._metadata(row)
        sides = sides_of(pair)
        if len(sides.choices) > 2:
            metadata["choices"] = len(sides.choices)
            self.notes.add(sentences.MORE_CHOICES, row.number)
        if sides.letters and place_of(sides.letters[0]) > 1:
            self.notes.add(sentences.OTHER_LETTER, row.number)
        for sentence in self.cleaning.remarks(pair, row.values):
            self.notes.add(sentence, row.number)
        return PairItem(pair, self._split_of(row) or self._home or self.cleaning.split, metadata)

    def _question(self, row: Row) -> QuestionItem:
        columns = self._columns
        assert columns.question
        beside = {columns.question, "split", columns.split, "metadata", *RESERVED}
        if "question" not in self._given and set(row.values) - beside:
            raise self._bad(
                f"the row has more than a question: {listed(row.values)}",
                "The first row is an open-ended question, so all have to be.",
                row,
            )
        text = self._text(row, columns.question)
        text = text.strip() if self.cleaning.name else text
        checked_question(text, source=self._file.label, row=row.number)
        return QuestionItem(text, self._split_of(row) or self._home or TEST, self._metadata(row))

    def _text(self, row: Row, column: str) -> str:
        if column not in row.values:
            raise self._bad(f"the field is missing; columns: {listed(row.values)}", "Every row needs it.", row, column)
        value = row.values[column]
        if not isinstance(value, str):
            answers = column in (self._columns.positive, self._columns.negative)
            several = answers and isinstance(value, list) and all(isinstance(part, str) for part in value)
            hint = " Of several answers take one, or make a row of each." if several and value else ""
            missing = isinstance(value, float) and math.isnan(value)
            kind = "null" if value is None else "NaN, which marks a missing value" if missing else type(value).__name__
            raise self._bad(f"not a string but {kind}", f"Write one text.{hint}", row, column)
        return value

    def _answer(self, row: Row, column: str) -> str:
        value = row.values.get(column)
        if self.cleaning.first_of_list and isinstance(value, list):
            if not value:
                raise self._bad("the list of answers is empty", "Every pair needs both sides.", row, column)
            if len(value) > 1:
                self.notes.add(sentences.SEVERAL_ANSWERS, row.number)
            row = Row(row.number, {**row.values, column: value[0]})
        return self._cleaned(self.cleaning.answer, self._text(row, column), row)

    def _cleaned(self, clean: Callable[[str], str], text: str, row: Row) -> str:
        cleaned = clean(text)
        if self.cleaning.normalizes and cleaned != text:
            self.notes.add(sentences.NORMALIZED, row.number)
        return cleaned

    def _optional(self, row: Row, column: str | None) -> str:
        if column is None or row.values.get(column) is None:
            return ""
        return self._text(row, column)

    def _split_of(self, row: Row) -> str | None:
        own = self._optional(row, self._columns.split)
        if not own.strip():
            return self._split
        if self._split is not None and own != self._split:
            raise UsageError(
                f"{self._file.label}, row {row.number}: the row names its own split {own!r}, not {self._split!r}",
                "Leave --split out, or add --column split= to ignore the column.",
            )
        try:
            check_split_name(own[:65])
        except UsageError as error:
            raise self._bad(error.message, error.hint, row, self._columns.split or "") from None
        return own

    def _metadata(self, row: Row) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        self._may_keep += _KEPT_A_ROW
        self._keep(len(row.values), row, "")
        for name, value in self._unfolded(row).items():
            if name in self._columns.used or (row.conversation and name == "prompt"):
                continue
            checked_text(name, source=self._file.label, row=row.number)
            usable = self._json(value, row, name, 0)
            if usable is _UNUSABLE:
                self.notes.add(sentences.left_out(name), row.number)
            else:
                kept[f"source_{name}" if name in RESERVED else name] = usable
        kept["row"] = row.number
        return kept

    def _keep(self, values: int, row: Row, name: str) -> None:
        self._may_keep -= values
        if self._may_keep < 0:
            raise self._bad(
                f"this row and those before it have more than {_MOST_KEPT:,} values beside their texts",
                "Leave out columns that are no texts of pairs.",
                row,
                name,
            )

    def _json(self, value: Any, row: Row, name: str, depth: int) -> Any:
        if depth > MAX_METADATA_DEPTH:
            raise self._bad("nested too deeply", "Flatten the column or leave it out.", row, name)
        if isinstance(value, str):
            return checked_text(value, source=self._file.label, row=row.number, field=name)
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            if math.isnan(value):
                self.notes.add(sentences.no_number(name), row.number)
                return None
            return value if math.isfinite(value) else _UNUSABLE
        if isinstance(value, list | dict):
            self._keep(len(value), row, name)
        if isinstance(value, list):
            parts = [self._json(part, row, name, depth + 1) for part in value]
            return _UNUSABLE if any(part is _UNUSABLE for part in parts) else parts
        if isinstance(value, dict):
            keys = [checked_text(str(key), source=self._file.label, row=row.number, field=name) for key in value]
            if len(set(keys)) != len(keys):
                raise self._bad("an object has two keys that are the same as text", "Leave one of them.", row, name)
            parts = [self._json(part, row, name, depth + 1) for part in value.values()]
            return _UNUSABLE if any(part is _UNUSABLE for part in parts) else dict(zip(keys, parts, strict=True))
        return _UNUSABLE

    def _unfolded(self, row: Row) -> Mapping[str, Any]:
        """The values of a row, and those in its ``metadata`` where the row is one that an export wrote."""
        values = row.values
        if not _is_exported(values):
            return values
        folded = values["metadata"]
        if isinstance(folded, str):
            if not folded.lstrip().startswith("{"):
                return values
            try:
                folded = json_value(folded)
            except UnusableJson as error:
                raise self._bad(f"{error} (key {shortened(error.key, 100)!r})", error.hint, row, "metadata") from None
            except (ValueError, RecursionError):
                return values
        if not isinstance(folded, dict) or set(folded) & {*_EXPORTED, *RESERVED}:
            return values
        return {**{name: value for name, value in values.items() if name != "metadata"}, **folded}


def _is_exported(values: Mapping[str, Any]) -> bool:
    """Whether a row has the columns that an export writes, and no other."""
    return "metadata" in values and set(values) <= _EXPORTED
