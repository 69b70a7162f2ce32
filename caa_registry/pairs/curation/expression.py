"""Expressions about a row, for ``caa dataset filter`` and ``relabel``: evaluated by simpleeval, never run as code,
within the bounds of ``expression_bounds.py``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import regex

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.answers import form_of, sides_of
from caa_registry.pairs.curation.expression_bounds import Bounds, check
from caa_registry.pairs.questions import question, said
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.turns import turns_text

MOST_CHARACTERS = 2000

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
_WHAT_THERE_IS = f"Names: {', '.join(NAMES)}. Functions: len, lower, words, matches, meta('category')."


def compiled(expression: str) -> Callable[[PairItem], bool]:
    """A test of rows, for one pass over them.

    Raises ``UsageError`` for what is not an expression or is too large: more than ``MOST_CHARACTERS``, or than
    ``expression_bounds.MOST_NODES`` parts or ``MOST_DEPTH`` levels. The test raises ``InputError`` for a row that it
    fails at, also where a row makes or the whole pass takes more than ``expression_bounds.py`` allows.
    """
    from simpleeval import InvalidExpression

    if len(expression) > MOST_CHARACTERS:
        raise UsageError(f"the expression is longer than {MOST_CHARACTERS} characters", "Filter in steps.")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        parts = check(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{expression!r} is not an expression: {_reason(error)}", _WHAT_THERE_IS) from None
    bounds = Bounds(parts)
    evaluator = _evaluator(bounds)

    def holds(item: PairItem) -> bool:
        pair = item.pair
        evaluator.names = {**_CONSTANTS, **_values(item)}
        bounds.begin(len(pair.prompt) + len(pair.positive) + len(pair.negative) + len(pair.system))
        try:
            evaluator.functions["meta"] = item.metadata.get
            return bool(evaluator.eval(expression, previously_parsed=tree.body))
        except (
            InvalidExpression,
            TypeError,
            ValueError,
            ArithmeticError,
            AttributeError,
            regex.error,
            LookupError,
            TimeoutError,
            RecursionError,
            MemoryError,
        ) as error:
            raise InputError(
                f"{expression!r} cannot be evaluated: {_reason(error)}", _WHAT_THERE_IS, row=item.row
            ) from None
        finally:
            bounds.end()

    return holds


def _evaluator(bounds: Bounds) -> Any:
    """simpleeval with the functions that there are, each step of it within ``bounds``."""
    from simpleeval import DEFAULT_OPERATORS, EvalWithCompoundTypes

    class Bounded(EvalWithCompoundTypes):  # type: ignore[misc]
        def _eval(self, node: ast.AST) -> Any:
            return bounds.step(super()._eval(node), made=not isinstance(node, ast.Name | ast.Constant))

    functions = {
        "len": len,
        "lower": bounds.lower,
        "words": bounds.words,
        "matches": bounds.matches,
    }
    # No attribute of anything can be reached.
    evaluator = Bounded(
        operators={**DEFAULT_OPERATORS, **bounds.operators()}, functions=functions, names={}, allowed_attrs={}
    )
    evaluator.functions |= {kind.__name__: bounds.collected(kind) for kind in (list, tuple, set, dict)}
    return evaluator


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
    if isinstance(error, RecursionError | MemoryError):
        return "it is nested too deeply" if isinstance(error, RecursionError) else "it takes too much memory"
    reason = str(error).split(" for expression")[0]
    return reason.removesuffix(" (<unknown>, line 1)") or type(error).__name__
