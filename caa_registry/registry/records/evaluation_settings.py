"""What is recorded of how an evaluation was made: the JSON of ``evaluation.parameters``, typed.

Five shapes of propensity are stored. The second added ``unscorable``: the first scored every whole text. The third
added ``operator``, ``more_choices``, ``leaked`` and ``beside``: before it vectors were only added, no question was
scored over more than two letters, overlap with the vector's own pairs was not looked for, and nothing was measured
beside the vector; questions with a matching letter beyond A and B were left out, unless ``paper`` counted them as 0.
The fourth added ``orders``: before it every question was asked as it is written. The fifth adds ``plan``, and is that
of evaluations that follow one; all others have the fourth.
The other kinds have one shape each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caa_registry.errors import UsageError
from caa_registry.pairs.halves import Half, check_half
from caa_registry.pairs.orders import Orders, check_orders
from caa_registry.registry.records.stored import Stored

# Of propensity: the shape that a key came with, where it is not the first.
_SINCE = {"unscorable": 2, "operator": 3, "more_choices": 3, "leaked": 3, "beside": 3, "orders": 4, "plan": 5}


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(ABC):
    """What is recorded of every kind of evaluation.

    ``layers`` and ``multipliers`` ascending; ``rows``: which of the split; ``dtype``: what the model computed in;
    ``operator``: what was done with the vector; ``verdict``: how far the model is the vector's own; ``interval``: what
    the intervals of the scores are.
    """

    layers: tuple[int, ...]
    multipliers: tuple[float, ...]
    rows: Half
    dtype: str
    operator: str
    verdict: str
    interval: str

    def to_json(self) -> dict[str, Any]:
        """What is stored. The same settings give the same JSON for ever."""
        return {
            "rows": self.rows,
            **self._own_json(),
            "dtype": self.dtype,
            "operator": self.operator,
            "layers": list(self.layers),
            "multipliers": list(self.multipliers),
            "verdict": self.verdict,
        }

    @abstractmethod
    def _own_json(self) -> dict[str, Any]:
        """What the kind adds, and ``interval``."""


@dataclass(frozen=True)
class Leaked:
    """How many of the questions are among the vector's own pairs: the ``same``, or ``near`` the same. ``unknown``:
    whether there may be more, since not all of its pairs are known; stored where it is so."""

    same: int
    near: int
    unknown: bool = False

    def to_json(self) -> dict[str, int | bool]:
        return {"same": self.same, "near": self.near, **({"unknown": True} if self.unknown else {})}


@dataclass(frozen=True)
class Beside:
    """What was measured beside the vector: nulls, ``controls``, with up to ``seeds`` vectors each, and baselines
    (system prompts for and against the behavior, ``few_shot`` examples, an ``untrained`` network). ``seed``: of the
    nulls' draws, where one was given. The last two are stored where there is anything of the kind."""

    controls: tuple[str, ...] = ()
    seeds: int = 0
    system_positive: str = ""
    system_negative: str = ""
    few_shot: int = 0
    untrained: bool = False
    seed: int | None = None

    def to_json(self) -> dict[str, Any]:
        untrained = {"untrained": True} if self.untrained else {}
        seed = {"seed": self.seed} if self.seed is not None else {}
        return {
            "controls": list(self.controls),
            "seeds": self.seeds,
            "system_positive": self.system_positive,
            "system_negative": self.system_negative,
            "few_shot": self.few_shot,
            **untrained,
            **seed,
        }


@dataclass(frozen=True, kw_only=True)
class RecordedPropensity(EvaluationSettings):
    """How an evaluation by propensity was made, and which questions were treated apart.

    ``more_choices``: scored over more than two letters; ``beyond_letters``: counted as 0 as the paper does, or left out
    where ``paper`` is not set. Also left out: ``too_long`` for the model's context, and ``unscorable``. ``shape``:
    which of the five is stored. ``orders``: of the choices, in which questions were asked. ``plan``: the digest of the
    plan that it follows; empty where there is none.
    """

    template_digest: str
    paper: bool
    more_choices: int
    beyond_letters: int
    too_long: int
    unscorable: int
    leaked: Leaked
    beside: Beside
    orders: Orders = "as-written"
    plan: str = ""
    shape: int = 4

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in super().to_json().items() if _SINCE.get(key, 1) <= self.shape}

    def _own_json(self) -> dict[str, Any]:
        return {
            "template_digest": self.template_digest,
            "paper": self.paper,
            "orders": self.orders,
            "more_choices": self.more_choices,
            "beyond_letters": self.beyond_letters,
            "too_long": self.too_long,
            "unscorable": self.unscorable,
            "interval": self.interval,
            "leaked": self.leaked.to_json(),
            "beside": self.beside.to_json(),
            "plan": self.plan,
        }


@dataclass(frozen=True, kw_only=True)
class RecordedSideEffects(EvaluationSettings):
    """Which ordinary text was measured: its name and digest, how many ``passages`` it has, and how many more were left
    out."""

    text: str
    text_digest: str
    passages: int
    too_long: int
    too_short: int

    def _own_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "text_digest": self.text_digest,
            "passages": self.passages,
            "too_long": self.too_long,
            "too_short": self.too_short,
            "interval": self.interval,
        }


@dataclass(frozen=True)
class Sampling:
    """How tokens were chosen: at most ``max_tokens`` an answer, greedily at ``temperature`` 0, else by ``seed``."""

    max_tokens: int
    temperature: float
    seed: int

    def to_json(self) -> dict[str, Any]:
        return {"max_tokens": self.max_tokens, "temperature": self.temperature, "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class RecordedOpenEnded(EvaluationSettings):
    """How answers were generated. ``questions``: how many were asked."""

    template_digest: str
    questions: int
    system: str
    sampling: Sampling

    def _own_json(self) -> dict[str, Any]:
        return {
            "template_digest": self.template_digest,
            "questions": self.questions,
            "system": self.system,
            "sampling": self.sampling.to_json(),
            "interval": self.interval,
        }


def settings_from_json(kind: str, values: Mapping[str, Any], evaluation: int) -> EvaluationSettings:
    """What ``to_json`` gave for an evaluation of that kind, of any revision. Raises ``RegistryError`` naming the number
    of the evaluation and the key."""
    stored = Stored(values, f"the parameters of evaluation {evaluation}")
    stored.check_revision(1)
    if kind == "propensity":
        return _propensity(stored)
    if kind == "side-effects":
        return _side_effects(stored)
    if kind == "open-ended":
        return _open_ended(stored)
    raise stored.unreadable(f"its kind is {kind!r}")


def _part(stored: Stored, key: str) -> Stored:
    return Stored(stored.get(key, dict), f"{key!r} in {stored.what}")


def _common(stored: Stored) -> dict[str, Any]:
    try:
        rows = check_half(stored.get("rows", str))
    except UsageError as error:
        raise stored.unreadable(f"'rows': {error.message}") from error
    return {
        "layers": tuple(stored.get("layers", list)),
        "multipliers": tuple(stored.get("multipliers", list)),
        "rows": rows,
        "dtype": stored.get("dtype", str),
        "operator": stored.get("operator", str, "add"),
        "verdict": stored.get("verdict", str),
        "interval": stored.get("interval", str),
    }


def _propensity(stored: Stored) -> RecordedPropensity:
    newest_first = ("plan", 5), ("orders", 4), ("beside", 3), ("unscorable", 2)
    shape = next((shape for key, shape in newest_first if key in stored.values), 1)
    leaked, beside = Leaked(0, 0), Beside()
    if shape >= 3:
        leaked_json = _part(stored, "leaked")
        leaked = Leaked(
            leaked_json.get("same", int), leaked_json.get("near", int), leaked_json.get("unknown", bool, False)
        )
        beside_json = _part(stored, "beside")
        beside = Beside(
            tuple(beside_json.get("controls", list)),
            beside_json.get("seeds", int),
            beside_json.get("system_positive", str),
            beside_json.get("system_negative", str),
            beside_json.get("few_shot", int),
            beside_json.get("untrained", bool, False),
            beside_json.get("seed", int) if "seed" in beside_json.values else None,
        )
    return RecordedPropensity(
        **_common(stored),
        template_digest=stored.get("template_digest", str),
        paper=stored.get("paper", bool),
        more_choices=stored.get("more_choices", int, 0 if shape < 3 else None),
        beyond_letters=stored.get("beyond_letters", int),
        too_long=stored.get("too_long", int),
        unscorable=stored.get("unscorable", int, 0 if shape < 2 else None),
        leaked=leaked,
        beside=beside,
        orders=_orders(stored, shape),
        plan=stored.get("plan", str, "" if shape < 5 else None),
        shape=shape,
    )


def _orders(stored: Stored, shape: int) -> Orders:
    try:
        return check_orders(stored.get("orders", str, "as-written" if shape < 4 else None))
    except UsageError as error:
        raise stored.unreadable(f"'orders': {error.message}") from error


def _side_effects(stored: Stored) -> RecordedSideEffects:
    return RecordedSideEffects(
        **_common(stored),
        text=stored.get("text", str),
        text_digest=stored.get("text_digest", str),
        passages=stored.get("passages", int),
        too_long=stored.get("too_long", int),
        too_short=stored.get("too_short", int),
    )


def _open_ended(stored: Stored) -> RecordedOpenEnded:
    sampling = _part(stored, "sampling")
    sampling.get("temperature", float)
    return RecordedOpenEnded(
        **_common(stored),
        template_digest=stored.get("template_digest", str),
        questions=stored.get("questions", int),
        system=stored.get("system", str),
        sampling=Sampling(
            sampling.get("max_tokens", int),
            sampling.values["temperature"],  # as it is written, with or without a point
            sampling.get("seed", int),
        ),
    )
