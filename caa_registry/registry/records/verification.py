"""What checking a version again found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_TOLERANCES: Mapping[str, float] = {"float32": 1e-4}
_OF_16_BITS = 2e-2


@dataclass(frozen=True)
class RecomputedLayer:
    """One layer of a vector beside what was computed again. ``same_bits``: whether all bits agree; ``cosine``: of the
    two, ``None`` where one is zero; ``difference``: the largest of a coordinate, relative to the norm of the largest
    layer that is stored."""

    layer: int
    same_bits: bool
    cosine: float | None
    difference: float


@dataclass(frozen=True)
class Verification:
    """What a version was checked for, with what came of it.

    ``pairs``: how many were checked. ``differences``: in words, what is not as it was when the version was made, of its
    pairs, its model and its recipe. ``environment``: what is otherwise about machine and packages, which may move last
    digits. ``layers``: of what was computed again, empty where nothing was; ``dtype``: what it was computed in.
    ``run``: the number of the run that keeps the outcome, of a computation.
    """

    reference: str
    pairs: int
    differences: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    layers: tuple[RecomputedLayer, ...] = ()
    dtype: str = ""
    run: int | None = None

    @property
    def tolerance(self) -> float:
        """How large ``difference`` may be: what another order of summation explains in float32, or where a model is
        computed in 16 bits. A cosine may be as far from 1."""
        return _TOLERANCES.get(self.dtype, _OF_16_BITS)

    @property
    def apart(self) -> tuple[RecomputedLayer, ...]:
        """The layers that differ by more than that."""
        return tuple(
            layer
            for layer in self.layers
            if not layer.same_bits
            and not (layer.difference <= self.tolerance and 1 - (layer.cosine or 0.0) <= self.tolerance)
        )

    @property
    def holds(self) -> bool:
        """Whether all is as it was, and what was computed again agrees."""
        return not self.differences and not self.apart
