"""How an evaluation is to be made, beyond the vector, the questions, the model, the layers and the multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caa_registry.display.records import Record
from caa_registry.evaluation.conditions import Direction, check_conditions, check_direction
from caa_registry.evaluation.nulls.names import DRAWS, check_nulls
from caa_registry.models.rendering.prompts import TemplateName, check_template
from caa_registry.pairs.halves import Half, check_half
from caa_registry.pairs.orders import Orders, check_orders
from caa_registry.references import check_alias
from caa_registry.steering.positions import SteeredPositions, check_positions


@dataclass(frozen=True)
class PropensitySettings(Record):
    """How questions are asked and scored, and what is measured beside the vector.

    ``template`` defaults to the one that the vector was computed with. ``rows`` takes only the even or the odd rows of
    the split (counted from 0), so that a layer can be chosen on one half and reported on the other. A question with
    more than two letters is scored over all of them; ``paper`` scores over A and B and counts questions whose matching
    letter is another one as 0, as the paper does. ``orders``: ``both`` asks questions of letters as they are written
    and with their choices in reverse, so that a preference for a letter cancels; both count as one cluster.

    ``controls`` are nulls (``evaluation.nulls.directions``), of ``draws`` vectors each, measured at the lowest and the
    highest multiplier, and no further than it takes to tell that a vector does nothing. On another model than the
    vector's own, isotropic directions stand for those with the pairs' covariance, and there are no shuffled labels.
    ``seed`` is by default made of the pairs, the model and the recipe that the vector comes from.

    Baselines, each alone (multiplier 0) and with the vector: ``system_positive`` and ``system_negative`` are system
    prompts for and against the behavior; ``few_shot`` is how many of the vector's own pairs, drawn at random, stand
    before the question with their positive completions. ``untrained``: the same recipe on a network of the same shape
    with random weights, asked the same questions at the same layers and multipliers; on the vector's own model only.

    ``allow_mismatch`` applies the vector to another model than its own. Raises ``UsageError`` for unknown positions,
    template, rows or controls, and for too few draws.
    """

    positions: SteeredPositions = "after_prompt"
    template: TemplateName | None = None
    rows: Half = "all"
    paper: bool = False
    orders: Orders = "as-written"
    controls: Sequence[str] = ("covariance",)
    draws: int = DRAWS
    seed: int | None = None
    system_positive: str = ""
    system_negative: str = ""
    few_shot: int = 0
    untrained: bool = False
    allow_mismatch: bool = False

    def __post_init__(self) -> None:
        check_nulls(self.controls, self.draws)
        check_half(self.rows)
        check_orders(self.orders)
        _check_rendering(self.positions, self.template)


@dataclass(frozen=True)
class OpenEndedSettings(Record):
    """How answers to open-ended questions are generated.

    ``template`` defaults to the one that the vector was computed with. ``temperature`` 0 is greedy; above, what is
    drawn depends on ``seed``, prompt and multiplier alone. ``limit``: only the first questions, so many; ``only``:
    those of the split's questions that it lists. ``allow_mismatch`` applies the vector to another model than its own.
    Raises ``UsageError`` for unknown positions or an unknown template.
    """

    positions: SteeredPositions = "after_prompt"
    template: TemplateName | None = None
    system: str = ""
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    limit: int | None = None
    only: Sequence[str] | None = None
    allow_mismatch: bool = False

    def __post_init__(self) -> None:
        _check_rendering(self.positions, self.template)


@dataclass(frozen=True)
class CalibrationSettings(Record):
    """What a calibration measures, and what it looks for.

    ``template`` defaults to the one that the vector was computed with. ``text``: the ordinary text that the vector
    must not harm, as ``Evaluations.side_effects`` takes it. ``target_kl``: how far it may move that text, in nats per
    token; 0.2 by default. ``direction``: whether the behavior is to be raised (``more``) or lowered (``less``).
    ``coherence``: how many answers are generated at a cell that would be chosen, to see whether they read well; 0
    skips that. ``alias``: the alias that is set. ``orders``: as of propensity. ``accept``: conditions of the verdict
    (``evaluation.verdict``) that need not hold for the alias to be set. Raises ``UsageError`` for what is unknown or
    cannot be kept to.
    """

    positions: SteeredPositions = "after_prompt"
    template: TemplateName | None = None
    text: str = "english"
    target_kl: float | None = None
    direction: Direction = "more"
    coherence: int = 8
    alias: str = "best"
    orders: Orders = "both"
    accept: Sequence[str] = ()

    def __post_init__(self) -> None:
        from caa_registry.evaluation.calibration import check_target

        _check_rendering(self.positions, self.template)
        check_direction(self.direction)
        check_orders(self.orders)
        check_conditions(self.accept)
        if self.target_kl is not None:
            check_target(self.target_kl)
        check_alias(self.alias)


def _check_rendering(positions: str, template: str | None) -> None:
    check_positions(positions)
    if template is not None:
        check_template(template)
