"""The number in a judge's reply."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caa_registry.evaluation.open_ended.judging import rated
from caa_registry.evaluation.open_ended.rating import parsed_rating


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("7", 7),
        (" 7.\n", 7),
        ("7/10", 7),
        ("**8**", 8),
        ("**8**/10", 8),
        ("_9_", 9),
        ("Score: 7.5", 7.5),
        ("Rating: 7 / 10.", 7),
        ("8 out of 10", 8),
        ("I would say 3 of 10", 3),
        ("On a scale of 0 to 10, this is a 6.", 6),
        ("Score (0-10): 4", 4),
        ("7/10 (scale 0–10)", 7),
        ("0", 0),
        ("10", 10),
        ("10/10", 10),
        ("10.0", 10),
        ("0.5", 0.5),
        ("GPT4 gives it a 7", 7),
        ("7, and once more: 7", 7),
        ("[[6]]", 6),
    ],
)
def test_one_rating_is_read(reply: str, rating: float) -> None:
    assert parsed_rating(reply) == rating


@pytest.mark.parametrize(
    "reply",
    [
        *["", "none", "I cannot rate this.", "seven", "７"],
        *["11", "10.5", "-3", "Score: -7", "+7", "100"],
        *["7-8", "6 or 7", "7 8", "between 3 and 5", "1. 7"],
        *["3/5", "7/100", "7 out of 12", "8/10/10", "7%", "70 %"],
        *["7,5", "7.5.1", ".5", "1e1", "3rd", "2024-01-05", "0x7"],
    ],
)
def test_what_is_not_one_rating_on_this_scale_is_none(reply: str) -> None:
    assert parsed_rating(reply) is None


WRAPPED = st.sampled_from(
    ["{}", "Score: {}", "**{}**", "{}/10", "{} out of 10", "Rating = {}.", "`{}`", "({})\n", "{} / 10"]
)


@given(st.integers(0, 100).map(lambda tenths: tenths / 10), WRAPPED)
def test_every_rating_is_found_in_its_wrapping(rating: float, wrapped: str) -> None:
    assert parsed_rating(wrapped.format(f"{rating:g}")) == rating


@given(st.text(alphabet="0123456789./-+, %ofut\n*AZ", max_size=30) | st.text(max_size=40))
@example("0/10")
def test_no_reply_gives_a_number_off_the_scale(reply: str) -> None:
    rating = parsed_rating(reply)
    assert rating is None or 0 <= rating <= 10


@given(st.floats(10.01, 1e6) | st.floats(-1e6, -0.01))
def test_a_number_off_the_scale_is_never_brought_onto_it(number: float) -> None:
    assert parsed_rating(f"Score: {number:.3f}") is None


def test_a_reply_that_is_no_rating_is_kept_and_counted() -> None:
    ratings = [rated(0, "7"), rated(1, "I'd rather not say"), rated(2, "")]
    assert [(each.value, each.reply) for each in ratings] == [(7, "7"), (None, "I'd rather not say"), (None, "")]
    assert sum(rating.value is None for rating in ratings) == 2
