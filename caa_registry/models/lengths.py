"""The longest text that a model can be given: what its context holds, and what memory allows.

Memory is estimated from the shapes of the network, generously: the prompt cache of all blocks, and the largest of what
a block makes on the way. The constants are how many arrays of one kind MLX was seen to hold at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mlx_lm.models.cache import make_prompt_cache

from caa_registry.display.records import Record
from caa_registry.errors import ModelError
from caa_registry.models.device import slow_exponentials
from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx, tree_flatten

Limit = Literal["context", "memory"]

# Arrays as wide as the stream, and as what the widest layer of a block gives out.
_STREAMS, _WIDE, _WIDE_IN_STEPS = 16, 5, 4
# Activation functions in pieces (``engine.kernels``): bytes of a piece, and arrays of one.
_PIECE, _PIECE_ARRAYS = 4 << 17, 8
# Attention in blocks of queries (``engine.kernels``): scores of a block, the fewest queries of one, and arrays of
# scores of one. MLX's own on a CPU holds all scores.
_SCORES, _LEAST_QUERIES, _SCORE_ARRAYS, _WHOLE_SCORES = 1 << 20, 32, 11, 2.4
# A cache, while one of its entries grows.
_GROWING = 1.15
# Two lengths at which a cache is looked at; mlx-lm's own grow by 256 tokens.
_SHORT, _LONG = 256, 512
_MOST = 1 << 24

PIECES = (2048, 1024, 512, 256, 128, 64, 32)
"""How many tokens of a long prompt may be run together; mlx-lm's own is the first."""

_HEADS = ("n_heads", "num_heads", "num_attention_heads", "n_head")
_EXPERTS = ("top_k", "num_experts_per_tok")


@dataclass(frozen=True)
class Longest(Record):
    """How many ``tokens`` a text may have, ``None``: any number, and which ``limit`` that is. ``name``: the model's.
    ``memory``: the bytes that the limit of memory comes from."""

    name: str
    tokens: int | None
    limit: Limit
    memory: int

    def holds(self, tokens: int) -> bool:
        """Whether a text of so many ``tokens`` fits."""
        return self.tokens is None or tokens <= self.tokens

    def check(self, tokens: int) -> None:
        """Raise ``ModelError`` where a prompt of so many ``tokens`` does not fit."""
        if not self.holds(tokens):
            raise ModelError(
                f"the prompt has {tokens} tokens, more than {self}", f"Shorten the prompt, or choose {self.remedy}."
            )

    @property
    def remedy(self) -> str:
        """What holds longer texts, to be read after "choose"."""
        return "a model with a longer context" if self.limit == "context" else "a smaller model, or allow more memory"

    def __str__(self) -> str:
        """The limit in words, to be read after "longer than"."""
        if self.limit == "context":
            return f"the {self.tokens} tokens that {self.name} reads"
        return f"the {self.tokens} tokens that fit into memory ({self.memory / 1e9:.1f} GB beside the weights)"


@dataclass(frozen=True)
class _Entry:
    """One entry of a prompt cache, of one row: bytes a token, and bytes at any length. ``window``: the tokens that it
    keeps, ``None`` all."""

    per_token: int
    fixed: int
    window: int | None

    def bytes(self, tokens: int, run: int) -> int:
        kept = tokens if self.window is None else min(tokens, self.window + run)
        return self.fixed + kept * self.per_token


@dataclass(frozen=True)
class Shapes:
    """What memory depends on. ``width``: of the stream; ``widest``: the most that a layer of a block gives out for a
    token; ``itemsize``: bytes of a number; ``dtype``: what is computed in."""

    entries: tuple[_Entry, ...]
    width: int
    widest: int
    heads: int
    itemsize: int
    dtype: str

    def cached(self, tokens: int, run: int | None = None) -> int:
        """Bytes of the prompt cache of one text. ``run``: the tokens that are run together, by default all."""
        return sum(entry.bytes(tokens, tokens if run is None else run) for entry in self.entries)

    def needed(self, rows: int, tokens: int, seen: int | None = None, *, in_steps: bool = True) -> int:
        """Bytes that running ``rows`` texts takes at most: ``tokens`` of each together, of ``seen`` that are in the
        cache then, by default as many. ``in_steps``: with the functions of ``engine.kernels``."""
        seen = tokens if seen is None else seen
        own = in_steps and self.dtype == "float32" and slow_exponentials()
        wide = rows * tokens * self.widest * self.itemsize
        wide = _WIDE_IN_STEPS * wide + _PIECE_ARRAYS * min(wide, _PIECE) if own else _WIDE * wide
        scores = self._scores(rows, tokens, seen) if own else self._whole_scores(rows, tokens, seen)
        streams = rows * tokens * self.width * 4 * _STREAMS  # norms are float32
        return int(_GROWING * rows * self.cached(seen, tokens)) + streams + max(wide, scores)

    def _scores(self, rows: int, tokens: int, seen: int) -> int:
        queries = min(tokens, max(_LEAST_QUERIES, _SCORES // (rows * self.heads * seen)))
        return rows * self.heads * queries * seen * _SCORE_ARRAYS * 4

    def _whole_scores(self, rows: int, tokens: int, seen: int) -> int:
        if not on_cpu():
            return 0  # a GPU's attention holds none
        return int(rows * self.heads * tokens * seen * self.itemsize * _WHOLE_SCORES)


def longest(name: str, context: int | None, memory: int, needed: Callable[[int], int]) -> Longest:
    """What a ``context`` of tokens and ``memory`` bytes allow, of which a text takes as many as ``needed`` gives."""
    fitting = _most_tokens(memory, needed)
    if context is not None and context <= fitting:
        return Longest(name, context, "context", memory)
    return Longest(name, None if fitting == _MOST else fitting, "memory", memory)


def _most_tokens(memory: int, needed: Callable[[int], int]) -> int:
    """The most tokens for which ``needed`` gives ``memory`` bytes at most, where it never falls."""
    low, high = 0, _MOST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if needed(middle) <= memory else (low, middle - 1)
    return low


def shapes(network: Any, width: int, dtype: str) -> Shapes:
    """Those of ``network``, of whose weights nothing is read: MLX builds graphs and computes nothing. On the thread."""
    blocks = list(network.layers)
    return Shapes(
        entries=tuple(_entries(network)),
        width=width,
        widest=max([width, *(_widest(block) for block in blocks)]),
        heads=max([_number(block, _HEADS) or 0 for block in blocks]) or max(1, width // 64),
        itemsize=getattr(mx, dtype).size if hasattr(mx, dtype) else 4,
        dtype=dtype,
    )


def _entries(network: Any) -> Iterator[_Entry]:
    sizes = []
    for tokens in (_SHORT, _LONG):
        cache = make_prompt_cache(network)
        network(mx.zeros((1, tokens), dtype=mx.int32), cache=cache)
        sizes.append([_bytes(entry) for entry in cache])
    for entry, short, long in zip(make_prompt_cache(network), *sizes, strict=True):
        per_token = max(0, long - short) // (_LONG - _SHORT)
        window = getattr(entry, "max_size", None)
        yield _Entry(per_token, max(0, short - _SHORT * per_token), window if isinstance(window, int) else None)


def _bytes(entry: Any) -> int:
    if entry.empty():
        return 0
    return sum(value.nbytes for _, value in tree_flatten(entry.state) if isinstance(value, mx.array))


def _widest(block: Any) -> int:
    """What a layer of ``block`` gives out for a token; of experts as many as a token is given to."""
    widths = [0]
    for _, module in block.named_modules():
        weight = module.get("weight") if isinstance(module, dict) else None
        if isinstance(weight, mx.array) and weight.ndim >= 2:
            experts = min(weight.shape[0], _number(block, _EXPERTS) or weight.shape[0]) if weight.ndim == 3 else 1
            widths.append(weight.shape[-2] * experts)
    return max(widths)


def _number(block: Any, names: tuple[str, ...]) -> int | None:
    """The largest of the attributes ``names`` of the modules of ``block``."""
    modules = [module for _, module in block.named_modules()]
    values = (getattr(module, name, None) for module, name in itertools.product(modules, names))
    return max((value for value in values if isinstance(value, int) and not isinstance(value, bool)), default=None)
