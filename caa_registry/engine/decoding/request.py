"""What is decoded: prompts, the strengths at which each is answered, and how tokens are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from caa_registry.digests import digest_object
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions, Tap
from caa_registry.mx import mx
from caa_registry.steering.additions import added
from caa_registry.steering.positions import SteeredPositions

Finish = Literal["stop", "length"]

Place = tuple[int, int]
"""A prompt and a strength, by index: one answer."""


@dataclass(frozen=True, eq=False)
class Strength:
    """What is added at one multiplier: layer to float32 ``(d_model,)``."""

    multiplier: float
    deltas: Mapping[int, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Request:
    """Every one of ``prompts``, each within the model's context, at every one of ``strengths``.

    ``temperature`` 0 is greedy; ``seed`` draws above it, for each answer apart.
    """

    model: Model
    prompts: Sequence[tuple[int, ...]]
    strengths: Sequence[Strength]
    positions: SteeredPositions
    max_tokens: int
    temperature: float
    seed: int

    def end(self, prompt: int) -> int:
        """The position of a prompt's last token."""
        return len(self.prompts[prompt]) - 1

    def room(self, prompt: int) -> int:
        """How many tokens an answer may have."""
        return self.model.room(len(self.prompts[prompt]), self.max_tokens)

    def adding(self, strengths: Sequence[int | None]) -> Tap:
        """Adds to each row of a batch what its strength says, ``None`` nothing."""
        deltas = self._deltas(strengths)

        def add(layer: int, hidden: mx.array, where: Positions) -> mx.array:
            delta = deltas.get(layer)
            return hidden if delta is None else added(hidden, delta, self.positions, where)

        return add

    def _deltas(self, strengths: Sequence[int | None]) -> dict[int, mx.array]:
        """Layer to what is added there, ``(rows, 1, d_model)``."""
        nothing = np.zeros(self.model.d_model, np.float32)
        rows = [{} if strength is None else self.strengths[strength].deltas for strength in strengths]
        layers = sorted({layer for deltas in rows for layer in deltas})
        return {layer: mx.array(np.stack([row.get(layer, nothing) for row in rows]))[:, None] for layer in layers}

    def draws(self, place: Place) -> np.random.Generator:
        """Random numbers of one answer, whatever else is in its batch, and however many tokens are asked for."""
        prompt, strength = place
        multiplier = repr(self.strengths[strength].multiplier)
        what = {"seed": self.seed, "prompt": list(self.prompts[prompt]), "multiplier": multiplier}
        return np.random.default_rng(int(digest_object("draws", what).removeprefix("sha256:"), 16))


@dataclass(eq=False)
class Row:
    """An answer while it is decoded.

    ``token``: what runs next. ``left``: how many steps of its batch it may still be part of. ``ids``: its tokens so
    far, without the end token. ``finish``: why there are no more, once it has ``ended``. ``log_p``: of a ``compared``
    row the natural log-probabilities at its first tokens, float32 ``(vocabulary,)`` each.
    """

    place: Place
    token: int
    left: int
    draws: np.random.Generator
    compared: bool
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    finish: Finish = "length"
    log_p: list[NDArray[np.float32]] = field(default_factory=list)

    def take(self, token: int, ends: set[int]) -> None:
        """One more step gave ``token``. A row that has ended runs on unread until it leaves its batch."""
        self.left -= 1
        if self.ended:
            return
        self.token = token
        if token in ends:
            self.ended, self.finish = True, "stop"
        else:
            self.ids.append(token)
            self.ended = self.left == 0


def drawn(log_p: NDArray[np.float32], temperature: float, uniform: float) -> int:
    """The token at ``uniform``, in [0, 1), of the cumulated probabilities. ``log_p``: ``(vocabulary,)``."""
    cumulated = np.exp((log_p - log_p.max()).astype(np.float64) / temperature).cumsum()
    return min(int(np.searchsorted(cumulated, uniform * cumulated[-1], side="right")), len(log_p) - 1)
