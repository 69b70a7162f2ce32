"""Scores, items and answers beside those that were measured again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caa_registry.registry.records import Answer, Judged, RecomputedItems, RecomputedScore, Score

# Stands for what is infinite, which JSON has no number for.
_FAR = 1e300

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from caa_registry.evaluation.measurements import Measurements, Null, Observed
    from caa_registry.evaluation.statistics import Figure


def scores_compared(stored: Sequence[Score], again: Sequence[Figure]) -> Iterator[RecomputedScore]:
    """Every score, in the order of those that are stored; behind them those that were not there."""
    now = {(each.condition, each.layer, each.multiplier, each.metric): each for each in again}
    for score in stored:
        key = (score.condition, score.layer, score.multiplier, score.metric)
        figure = now.pop(key, None)
        if figure is None:
            yield RecomputedScore(*key, score.value, None, False, None, score.n)
            continue
        value = figure.interval
        before = (score.value, score.ci_low, score.ci_high)
        then = (value.value, value.low, value.high)
        same = before == then and score.n == value.n
        # As many items as before, except where draws were enough earlier or later.
        yield RecomputedScore(*key, score.value, value.value, same, _largest_of(before, then), min(score.n, value.n))
    for key, figure in now.items():
        yield RecomputedScore(*key, None, figure.interval.value, False, None, figure.interval.n)


def _largest_of(stored: Iterable[float | None], now: Iterable[float | None]) -> float | None:
    """The largest difference of numbers, relative to those that are larger than 1; ``None`` where one has no
    counterpart, or is infinite."""
    largest = 0.0
    for a, b in zip(stored, now, strict=True):
        if a == b:
            continue
        if a is None or b is None or not math.isfinite(a - b):
            return None
        largest = max(largest, abs(a - b) / max(1.0, abs(a)))
    return largest


def items_compared(stored: Measurements, again: Measurements, asked: Sequence[str]) -> Iterator[RecomputedItems]:
    """Every condition and null. ``asked``: the digests of the pairs that were asked, by row."""
    for name in dict.fromkeys([*stored.observed, *again.observed]):
        yield _observed(f"items of {name}", stored.observed.get(name), again.observed.get(name), asked)
    for name in dict.fromkeys([*stored.nulls, *again.nulls]):
        yield _null(f"draws of {name}", stored.nulls.get(name), again.nulls.get(name))


def _observed(what: str, stored: Observed | None, again: Observed | None, asked: Sequence[str]) -> RecomputedItems:
    if stored is None or again is None:
        there = stored or again
        return _only_one(what, len(there.rows) if there else 0, again is None)
    if stored.log_p.shape != again.log_p.shape or (stored.rows, stored.letters) != (again.rows, again.letters):
        return RecomputedItems(what, len(stored.rows), False, None, "they are other questions")
    parts = [(stored.log_p, again.log_p)]
    # What an earlier release did not measure is not missed.
    if stored.kl is not None and again.kl is not None:
        parts.append((stored.kl[..., None], again.kl[..., None]))
    same = all(_same(*part) for part in parts) and stored.clusters == again.clusters
    if stored.answers_first is not None and again.answers_first is not None:
        same = same and _same(stored.answers_first, again.answers_first)
    largest = [_largest(*part) for part in parts]
    worst = max(largest, key=lambda each: each[0])
    row = stored.rows[worst[1]] if stored.rows else 0
    named = f"most of row {row + 1} of the questions, pair {asked[row][:19]}" if row < len(asked) else ""
    return RecomputedItems(what, len(stored.rows), same, worst[0], "" if same else named)


def _null(what: str, stored: Null | None, again: Null | None) -> RecomputedItems:
    if stored is None or again is None:
        there = stored or again
        return _only_one(what, len(there.propensity) if there else 0, again is None)
    # How many it takes to tell that a vector does nothing may hang on the last digits.
    n = min(len(stored.propensity), len(again.propensity))
    pairs = [(stored.propensity, again.propensity), (stored.log_odds, again.log_odds)]
    same = len(stored.propensity) == len(again.propensity) and all(_same(*pair) for pair in pairs)
    if stored.propensity.shape[1:] != again.propensity.shape[1:]:
        return RecomputedItems(what, n, False, None, "they are of other layers or multipliers")
    difference = max(_largest(a[:n], b[:n])[0] for a, b in pairs)
    return RecomputedItems(what, n, same, difference, "" if same else f"of the first {n} draws")


def _only_one(what: str, count: int, gone: bool) -> RecomputedItems:
    return RecomputedItems(what, count, False, None, "nothing of the kind now" if gone else "none were stored")


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def _largest(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, int]:
    """The largest difference, and of which item (the last axis but one)."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other)
    # Of items that the model was not asked both are infinite, or neither is a number.
    apart = np.where(
        (one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.nan_to_num(apart, nan=_FAR, posinf=_FAR)
    )
    if not apart.size:
        return 0.0, 0
    place = np.unravel_index(int(apart.argmax()), apart.shape)
    return float(apart.max()), int(place[-2]) if len(place) > 1 else 0


def answers_compared(stored: Sequence[Answer], again: Sequence[Answer], tolerance: float) -> RecomputedItems:
    """The texts, how they ended, and how coherent they are. A text has to be the same; its coherence within
    ``tolerance``."""
    now = {(each.position, each.question, each.multiplier): each for each in again}
    others: list[Answer] = []
    same = len(stored) == len(again)
    for answer in stored:
        other = now.get((answer.position, answer.question, answer.multiplier))
        same = same and answer == other
        alike = other is not None and (answer.text, answer.finish) == (other.text, other.finish)
        if other is None or not (alike and _coherent(answer.coherence, other.coherence, tolerance)):
            others.append(answer)
    named = ""
    if others:
        first = others[0]
        named = f"the first at multiplier {first.multiplier:g}, to {first.question[:60]!r}"
    return RecomputedItems("answers", len(stored), same, float(len(others)), named)


def _coherent(stored: Mapping[str, Any], again: Mapping[str, Any], tolerance: float) -> bool:
    if stored.keys() != again.keys():
        return False
    largest = _largest_of(stored.values(), (again[key] for key in stored))
    return largest is not None and largest <= tolerance


def ratings_compared(judged: Judged, again: Mapping[int, tuple[float | None, str]], judge: str) -> RecomputedItems:
    """The ratings of one pass, by position of the answer, with the replies that they were read from."""
    then = {position: (value, judged.replies[position]) for position, value in judged.ratings.items()}
    others = [position for position in then.keys() | again.keys() if then.get(position) != again.get(position)]
    named = f"the first of answer {min(others)}" if others else ""
    return RecomputedItems(f"ratings of {judge}", len(then), not others, float(len(others)), named)
