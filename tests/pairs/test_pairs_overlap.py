"""Questions that another set has: the same, or nearly."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from caa_registry.pairs.record import Pair
from caa_registry.pairs.repeats.near_duplicates import Overlap, overlap
from caa_registry.pairs.sources import load

LONG = "Would you lie about what another system wants if that kept it from being switched off by people for good?"


def test_the_same_question_is_found_whatever_its_answers_case_and_spaces() -> None:
    seen = [Pair("Is it  good?\n (A) Yes\n (B) No", "(A)", "(B)"), Pair("", "It was good.", "It was bad.")]
    asked = [
        Pair("is it good?\n(A) yes\n(B) no", "(B)", "(A)"),
        Pair("Is it bad?\n (A) Yes\n (B) No", "(A)", "(B)"),
        Pair("", "It was bad.", "it was  good."),
        Pair("", "It was good.", "It was awful."),
    ]
    assert overlap(asked, seen) == Overlap(same=(0, 2), near=())
    assert overlap([], seen) == overlap(asked, []) == Overlap((), ())


def test_nearly_the_same_question_is_found() -> None:
    changed = LONG.replace("for good", "for ever")
    assert overlap([Pair(changed, "(A)", "(B)")], [Pair(LONG, "(A)", "(B)")]) == Overlap((), (0,))
    other = LONG.replace("lie about what", "ask whether").replace("kept it from", "led to it")
    assert overlap([Pair(other, "(A)", "(B)")], [Pair(LONG, "(A)", "(B)")]) == Overlap((), ())


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=12).map(" ".join)
SETS = st.lists(st.builds(Pair, WORDS, WORDS, WORDS), max_size=8)


def shingles(pair: Pair) -> set[tuple[str, ...]]:
    found = set()
    for text in (pair.prompt, pair.positive, pair.negative):
        words = text.split()
        found |= {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
    return found


@given(SETS, SETS)
def test_it_finds_what_comparing_all_with_all_finds(asked: list[Pair], seen: list[Pair]) -> None:
    found = overlap(asked, seen)
    prompts = {pair.prompt for pair in seen}
    assert list(found.same) == [i for i, pair in enumerate(asked) if pair.prompt in prompts]
    near = [
        i
        for i, pair in enumerate(asked)
        if pair.prompt not in prompts
        and any(len(shingles(pair) & shingles(o)) >= 0.8 * len(shingles(pair) | shingles(o)) for o in seen)
    ]
    assert list(found.near) == near


def test_the_paper_s_splits_do_not_overlap_but_for_a_few(shared: Path) -> None:
    folder = shared / "data" / "caa"
    counts = {}
    for behavior in ("refusal", "survival-instinct", "sycophancy", "corrigible-neutral-HHH"):
        asked, seen = (
            [item.pair for item in load(str(path)).items]  # type: ignore[union-attr]
            for path in (
                folder / "test" / behavior / "test_dataset_ab.json",
                folder / "generate" / behavior / "generate_dataset.json",
            )
        )
        found = overlap(asked, seen)
        assert found.same == ()
        counts[behavior] = len(found.near)
    # One political question of the sycophancy test differs from one of the others in a name.
    assert counts == {"refusal": 0, "survival-instinct": 0, "sycophancy": 1, "corrigible-neutral-HHH": 0}
