"""What steering costs while text is generated, token by token: this package beside plain mlx-lm.

    python scripts/bench_generation.py                   # everything; about ten minutes on two cores
    python scripts/bench_generation.py --quick           # a small model and few tokens, within a minute
    python scripts/bench_generation.py --json            # one flat JSON object of figures on stdout

A random llama of 97 million parameters, which this script makes, generates greedily from the same prompt:

- plain: mlx-lm's ``stream_generate``, and nothing of this package;
- unsteered: ``Model.stream_text`` without a steering context;
- one layer: with a vector added at one layer from the end of the prompt on;
- all layers: with a vector added at every layer.

All ways generate at once, a token each by turns, each first in its turn, and each with the network's weights to itself:
what slows the machine down for a while slows all of them. After each token MLX is waited for, since it begins the next
one by itself. A way's overhead is the median, over all tokens behind the first, of its time over that of plain mlx-lm
for the token at the same place. End tokens are ignored, so that all generate equally many.

Before a figure is printed the texts are compared: plain and unsteered must be equal, and so must both with vectors of
zeros; steered texts must be those of a pass over the whole text for every token (``cache=False``). Where one is not, no
figure is printed and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextvars
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bench_model import find_pairs, write_random_model
from mlx_lm import stream_generate
from mlx_lm.sample_utils import make_sampler
from rich.console import Console
from rich.table import Column, Table

from caa_registry import blas, mx_thread
from caa_registry.models.loading import load
from caa_registry.models.model import Model
from caa_registry.mx import mx
from caa_registry.steering.additions import Addition, steering

FULL = {"layers": 12, "hidden": 768, "ffn": 2048, "heads": 12, "vocabulary": 16000}
QUICK = {"layers": 4, "hidden": 256, "ffn": 688, "heads": 4, "vocabulary": 4000}
PLAIN, UNSTEERED, ONE, ALL = "plain", "unsteered", "one layer", "all layers"
# Of so many tokens steered text is compared with the slow pass.
COMPARED = 12


@dataclass
class Tokens:
    """What a way generated in each turn, and the seconds of each token behind the first."""

    seconds: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


class Numbers:
    """A detokenizer that writes every token as its number, so that a piece of text is one token."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._unread = ""

    def add_token(self, token: int) -> None:
        self._unread += f"{token} "

    def finalize(self) -> None:
        pass

    @property
    def last_segment(self) -> str:
        """What was written since this was last asked for."""
        segment, self._unread = self._unread, ""
        return segment


def loaded(folder: Path) -> Model:
    """The model, with weights of its own."""
    model = load(folder, dtype="float32")
    model.wrapped_tokenizer._eos_token_ids = set()
    model.wrapped_tokenizer._detokenizer = Numbers()
    mx.eval(model.network.parameters())
    return model


def plain(model: Model, prompt: str, max_tokens: int) -> Iterator[str]:
    ids = list(model.template().prompt(prompt).ids)
    sampler = make_sampler(temp=0.0)
    for response in stream_generate(
        model.network, model.wrapped_tokenizer, ids, max_tokens=max_tokens, sampler=sampler
    ):
        yield response.text


def ours(model: Model, prompt: str, max_tokens: int, additions: Sequence[Addition] = ()) -> Iterator[str]:
    with steering(model, additions) if additions else nullcontext():
        yield from model.stream_text(prompt, max_tokens=max_tokens)


def by_turns(ways: Mapping[str, Callable[[int], Iterator[str]]], max_tokens: int, tokens: dict[str, Tokens]) -> None:
    """All ways generate once, token by token. Each has a context of its own, where its steering holds."""
    names = list(ways)
    pieces = {name: ways[name](max_tokens) for name in names}
    contexts = {name: contextvars.copy_context() for name in names}
    texts: dict[str, list[str]] = {name: [] for name in names}
    for place in range(max_tokens):
        for turn in range(len(names)):
            name = names[(turn + place) % len(names)]
            start = time.perf_counter()
            texts[name].append(contexts[name].run(next, pieces[name]))
            mx.synchronize()
            mx_thread.run(mx.synchronize)
            if place > 0:
                tokens[name].seconds.append(time.perf_counter() - start)
    for name in names:
        texts[name] += contexts[name].run(list, pieces[name])
        tokens[name].texts.append("".join(texts[name]))


def random_additions(model: Model, layers: Sequence[int], length: float) -> list[Addition]:
    """A random direction at each of ``layers``, ``length`` long."""
    draw = np.random.default_rng(0).standard_normal
    directions = {layer: draw(model.d_model) for layer in range(model.n_layers)}
    return [
        Addition(layer, (length * directions[layer] / np.linalg.norm(directions[layer])).astype(np.float32))
        for layer in layers
    ]


def difference(model: Model, prompt: str, max_tokens: int, found: dict[str, Tokens], vectors: dict[str, Any]) -> str:
    """Which texts differ that must not; empty where none does."""
    for way, tokens in found.items():
        if len(set(tokens.texts)) > 1:
            return f"{way}: the turns gave different texts"
    text = found[PLAIN].texts[0]
    if found[UNSTEERED].texts[0] != text:
        return "unsteered text is not mlx-lm's"
    for way, added in vectors.items():
        zeros = [Addition(addition.layer, np.zeros_like(addition.vector)) for addition in added]
        if "".join(ours(model, prompt, max_tokens, zeros)) != text:
            return f"{way}: vectors of zeros change the text"
        with steering(model, added):
            slow = "".join(model.stream_text(prompt, max_tokens=COMPARED, cache=False))
        if not slow or not found[way].texts[0].startswith(slow):
            return f"{way}: steered text is not that of whole passes"
        if found[way].texts[0] == text:
            return f"{way}: the vector changes nothing, so that equal texts would say nothing"
    return ""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what steering costs while text is generated.")
    parser.add_argument("--quick", action="store_true", help="a small model and few tokens, within a minute")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    parser.add_argument("--tokens", type=int, help="tokens to generate in a turn (default 160; quick 24)")
    parser.add_argument("--repeats", type=int, help="turns, in each of which every way runs once (default 8; quick 2)")
    options = parser.parse_args(arguments)
    options.tokens = (24 if options.quick else 160) if options.tokens is None else options.tokens
    options.repeats = (2 if options.quick else 8) if options.repeats is None else options.repeats
    if options.tokens <= COMPARED or options.repeats < 1:
        parser.error(f"--tokens must be above {COMPARED}, and --repeats at least 1")
    return options


def main() -> int:
    options = parse()
    console = Console(stderr=options.json)
    pairs = find_pairs()[1]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "random"
        write_random_model(folder, QUICK if options.quick else FULL, pairs)
        model = loaded(folder)
        prompt = pairs[0].prompt
        vectors = {
            ONE: random_additions(model, [model.n_layers // 2], 40.0),
            ALL: random_additions(model, range(model.n_layers), 20.0),
        }
        ways: dict[str, Callable[[int], Iterator[str]]] = {
            PLAIN: functools.partial(plain, model, prompt),
            UNSTEERED: functools.partial(ours, loaded(folder), prompt),
            **{way: functools.partial(ours, loaded(folder), prompt, additions=vectors[way]) for way in vectors},
        }
        found = {way: Tokens() for way in ways}
        by_turns(ways, COMPARED, {way: Tokens() for way in ways})  # warmed up
        for turn in range(options.repeats):
            console.print(f"turn {turn + 1} of {options.repeats}")
            by_turns(ways, options.tokens, found)
        wrong = difference(model, prompt, options.tokens, found, vectors)
    if wrong:
        print(wrong, file=sys.stderr)
        return 1
    table = Table(Column("way", no_wrap=True), "tokens", "ms a token", "more than plain")
    figures: dict[str, float | str] = {"blas": blas.status().library or "MLX's own", "turns": options.repeats}
    base = np.array(found[PLAIN].seconds)
    for way, tokens in found.items():
        seconds = np.array(tokens.seconds)
        more = float(np.median(seconds / base)) - 1
        key = way.replace(" ", "_")
        figures |= {f"{key}_ms_per_token": 1e3 * float(np.median(seconds)), f"{key}_overhead": more}
        table.add_row(
            way,
            str(len(seconds)),
            f"{1e3 * np.median(seconds):.2f}",
            "" if way == PLAIN else f"{100 * more:+.1f} %",
        )
    console.print(table)
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
