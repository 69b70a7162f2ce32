"""How fast many answers are generated: this package beside mlx-lm's ``batch_generate``, and what rows share.

    python scripts/bench_answers.py                      # everything; about ten minutes on two idle cores
    python scripts/bench_answers.py --quick              # a small model and few questions, within a minute
    python scripts/bench_answers.py --json               # one flat JSON object of figures on stdout

A random llama of 97 million parameters, which this script makes, answers questions of many lengths greedily. Compared
are, each in turns of its own:

- questions: unsteered, this package and ``batch_generate`` of mlx-lm, both with at most 32 rows at a time; once with
  answers of one length, once with end tokens, so that answers have many lengths;
- multipliers: each question at three multipliers in one batch, and in three batches one after the other;
- head: questions behind one long system prompt, which runs once for all, and the same with every prompt run whole; and
  ``batch_generate``.

The ways of a comparison take turns and run equally often; medians over turns are compared. Before a figure is printed
the token ids are compared: every way of a comparison must give the same, in every turn, and unsteered answers must be
those of ``Model.generate`` one at a time. Where they are not, no figure is printed and the exit code is 1.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from bench_generation import FULL, QUICK, random_additions
from bench_model import distinct, find_pairs, write_random_model
from bench_turns import Timed, in_turn
from mlx_lm import batch_generate
from rich.console import Console
from rich.table import Column, Table

from caa_registry import blas
from caa_registry.evaluation.open_ended.generation import responses
from caa_registry.models.loading import load
from caa_registry.models.model import Model
from caa_registry.mx import mx, nn
from caa_registry.steering.additions import Addition

OURS, THEIRS, APART, WHOLE = "this package", "batch_generate", "a batch each", "whole prompts"
# Rows of a batch of mlx-lm's, as in the package.
ROWS = 32
# So many end tokens give answers of many lengths, of at least so many tokens.
ENDS, LEAST = 16, 4
# A vector this long changes every answer of the random model.
LENGTH = 40.0

Answers = dict[tuple[int, float], tuple[int, ...]]
"""Token ids by question and multiplier."""

Steered = Mapping[float, Sequence[Addition]]
Runs = Mapping[str, Mapping[str, Timed]]


@dataclass(frozen=True)
class Comparison:
    """``ways`` that give the same ``Answers``. The first is the package's own."""

    name: str
    ways: Mapping[str, Callable[[], Answers]]


def ours(model: Model, questions: Sequence[str], steered: Steered, **options: Any) -> Answers:
    groups = responses(model, questions, steered, **options)
    return {(answer.question, answer.multiplier): answer.ids for group in groups for answer in group}


def apart(model: Model, questions: Sequence[str], steered: Steered, **options: Any) -> Answers:
    found: Answers = {}
    for multiplier, additions in steered.items():
        found |= ours(model, questions, {multiplier: additions}, **options)
    return found


def theirs(model: Model, questions: Sequence[str], *, max_tokens: int, system: str = "") -> Answers:
    prompts = [list(model.template().prompt(question, system).ids) for question in questions]
    made = batch_generate(
        model.network,
        model.wrapped_tokenizer,
        prompts,
        max_tokens=max_tokens,
        completion_batch_size=ROWS,
        return_token_ids=True,
    )
    return {(i, 0.0): tuple(ids) for i, ids in enumerate(made.token_ids)}


def whole(model: Model, questions: Sequence[str], **options: Any) -> Answers:
    """As ``ours``, with nothing shared between prompts."""
    with mock.patch("caa_registry.engine.decoding.prompts.shared_heads", lambda prompts: []):
        return ours(model, questions, {0.0: []}, **options)


def ending_tokens(answers: Answers) -> set[int]:
    """A few tokens that, as end tokens, give ``answers`` lengths that differ much, none of them below a few tokens."""
    tokens = sorted({t for ids in answers.values() for t in ids} - {t for ids in answers.values() for t in ids[:LEAST]})
    # Where each token, (tokens, answers), would end each answer.
    ended = np.array([[ids.index(token) if token in ids else len(ids) for ids in answers.values()] for token in tokens])
    lengths = np.array([len(ids) for ids in answers.values()])
    ends: set[int] = set()
    for _ in range(ENDS):
        best = int(np.minimum(lengths, ended).std(axis=1).argmax())
        lengths = np.minimum(lengths, ended[best])
        ends.add(tokens[best])
    return ends


def untie(model: Model) -> None:
    """Give the random model a head of its own. With that of its embedding it says one token again and again."""
    mx.random.seed(1)
    vocabulary, width = model.network.model.embed_tokens.weight.shape
    model.network.args.tie_word_embeddings = False
    model.network.lm_head = nn.Linear(width, vocabulary, bias=False)
    mx.eval(model.network.lm_head.parameters())


@contextmanager
def ended_by(model: Model, tokens: set[int]) -> Iterator[None]:
    before = model.wrapped_tokenizer._eos_token_ids
    model.wrapped_tokenizer._eos_token_ids = tokens
    try:
        yield
    finally:
        model.wrapped_tokenizer._eos_token_ids = before


def comparisons(model: Model, questions: Sequence[str], system: str, max_tokens: int) -> list[Comparison]:
    """Of ``questions`` a third is asked at three multipliers, and half behind ``system``."""
    unsteered: Steered = {0.0: []}
    (addition,) = random_additions(model, [model.n_layers // 2], LENGTH)
    steered = {m: [Addition(addition.layer, addition.vector, m)] if m else [] for m in (-1.0, 0.0, 1.0)}
    few, some = questions[: max(1, len(questions) // 3)], questions[: max(1, len(questions) // 2)]
    options = {"max_tokens": max_tokens}
    ends = ending_tokens(ours(model, questions, unsteered, **options))

    def ended(way: Callable[[], Answers]) -> Callable[[], Answers]:
        def run() -> Answers:
            with ended_by(model, ends):
                return way()

        return run

    alike = {
        OURS: functools.partial(ours, model, questions, unsteered, **options),
        THEIRS: functools.partial(theirs, model, questions, **options),
    }
    return [
        Comparison("questions", alike),
        Comparison("answers of many lengths", {name: ended(way) for name, way in alike.items()}),
        Comparison(
            "three multipliers",
            {
                OURS: functools.partial(ours, model, few, steered, **options),
                APART: functools.partial(apart, model, few, steered, **options),
            },
        ),
        Comparison(
            "long system prompt",
            {
                OURS: functools.partial(ours, model, some, unsteered, system=system, **options),
                WHOLE: functools.partial(whole, model, some, system=system, **options),
                THEIRS: functools.partial(theirs, model, some, system=system, **options),
            },
        ),
    ]


def difference(
    model: Model, questions: Sequence[str], max_tokens: int, timed: Mapping[str, Mapping[str, Timed]]
) -> str:
    """Which answers differ that must not; empty where none does."""
    for name, ways in timed.items():
        results = [result for way in ways.values() for result in way.results]
        if any(result != results[0] for result in results):
            return f"{name}: two ways or turns gave different answers"
    steered = timed["three multipliers"][OURS].results[0]
    if any(steered[question, 1.0] == steered[question, 0.0] for question, _ in steered):
        return "a vector changes nothing, so that equal answers would say nothing"
    for group in responses(model, questions, {0.0: []}, max_tokens=max_tokens):
        for answer in group:
            if answer.text != model.generate(questions[answer.question], max_tokens=max_tokens):
                return f"question {answer.question + 1}: the answer is not that of Model.generate"
    return ""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how fast many answers are generated.")
    parser.add_argument("--quick", action="store_true", help="a small model and few questions, within a minute")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    parser.add_argument("--questions", type=int, help="how many questions (default 48; quick 12)")
    parser.add_argument("--tokens", type=int, help="most tokens of an answer (default 64; quick 16)")
    parser.add_argument("--repeats", type=int, help="turns, in each of which every way runs once (default 6; quick 2)")
    options = parser.parse_args(arguments)
    for name, full, quick in (("questions", 48, 12), ("tokens", 64, 16), ("repeats", 6, 2)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    if options.questions < 2 or options.tokens < 6 or options.repeats < 1:
        parser.error("--questions must be at least 2, --tokens at least 6, --repeats at least 1")
    return options


def main() -> int:
    options = parse()
    console = Console(stderr=options.json)
    pairs = find_pairs()[1]
    # Two of three without their choices, as open-ended questions are asked.
    questions = [
        pair.prompt.partition("\n")[0] if i % 3 else pair.prompt
        for i, pair in enumerate(distinct(pairs, options.questions))
    ]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "random"
        write_random_model(folder, QUICK if options.quick else FULL, pairs)
        model = load(folder, dtype="float32")
        untie(model)
        model.wrapped_tokenizer._eos_token_ids = set()
        system = "\n".join(pair.prompt for pair in pairs[-2:])
        timed: dict[str, dict[str, Timed]] = {}
        for comparison in comparisons(model, questions, system, options.tokens):
            console.print(comparison.name)
            for way in comparison.ways.values():
                way()  # warmed up
            timed[comparison.name] = in_turn(comparison.ways, options.repeats)
        wrong = difference(model, questions, options.tokens, timed)
        lengths = [len(model.template().prompt(question).ids) for question in questions]
        figures: dict[str, float | str] = {
            "blas": blas.status().library or "MLX's own",
            "turns": options.repeats,
            "prompt_tokens_least": min(lengths),
            "prompt_tokens_most": max(lengths),
            "system_tokens": len(model.template().prompt(system).ids),
        }
    if wrong:
        print(wrong, file=sys.stderr)
        return 1
    table = Table(Column("what", no_wrap=True), Column("way", no_wrap=True), "answers", "tokens", "seconds", "ratio")
    for name, ways in timed.items():
        base = ways[OURS].median
        for way, found in ways.items():
            (answers, tokens) = len(found.results[0]), sum(map(len, found.results[0].values()))
            key = f"{name} {way}".replace(",", "").replace(" ", "_")
            figures |= {f"{key}_seconds": found.median, f"{key}_tokens": tokens, f"{key}_ratio": found.median / base}
            table.add_row(name, way, str(answers), str(tokens), f"{found.median:.2f}", f"{found.median / base:.2f}")
    console.print(table)
    console.print(f"prompts of {min(lengths)} to {max(lengths)} tokens; system prompt of {figures['system_tokens']}")
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
