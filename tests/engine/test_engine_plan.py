"""Which tokens are run once: heads that many pairs share, prefixes that both sides of a pair share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from caa_registry.engine.plan import Group, evened, groups, shared_heads

TEXTS = st.lists(st.lists(st.integers(0, 2), max_size=40), max_size=30)


@given(TEXTS)
def test_every_text_is_in_one_part_and_begins_with_its_head(texts: list[list[int]]) -> None:
    parts = shared_heads(texts)
    assert sorted(i for _, part in parts for i in part) == list(range(len(texts)))
    for head, part in parts:
        assert len({tuple(texts[i][:head]) for i in part}) == 1
        assert all(len(texts[i]) >= head for i in part)


def test_one_system_prompt_is_one_head() -> None:
    texts = [[*range(100, 150), i, i + 1] for i in range(20)]
    assert [(head, sorted(part)) for head, part in shared_heads(texts)] == [(50, list(range(20)))]


def test_few_shot_headers_of_several_tasks_are_heads_of_their_own() -> None:
    texts = [[7, 8, *range(1000 * task, 1000 * task + 300), i] for i in range(6) for task in (1, 2, 3)]
    parts = sorted((head, sorted(part)) for head, part in shared_heads(texts))
    assert [head for head, _ in parts] == [302, 302, 302]
    assert parts == sorted((302, [i for i in range(18) if i % 3 == task]) for task in range(3))


def test_what_saves_less_than_a_forward_pass_is_no_head() -> None:
    assert shared_heads([[1, 2, 3, i] for i in range(10, 20)]) == [(0, list(range(10)))]
    assert shared_heads([]) == []


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=40),
    st.integers(1, 500),
)
def test_groups_hold_every_pair_once_within_bounds(sizes: list[tuple[int, int]], most: int) -> None:
    shared = [length for length, _ in sizes]
    longest = [length + end for length, end in sizes]
    found = groups(0, range(len(sizes)), shared, longest, most)
    assert sorted(pair for group in found for pair in group.pairs) == list(range(len(sizes)))
    for group in found:
        assert group.length == min(shared[pair] for pair in group.pairs)
        width = max(longest[pair] for pair in group.pairs)
        tokens = len(group.pairs) * (group.length + 2 * (width - group.length))
        assert tokens <= most or len(group.pairs) == 1


def cost(found: Sequence[Group], longest: list[int]) -> int:
    return sum(
        64 + len(group.pairs) * (group.length + 2 * (max(longest[pair] for pair in group.pairs) - group.length))
        for group in found
    )


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 30)), min_size=1, max_size=8), st.integers(50, 900))
def test_no_other_groups_run_fewer_tokens(sizes: list[tuple[int, int]], most: int) -> None:
    shared, longest = [length for length, _ in sizes], [length + end for length, end in sizes]
    order = sorted(range(len(sizes)), key=lambda i: (shared[i], longest[i], i))
    least = cost(groups(0, order, shared, longest, most), longest)
    for cuts in itertools.product([False, True], repeat=len(order) - 1):
        ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [len(order)]
        parts = [order[a:b] for a, b in itertools.pairwise([0, *ends])]
        others = [Group(0, shared[part[0]], tuple(part)) for part in parts]
        if all(len(other.pairs) == 1 or cost([other], longest) - 64 <= most for other in others):
            assert least <= cost(others, longest)


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(1, 6))
def test_the_last_groups_are_halved_so_that_all_workers_end_together(sizes: list[int], at_a_time: int) -> None:
    numbers = iter(range(1000))
    planned = [Group(2, 3, tuple(next(numbers) for _ in range(size))) for size in sizes]
    found = evened(planned, at_a_time)
    assert [pair for group in found for pair in group.pairs] == [pair for group in planned for pair in group.pairs]
    assert all((group.head, group.length) == (2, 3) for group in found)
    whole = len(planned) - len(planned) % at_a_time
    assert found[:whole] == planned[:whole]
    last = found[whole:]
    assert len(last) % at_a_time == 0 or all(len(group.pairs) == 1 for group in last)
