"""How long commands take, from how long parts of the network do: what the engine runs for them, added up.

A cost is seconds of work. Several computations go on at a time, and speeds are the share that one has of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from caa_registry.doctor.timing import Speed

# The amounts that times are told of: what commands do by default, of usual size.
PAIRS, QUESTIONS, TOKENS, END = 100, 50, 100, 2
PASSAGES, PASSAGE = 40, 130
STEPS, CALIBRATED_STEPS, DRAWS = 2, 10, 199
ANSWERS, ANSWER, ANSWER_STEPS = 8, 48, 2


@dataclass(frozen=True)
class Time:
    """How long ``command`` takes for an ``amount``, in seconds."""

    command: str
    amount: str
    seconds: float


def times(speed: Speed, layers: int, batch: int) -> tuple[Time, ...]:
    """Those of a model of so many ``layers``, of which ``batch`` tokens are run together."""
    questions = f"{QUESTIONS} questions of {TOKENS} tokens at all layers"
    passages = f"{PASSAGES} passages of {PASSAGE} tokens (as in english) at all layers"
    # Calibration asks questions in both orders of their choices, and half of them of a null.
    calibrated = (
        2 * _sweep(speed, layers, batch, CALIBRATED_STEPS)
        + _sweep(speed, layers, batch, 2 * DRAWS)
        + _side_effects(speed, layers, batch, CALIBRATED_STEPS)
        + _answers(speed)
    )
    return (
        Time("vector compute", f"{PAIRS} pairs of 2 x {TOKENS} tokens, all layers", _compute(speed, layers, batch)),
        Time(
            "eval propensity",
            f"{questions}, multipliers -1,0,1, with a null of {DRAWS} vectors",
            _sweep(speed, layers, batch, STEPS) + _sweep(speed, layers, batch, 2 * DRAWS),
        ),
        Time(
            "eval propensity --controls none",
            f"{questions}, multipliers -1,0,1",
            _sweep(speed, layers, batch, STEPS),
        ),
        Time("eval side-effects", f"{passages}, multipliers -1,0,1", _side_effects(speed, layers, batch, STEPS)),
        Time(
            "eval calibrate",
            f"both at {1 + CALIBRATED_STEPS} multipliers, a null of {DRAWS} vectors, and "
            f"{ANSWERS * ANSWER_STEPS} answers of {ANSWER} tokens",
            calibrated,
        ),
    )


def _compute(speed: Speed, layers: int, batch: int) -> float:
    # A prompt runs once for both sides, through all blocks and no head; then its two ends run behind it. A pair is read
    # alone first, and once more plainly to compare. Each layer's vector is measured.
    shared = TOKENS - END
    together = max(1, batch // (shared + 2 * END))
    groups = (PAIRS - 1) / together
    checked = speed.prompt(shared) + speed.ends(2) + speed.prompt(2 * TOKENS)
    return checked + groups * (speed.prompt(together * shared) + speed.ends(2 * together)) + layers * speed.quality


def _sweep(speed: Speed, layers: int, batch: int, steered: int) -> float:
    # A question runs once unsteered, with one position of logits. For each layer its end runs ``steered`` times through
    # the blocks above it alone, and logits are computed of each.
    shared = TOKENS - END
    together = max(1, min(QUESTIONS, batch // (shared + steered * END)))
    at_once = max(1, min(steered, batch // (together * END)))
    calls = math.ceil(steered / at_once)
    rows = together * at_once
    unsteered = speed.prompt(together * shared) + speed.ends(together) + speed.head(together)
    per_group = unsteered + calls * (_above(layers) * speed.ends(rows) + layers * speed.head(rows))
    # The first group is run with a row more, and a question of it steered and whole.
    return QUESTIONS / together * per_group + speed.prompt(TOKENS)


def _side_effects(speed: Speed, layers: int, batch: int, steered: int) -> float:
    # All tokens are steered and all have logits, which are compared with the unsteered ones.
    at_once = max(1, min(steered, batch // PASSAGE))
    calls = math.ceil(steered / at_once)
    tokens = at_once * PASSAGE
    unsteered = speed.prompt(PASSAGE) + speed.head(PASSAGE) + speed.reading(PASSAGE)
    per_layer = speed.head(tokens) + speed.reading(tokens)
    return PASSAGES * (unsteered + calls * (_above(layers) * speed.prompt(tokens) + layers * per_layer))


def _answers(speed: Speed) -> float:
    # Each token of all answers is one pass of a row each; then all are read once more, for their perplexity.
    rows = ANSWERS * ANSWER_STEPS
    return (
        speed.prompt(rows * TOKENS)
        + ANSWER * (speed.ends(rows) + speed.head(rows))
        + speed.prompt(rows * (TOKENS + ANSWER))
    )


def _above(layers: int) -> float:
    """How many times all blocks are run, where for each layer those above it are."""
    return (layers - 1) / 2
