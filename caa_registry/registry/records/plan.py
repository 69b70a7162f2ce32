"""Plans: what is to be measured of a vector and what must come of it, said before it is measured.

What a plan says is stored as JSON, which its digest covers. Numbers that are no integers stand there as ``repr`` gives
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from caa_registry.display.records import Record
from caa_registry.errors import UsageError
from caa_registry.evaluation.conditions import Direction, check_direction
from caa_registry.evaluation.nulls.names import DRAWS
from caa_registry.models.read_position import ReadPosition, check_read
from caa_registry.models.rendering.prompts import TemplateName, check_template
from caa_registry.pairs.halves import Half
from caa_registry.pairs.orders import Orders
from caa_registry.registry.records.evidence import Statistic, check_statistic
from caa_registry.registry.records.settings import PropensitySettings
from caa_registry.registry.records.stored import Stored
from caa_registry.steering.positions import SteeredPositions
from caa_registry.wording import count

_REVISION = 1

PlannedName = Literal["interval", "null", "answers", "leaks"]
PLANNED: tuple[PlannedName, ...] = get_args(PlannedName)
"""The conditions that a plan may have."""


@dataclass(frozen=True)
class Pinned(Record):
    """A version by its name and its digest, which does not move."""

    name: str
    digest: str

    def _called(self) -> str:
        return f"{self.name}@{self.digest[:19]}"

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.digest}"

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "digest": self.digest}


@dataclass(frozen=True)
class PlannedRecipe(Record):
    """A vector that is not computed yet: ``name``, which it will have, and how it is computed, at all layers, on the
    plan's model."""

    name: str
    dataset: Pinned
    split: str
    method: str
    read: ReadPosition
    template: TemplateName

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dataset": self.dataset.to_json(),
            "split": self.split,
            "method": self.method,
            "read": self.read,
            "template": self.template,
        }


@dataclass(frozen=True)
class ToCompute(Record):
    """A vector that a plan is to have computed, under ``name``, as ``Vectors.compute`` takes it."""

    name: str
    dataset: str
    split: str | None = None
    method: str = "mean-difference"
    read: ReadPosition | None = None


@dataclass(frozen=True)
class PlanSettings(Record):
    """What a plan freezes beside the vector, the questions, the model, the layers and the multipliers.

    ``positions`` to ``seed`` are those of ``PropensitySettings``; questions of letters are asked in both orders unless
    told otherwise. ``statistic``: what is reported; ``direction``: whether it is to be above 0 (``more``) or below
    (``less``).

    ``conditions`` are what must hold: ``interval``, the statistic's interval lies beyond ``beyond`` in that direction;
    ``null``, its p against the first of ``controls`` is at most ``level``; ``answers``, the answers have at least half
    of the probability, or of free text at most half of the items are saturated; ``leaks``, no question is among the
    vector's own pairs. Raises ``UsageError`` for what is unknown or can never hold.
    """

    positions: SteeredPositions = "after_prompt"
    template: TemplateName | None = None
    rows: Half = "all"
    orders: Orders = "both"
    controls: Sequence[str] = ("covariance",)
    draws: int = DRAWS
    seed: int | None = None
    statistic: Statistic = "effect"
    direction: Direction = "more"
    conditions: Sequence[str] = PLANNED
    beyond: float = 0.0
    level: float = 0.05

    def __post_init__(self) -> None:
        self.measured()
        check_statistic(self.statistic)
        check_direction(self.direction)
        for name in self.conditions:
            if name not in PLANNED:
                raise UsageError(f"there is no condition {name!r} of a plan", f"Conditions: {', '.join(PLANNED)}.")
        if not self.conditions:
            raise UsageError("a plan without a condition decides nothing", f"Name some of {', '.join(PLANNED)}.")
        if not 0 <= self.beyond < float("inf"):
            raise UsageError(f"an interval cannot be asked to lie beyond {self.beyond}", "Give 0 or more.")
        if "null" in self.conditions:
            self._check_null()

    def measured(self) -> PropensitySettings:
        """As an evaluation takes them."""
        return PropensitySettings(
            positions=self.positions,
            template=self.template,
            rows=self.rows,
            orders=self.orders,
            controls=tuple(self.controls),
            draws=self.draws,
            seed=self.seed,
        )

    def _check_null(self) -> None:
        if not self.controls:
            raise UsageError(
                "the condition 'null' needs vectors that mean nothing", "Name controls, or leave the condition out."
            )
        if not 0 < self.level < 1:
            raise UsageError(f"{self.level} is no level of significance", "Give one between 0 and 1, such as 0.05.")
        if 1 / (1 + self.draws) > self.level:
            raise UsageError(
                f"with {count(self.draws, 'vector')} no p-value can be at most {self.level:g}",
                f"Take at least {-int(-1 // self.level) - 1}.",
            )


@dataclass(frozen=True)
class Terms(Record):
    """What a plan says. Either ``vector`` or ``recipe`` is given. ``model``: the digest of its fingerprint;
    ``template`` and ``template_digest``: how the questions are rendered; ``layers`` and ``multipliers`` ascending."""

    vector: Pinned | None
    recipe: PlannedRecipe | None
    model: str
    dataset: Pinned
    split: str
    layers: tuple[int, ...]
    multipliers: tuple[float, ...]
    template_digest: str
    settings: PlanSettings = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """What is stored, and what the digest of a plan covers. The same terms give the same JSON for ever."""
        asked = self.settings
        levels = {"interval": repr(asked.beyond), "null": repr(asked.level)}
        return {
            "vector": self.vector.to_json() if self.vector else None,
            "recipe": self.recipe.to_json() if self.recipe else None,
            "model": self.model,
            "dataset": self.dataset.to_json(),
            "split": self.split,
            "rows": asked.rows,
            "layers": list(self.layers),
            "multipliers": [repr(multiplier) for multiplier in self.multipliers],
            "positions": asked.positions,
            "template": asked.template,
            "template_digest": self.template_digest,
            "orders": asked.orders,
            "controls": list(asked.controls),
            "draws": asked.draws,
            "seed": asked.seed,
            "statistic": asked.statistic,
            "direction": asked.direction,
            "conditions": {name: levels.get(name) for name in asked.conditions},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], plan: str) -> Terms:
        """What ``to_json`` gave, of any revision. Raises ``RegistryError`` naming the ``plan`` and the key."""
        stored = Stored(values, f"the terms of plan {plan}")
        stored.check_revision(_REVISION)
        conditions = stored.get("conditions", dict)
        defaults = PlanSettings()
        try:
            settings = PlanSettings(
                positions=stored.get("positions", str),  # type: ignore[arg-type]
                template=check_template(stored.get("template", str)),
                rows=stored.get("rows", str),  # type: ignore[arg-type]
                orders=stored.get("orders", str),  # type: ignore[arg-type]
                controls=tuple(stored.get("controls", list)),
                draws=stored.get("draws", int),
                seed=None if values.get("seed") is None else stored.get("seed", int),
                statistic=check_statistic(stored.get("statistic", str)),
                direction=stored.get("direction", str),  # type: ignore[arg-type]
                conditions=tuple(name for name in PLANNED if name in conditions),
                beyond=float(conditions.get("interval") or defaults.beyond),
                level=float(conditions.get("null") or defaults.level),
            )
            multipliers = tuple(float(multiplier) for multiplier in stored.get("multipliers", list))
        except (UsageError, ValueError) as error:
            raise stored.unreadable(error.message if isinstance(error, UsageError) else str(error)) from error
        return cls(
            vector=_pinned(stored, "vector") if values.get("vector") is not None else None,
            recipe=_recipe(stored) if values.get("recipe") is not None else None,
            model=stored.get("model", str),
            dataset=_pinned(stored, "dataset"),
            split=stored.get("split", str),
            layers=tuple(stored.get("layers", list)),
            multipliers=multipliers,
            template_digest=stored.get("template_digest", str),
            settings=settings,
        )


def _part(stored: Stored, key: str) -> Stored:
    return Stored(stored.get(key, dict), f"{key!r} in {stored.what}")


def _pinned(stored: Stored, key: str) -> Pinned:
    part = _part(stored, key)
    return Pinned(part.get("name", str), part.get("digest", str))


def _recipe(stored: Stored) -> PlannedRecipe:
    part = _part(stored, "recipe")
    try:
        return PlannedRecipe(
            part.get("name", str),
            _pinned(part, "dataset"),
            part.get("split", str),
            part.get("method", str),
            check_read(part.get("read", str)),
            check_template(part.get("template", str)),
        )
    except UsageError as error:
        raise part.unreadable(error.message) from error


@dataclass(frozen=True)
class Plan(Record):
    """A stored plan. ``existing``: it was stored before it was asked for. ``evaluations``: the numbers of its runs."""

    _columns: ClassVar = "name digest actor created_at"

    id: int
    name: str
    digest: str
    terms: Terms
    actor: str
    created_at: datetime
    evaluations: tuple[int, ...] = ()
    existing: bool = False

    @property
    def what(self) -> str:
        """What is measured, in one line."""
        terms = self.terms
        return terms.vector.name if terms.vector else f"{terms.recipe.name if terms.recipe else ''} (to be computed)"
