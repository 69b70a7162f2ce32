"""Rows that are decoded together, token by token. They come and go between tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.caches import held
from caa_registry.engine.decoding.request import Request, Row, drawn
from caa_registry.mx import mx
from caa_registry.mx_thread import check

COMPARED = 3
"""Of so many tokens the log-probabilities are kept, to compare two ways of decoding."""


class Batch:
    """``rows`` and the ``cache`` of all that each has run: its prompt but for the last token, and its answer so far.

    Rows join one that has some, and leave it, only where ``cache`` is one of mlx-lm's batch caches. ``worked`` is told
    of the tokens that rows got, and of those that they could have had, once they end.
    """

    def __init__(self, request: Request, worked: Callable[[int], None] = lambda tokens: None) -> None:
        self.request = request
        self.worked = worked
        self.rows: list[Row] = []
        self.cache: list[Any] = []

    def join(self, rows: Sequence[Row], cache: list[Any]) -> None:
        """Add ``rows``, whose prompts ``cache`` holds."""
        if self.rows:
            for entry, other in zip(self.cache, cache, strict=True):
                entry.extend(other)
        else:
            self.cache = cache
        self.rows.extend(rows)
        mx.eval(held(self.cache))

    def leave(self) -> list[Row]:
        """The rows that have ended, taken out."""
        ended = [row for row in self.rows if row.ended]
        stay = [i for i, row in enumerate(self.rows) if not row.ended]
        self.rows = [self.rows[i] for i in stay]
        if not stay:
            self.cache = []
        elif ended:
            for entry in self.cache:
                entry.filter(mx.array(stay))
            mx.eval(held(self.cache))
        return ended

    def run(self, until: int, steps: int | None = None) -> None:
        """Decode until at least ``until`` rows have ended, at most ``steps`` tokens of each. Ends early where a row has
        all tokens that it may have: it must not run on.

        Raises ``ModelError`` where values are not finite.
        """
        request = self.request
        add = request.adding([row.place[1] for row in self.rows])
        ends = [request.end(row.place[0]) for row in self.rows]
        with request.model.stream.prompt(ends), request.model.stream.tapped(add):
            while steps != 0 and not self._due(until):
                check()
                self._step()
                steps = None if steps is None else steps - 1

    def _due(self, until: int) -> bool:
        return sum(row.ended for row in self.rows) >= until or any(row.left == 0 for row in self.rows)

    def _step(self) -> None:
        """One token of every row."""
        request = self.request
        ends = request.model.wrapped_tokenizer.eos_token_ids
        logits = request.model.network(mx.array([[row.token] for row in self.rows]), cache=self.cache)[:, -1]
        compared = [row.compared and not row.ended and len(row.log_p) < COMPARED for row in self.rows]
        sampled = request.temperature > 0
        if sampled or any(compared) or logits.dtype != mx.float32:
            # In the network's dtype, as mlx-lm does: rounding decides between tokens that are nearly as probable.
            scores = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        else:
            scores = logits  # in float32 the order is that of the log-probabilities
        greedy = mx.argmax(scores, axis=-1)
        # Infinite logits have no log-probabilities; -inf beside finite ones is a token that is never given.
        broken = mx.isnan(logits).any(axis=-1) | mx.isinf(logits.max(axis=-1))
        mx.eval(greedy, broken, scores)
        if np.array(broken)[[not row.ended for row in self.rows]].any():
            raise request.model.not_finite()
        tokens = [int(token) for token in np.array(greedy)]
        if sampled or any(compared):
            values: NDArray[np.float32] = np.array(scores.astype(mx.float32))
            for i, row in enumerate(self.rows):
                if compared[i]:
                    row.log_p.append(values[i].copy())
                if sampled and not row.ended:
                    tokens[i] = drawn(values[i], request.temperature, row.draws.random())
        running = [row for row in self.rows if not row.ended]
        for row, token in zip(self.rows, tokens, strict=True):
            row.take(token, ends)
        self.worked(len(running) + sum(row.left for row in running if row.ended))
