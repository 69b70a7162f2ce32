"""What an evaluation measured: of every item its answers' log-probabilities, at every layer and multiplier.

Stored as one safetensors file; every figure of an evaluation is derived from these numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from caa_registry.digests import canonical_json
from caa_registry.display.records import Record
from caa_registry.errors import IntegrityError
from caa_registry.evaluation.propensity import propensity_of

VECTOR = "vector"

_METADATA_KEY = "caa_measurements"


@dataclass(frozen=True, eq=False)
class Observed:
    """The answers of one condition, item by item.

    ``rows``: each item's place among the rows that were asked for. ``letters``: its matching letter, or ``""``.
    ``clusters``: the number of its cluster, of items that ask the same or nearly the same.
    ``log_p``: natural log-probabilities of the matching answer and of all others, float64
    ``(layers, multipliers, items, 2)``; an item that the paper counts as 0 has -inf and 0.

    ``kl``: KL(unsteered || steered) of the next token, nats per token, float64 ``(layers, multipliers, items)``: the
    mean over the places that an item's answers are read at, of a letter the one where it stands, of whole completions
    every token of each. NaN of items that the model was not asked. ``answers_first``: whether the most probable next
    token is one of the item's letters, bool, alike. Both are ``None`` where they were not measured: by earlier
    releases, under baselines, and the second of free text. ``tokens``: of free text the number of tokens that each of
    the two log-probabilities is the sum over, int64 ``(items, 2)``; ``None`` of letters, and by earlier releases.
    """

    rows: tuple[int, ...]
    letters: tuple[str, ...]
    log_p: NDArray[np.float64]
    clusters: tuple[int, ...]
    kl: NDArray[np.float64] | None = None
    answers_first: NDArray[np.bool_] | None = None
    tokens: NDArray[np.int64] | None = None

    @property
    def propensity(self) -> NDArray[np.float64]:
        """``(layers, multipliers, items)``."""
        return propensity_of(self.log_p[..., 0], self.log_p[..., 1])

    @property
    def log_odds(self) -> NDArray[np.float64]:
        """log p(matching) - log p(other), nats, ``(layers, multipliers, items)``."""
        return np.asarray(self.log_p[..., 0] - self.log_p[..., 1])

    @property
    def mass(self) -> NDArray[np.float64]:
        """p(matching) + p(other), ``(layers, multipliers, items)``: how likely one of the two is at all."""
        return np.asarray(np.exp(self.log_p).sum(axis=-1))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which items the model was asked, ``(items,)``: not those that the paper counts as 0."""
        return np.asarray(np.isfinite(self.log_p).all(axis=(0, 1, 3)))


@dataclass(frozen=True, eq=False)
class Null:
    """The same questions steered by vectors that mean nothing, in the order in which they were drawn.

    Per vector the means over items of propensity and log-odds, float64 ``(vectors, layers, multipliers)`` each, every
    letter counting the same. ``multipliers``: the extremes of those of the vector; every one of them in evaluations of
    20 vectors, which earlier releases made. ``lengths``: by layer, their mean length over the vector's.
    """

    propensity: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    multipliers: tuple[float, ...]
    lengths: tuple[float, ...]

    def with_more(self, later: Null) -> Null:
        """These vectors and, behind them, those of ``later``."""
        return replace(
            self,
            propensity=np.concatenate([self.propensity, later.propensity]),
            log_odds=np.concatenate([self.log_odds, later.log_odds]),
        )


@dataclass(frozen=True, eq=False)
class Measurements(Record):
    """All of one evaluation.

    ``observed``: by condition, ``vector`` (the vector under test) and prompted baselines, at the same multipliers, 0
    being the baseline alone. ``nulls``: by name, ``covariance``, ``isotropic`` and ``shuffled``; ``random`` is what
    earlier releases called ``isotropic``.
    """

    _facts: ClassVar = "metric layers multipliers"

    metric: str
    layers: tuple[int, ...]
    multipliers: tuple[float, ...]
    observed: Mapping[str, Observed]
    nulls: Mapping[str, Null] = field(default_factory=dict)

    @property
    def vector(self) -> Observed:
        return self.observed[VECTOR]


def to_bytes(measurements: Measurements) -> bytes:
    """The file's bytes: the same for the same measurements in every process."""
    tensors = {
        f"observed.{name}": np.ascontiguousarray(observed.log_p, "<f8")
        for name, observed in measurements.observed.items()
    }
    for name, observed in measurements.observed.items():
        if observed.kl is not None:
            tensors[f"observed.{name}.kl"] = np.ascontiguousarray(observed.kl, "<f8")
        if observed.answers_first is not None:
            tensors[f"observed.{name}.answers_first"] = np.ascontiguousarray(observed.answers_first, bool)
        if observed.tokens is not None:
            tensors[f"observed.{name}.tokens"] = np.ascontiguousarray(observed.tokens, "<i8")
    for name, null in measurements.nulls.items():
        tensors[f"null.{name}.propensity"] = np.ascontiguousarray(null.propensity, "<f8")
        tensors[f"null.{name}.log_odds"] = np.ascontiguousarray(null.log_odds, "<f8")
    metadata = {
        "metric": measurements.metric,
        "layers": list(measurements.layers),
        "multipliers": [repr(multiplier) for multiplier in measurements.multipliers],
        "observed": [
            {
                "condition": name,
                "rows": list(observed.rows),
                "letters": list(observed.letters),
                "clusters": list(observed.clusters),
            }
            for name, observed in measurements.observed.items()
        ],
        "nulls": [
            {
                "name": name,
                "multipliers": [repr(m) for m in null.multipliers],
                "lengths": [repr(x) for x in null.lengths],
            }
            for name, null in measurements.nulls.items()
        ],
    }
    return bytes(save_tensors(tensors, {_METADATA_KEY: canonical_json(metadata)}))


def from_bytes(data: bytes) -> Measurements:
    """What ``to_bytes`` of this release or an earlier one wrote. Raises ``IntegrityError`` where it is something
    else."""
    try:
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata: dict[str, Any] = json.loads(header["__metadata__"][_METADATA_KEY])
        layers = tuple(metadata["layers"])
        multipliers = tuple(float(multiplier) for multiplier in metadata["multipliers"])
        return Measurements(
            metadata["metric"],
            layers,
            multipliers,
            {
                observed["condition"]: Observed(
                    tuple(observed["rows"]),
                    tuple(observed["letters"]),
                    tensors[f"observed.{observed['condition']}"],
                    # Before clusters were looked for, every item was its own.
                    tuple(observed.get("clusters", range(len(observed["rows"])))),
                    tensors.get(f"observed.{observed['condition']}.kl"),
                    tensors.get(f"observed.{observed['condition']}.answers_first"),
                    tensors.get(f"observed.{observed['condition']}.tokens"),
                )
                for observed in metadata["observed"]
            },
            _nulls(metadata, tensors, multipliers, len(layers)),
        )
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"the measurements of an evaluation cannot be read: {error}") from error


def _nulls(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, NDArray[np.float64]],
    multipliers: tuple[float, ...],
    layers: int,
) -> dict[str, Null]:
    nulls = {
        null["name"]: Null(
            tensors[f"null.{null['name']}.propensity"],
            tensors[f"null.{null['name']}.log_odds"],
            tuple(float(multiplier) for multiplier in null["multipliers"]),
            tuple(float(length) for length in null["lengths"]),
        )
        for null in metadata.get("nulls", ())
    }
    for name in metadata.get("controls", ()):
        propensity, log_odds = (tensors[f"control.{name}.{kind}"] for kind in ("propensity", "log_odds"))
        nulls[name] = Null(propensity, log_odds, multipliers, (1.0,) * layers)
    return nulls
