"""Texts at every layer and multiplier, of each only what steering changes.

A text is run once without steering, and the stream behind every steered layer is kept: the blocks up to it are not run
again. All multipliers of a layer are rows of one batch. Logits are kept of one text at a time, on each core.

Before anything is given out, the longest text is checked: entering behind each layer without an addition against not
entering, and one steered row against its whole text, steered.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.caches import branching_cache
from caa_registry.engine.checks import check_alike, entered
from caa_registry.engine.divergence import divergences, log_probabilities_of, normalizers
from caa_registry.engine.kernels import fast_exponentials
from caa_registry.engine.likelihoods import at_a_time
from caa_registry.engine.memory import keep_freed_memory
from caa_registry.engine.schedule import building, side_by_side, tokens_at_a_time, workers
from caa_registry.engine.steps import Step, evaluate, steps
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions
from caa_registry.mx import mx
from caa_registry.steering.additions import Addition, added, steering, sums


@dataclass(frozen=True, eq=False)
class Part:
    """One text at one layer; ``layer`` ``None``: unsteered.

    ``kl`` and ``log_p``: float64 ``(multipliers,)``, unsteered ``(1,)``: KL(unsteered || steered) and the
    log-probability of the next token, in nats, both summed over the positions that have a next token.
    """

    layer: int | None
    text: int
    kl: NDArray[np.float64]
    log_p: NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """What is run. ``texts``: token ids, at least two each. ``vectors``: layer to float32 ``(d_model,)``.
    ``multipliers``: none of them 0, and at least one where there is a vector."""

    model: Model
    texts: Sequence[Sequence[int]]
    vectors: Mapping[int, NDArray[np.float32]]
    multipliers: Sequence[float]


def run_entered(work: Work, found: Callable[[Part], None]) -> None:
    """Hand every part to ``found``, from one thread at a time: each text unsteered, and at each layer.

    Raises ``DifferentError`` before ``found`` was called where the check fails.
    """
    keep_freed_memory()
    with fast_exponentials():
        _Runs(work, found).all()


def run_whole(work: Work) -> Iterator[Part]:
    """The same parts, the whole text run at every layer and multiplier."""
    for text in range(len(work.texts)):
        base = _whole(work, text)
        yield _unsteered(base)
        for layer, vector in work.vectors.items():
            scores = []
            for multiplier in work.multipliers:
                with steering(work.model, [Addition(layer, vector, multiplier)], "all"):
                    scores.append(_scored(base, _whole(work, text).logits[None]))
            yield _part(base, layer, _joined(scores))


@dataclass(frozen=True, eq=False)
class _Base:
    """A text without steering: logits float32 ``(tokens, vocabulary)`` and their normalizers, the tokens that come
    next, and the stream behind each steered layer."""

    text: int
    logits: NDArray[np.float32]
    log_z: NDArray[np.float64]
    targets: NDArray[np.intp]
    streams: Mapping[int, mx.array]

    @functools.cached_property
    def log_p(self) -> NDArray[np.float64]:
        return log_probabilities_of(self.logits, self.log_z, self.targets)


@dataclass(frozen=True, eq=False)
class _Scores:
    """Steered rows of a text: KL and log-probabilities, float64 ``(rows, tokens)``."""

    kl: NDArray[np.float64]
    log_p: NDArray[np.float64]


class _Runs:
    """The texts of one run, and how they are run."""

    def __init__(self, work: Work, found: Callable[[Part], None]) -> None:
        self.work, self.model = work, work.model
        self.found = found
        self.stopped = threading.Event()
        self.deltas = {
            layer: np.stack([sums(work.model, [Addition(layer, vector, m)])[layer] for m in work.multipliers])
            for layer, vector in work.vectors.items()
        }
        self.most = min(tokens_at_a_time(), at_a_time(work.model))

    def all(self) -> None:
        # The longest text fills a window of attention, if any does; and what takes longest comes first.
        first, *others = sorted(range(len(self.work.texts)), key=lambda i: -len(self.work.texts[i]))
        self._run_first(first)
        tasks = [functools.partial(self._run, text) for text in others]
        for _ in side_by_side(tasks, workers(), self.stopped):
            pass

    def _run_first(self, text: int) -> None:
        """As ``_run``, with a row more that nothing is added to, which must come out as where nothing is entered.

        Raises ``DifferentError`` where it does not, or where a text that is steered and run whole gives something else.
        """
        base = self._base(text)
        parts = [_unsteered(base)]
        for layer, deltas in self.deltas.items():
            scores = self._steered(base, layer, np.concatenate([np.zeros_like(deltas[:1]), deltas]))
            check_alike(self.model, scores.log_p[0], base.log_p, f"it is entered behind layer {layer}")
            if len(parts) == 1:
                with steering(self.model, [Addition(layer, self.work.vectors[layer], self.work.multipliers[0])], "all"):
                    check_alike(self.model, scores.log_p[1], _whole(self.work, text).log_p, "a steered text is entered")
            parts.append(_part(base, layer, _Scores(scores.kl[1:], scores.log_p[1:])))
        for part in parts:
            self.found(part)

    def _run(self, text: int) -> None:
        base = self._base(text)
        self._give(_unsteered(base))
        for layer, deltas in self.deltas.items():
            if self.stopped.is_set():
                return
            self._give(_part(base, layer, self._steered(base, layer, deltas)))

    def _give(self, part: Part) -> None:
        with building:
            self.found(part)

    def _base(self, text: int) -> _Base:
        streams: dict[int, mx.array] = {}
        taken: list[Step] = []

        def keep(layer: int, hidden: mx.array, where: Positions) -> mx.array:
            if layer in self.deltas:
                streams[layer] = hidden
            return hidden

        with building, self.model.stream.tapped(keep):
            logits = self._logits(text, 1, taken)
        evaluate(taken, [*streams.values(), logits])
        return _base(self.work, text, logits, streams)

    def _steered(self, base: _Base, layer: int, deltas: NDArray[np.float32]) -> _Scores:
        """A row for each of ``deltas``, ``(n, d_model)``, added at ``layer``."""
        size = max(1, self.most // len(base.targets))
        batches = [deltas[i : i + size] for i in range(0, len(deltas), size)]
        return _joined([_scored(base, self._batch(base, layer, batch)) for batch in batches])

    def _batch(self, base: _Base, layer: int, deltas: NDArray[np.float32]) -> NDArray[np.float32]:
        taken: list[Step] = []

        def add(at: int, hidden: mx.array, where: Positions) -> mx.array:
            return added(hidden, mx.array(deltas)[:, None], "all", where) if at == layer else hidden

        with building:
            hidden = mx.repeat(base.streams[layer], len(deltas), axis=0)
            with entered(self.model, layer, hidden), self.model.stream.tapped(add):
                logits = self._logits(base.text, len(deltas), taken)
            del hidden
        evaluate(taken, logits)
        return np.array(logits)

    def _logits(self, text: int, rows: int, taken: list[Step]) -> mx.array:
        """Logits of a text, float32 ``(rows, tokens, vocabulary)``, not yet evaluated."""
        tokens = mx.array([list(self.work.texts[text][:-1])] * rows)
        with steps(self.model.stream, self.model.n_layers - 1, taken):
            logits: mx.array = self.model.network(tokens, cache=branching_cache(self.model.network))
        return logits.astype(mx.float32)


def _whole(work: Work, text: int) -> _Base:
    """A text run whole, under whatever steering context is open."""
    with work.model.rows([work.texts[text][:-1]], [0]) as (tokens, cache):
        logits = work.model.network(tokens, cache=cache).astype(mx.float32)
        # The network is steered until all is evaluated.
        mx.eval(logits)
    return _base(work, text, logits, {})


def _base(work: Work, text: int, logits: mx.array, streams: Mapping[int, mx.array]) -> _Base:
    values = np.array(logits)[0]
    return _Base(text, values, normalizers(values), np.array(work.texts[text][1:], dtype=np.intp), streams)


def _scored(base: _Base, steered: NDArray[np.float32]) -> _Scores:
    """From logits ``(rows, tokens, vocabulary)``."""
    log_z = normalizers(steered)
    kl = divergences(base.logits, base.log_z, steered, log_z)
    return _Scores(kl, log_probabilities_of(steered, log_z, base.targets))


def _joined(scores: Sequence[_Scores]) -> _Scores:
    return _Scores(np.concatenate([s.kl for s in scores]), np.concatenate([s.log_p for s in scores]))


def _part(base: _Base, layer: int, scores: _Scores) -> Part:
    return Part(layer, base.text, scores.kl.sum(axis=1), scores.log_p.sum(axis=1))


def _unsteered(base: _Base) -> Part:
    return Part(None, base.text, np.zeros(1), base.log_p.sum(keepdims=True))
