"""The numbers of mlxterp's tutorial on contrastive activation addition, by its own steps on plain mlx-lm, for
``check_mlxterp.py --environment``.

    python scripts/mlxterp_oracle.py FOLDER REQUEST.json OUT.json

Runs in an environment that has mlx-lm; nothing of ours is imported. As in the tutorial, each prompt is a forward pass
of its own, whose last token is read, and each strength is one, with the vector added to every token. REQUEST.json has
``positive``, ``negative``, ``prompt``, ``strengths``, ``together`` (layers steered at once) and ``strength_together``.
OUT.json has the vector of every layer and the five most probable tokens of every strength: id, logit, probability.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from mlx_lm import load


class Block:
    """A decoder block whose output is kept, and added to."""

    def __init__(self, block: Any) -> None:
        self.block = block
        self.output: Any = None
        self.vector: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.output = self.block(*arguments, **named)
        return self.output if self.vector is None else self.output + self.vector

    def __getattr__(self, name: str) -> Any:
        return getattr(self.block, name)


class Tutorial:
    """A model in float32, with its blocks in reach."""

    def __init__(self, folder: str) -> None:
        self.network, self.tokenizer = load(folder)
        self.network.update(tree_map(lambda numbers: numbers.astype(mx.float32), self.network.parameters()))
        inner = self.network.model
        name = "layers" if "layers" in inner else "h"
        self.blocks = [Block(block) for block in getattr(inner, name)]
        setattr(inner, name, self.blocks)

    def logits(self, prompt: str, vectors: Mapping[int, Any]) -> Any:
        """Of the token after ``prompt``, float32 ``(vocabulary,)``, ``vectors`` added after their layers."""
        for layer, block in enumerate(self.blocks):
            block.vector = vectors.get(layer)
        return self.network(mx.array([self.tokenizer.encode(prompt)]))[0, -1]

    def activations(self, prompts: Sequence[str]) -> list[Any]:
        """The mean over ``prompts`` of the last token's activation, of every layer ``(d_model,)``."""
        rows: list[list[Any]] = [[] for _ in self.blocks]
        for prompt in prompts:
            mx.eval(self.logits(prompt, {}))
            for block, found in zip(self.blocks, rows, strict=True):
                found.append(block.output[0, -1])
        return [mx.mean(mx.stack(found), axis=0) for found in rows]


def top(logits: Any) -> list[list[float]]:
    """The five most probable tokens: id, logit, probability."""
    wide = np.array(logits).astype(np.float64)
    probabilities = np.exp(wide - wide.max())
    probabilities /= probabilities.sum()
    return [[int(token), float(wide[token]), float(probabilities[token])] for token in np.argsort(wide)[-5:][::-1]]


def main() -> None:
    folder, request_file, out = sys.argv[1:]
    asked = json.loads(Path(request_file).read_text(encoding="utf-8"))
    tutorial = Tutorial(folder)
    means = zip(tutorial.activations(asked["positive"]), tutorial.activations(asked["negative"]), strict=True)
    vectors = [positive - negative for positive, negative in means]
    middle = len(vectors) // 2
    tables = {
        str(strength): top(tutorial.logits(asked["prompt"], {middle: vectors[middle] * strength} if strength else {}))
        for strength in asked["strengths"]
    }
    together = {layer: vectors[layer] * asked["strength_together"] for layer in asked["together"]}
    tables["multi"] = top(tutorial.logits(asked["prompt"], together))
    found = {"vectors": [vector.tolist() for vector in vectors], "tables": tables}
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
