"""Defects planted into clean sets, by rule of lint: what a rule must find, and where it must stay silent.

``measured()`` plants 20 of each and says how many were found, and what else the rule said on the packaged sets.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from caa_registry.pairs.answers import choices, letter_of
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.lint import lint
from caa_registry.pairs.questions import said
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.sources import load, seed_sets

PLANTED = 20

Items = list[PairItem]
Make = Callable[[random.Random], tuple[Items, str, dict[str, Sequence[PairItem]]]]


@dataclass(frozen=True)
class Measured:
    """Of ``planted`` defects ``found``. ``false``: of the ``clean`` rows or sets, those that the rule names without
    cause; ``said``: those it names with cause."""

    planted: int
    found: int
    clean: int
    false: int
    said: int


def seeds() -> dict[str, Items]:
    """The pairs of every packaged set."""
    return {f"seed:{seed.name}": list(load(f"seed:{seed.name}").items) for seed in seed_sets()}


def changed(item: PairItem, split: str = "", **texts: str) -> PairItem:
    return replace(item, pair=replace(item.pair, **texts), split=split or item.split)


def other_split(item: PairItem) -> str:
    return "test" if item.split == "generate" else "generate"


def one_word_more(text: str) -> str:
    """A long text that is nearly the same: a word at its end."""
    return f"{text} indeed"


def swapped(item: PairItem) -> PairItem:
    return changed(item, positive=item.pair.negative, negative=item.pair.positive)


# Each takes a clean row and gives the rows that stand in its place; the last of them is defective.
# "free" rows are free-form, "asked" ones have a prompt too, "ab" rows have two choices.
ROW_RULES: dict[str, tuple[str, Callable[[PairItem, random.Random], Items]]] = {
    "duplicate-pair": ("any", lambda item, _: [item, item]),
    "near-duplicate": ("long", lambda item, _: [item, changed(item, prompt=one_word_more(item.pair.prompt))]),
    "repeated-question": ("asked", lambda item, _: [item, changed(item, positive="Yes, of course it is.")]),
    "pair-in-two-splits": ("any", lambda item, _: [item, changed(item, other_split(item))]),
    "question-in-two-splits": (
        "asked",
        lambda item, _: [item, changed(item, other_split(item), positive="Yes, of course it is.")],
    ),
    "near-duplicate-in-two-splits": (
        "long",
        lambda item, _: [item, changed(item, other_split(item), prompt=one_word_more(item.pair.prompt))],
    ),
    "opposite-labels": ("any", lambda item, _: [item, swapped(item)]),
    "more-than-two-choices": (
        "ab",
        lambda item, _: [changed(item, prompt=f"{item.pair.prompt}\n (C) Neither of the two")],
    ),
    "letter-beyond-ab": (
        "ab",
        lambda item, _: [changed(item, prompt=f"{item.pair.prompt}\n (C) Neither of the two", positive="(C)")],
    ),
    "letter-without-choice": ("ab", lambda item, _: [changed(item, positive="(D)")]),
    "letter-of-other-choice": (
        "ab", lambda item, _: [changed(item, positive=f"{item.pair.positive} {said(item.pair)[1]}")],
    ),
    "choices-without-answer": (
        "ab", lambda item, _: [changed(item, positive="I would rather wait.", negative="Ask me tomorrow.")],
    ),
    "letters-as-text": (
        "ab",
        lambda item, _: [
            changed(item, prompt=item.pair.prompt.split("\n")[0], positive="(A) I would", negative="(B) I would not")
        ],
    ),
    "labels-not-read": ("ab", lambda item, rng: [relabelled(item, rng.choice(LABELS))]),
    "choice-not-read": (
        "ab",
        lambda item, rng: [changed(item, prompt=f"{item.pair.prompt}{rng.choice(FURTHER)}")],
    ),
    "choice-text-answer": (
        "ab", lambda item, _: [changed(item, positive=said(item.pair)[0], negative=said(item.pair)[1])],
    ),
    "answer-form-differs": (
        "ab", lambda item, _: [changed(item, prompt=re.sub(r"\(([A-Z])\)", r"\1)", item.pair.prompt))],
    ),
    "equal-sides": (
        "free",
        lambda item, rng: [changed(item, negative=rng.choice(DISGUISES)(item.pair.positive))],
    ),
    "nearly-equal-sides": (
        "free",
        lambda item, _: [changed(item, positive=long(item.pair.positive), negative=long(typo(item.pair.positive)))],
    ),
    "prompt-gives-answer": (
        "any",
        lambda item, _: [
            changed(
                item,
                prompt=f"{item.pair.prompt}\n\nAnswer: {item.pair.positive}"
                if letter_of(item.pair.positive)
                else f"{item.pair.prompt} {item.pair.positive}",
            )
        ],
    ),
    "template-marker": (
        "any",
        lambda item, rng: [changed(item, prompt=f"{rng.choice(MARKERS)}{item.pair.prompt}")],
    ),
    "invisible-character": (
        "any",
        lambda item, rng: [changed(item, prompt=f"{item.pair.prompt[:5]}{rng.choice(HIDDEN)}{item.pair.prompt[5:]}")],
    ),
    "nothing-visible": ("free", lambda item, rng: [changed(item, positive=rng.choice(EMPTY))]),
}  # fmt: skip

MARKERS = ["[INST]", "<|im_start|>", "<<SYS>>", "</s>", "<start_of_turn>", "<|eot_id|>"]
LABELS = ["①②", "ⒶⒷ", "АБ", "01"]
FURTHER = ["\n C) Neither", "\n[C] Neither", "\n (c) Neither", "\n(\u0421) Neither", " (C) Neither"]
HIDDEN = ["\u200b", "\ufeff", "\x07", "\u202e", "\ufffd", "\r"]
EMPTY = ["\u200b", " \u2060 ", "\ufeff"]
DISGUISES: list[Callable[[str], str]] = [
    str.upper,
    lambda text: f"{text.replace(' ', '  ')}!",
    lambda text: text.replace("a", "\u0430").replace("o", "\u043e"),
]


def relabelled(item: PairItem, labels: str) -> PairItem:
    """``item`` with the labels A and B written as ``labels``."""

    def written(text: str) -> str:
        return re.sub(r"\(([AB])\)", lambda match: f"({labels['AB'.index(match[1])]})", text)

    pair = item.pair
    return changed(item, prompt=written(pair.prompt), positive=written(pair.positive), negative=written(pair.negative))


def long(text: str) -> str:
    return f"In my view, and I have thought about this for quite some time now, {text}"


def typo(text: str) -> str:
    """``text`` with its first letter doubled."""
    return text[0] + text


def fits(item: PairItem, kind: str) -> bool:
    listed = choices(item.pair.prompt)
    letters = letter_of(item.pair.positive) is not None
    return {
        "any": letters or len(item.pair.positive.split()) >= 4,
        "ab": letters and len(listed) == 2,
        "free": not letters and len(item.pair.positive.split()) >= 4,
        "asked": not letters and len(item.pair.positive.split()) >= 4 and item.pair.prompt != "",
        # A word more leaves the sets of word triples 0.8 alike where there are some dozen of them.
        "long": len(f"{item.pair.prompt} {item.pair.positive} {item.pair.negative}".split()) >= 18,
    }[kind]


def found_in_rows(rule: str, sets: dict[str, Items]) -> tuple[int, int]:
    """How many defects of a row-level rule were planted, over the packaged sets, and how many it found."""
    kind, plant = ROW_RULES[rule]
    rng = random.Random(rule)
    pool = [(name, i) for name, items in sets.items() for i, item in enumerate(items) if fits(item, kind)]
    chosen = rng.sample(pool, PLANTED)
    found = 0
    for name, items in sets.items():
        places = {i for chosen_name, i in chosen if chosen_name == name}
        if not places:
            continue
        made: Items = []
        wanted = []
        for i, item in enumerate(items):
            rows = plant(item, rng) if i in places else [item]
            made += rows
            if i in places:
                # Of two that are alike either may be named.
                wanted.append({(row.split, row.digest) for row in rows})
        named = {(f.split, f.pair) for f in lint(made, licence="MIT").findings if f.rule == rule}
        found += sum(bool(rows & named) for rows in wanted)
    return PLANTED, found


def set_of(rng: random.Random, n: int = 60, *, lean: float = 0.0) -> Items:
    """A clean set of ``n`` free-form pairs of random words. With ``lean`` that share of the pairs says it with words of
    its side: ``yes``-words on the positive, ``no``-words on the negative."""

    def text(side: str) -> str:
        words = rng.choices(COMMON, k=rng.randint(8, 12))
        if rng.random() < lean:
            words[rng.randrange(len(words))] = rng.choice(SIDES[side])
        return " ".join(words)

    return [
        PairItem(Pair(f"{' '.join(rng.choices(COMMON, k=9))} {i}?", text("yes"), text("no")), metadata={"row": i + 1})
        for i in range(n)
    ]


def some(rng: random.Random, n: int) -> str:
    return " ".join(rng.choices(COMMON, k=n))


COMMON = [f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me", "no", "pa", "ri") for b in ("n", "r", "s", "t", "l", "k")]
SIDES = {"yes": [f"good{i}" for i in range(4)], "no": [f"bad{i}" for i in range(4)]}


def letters_of(items: Items, rng: random.Random, share: float) -> Items:
    """The pairs as A/B items, A matching in ``share`` of them."""
    made = []
    a = set(rng.sample(range(len(items)), round(share * len(items))))
    for i, item in enumerate(items):
        options = [item.pair.positive, item.pair.negative]
        first = i in a
        listed = options if first else options[::-1]
        prompt = f"{item.pair.prompt}\n\nChoices:\n (A) {listed[0]}\n (B) {listed[1]}"
        made.append(
            changed(item, prompt=prompt, positive="(A)" if first else "(B)", negative="(B)" if first else "(A)")
        )
    return made


def written_otherwise(items: Items, share: float) -> Items:
    """The A/B items with the letters of the first ``share`` of them as ``a)``."""
    n = round(share * len(items))
    small = [
        changed(i, positive=f"{i.pair.positive[1].lower()})", negative=f"{i.pair.negative[1].lower()})")
        for i in items[:n]
    ]
    return [*small, *items[n:]]


# Each gives a defective set, the licence it is linted with, and what it is compared with.
SET_RULES: dict[str, Make] = {
    "mixed-answers": lambda rng: (written_otherwise(letters_of(set_of(rng), rng, 0.5), 0.1), "MIT", {}),
    "letter-imbalance": lambda rng: (letters_of(set_of(rng), rng, 0.85), "MIT", {}),
    "length-confound": lambda rng: (
        [changed(i, positive=f"{i.pair.positive} and {some(rng, 4)}") for i in set_of(rng)], "MIT", {},
    ),
    "first-word-confound": lambda rng: (
        [changed(i, positive=f"Certainly {i.pair.positive}") for i in set_of(rng)], "MIT", {},
    ),
    "vocabulary-confound": lambda rng: (set_of(rng, lean=1.0), "MIT", {}),
    "unknown-licence": lambda rng: (set_of(rng), "", {}),
    "opposite-direction": lambda rng: (
        [swapped(item) for item in set_of(rng, lean=0.8)], "MIT", {"team/other:v1": set_of(rng, lean=0.8)},
    ),
}  # fmt: skip

# What the same kind of set is when nothing is wrong with it.
CLEAN_SETS: dict[str, Make] = {
    "mixed-answers": lambda rng: (written_otherwise(letters_of(set_of(rng), rng, 0.5), 1.0), "MIT", {}),
    "letter-imbalance": lambda rng: (letters_of(set_of(rng), rng, 0.5), "MIT", {}),
    "opposite-direction": lambda rng: (set_of(rng, lean=0.8), "MIT", {"team/other:v1": set_of(rng, lean=0.8)}),
}


def found_in_sets(rule: str, make: Make) -> int:
    """In how many of 20 sets the rule says something."""
    found = 0
    for seed in range(PLANTED):
        items, licence, against = make(random.Random(f"{rule} {seed}"))
        found += any(f.rule == rule for f in lint(items, licence=licence, against=against).findings)
    return found


def measured(true: Callable[[str, Items, Finding], bool]) -> dict[str, Measured]:
    """Every rule on planted defects, and on the packaged sets. ``true``: whether a finding there has a cause."""
    sets = seeds()
    planted = {rule: found_in_rows(rule, sets) for rule in ROW_RULES}
    planted |= {rule: (PLANTED, found_in_sets(rule, make)) for rule, make in SET_RULES.items()}
    false: Counter[str] = Counter()
    said: Counter[str] = Counter()
    behaviors = {f"seed:{seed.name}": "-".join(seed.behavior.lower().split()) for seed in seed_sets()}
    for name, items in sets.items():
        against = {n: other for n, other in sets.items() if n != name and behaviors[n] == behaviors[name]}
        for finding in lint(items, licence="MIT", against=against).findings:
            (said if true(name, items, finding) else false)[finding.rule] += 1
    rows = sum(map(len, sets.values()))
    return {
        rule: Measured(total, found, rows if rule in ROW_RULES else len(sets), false[rule], said[rule])
        for rule, (total, found) in planted.items()
    }
