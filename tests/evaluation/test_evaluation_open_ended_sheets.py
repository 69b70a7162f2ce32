"""Ratings by people: a sheet goes out blind and comes back."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.evaluation.open_ended.human_ratings import (
    COLUMNS,
    rater_identity,
    read_sheet,
    sheet_id,
    write_sheet,
)
from caa_registry.evaluation.open_ended.judging import Answered
from caa_registry.evaluation.open_ended.rubrics import find_rubric

ANSWERS = [
    Answered("Is it, or not?", 'It "is",\nso to say.'),
    Answered("Is it, or not?", "No."),
    Answered("=1+1", "-5 degrees"),
    Answered("Is it, or not?", "No."),
    *[Answered(f"Question {i}", f"Ответ {i}") for i in range(8)],
]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, lines: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "sheet.csv"
    assert write_sheet(path, ANSWERS, seed=1) == len(set(ANSWERS)) == len(ANSWERS) - 1
    return path


def test_a_sheet_is_blind_and_holds_each_answer_once(sheet: Path) -> None:
    found = rows(sheet)
    assert [list(row) for row in found] == [list(COLUMNS)] * len(found)
    assert all(row["rating"] == "" for row in found)
    texts = {(row["question"].removeprefix("'"), row["answer"].removeprefix("'")) for row in found}
    assert texts == {(each.question, each.answer) for each in ANSWERS} and len(found) == len(texts)


def test_the_seed_shuffles_whatever_order_the_answers_came_in(sheet: Path, tmp_path: Path) -> None:
    def order(seed: int, answers: list[Answered]) -> list[str]:
        path = tmp_path / f"{seed}-{len(list(tmp_path.iterdir()))}.csv"
        write_sheet(path, answers, seed)
        return [row["id"] for row in rows(path)]

    once = order(1, ANSWERS)
    assert once == order(1, ANSWERS[::-1]) == [row["id"] for row in rows(sheet)]
    assert once != order(2, ANSWERS) and sorted(once) == sorted(order(2, ANSWERS))
    assert once not in (sorted(once), list(dict.fromkeys(map(sheet_id, ANSWERS))))


def test_spreadsheets_take_no_text_for_a_formula(sheet: Path) -> None:
    assert not any(row[field].startswith(("=", "+", "-", "@")) for row in rows(sheet) for field in COLUMNS)


def test_ratings_come_back_to_their_answers(sheet: Path) -> None:
    given_ratings = {sheet_id(each): f" {i / 2:g} " for i, each in enumerate(ANSWERS)}
    write(sheet, [row | {"rating": given_ratings[row["id"]], "remark": "fine"} for row in rows(sheet)])
    found = read_sheet(sheet, ANSWERS)
    assert [rating.index for rating in found] == list(range(len(ANSWERS)))
    # The same answer to the same question is one row: the later of the two in this list.
    assert [rating.value for rating in found] == [0, 1.5, 1, 1.5, *(i / 2 for i in range(4, 12))]
    assert sum(rating.value is None for rating in found) == 0


def test_what_is_not_rated_is_missing(sheet: Path) -> None:
    lines = rows(sheet)
    write(sheet, [lines[0] | {"rating": "10"}, *lines[1:4]])
    found = read_sheet(sheet, ANSWERS)
    assert {rating.value for rating in found} == {10, None}
    assert len(found) - sum(rating.value is None for rating in found) == [sheet_id(each) for each in ANSWERS].count(
        lines[0]["id"]
    )


def test_several_raters_have_a_sheet_and_a_name_each(sheet: Path, tmp_path: Path) -> None:
    rubric = find_rubric("refusal")
    one, other = (
        write(tmp_path / f"{name}.csv", [row | {"rating": rating} for row in rows(sheet)])
        for name, rating in (("anna", "3"), ("ben", "8"))
    )
    assert {rating.value for rating in read_sheet(one, ANSWERS)} == {3}
    assert {rating.value for rating in read_sheet(other, ANSWERS)} == {8}
    anna, ben = rater_identity("anna", rubric), rater_identity(" ben ", rubric)
    assert (anna.kind, anna.name, ben.name, anna.rubric) == ("human", "anna", "ben", rubric.digest)
    assert anna.digest != ben.digest
    with pytest.raises(UsageError, match="no name"):
        rater_identity(" ", rubric)


@pytest.mark.parametrize("cell", ["seven", "11", "-1", "7,5", "7/10", "nan", "1e1", "10.01", "٧", "7 8"])
def test_a_rating_that_is_none_names_its_row(cell: str, sheet: Path) -> None:
    lines = rows(sheet)
    lines[4]["rating"] = cell
    write(sheet, lines)
    with pytest.raises(InputError, match="is not a rating") as caught:
        read_sheet(sheet, ANSWERS)
    assert (caught.value.row, caught.value.field, caught.value.source) == (5, "rating", str(sheet))


def test_ids_must_be_known_and_come_once(sheet: Path) -> None:
    lines = rows(sheet)
    write(sheet, [*lines[:2], lines[2] | {"id": "0123"}])
    with pytest.raises(InputError, match="'0123' is the id of none") as caught:
        read_sheet(sheet, ANSWERS)
    assert (caught.value.row, caught.value.field) == (3, "id")
    write(sheet, [*lines, lines[1] | {"rating": "4"}])
    with pytest.raises(InputError, match=r"stands in row 2 already") as caught:
        read_sheet(sheet, ANSWERS)
    assert (caught.value.row, caught.value.field) == (len(lines) + 1, "id")


def test_a_file_that_is_no_sheet_is_refused(tmp_path: Path, sheet: Path) -> None:
    path = tmp_path / "other.csv"
    for text, message in {
        "a,b\n1,2\n": "no column 'id'",
        f"id,note\n{sheet_id(ANSWERS[0])},x\n": "no column 'rating'; columns: id, note",
        "id;question;answer;rating\n1;Is it, or not?;a, b;7\n": "separated by semicolons",
        "id\tquestion\tanswer\trating\n1\ta\tb\t7\n": "separated by tabs",
        "id,rating\n1\n": "1 fields under a header of 2",
        "id,rating\n": "no rows",
    }.items():
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message) as caught:
            read_sheet(path, ANSWERS)
        assert str(path) in caught.value.message
    path.write_bytes("id,rating\nä,7\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_sheet(path, ANSWERS)
    with pytest.raises(NotFoundError):
        read_sheet(tmp_path / "none.csv", ANSWERS)


def test_a_sheet_that_may_hold_ratings_is_not_written_over(sheet: Path, tmp_path: Path) -> None:
    before = sheet.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        write_sheet(sheet, ANSWERS, seed=1)
    assert sheet.read_bytes() == before
    with pytest.raises(UsageError, match="cannot be written"):
        write_sheet(tmp_path / "none" / "sheet.csv", ANSWERS, seed=1)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(answers=st.lists(st.builds(Answered, TEXT, TEXT), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_any_text_goes_out_and_comes_back(
    answers: list[Answered], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "sheet.csv"
    write_sheet(path, answers, seed)
    assert [rating.value for rating in read_sheet(path, answers)] == [None] * len(answers)
    write(path, [row | {"rating": "7"} for row in rows(path)])
    assert [rating.value for rating in read_sheet(path, answers)] == [7] * len(answers)
