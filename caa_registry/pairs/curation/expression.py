"""Expressions about a row, for ``caa dataset filter`` and ``relabel``: evaluated by simpleeval, never run as code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import regex

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.answers import form_of, sides_of
from caa_registry.pairs.questions import question, said
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.turns import turns_text

MOST_CHARACTERS = 2000
# Of one regular expression on one text: some patterns never end, and may come with somebody else's recipe.
SECONDS = 1.0

NAMES: Mapping[str, str] = {
    "prompt": "the prompt",
    "positive": "the positive completion",
    "negative": "the negative completion",
    "system": "the system prompt",
    "turns": "how many turns stand before the prompt",
    "before": "the texts of these turns, each behind its role",
    "split": "the split",
    "form": "A/B, yes-no or free-form",
    "letter": "the letter that matches, or empty",
    "choices": "how many choices the prompt lists",
    "question": "the turns and the prompt without its choices, in lower case",
    "matching": "the text of the positive side, its letter replaced by its option",
    "other": "the text of the negative side",
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "lower": lambda text: str(text).lower(),
    "words": lambda text: len(str(text).split()),
    "matches": lambda pattern, text: regex.search(pattern, str(text), timeout=SECONDS) is not None,
}
_WHAT_THERE_IS = f"Names: {', '.join(NAMES)}. Functions: {', '.join(FUNCTIONS)}, meta('category')."


def compiled(expression: str) -> Callable[[PairItem], bool]:
    """A test of rows. Raises ``UsageError`` for what is not an expression, and the test ``InputError`` for a row that
    it fails at."""
    from simpleeval import EvalWithCompoundTypes, InvalidExpression

    if len(expression) > MOST_CHARACTERS:
        raise UsageError(f"the expression is longer than {MOST_CHARACTERS} characters", "Filter in steps.")
    # No attribute of anything can be reached.
    evaluator = EvalWithCompoundTypes(functions=dict(FUNCTIONS), names={}, allowed_attrs={})
    try:
        parsed = evaluator.parse(expression)
    except (SyntaxError, ValueError, InvalidExpression, RecursionError, MemoryError) as error:
        raise UsageError(f"{expression!r} is not an expression: {_reason(error)}", _WHAT_THERE_IS) from None

    def holds(item: PairItem) -> bool:
        evaluator.names = {**_CONSTANTS, **_values(item)}
        evaluator.functions["meta"] = item.metadata.get
        try:
            return bool(evaluator.eval(expression, previously_parsed=parsed))
        except (
            InvalidExpression,
            TypeError,
            ValueError,
            ArithmeticError,
            regex.error,
            KeyError,
            IndexError,
            TimeoutError,
        ) as error:
            raise InputError(
                f"{expression!r} cannot be evaluated: {_reason(error)}", _WHAT_THERE_IS, row=item.row
            ) from None

    return holds


_CONSTANTS = {"True": True, "False": False, "None": None}


def _values(item: PairItem) -> dict[str, Any]:
    pair = item.pair
    matching, other = said(pair)
    sides = sides_of(pair)
    return {
        "prompt": pair.prompt,
        "positive": pair.positive,
        "negative": pair.negative,
        "system": pair.system,
        "turns": len(pair.turns),
        "before": turns_text(pair.turns),
        "split": item.split,
        "form": form_of(pair),
        "letter": sides.positive.letter if sides.positive else "",
        "choices": len(sides.choices),
        "question": question(pair),
        "matching": matching,
        "other": other,
    }


def _reason(error: BaseException) -> str:
    reason = str(error).split(" for expression")[0]
    return reason.removesuffix(" (<unknown>, line 1)") or type(error).__name__
