"""What is handed out shows itself: in a short line, as a small table in a notebook, and rows as a data frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from datetime import datetime
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from caa_registry.digests import DIGEST, short
from caa_registry.errors import visible
from caa_registry.wording import ranges

if TYPE_CHECKING:
    import pandas

Row = Mapping[str, Any]

# Characters of a text, of a line, of both within a line, of a text that has a line to itself, of a row, and of a table;
# values of a list and of a mapping; rows and columns of a table.
_TEXT, _LINE, _INNER_TEXT, _INNER_LINE, _LONG, _WIDTH, _PAGE = 60, 600, 24, 100, 300, 400, 3_800
_VALUES, _CELLS, _ROWS, _COLUMNS = 3, 8, 10, 9
# Notebooks align cells to the right. No color is set, so that light and dark themes keep their own.
_STYLE = "<style>.caa td,.caa th{text-align:left!important;vertical-align:top}</style>"
_EMPTY: tuple[Any, ...] = (None, "", (), [], {})


class Record:
    """A frozen dataclass that is handed out. Its ``repr`` has at most 600 characters and its table in a notebook fewer
    than 4,000, whatever it holds: long texts are cut, and of long lists the first values are shown with how many more
    there are. Values that are empty by default are left out. Everything in the table is escaped.

    A class may choose: ``_facts``, the names of the attributes that its table shows, and ``_columns``, those that a
    table of several shows, with spaces between; by default the fields.
    """

    _facts: ClassVar[str | None] = None
    _columns: ClassVar[str | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in cls.__dict__:  # else the dataclass writes one that shows everything
            cls.__repr__ = Record.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return _line(self, _LINE, _TEXT)

    def _repr_html_(self) -> str:
        facts = self._facts
        return page(self, [each.name for each in _shown_fields(self)] if facts is None else facts.split())

    def _called(self) -> str:
        """What the record is called where another one names it; empty where it has no name."""
        for name in ("reference", "name"):
            found = getattr(self, name, None)
            if isinstance(found, str):
                return found
        return ""

    def _as_row(self) -> dict[str, Any]:
        """Its values by column. A record in it is named, or where it has no name gives columns of its own."""
        row: dict[str, Any] = {}
        for each in _shown_fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Record):
                name = value._called()
                row |= {each.name: name} if name else {f"{each.name}_{k}": v for k, v in value._as_row().items()}
            else:
                row[each.name] = value
        return row


class Table(Record):
    """A record that has rows."""

    def _rows(self) -> Sequence[Record | Row]:
        """The rows, in order."""
        raise NotImplementedError

    def _of(self) -> int:
        """How many rows there are, those that are not handed out too."""
        return len(self._rows())

    def to_frame(self) -> pandas.DataFrame:
        """The rows as a pandas data frame, all of them and with every column."""
        import pandas

        rows = [_row(row) for row in self._rows()]
        columns = dict.fromkeys(name for row in rows for name in row)
        return pandas.DataFrame({name: [row.get(name) for row in rows] for name in columns})


def in_line(value: object, most: int = _TEXT) -> str:
    """A value as a ``repr`` shows it; of texts the first ``most`` characters."""
    if isinstance(value, Record):
        name = value._called()
        return f"{type(value).__name__}({in_line(name, most)})" if name else _line(value, _INNER_LINE, _INNER_TEXT)
    if isinstance(value, str):
        return repr(f"{value[:19]}…" if DIGEST.fullmatch(value) else _cut(value, most))
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        pairs = (f"{in_line(key, _INNER_TEXT)}: {in_line(held, _INNER_TEXT)}" for key, held in value.items())
        return f"{{{_first(pairs, len(value))}}}"
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return f"[{_first((in_line(held, _INNER_TEXT) for held in value), len(value))}]"
    return _brief(value) or _cut(repr(value), most)


def in_cell(value: object, most: int = _TEXT) -> str:
    """A value as a table shows it, unescaped; of texts the first ``most`` characters."""
    if value is None:
        return ""
    if isinstance(value, Record):
        name = value._called()
        return in_cell(name or value._as_row(), most)
    if isinstance(value, str):
        text = short(value) if DIGEST.fullmatch(value) else _cut(visible(value), most)
        return text if text == text.strip() else repr(text)  # a space at an end can make the difference
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        held = ((in_cell(key), in_cell(held)) for key, held in islice(value.items(), _CELLS))
        return _cut(", ".join(f"{key} {text}" for key, text in held if text), most)
    if isinstance(value, list | tuple) and len(value) > _VALUES and all(type(each) is int for each in value):
        return _cut(ranges(value), most)
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return _first((in_cell(held) for held in value), len(value))
    return _brief(value) or _cut(visible(str(value)), most)


def page(record: Record, facts: Iterable[str]) -> str:
    """The HTML of a record: what it is, its ``facts``, and the first of its rows."""
    kind = type(record).__name__
    name = record._called()
    said = (("reference", name), ("name", name))
    parts = [f"<div>{_STYLE}<b>{escape(kind)}</b> {escape(in_cell(name))}"]
    row = record._as_row()
    values = {fact: in_cell(getattr(record, fact, row.get(fact)), _LONG) for fact in facts}
    lines = [_cells([(fact, "th"), (text, "td")]) for fact, text in values.items() if text and (fact, text) not in said]
    parts += _table(lines, _PAGE // 2 if isinstance(record, Table) else _PAGE, "values")
    if isinstance(record, Table):
        parts += _shown_rows(record, _PAGE - sum(map(len, parts)))
    return "".join([*parts, "</div>"])


def _shown_rows(record: Table, room: int) -> list[str]:
    rows, there = record._rows(), record._of()
    first = [(row, _row(row)) for row in rows[:_ROWS]]
    wanted = next((row._columns.split() for row, _ in first if isinstance(row, Record) and row._columns), None)
    values = [{name: held.get(name, getattr(row, name, None)) for name in wanted or held} for row, held in first]
    filled = [
        name
        for name in dict.fromkeys(k for row in values for k in row)
        if any(in_cell(row.get(name)) for row in values)
    ]
    columns = filled[:_COLUMNS]
    most = max(_TEXT, _WIDTH // max(len(columns), 1))
    lines = [_cells([(in_cell(name), "th") for name in columns])]
    lines += [_cells([(in_cell(row.get(name), most), "td") for name in columns]) for row in values]
    shown: list[str] = []
    for line in lines:
        room -= len(line)
        if room < 200:
            break
        shown.append(line)
    count = max(len(shown) - 1, 0)
    more = f", {len(filled) - _COLUMNS} columns more" if len(filled) > _COLUMNS else ""
    whole = count == len(rows) == there and not more
    rest = "" if whole else f"<i>{count:,} of {there:,} rows{more}: to_frame() has {len(rows):,}</i>"
    return ["<table class=caa>", *shown, "</table>", rest] if count else [rest]


def _table(lines: Sequence[str], room: int, what: str) -> list[str]:
    shown: list[str] = []
    for line in lines:
        if room < len(line) + 200:
            break
        room -= len(line)
        shown.append(line)
    more = [f"<i>{len(lines) - len(shown)} {what} more</i>"] if len(shown) < len(lines) else []
    return ["<table class=caa>", *shown, "</table>", *more] if shown else more


def _cells(texts: Iterable[tuple[str, str]]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(text, quote=False)}' for text, tag in texts)}"


def _brief(value: Any) -> str:
    """What numbers, moments and arrays are; empty for anything else."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"
    return ""


def _line(record: Record, room: int, most: int) -> str:
    values = [
        f"{each.name}={in_line(getattr(record, each.name), most)}"
        for each in _shown_fields(record)
        if not (each.default is not MISSING and _is_empty(getattr(record, each.name)))
    ]
    return _call(type(record).__name__, values, room)


def _first(values: Iterator[str], of: int) -> str:
    first = list(islice(values, _VALUES if of > _VALUES + 1 else of))
    return ", ".join([*first, f"… {of - len(first):,} more"] if of > len(first) else first)


def _call(name: str, values: Sequence[str], room: int) -> str:
    """``name(value, value)``, without the last ones where they need more room than there is."""
    kept: list[str] = []
    for value in values:
        room -= len(value) + 2
        if room < len(name) + 4:
            kept.append("…")
            break
        kept.append(value)
    return f"{name}({', '.join(kept)})"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _is_empty(value: object) -> bool:
    return any(type(value) is type(empty) and value == empty for empty in _EMPTY)


def _shown_fields(record: Record) -> list[Field[Any]]:
    # Every record is a dataclass, which a base class cannot say.
    return [each for each in fields(record) if each.repr]  # type: ignore[arg-type]


def _row(row: Record | Row) -> Row:
    return row._as_row() if isinstance(row, Record) else row
