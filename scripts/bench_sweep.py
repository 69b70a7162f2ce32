"""How long a sweep over all layers and multipliers takes: this package beside the naive loop.

    python scripts/bench_sweep.py                        # everything; about twenty minutes on two idle cores
    python scripts/bench_sweep.py --quick                # fewer questions and multipliers, within a minute
    python scripts/bench_sweep.py --json                 # one flat JSON object of figures on stdout

Both score the same questions (of 120 tokens, from the CAA paper's refusal set where it is there) at every layer and
multiplier, on a random llama of 12 layers, 512 wide, and on the demo model, in float32 on the same BLAS:

- naive: one full pass a question, layer and multiplier, as the paper's repository does it, written here and
  independent of the package's steering. Of the logits only the answer's are computed.
- ours: ``sweep``, its checks included.

Once with the paper's steered positions (from the end of the prompt on) and once with all positions steered. The two
take turns, each first in every second turn, and run equally often; medians are compared. Where they differ in any
p(matching) of any turn by more than 1e-4, no ratio is printed and the exit code is 1.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bench_model import find_pairs, write_random_model
from bench_turns import in_turn
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table

from caa_registry import blas
from caa_registry.engine.sweeps import Arm, Part
from caa_registry.evaluation.propensity import Item, ItemSet, prepare, propensity_of
from caa_registry.evaluation.sweep import joined, sweep
from caa_registry.models.loading import demo_model_folder, load
from caa_registry.models.model import Model
from caa_registry.mx import mx
from caa_registry.pairs.record import Pair
from caa_registry.vectors import LayerVector, VectorSet

TOLERANCE = 1e-4
TOKENS = 120
SIZE = {"layers": 12, "hidden": 512, "ffn": 1376, "heads": 8, "vocabulary": 16000}
POSITIONS = ("after_prompt", "all")
MULTIPLIERS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)


def questions(model: Model, count: int) -> ItemSet:
    """``count`` letter questions that are run as far as ``TOKENS`` tokens, or a few less where no cut gives as many."""
    found: list[Item] = []
    text = " ".join(pair.prompt for pair in find_pairs()[1])
    tokens = model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    for i in range(count):
        best: Item | None = None
        for length in range(TOKENS - 40, TOKENS + 1):
            start = i * TOKENS % (len(tokens) - TOKENS)
            prompt = model.tokenizer.decode(tokens[start : start + length])
            item = prepare([Pair(prompt, "(A)", "(B)")], model.template(), model).items[0]
            if item.shared <= TOKENS and (best is None or item.shared > best.shared):
                best = item
        assert best is not None
        found.append(best)
    return ItemSet("propensity", tuple(found))


@contextmanager
def caught(model: Model, change: Callable[[int, mx.array], mx.array]) -> Iterator[None]:
    """Every block's output passed through ``change``, by way of the blocks' classes."""
    places = {id(block): i for i, block in enumerate(model.network.layers)}
    originals = {cls: cls.__call__ for cls in {type(block) for block in model.network.layers}}

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda block, *args, **kwargs: change(places[id(block)], original(block, *args, **kwargs))

    for cls, original in originals.items():
        cls.__call__ = wrapped(original)
    try:
        yield
    finally:
        for cls, original in originals.items():
            cls.__call__ = original


def naive(model: Model, vectors: VectorSet, items: ItemSet, multipliers: Sequence[float], positions: str) -> Any:
    """p(matching), float64 ``(layers, multipliers, questions)``."""
    last = model.n_layers - 1
    found = np.empty((model.n_layers, len(multipliers), len(items.items)))
    for question, item in enumerate(items.items):
        ids = mx.array([item.matching.ids[: item.shared]])
        first = item.matching.prompt_end if positions == "after_prompt" else 0

        def p(layer: int, delta: mx.array, ids: mx.array = ids, first: int = first, item: Item = item) -> float:
            def change(at: int, hidden: mx.array) -> mx.array:
                if at == layer:
                    hidden = mx.concatenate([hidden[:, :first], hidden[:, first:] + delta], axis=1)
                return hidden[:, -1:] if at == last else hidden

            with caught(model, change):
                logits = np.array(model.network(ids)[0, -1]).astype(np.float64)
            a, b = logits[item.matching.ids[item.shared]], logits[item.others[0].ids[item.shared]]
            return float(1 / (1 + np.exp(b - a)))

        for j, multiplier in enumerate(multipliers):
            for layer in range(model.n_layers):
                found[layer, j, question] = p(layer, mx.array(multiplier * vectors[layer].values))
    return found


def ours(
    model: Model, vectors: VectorSet, items: ItemSet, multipliers: Sequence[float], positions: Any
) -> NDArray[np.float64]:
    added = {vector.layer: vector.values[None] for vector in vectors.layers}
    parts: list[Part] = []
    sweep(model, [Arm(added, multipliers)], items, positions, keep=parts.extend)
    found = joined(model, items, list(added), multipliers, parts, len(next(iter(added.values()))))
    return propensity_of(found[0, ..., 0], found[0, ..., 1])


def random_vectors(model: Model, items: ItemSet) -> VectorSet:
    """A random direction a layer, half as long as the residual stream there, so that it moves the answer."""
    norms: dict[int, float] = {}

    def change(layer: int, hidden: mx.array) -> mx.array:
        norms[layer] = float(mx.linalg.norm(hidden[0, -1]))
        return hidden

    with caught(model, change):
        mx.eval(model.network(mx.array([items.items[0].matching.ids])))
    draw = np.random.default_rng(0).standard_normal
    directions = {layer: draw(model.d_model) for layer in range(model.n_layers)}
    return VectorSet.of(
        LayerVector(layer, (0.5 * norms[layer] * direction / np.linalg.norm(direction)).astype(np.float32))
        for layer, direction in directions.items()
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare ways to score every layer and multiplier.")
    parser.add_argument("--quick", action="store_true", help="fewer questions and multipliers, within a minute")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    parser.add_argument("--questions", type=int, help="questions to score (default 16; quick 4)")
    parser.add_argument("--repeats", type=int, help="turns, in each of which both are timed once (default 3; quick 2)")
    options = parser.parse_args(arguments)
    options.questions = options.questions or (4 if options.quick else 16)
    options.repeats = (2 if options.quick else 3) if options.repeats is None else options.repeats
    if min(options.questions, options.repeats) < 1:
        parser.error("--questions and --repeats must be at least 1")
    return options


def main() -> int:
    options = parse()
    console = Console(stderr=options.json)
    multipliers = (-1.0, 0.0, 1.0) if options.quick else MULTIPLIERS
    figures: dict[str, float | str] = {"blas": blas.status().library or "MLX's own"}
    table = Table("model", Column("positions", no_wrap=True), "cells", "naive s", "ours s", "faster", "p differs by")
    with tempfile.TemporaryDirectory() as work:
        write_random_model(Path(work) / "random", SIZE, find_pairs()[1])
        for name, path in (("random", Path(work) / "random"), ("demo", demo_model_folder())):
            model = load(path, dtype="float32")
            items = questions(model, options.questions)
            vectors = random_vectors(model, items)
            lengths = [item.shared for item in items.items]
            for positions in POSITIONS:
                console.print(
                    f"{name}, {positions}: {len(lengths)} questions of {min(lengths)} to {max(lengths)} tokens"
                )
                timed = in_turn(
                    {
                        "naive": functools.partial(naive, model, vectors, items, multipliers, positions),
                        "ours": functools.partial(ours, model, vectors, items, multipliers, positions),
                    },
                    options.repeats,
                )
                reference = timed["naive"].results[0]
                worst = max(float(np.abs(p - reference).max()) for way in timed.values() for p in way.results)
                if not worst <= TOLERANCE:
                    print(f"{name}, {positions}: p differs by {worst:.1e}, more than {TOLERANCE}", file=sys.stderr)
                    return 1
                key = f"{name}_{positions}"
                naive_seconds, our_seconds = timed["naive"].median, timed["ours"].median
                figures |= {
                    f"{key}_naive_seconds": naive_seconds,
                    f"{key}_ours_seconds": our_seconds,
                    f"{key}_ratio": naive_seconds / our_seconds,
                    f"{key}_turns": options.repeats,
                    f"{key}_difference": worst,
                    f"{key}_moved": float(np.ptp(reference, axis=1).mean()),
                }
                cells = f"{model.n_layers} x {len(multipliers)}"
                ratio = f"{naive_seconds / our_seconds:.1f} times"
                table.add_row(
                    name, positions, cells, f"{naive_seconds:.2f}", f"{our_seconds:.3f}", ratio, f"{worst:.1e}"
                )
    console.print(table)
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
