"""Aliases and what they recommend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from caa_registry.display.records import Record
from caa_registry.errors import UsageError
from caa_registry.steering.positions import SteeredPositions, check_positions

# The largest float32: beyond it a strength is infinite where it is used.
_LARGEST = 3.4028234663852886e38


def check_multiplier(multiplier: float) -> float:
    """``multiplier`` if it is a finite float32, else ``UsageError``."""
    if not isinstance(multiplier, int | float) or not abs(multiplier) <= _LARGEST:
        raise UsageError(f"multiplier {multiplier} is not a finite number", "Useful ones lie between -10 and 10.")
    return float(multiplier)


@dataclass(frozen=True)
class Recommendation(Record):
    """What an evaluation found best. Used where a vector is applied through the alias and no layer is given.

    ``evidence``: what a calibration says for it, as JSON: evaluations, rule, scores. Raises ``UsageError`` for no
    layer, or a multiplier that is not a finite number.
    """

    layers: tuple[int, ...]
    multiplier: float = 1.0
    positions: SteeredPositions = "after_prompt"
    evidence: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise UsageError("a recommendation needs a layer")
        check_multiplier(self.multiplier)
        check_positions(self.positions)

    @property
    def verdict(self) -> str:
        """What a calibration said of it: ``passed``, ``accepted: interval, kl`` for conditions that do not hold and
        that somebody accepted, ``before verdicts`` in earlier releases; empty where it is none of a calibration."""
        if self.evidence is None:
            return ""
        if "verdict" not in self.evidence:
            return "before verdicts"
        accepted = self._accepted
        return f"accepted: {', '.join(accepted)}" if accepted else "passed"

    @property
    def caveat(self) -> str:
        """What a user must know about how a calibration came to it; empty where there is nothing."""
        if self.evidence is None:
            return ""
        if "verdict" not in self.evidence:
            return (
                "it was calibrated before vectors had to pass a verdict: caa eval calibrate says what holds of it now"
            )
        accepted = self._accepted
        return f"its calibration accepted what does not hold: {', '.join(accepted)}" if accepted else ""

    @property
    def evaluations(self) -> tuple[int, ...]:
        """The numbers of the evaluations that its evidence names."""
        evidence = self.evidence or {}
        single = [evidence[name] for name in ("propensity", "side_effects") if name in evidence]
        return (*single, *evidence.get("extended", ()), *evidence.get("answers", ()))

    @property
    def _accepted(self) -> list[str]:
        conditions = (self.evidence or {}).get("verdict", ())
        return [condition["name"] for condition in conditions if condition["accepted"]]

    def as_json(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "layers": list(self.layers),
            "multiplier": self.multiplier,
            "positions": self.positions,
        }
        return values if self.evidence is None else {**values, "evidence": dict(self.evidence)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recommendation:
        layers, positions = tuple(value["layers"]), check_positions(value["positions"])
        return cls(layers, float(value["multiplier"]), positions, value.get("evidence"))


@dataclass(frozen=True)
class Alias(Record):
    """A movable name of one version. ``protected``: it moves and goes only where somebody says so."""

    _columns: ClassVar = "reference kind target recommendation protected updated_at"

    kind: str
    name: str
    alias: str
    target: str
    recommendation: Recommendation | None
    updated_at: datetime
    protected: bool = False

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.alias}"
