"""How long parts of a network take on this machine: a few rows through one block of each kind, and through the LM head.

The network is an outline: of its weights only those of the part that is timed are in memory, as numbers that mean
nothing. It is called as the engine calls it, on as many cores at a time, and only the part's output is evaluated.
"""

from __future__ import annotations

import functools
import operator
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caa_registry.engine.caches import branched, branching_cache, held
from caa_registry.engine.kernels import fast_kernels
from caa_registry.engine.logits import divergences, log_probabilities_of, normalizers
from caa_registry.engine.schedule import managed_memory, side_by_side, workers
from caa_registry.engine.steps import building
from caa_registry.extraction.quality import measure
from caa_registry.models.model import Model
from caa_registry.models.outline import give_up
from caa_registry.models.stream import Positions
from caa_registry.models.weights import weight_bytes
from caa_registry.mx import mx, tree_flatten

# A part is called until so many seconds have been spent; what takes longer is called once, and no more of it is timed.
_SECONDS, _ENOUGH, _CALLS = 0.2, 0.5, 9
_FEW = 8


@dataclass(frozen=True)
class Curve:
    """Seconds for so many tokens or rows, ascending. In between they are interpolated, beyond in proportion."""

    points: tuple[tuple[int, float], ...]

    def __call__(self, n: float) -> float:
        sizes, seconds = zip(*self.points, strict=True)
        if n >= sizes[-1]:
            return float(seconds[-1] * n / sizes[-1])
        return float(np.interp(n, sizes, seconds))

    def __add__(self, other: Curve) -> Curve:
        sizes = sorted({size for curve in (self, other) for size, _ in curve.points})
        return Curve(tuple((size, self(size) + other(size)) for size in sizes))

    def times(self, factor: float) -> Curve:
        return Curve(tuple((size, seconds * factor) for size, seconds in self.points))


@dataclass(frozen=True)
class Speed:
    """Seconds, of every computation that goes on at a time its share. ``prompt``: all blocks, by tokens; ``ends``: all
    blocks, by rows of a few tokens behind a prompt in the cache; ``head``: the LM head, by positions; ``reading``:
    divergences and log-probabilities, by positions; ``quality``: of one layer's vector. ``measured``: else from the
    speed of matrix products alone."""

    prompt: Curve
    ends: Curve
    head: Curve
    reading: Curve
    quality: float
    measured: bool


def measured_speed(model: Model, prompt: int, end: int, batch: int, pairs: int) -> Speed:
    """The speed of ``model``, an outline. On the thread. ``prompt``: tokens of a text, ``end``: those of its end;
    ``batch``: tokens run together; ``pairs``: how many a vector is made from."""
    few = max(1, batch // prompt)
    texts = [(1, min(_FEW, prompt)), (1, prompt), (few, prompt)]
    with managed_memory(), fast_kernels():
        blocks = []
        for layer, count in kinds(model):
            every = _curve(
                [(rows * tokens, _text(model, layer, rows, tokens)) for rows, tokens in texts], model.n_layers
            )
            behind = _prompt_cache(model, layer, prompt - end)
            rows = [1, 2 * few, max(2 * few, batch // (2 * end))]
            ends = _curve([(n, _ends(model, layer, n, end, behind)) for n in rows], model.n_layers)
            blocks.append((every.times(count), ends.times(count)))
            del behind
            give_up(model.stream.blocks[layer])
            mx.clear_cache()
        head = _curve([(n, _head(model, n)) for n in (1, 2 * few, 2 * prompt)])
        give_up(model.unread)
        mx.clear_cache()
        reading = _reading(model, prompt // 4)
    texts_of_all = functools.reduce(operator.add, (every for every, _ in blocks))
    ends_of_all = functools.reduce(operator.add, (ends for _, ends in blocks))
    return Speed(texts_of_all, ends_of_all, head, reading, _quality(model.d_model, pairs), measured=True)


def speed_of_products(model: Model, gflops: float, pairs: int) -> Speed:
    """The speed if products of matrices were all that is computed, at so many GFLOP/s."""
    blocks = sum(_numbers(block) for block in model.stream.blocks)
    # Each weight is multiplied and added once for a token.
    token, logits = (2 * n / gflops / 1e9 for n in (blocks, model.d_model * model.stream.vocabulary))
    every, head = Curve(((1, token),)), Curve(((1, logits),))
    return Speed(every, every, head, Curve(((1, 0.0),)), _quality(model.d_model, pairs), measured=False)


def timed_bytes(model: Model, batch: int) -> int:
    """What timing takes: the largest block, the LM head and a batch."""
    blocks = [weight_bytes(block) for block in model.stream.blocks]
    itemsize = model.shapes.itemsize
    return max(blocks) + model.d_model * model.stream.vocabulary * itemsize + model.shapes.needed(1, batch)


def kinds(model: Model) -> list[tuple[int, int]]:
    """One layer of each kind of block, and how many blocks are of that kind."""
    cache = branching_cache(model.unread)
    own = len(cache) == model.n_layers
    kind = [
        (
            type(cache[layer]).__name__ if own else "",
            *((name, array.shape, array.dtype) for name, array in sorted(_arrays(block))),
        )
        for layer, block in enumerate(model.stream.blocks)
    ]
    if model.n_layers > 1:
        kind[0] = kind[1]  # what comes before the first block cannot be left out
    layers = {each: [layer for layer, other in enumerate(kind) if other == each and layer] for each in kind}
    return [((of or [0])[len(of) // 2], count) for each, count in Counter(kind).items() for of in [layers[each]]]


def _arrays(block: Any) -> list[tuple[str, mx.array]]:
    return list(tree_flatten(block.parameters()))


def _numbers(block: Any) -> int:
    return sum(
        array.size * (32 // module.bits if name == "weight" and hasattr(module, "bits") else 1)
        for _, module in block.named_modules()
        for name, array in module.items()
        if isinstance(array, mx.array)
    )


Build = Callable[[], mx.array]
"""Calls the network, and gives what is to be evaluated of it."""


def _curve(calls: Sequence[tuple[int, Build]], parts: int = 1) -> Curve:
    """By size, ascending, what calls take, as far as they are short. ``parts``: how many blocks a graph is built of."""
    points: dict[int, float] = {}
    # What is not evaluated yet belongs to this thread, and a pool computes; and the first call pays for memory.
    mx.eval(calls[0][1]())
    for size, build in calls:
        if size in points:
            continue
        seconds, longest = _seconds(build, parts)
        points[size] = max(seconds, *points.values()) if points else seconds
        if longest > _ENOUGH:
            break
    return Curve(tuple(points.items()))


def _seconds(build: Build, parts: int) -> tuple[float, float]:
    """What one of as many calls as are computed at a time takes of it, and how long one call took. Graphs are built in
    turn, of all ``parts``; they are evaluated together."""
    at_a_time, longest, spent = workers(), 0.0, 0.0
    shares: list[float] = []
    while spent < _SECONDS and len(shares) < _CALLS:
        start = time.perf_counter()
        ready = threading.Barrier(at_a_time)
        times = list(side_by_side([functools.partial(_timed, build, ready)] * at_a_time, at_a_time))
        spent += time.perf_counter() - start
        built = sum(seconds for seconds, _, _ in times) / at_a_time / parts
        evaluated = max(end for _, _, end in times) - min(begin for _, begin, _ in times)
        shares.append(max(built, (built + evaluated) / at_a_time))
        longest = max(longest, evaluated)
    return float(np.median(shares)), longest


def _timed(build: Build, ready: threading.Barrier) -> tuple[float, float, float]:
    """Seconds for building, and when evaluation began and ended."""
    try:
        with building:
            start = time.perf_counter()
            result = build()
            built = time.perf_counter() - start
        ready.wait()
    except BaseException:
        ready.abort()
        raise
    begin = time.perf_counter()
    mx.eval(result)
    return built, begin, time.perf_counter()


def _text(model: Model, layer: int, rows: int, tokens: int) -> Build:
    """Block ``layer`` on whole texts."""
    hidden = _stream(model, rows, tokens)
    return lambda: _behind(model, layer, hidden, branching_cache(model.unread))


def _prompt_cache(model: Model, layer: int, tokens: int) -> list[Any] | None:
    """A prompt cache of one row in which block ``layer`` has its entry, ``None`` where entries are not the blocks'."""
    cache = branching_cache(model.unread)
    if len(cache) != model.n_layers:
        return None
    _behind(model, layer, _stream(model, 1, tokens), cache)
    mx.eval(held([cache[layer]]))
    return cache


def _ends(model: Model, layer: int, rows: int, tokens: int, cache: list[Any] | None) -> Build:
    """Block ``layer`` on the last ``tokens`` of texts whose first are in the cache."""
    hidden = _stream(model, rows, tokens)

    def build() -> mx.array:
        return _behind(model, layer, hidden, branched(cache, rows) if cache else branching_cache(model.unread))

    return build


def _head(model: Model, positions: int) -> Build:
    """The LM head at so many positions."""
    hidden = _stream(model, 1, positions)

    def build() -> mx.array:
        logits = _called(model, model.n_layers, hidden, branching_cache(model.unread), lambda layer, stream: None)
        return logits.astype(mx.float32)

    return build


def _behind(model: Model, layer: int, hidden: mx.array, cache: list[Any]) -> mx.array:
    """The stream behind block ``layer``, which ``hidden`` goes into."""
    streams: list[mx.array] = []
    _called(model, layer, hidden, cache, lambda at, stream: streams.append(stream) if at == layer else None)
    return streams[0]


def _called(
    model: Model, layer: int, hidden: mx.array, cache: list[Any], look: Callable[[int, mx.array], None]
) -> mx.array:
    """Call the network with ``hidden`` in place of what goes into block ``layer``: blocks before it are not evaluated,
    though their caches count the tokens."""

    def replaced(at: int, stream: mx.array, where: Positions) -> mx.array:
        look(at, stream)
        return hidden if at == layer - 1 else stream

    rows, tokens = hidden.shape[:2]
    with model.stream.prompt([tokens - 1] * rows), model.stream.tapped(replaced):
        logits: mx.array = model.unread(mx.zeros((rows, tokens), dtype=mx.int32), cache=cache)
    return logits


def _stream(model: Model, rows: int, tokens: int) -> mx.array:
    hidden = mx.random.normal((rows, tokens, model.d_model), key=mx.random.key(0)).astype(getattr(mx, model.dtype))
    mx.eval(hidden)
    return hidden


def _reading(model: Model, positions: int) -> Curve:
    """What is read of the logits of a text: how far they have moved, and log-probabilities."""
    logits = mx.random.normal((1, positions, model.stream.vocabulary), key=mx.random.key(0))
    mx.eval(logits)
    before, targets = normalizers(logits), np.zeros(positions, np.intp)

    def read() -> None:
        after = normalizers(logits)
        divergences(logits, before, logits, after)
        log_probabilities_of(logits, after, targets)

    start = time.perf_counter()
    list(side_by_side([read] * workers(), workers()))
    return Curve(((positions, (time.perf_counter() - start) / workers()),))


def _quality(width: int, pairs: int) -> float:
    """Seconds for measuring the vector of one layer."""
    draw = np.random.default_rng(0)
    positive, negative = (draw.standard_normal((pairs, width), dtype=np.float32) for _ in range(2))
    start = time.perf_counter()
    measure("mean-difference", positive, negative)
    return time.perf_counter() - start
