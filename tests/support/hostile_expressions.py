"""Expressions that would allocate or run without bound, and rows that make patterns slow."""

from __future__ import annotations

from support.limited import measured

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.curation.choosing import Filter
from caa_registry.pairs.curation.operations import perform
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.turns import Turn

HOSTILE = {
    "percent-width": "'%999999999d' % 1",
    "percent-star": "'%*d' % (999999999, 1)",
    "percent-many": "'%s%s%s%s' % ('a'*90000, 'a'*90000, 'a'*90000, 'a'*90000) * 90",
    "percent-names": "'" + "%(a)s" * 300 + "' % {'a': 'a' * 99999}",
    "bytes-percent": "b'%999999999d' % 1",
    "powers": "9**3900000*9**3900000",
    "power-tower": "9**9**9**9",
    "power-chain": "(((2**4000)**4000)**4000) > 1",
    "negative-power": "(-9)**99999999 > 1",
    "products": "*".join(["99999999999999999999"] * 90),
    "list-product": "[[0]*10**6]*10**6",
    "shared-lists": "[[[[0]*99]*99]*99]*99 == [[[[0]*99]*99]*99]*99",
    "shared-as-text": "lower([[[[[0]*9]*99]*99]*99]*99)",
    "tuples": "((((1,)*99999,)*99999,)*9,) == 1",
    "text-product": "'a'*10**9",
    "text-product-other-way": "10**9*'a'",
    "text-products": "'a'*99999 + 'b'*99999 + 'c'*99999 + ('d'*99999)*99",
    "comprehension": "[x*1000 for x in [[0]*1000 for y in [1]*9999]]",
    "comprehensions": "[[[x for x in 'a'*9999] for y in 'a'*9999] for z in 'a'*9999]",
    "names-in-comprehension": "[[y for z in 'a'*9999] for y in [[0]*9999]]",
    "dict-comprehension": "{x: {y: [x]*999 for y in 'abc'*999} for x in 'abcdefgh'*999}",
    "generator": "len([1 for a in 'a'*999 for b in 'a'*999 for c in 'a'*999])",
    "format-width": "f'{1:999999999}'",
    "format-precision": "f'{1.0:.999999999f}'",
    "format-nested": "f'{1:{10**9}}'",
    "format-attribute": "f\"{1:{'}{0.__class__'}}\"",
    "format-method": "'{:>999999999}'.format(1)",
    "f-strings": "f'{prompt*9}{prompt*9}{prompt*9}' * 999",
    "shift": "1<<10**9",
    "parentheses": "(" * 900 + "1" + ")" * 900,
    "not": "not " * 450 + "1",
    "minus": "- " * 900 + "1",
    "invert": "~" * 1900 + "1",
    "lists": "[" * 150 + "]" * 150,
    "attributes": "prompt" + ".a" * 900,
    "subscripts": "prompt" + "[0]" * 600,
    "sums": "1" + "+1" * 900,
    "chain": "1" + "<2" * 900,
    "conditions": "1 if 1 else " * 150 + "1",
    "calls": "lower(" * 150 + "1" + ")" * 150,
    "huge-number": "9" * 1900,
    "huge-number-as-text": "lower(" + "9" * 1500 + ") == lower(9**1000)",
    "range": "len(range(10**12))",
    "collections": "len(list(list(prompt*99)*99)) + len(set(prompt*9999))",
    "doubling": "[*[0]*99999]",
    "pattern": "matches('(a|aa)+$', prompt)",
    "pattern-groups": "matches('((.*)*)*[xy]', prompt * 99)",
    "pattern-nested-repeats": "matches('(?:(?:(?:a?){6000}){6000}){6000}b', prompt * 99)",
    "pattern-long-repeats": f"matches('(?:(?:(?:{'[a-z]' * 100 + '{1}'}){{46}}){{46}}){{46}}', prompt)",
    "pattern-recursion": "matches('(?R)?a', prompt * 999)",
    "pattern-calls": "matches('(a(?1)?b)', prompt * 999)",
    "pattern-deep": "matches('(' * 900 + 'a' + ')' * 900, prompt)",
    "pattern-long": "matches('(a?)' * 20000 + 'b', prompt)",
    "pattern-alternatives": "matches('(a|b|ab)*[cd]', 'ab' * 49999)",
    "two-expressions": "True; 9**9**9",
    "assignment": "x = 9**9",
    "yield": "(yield 1)",
    "await": "[x async for x in prompt]",
    "null": "\0",
}


def _ran(expression: str, rows: list[PairItem]) -> str:
    try:
        return f"kept {len(perform(Filter(expression), [rows]).items)}"
    except (InputError, UsageError) as error:
        assert error.hint
        return f"refused: {error.message[-300:]}"


def report() -> None:
    """In a child: every expression, after a harmless one; then what is slow on each of many rows, or on a long one."""
    rows = [PairItem(Pair("a" * 60 + f" {i}!", "yes", "no"), metadata={"row": i}) for i in range(20)]
    many = [
        PairItem(Pair("a" * n + f"!{i}", "yes", "no"), metadata={"row": i})
        for n in (78, 79, 80, 81)
        for i in range(9999)
    ]
    large = [PairItem(Pair("ab" * 5_000_000, "yes", "no"), metadata={"tags": ["a", "b"] * 9})]
    before = [PairItem(Pair("?", "yes", "no", turns=(Turn("user", "ab" * 5_000_000), Turn("assistant", "b"))))]
    measured(
        lambda: [_ran("words(prompt) > 2 or matches('a', lower(prompt))", some) for some in (rows, many, large)],
        {
            **{name: lambda text=text: _ran(text, rows) for name, text in HOSTILE.items()},  # type: ignore[misc]
            "many-rows-pattern": lambda: _ran("matches('(a+)+$', prompt)", many),
            "many-rows-comprehension": lambda: _ran(
                "len([1 for a in prompt for b in prompt for c in 'aaaa']) > 1", many
            ),
            "large-pattern": lambda: _ran("matches('(a|b|ab)*[cd]', prompt)", large),
            "large-copies": lambda: _ran("[" + "lower(prompt)," * 99 + "]", large),
            "large-words": lambda: _ran("+".join(["words(prompt)"] * 66) + " > 1", large),
            "large-lower": lambda: _ran(" or ".join(["lower(before) == 'x'"] * 66), before),
            "large-list": lambda: _ran("list(prompt)", large),
            "large-sums": lambda: _ran("+".join(["prompt"] * 50), large),
        },
    )
