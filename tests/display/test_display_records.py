"""What is handed out shows itself in few characters, escaped, and rows become data frames."""

from __future__ import annotations

import inspect
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.every_record import given_by_hand, handed_out, within

import caa_registry as caa
from caa_registry.display.listing import Listing
from caa_registry.display.records import Record, Table

# Under way, and no record.
_NO_RECORDS = {"ScriptRun"}
# The base of others.
_ABSTRACT = {"EvaluationSettings", "Operation"}
_LINE, _PAGE = 600, 4_000


class Page(HTMLParser):
    """What a notebook makes of HTML: its elements, and the texts in them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= set(attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def check_shown(record: Record) -> None:
    html, line = record._repr_html_(), repr(record)
    assert len(html) < _PAGE and len(line) <= _LINE
    page = Page(html)
    assert page.tags <= {"div", "style", "b", "i", "table", "tr", "th", "td"}
    assert page.attributes <= {("class", "caa")}
    assert line.startswith(f"{type(record).__name__}(") and "\n" not in line


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAA_HOME", str(folder / "home"))
        with caa.open(str(folder / "r.db"), actor="ada") as registry:
            yield list(handed_out(registry, folder))


@pytest.fixture(scope="module")
def records(things: list[Any]) -> list[Record]:
    """Every record that was handed out, and one of each kind that only a caller makes."""
    return [record for thing in [*things, *given_by_hand()] for record in within(thing) if isinstance(record, Record)]


def test_every_public_record_is_one_and_is_shown_here(records: list[Record]) -> None:
    public = {name for name in caa.__all__ if is_dataclass(getattr(caa, name))} - _NO_RECORDS
    assert [name for name in sorted(public) if not issubclass(getattr(caa, name), Record)] == []
    assert sorted(public - _ABSTRACT - {type(record).__name__ for record in records}) == []


def test_every_record_is_short(records: list[Record]) -> None:
    assert len(records) > 500
    for record in records:
        check_shown(record)


def test_every_record_that_has_rows_becomes_a_data_frame(records: list[Record]) -> None:
    tables = [record for record in records if isinstance(record, Table)]
    assert {"Listing", "Evaluation", "VectorVersion", "VectorSet", "LintReport"} <= {type(t).__name__ for t in tables}
    for table in tables:
        frame = table.to_frame()
        assert isinstance(frame, pandas.DataFrame) and len(frame) == len(table._rows())


def test_what_a_table_chooses_is_there(records: list[Record]) -> None:
    for record in records:
        row = record._as_row()
        for name in [*(record._facts or "").split(), *(record._columns or "").split()]:
            assert name in row or hasattr(record, name) or "quality" in {f.name for f in fields(record)}, (record, name)


def of(things: list[Any], kind: type[Any]) -> Any:
    return next(thing for thing in things if isinstance(thing, kind))


def test_a_vector_shows_its_layers(things: list[Any]) -> None:
    vector = of(things, caa.VectorVersion)
    texts = Page(vector._repr_html_()).texts
    assert vector.reference in texts and vector.dataset in texts and "0.9988" in texts
    frame = vector.to_frame()
    assert list(frame.layer) == [0, 1, 2, 3, 4] and frame.auc.between(0, 1).all()
    assert list(frame.norm) == [layer.norm for layer in vector.layers]


def test_scores_are_a_frame(things: list[Any]) -> None:
    evaluation = of(things, caa.Evaluation)
    frame = evaluation.to_frame()
    assert list(frame.columns) == ["layer", "multiplier", "metric", "value", "ci_low", "ci_high", "n", "condition"]
    assert len(frame) == len(evaluation.scores) and frame.value.dtype == "float64"
    assert frame[frame.metric == "effect"].value.iloc[0] == evaluation.at(2, "effect").value
    assert len(evaluation.of("kl").to_frame()) == 3


def test_pairs_are_a_frame_with_what_their_source_said(things: list[Any]) -> None:
    listing = next(t for t in things if isinstance(t, Listing) and t.total == 160)
    frame = listing.to_frame()
    assert list(frame.columns[:3]) == ["prompt", "positive", "negative"] and "row" in frame.columns
    assert frame.prompt[0] == listing[0].pair.prompt and set(frame.split) == {"generate", "test"}
    assert "10 of 160 rows: to_frame() has 160" in "".join(Page(listing._repr_html_()).texts)


def test_a_listing_of_vectors_is_a_frame(things: list[Any]) -> None:
    listing = next(t for t in things if isinstance(t, Listing) and isinstance(t[0], caa.VectorVersion))
    frame = listing.to_frame()
    assert set(frame.name) == {"team/agreeing", "team/mood"} and set(frame.model) == {"demo"}
    assert listing[:1].total == 2 and listing[:1] == [listing[0]] and "1 of 2 rows" in listing[:1]._repr_html_()


def test_next_tokens_by_layer_and_strength_are_a_frame(things: list[Any]) -> None:
    table = of(things, caa.NextTokenTable)
    frame = table.to_frame()
    assert list(frame.columns) == ["layer", "multiplier", "id", "text", "probability", "logit"]
    assert len(frame) == 1 + 5 * len(table.multipliers) and frame.layer.isna().sum() == 1


@dataclass(frozen=True)
class Anything(Table):
    """A record of any value."""

    value: Any
    rows: tuple[Any, ...] = ()

    def _rows(self) -> tuple[Any, ...]:
        return self.rows


@dataclass(frozen=True)
class Named(Record):
    """A record with a name."""

    name: str
    number: int | None = None
    text: str = ""


_TEXTS = st.text() | st.sampled_from(["<script>alert(1)</script>" * 9, "&<>\"'" * 200, "\u202e\x1b[31m", "x" * 10_000])
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _TEXTS
    | st.binary()
    | st.datetimes()
    | st.builds(Named, _TEXTS)
    | st.just(np.zeros((3, 4), dtype=np.float32)),
    lambda inner: (
        st.lists(inner, max_size=30) | st.dictionaries(_TEXTS, inner, max_size=30) | st.builds(Anything, inner)
    ),
    max_leaves=40,
)
_ROWS = st.dictionaries(_TEXTS, _VALUES, max_size=20) | st.builds(Named, _TEXTS, text=_TEXTS)


@settings(max_examples=200, deadline=None)
@given(value=_VALUES, rows=st.lists(_ROWS, max_size=30).map(tuple))
def test_anything_is_short_and_escaped(value: Any, rows: tuple[Mapping[str, Any] | Named, ...]) -> None:
    check_shown(Anything(value, rows))


def test_nothing_of_a_text_is_read_as_html() -> None:
    hostile = "<img src=x onerror=alert(1)><!-- </table></div> & \"' \u202e"
    for record in (caa.Pair(hostile, "a", hostile), Listing.whole([Named(hostile, text=hostile)])):
        page = Page(record._repr_html_())
        assert "img" not in page.tags and "script" not in page.tags
        assert any(
            text.startswith("<img src=x onerror=alert(1)><!-- </table></div> & \"' \\u202e") for text in page.texts
        )


def test_where_escaping_makes_texts_long_fewer_rows_and_values_are_shown() -> None:
    rows = tuple({f"<{column}>": "&" * 200 for column in range(30)} for _ in range(30))
    table = Anything({f"<{place}>": "&" * 500 for place in range(50)}, rows)
    check_shown(table)
    assert "of 30 rows, 21 columns more: to_frame() has 30" in table._repr_html_()

    many = make_dataclass(
        "Many", [(f"value{place}", str, "&" * 500) for place in range(40)], bases=(Record,), frozen=True
    )
    check_shown(many())
    assert "values more" in many()._repr_html_() and repr(many()).endswith(", …)")


def test_cuts_say_how_much_there_is() -> None:
    html = Anything(list(range(0, 2000, 2)), tuple({"a": i} for i in range(1234)))._repr_html_()
    assert "10 of 1,234 rows: to_frame() has 1,234" in html
    assert "… 997 more" in Anything(["a"] * 1000)._repr_html_() and "… 997 more" in repr(Anything(["a"] * 1000))
    wide = Anything(None, (dict.fromkeys(string.ascii_letters, 1),))
    assert "1 of 1 rows, 43 columns more: to_frame() has 1" in wide._repr_html_()
    assert len(wide.to_frame().columns) == 52


def test_a_space_at_an_end_is_seen() -> None:
    assert "' (A)'" in Page(caa.Pair("q", " (A)", "(A)")._repr_html_()).texts


def test_an_empty_listing_says_so() -> None:
    empty: Listing[Named] = Listing.whole([])
    assert Page(empty._repr_html_()).texts[-1] == " of no rows" and repr(empty) == "Listing(rows=[], total=0)"
    assert empty.to_frame().empty


def test_a_record_of_ones_own_repr_keeps_it() -> None:
    @dataclass(frozen=True)
    class Own(Record):
        secret: str = field(repr=False)
        _facts: ClassVar = ""

        def __repr__(self) -> str:
            return "Own()"

    assert repr(Own("key")) == "Own()" and "key" not in Own("key")._repr_html_()


def test_no_fact_needs_a_call() -> None:
    for name in caa.__all__:
        kind = getattr(caa, name)
        if inspect.isclass(kind) and issubclass(kind, Record):
            for fact in (kind._facts or "").split():
                assert not inspect.isfunction(getattr(kind, fact, None)), (name, fact)


def test_moments_are_in_short() -> None:
    assert "2026-11-29 14:57" in Anything(datetime(2026, 11, 29, 14, 57, 1, tzinfo=UTC))._repr_html_()


def test_a_judge_shows_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_JUDGE_KEY", "sk-secret")
    judge = next(
        record for thing in given_by_hand() for record in within(thing) if isinstance(record, caa.EndpointJudge)
    )
    assert "sk-secret" not in judge._repr_html_() + repr(judge)
