"""Prompts, run as far as the token before the last: answers go on from their caches.

As in ``model.generate``, the last token of a prompt runs alone: all before it give no logits. Where what is added
leaves the tokens of a prompt alone, it runs once for all strengths, and what several prompts begin with runs once for
all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from mlx_lm.models.cache import make_prompt_cache

from caa_registry.engine.caches import branched, branching_cache, held, joins, merged, padded, row, rows
from caa_registry.engine.decoding.request import Place, Request
from caa_registry.engine.plan import batches, shared_heads
from caa_registry.engine.schedule import tokens_at_a_time
from caa_registry.engine.steps import stepped
from caa_registry.models.memory import allowed_memory
from caa_registry.mx import mx

_Run = tuple[int, int | None]
"""A prompt, and the strength at which its own tokens are steered."""


class Prompts:
    """The prompts of a request. ``join``: whether those of several lengths can be in one batch. ``tokens``: how many
    are run together. ``worked`` is told of tokens that were run."""

    def __init__(self, request: Request, worked: Callable[[int], None] = lambda tokens: None) -> None:
        self.request = request
        self.worked = worked
        self.steered = request.positions == "all"
        empty = self._empty()
        self.padded, self.join = padded(empty), joins(empty)
        self.heads: dict[int, int] = {}
        longest = max(map(len, request.prompts), default=1)
        piece = request.model.piece(longest, allowed_memory() // 2, in_steps=True)
        self.tokens = min(tokens_at_a_time(), piece)
        self._head: tuple[tuple[int, ...], list[Any]] = ((), [])

    def share(self, prompts: Sequence[int]) -> None:
        """From now on run once what many of ``prompts`` begin with."""
        if not self.steered:
            parts = shared_heads([self.request.prompts[prompt][:-1] for prompt in prompts])
            self.heads = {prompts[i]: head for head, part in parts for i in part}

    def joined(self, places: Sequence[Place]) -> list[Any]:
        """A batch cache with a row for each of ``places``, whose prompts may have any length."""
        runs = [self._run(place) for place in places]
        alone: dict[_Run, list[Any]] = {}
        for head, some in self._alike(list(dict.fromkeys(runs))):
            alone |= self._rows(head, some)
        return merged([alone[run] for run in runs])

    def equal(self, places: Sequence[Place]) -> list[Any]:
        """A cache with a row for each of ``places``, whose prompts have one length."""
        runs = [self._run(place) for place in places]
        once = list(dict.fromkeys(runs))
        cache = self._forward(once, 0, self._empty())
        return rows(cache, [once.index(run) for run in runs]) if len(once) < len(runs) else cache

    def alone(self, place: Place) -> list[Any]:
        """A cache of one row, in which nothing is shared."""
        return self._forward([place], 0, self._empty())

    def _empty(self) -> list[Any]:
        cache: list[Any] = make_prompt_cache(self.request.model.network)
        return cache

    def _run(self, place: Place) -> _Run:
        return place if self.steered else (place[0], None)

    def _alike(self, runs: Sequence[_Run]) -> Iterator[tuple[tuple[int, ...], list[_Run]]]:
        """What is run together, and what it begins with: about as many tokens as are computed at a time, of several
        lengths only where padding is exact."""
        alike: dict[tuple[tuple[int, ...], int], list[_Run]] = defaultdict(list)
        for run in runs:
            head = self.request.prompts[run[0]][: self.heads.get(run[0], 0)]
            length = self.request.end(run[0])
            alike[head, length if length > self.padded else 0].append(run)
        for (head, _), some in alike.items():
            lengths = [self.request.end(prompt) - len(head) for prompt, _ in some]
            for batch in batches(lengths, self.tokens):
                yield head, [some[i] for i in batch]

    def _rows(self, head: tuple[int, ...], runs: Sequence[_Run]) -> dict[_Run, list[Any]]:
        """The caches of ``runs``, which begin with ``head``."""
        cache = branched(self._of_head(head), len(runs)) if head else branching_cache(self.request.model.network)
        cache = self._forward(runs, len(head), cache)
        longest = max(self.request.end(prompt) for prompt, _ in runs)
        return {run: row(cache, i, longest - self.request.end(run[0])) for i, run in enumerate(runs)}

    def _of_head(self, head: tuple[int, ...]) -> list[Any]:
        # One is kept, since prompts come head by head.
        if self._head[0] != head:
            cache = branching_cache(self.request.model.network)
            self._pieces(mx.array([head]), cache)
            self._head = head, cache
        return self._head[1]

    def _forward(self, runs: Sequence[_Run], done: int, cache: list[Any]) -> list[Any]:
        """``cache``, which holds the first ``done`` tokens, after all but the last of each prompt, and padding."""
        request = self.request
        tails = [request.prompts[prompt][done:-1] for prompt, _ in runs]
        width = max(map(len, tails))
        if width:
            # Tapped in any case, since the tokens of caches that do not count theirs are counted in passing.
            add = request.adding([strength for _, strength in runs])
            ends = [request.end(prompt) for prompt, _ in runs]
            with request.model.stream.prompt(ends), request.model.stream.tapped(add):
                self._pieces(mx.array([[*tail, *[0] * (width - len(tail))] for tail in tails]), cache)
        return cache

    def _pieces(self, tokens: mx.array, cache: list[Any]) -> None:
        height, length = tokens.shape
        width = max(1, self.tokens // height)
        for start in range(0, length, width):
            piece = tokens[:, start : start + width]
            model = self.request.model
            stepped(model.stream, partial(model.network, piece, cache=cache), lambda: held(cache))
            self.worked(height * min(width, length - start))
