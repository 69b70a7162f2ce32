"""A loaded model: its network, its tokenizer, its residual stream, and what it can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import Context
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.display.listing import Listing
from caa_registry.display.records import Record
from caa_registry.errors import ModelError, UsageError
from caa_registry.models.folder.digests import Look, look
from caa_registry.models.folder.fingerprint import ModelInfo
from caa_registry.models.generation import (
    NextToken,
    NotFiniteError,
    cache_of,
    cached_text,
    check_sampling,
    check_top,
    next_tokens,
    sampler,
    stoppable,
    uncached_text,
)
from caa_registry.models.lengths import PIECES, Longest, Shapes, longest, shapes
from caa_registry.models.memory import allowed_memory, spare_memory
from caa_registry.models.rendering.chat import has_template
from caa_registry.models.rendering.prompts import PromptTokens, Template, TemplateName
from caa_registry.models.stream import ResidualStream
from caa_registry.models.weights import read_weights, weight_bytes
from caa_registry.mx import mx


@dataclass(frozen=True, eq=False)
class Model(Record):
    """A model. ``dtype`` is the dtype it computes in, which need not be the one it is stored in.

    ``unread``: its network, whose weights are read from the disk when ``network`` is first asked for: who wants to know
    what a model is, or to encode text, does not need them. ``looks``: how its weight files looked when they were
    opened.

    Any thread may ask it: what it computes is computed on one thread (``mx_thread``), in turn. A steering context holds
    for requests of the thread that opened it (of the same ``contextvars`` context), and for no other thread's.
    """

    _facts: ClassVar = "info dtype n_layers d_model default_template"

    info: ModelInfo
    unread: Any = field(repr=False)
    wrapped_tokenizer: Any = field(repr=False)
    stream: ResidualStream = field(repr=False)
    dtype: str
    looks: Mapping[Path, Look] = field(default_factory=dict, repr=False)

    @cached_property
    def network(self) -> Any:
        """The network with its weights in memory. Raises ``ModelError`` where they cannot be read, or are no longer
        those of the fingerprint."""
        mx_thread.run(read_weights, self.unread, self.info.name)
        for file, before in self.looks.items():
            if not file.exists() or look(file) != before:
                raise ModelError(f"{file}: changed since the model was loaded", "Load the model again.")
        return self.unread

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer."""
        return self.wrapped_tokenizer._tokenizer

    @property
    def n_layers(self) -> int:
        return self.stream.n_layers

    @property
    def d_model(self) -> int:
        return self.stream.d_model

    @cached_property
    def default_template(self) -> TemplateName:
        """``chat`` where the tokenizer has a chat template, else ``plain``."""
        return "chat" if has_template(self.tokenizer) else "plain"

    def template(self, name: TemplateName | None = None) -> Template:
        """The template ``name`` for this tokenizer (default: ``default_template``)."""
        return Template(name or self.default_template, self.tokenizer)

    def check_layers(self, layers: Sequence[int]) -> None:
        """Raise ``UsageError`` for a layer that this model does not have."""
        for layer in layers:
            if not 0 <= layer < self.n_layers:
                raise UsageError(
                    f"layer {layer} does not exist in {self.info.name}",
                    f"Its layers are 0 to {self.n_layers - 1}.",
                )

    def fits(self, n_tokens: int) -> bool:
        """Whether ``n_tokens`` fit the context the config states."""
        return self.info.context_length is None or n_tokens <= self.info.context_length

    @cached_property
    def shapes(self) -> Shapes:
        """What the memory that a text takes depends on."""
        # Whatever steering context is open, the network is asked without.
        return Context().run(mx_thread.run, shapes, self.unread, self.d_model, self.dtype)

    def longest(self, rows: int = 2) -> Longest:
        """How long a text may be: what the context that the config states holds, and what fits into memory.

        ``rows``: how many of that length are run together; both sides of a pair may be. The memory is ``CAA_MEMORY``
        where that is set, else all that is free beside the weights. Estimated generously (``models.lengths``).
        """
        return self._longest(lambda tokens: self.shapes.needed(rows, tokens))

    def longest_prompt(self) -> Longest:
        """As ``longest``, of a text that goes through the network piece by piece and is answered."""
        return self._longest(lambda tokens: self.shapes.needed(1, PIECES[-1], tokens, in_steps=False))

    def piece(self, tokens: int, memory: int | None = None, *, in_steps: bool = False) -> int:
        """How many tokens of a text of so many ``tokens`` are run together in ``memory``, by default all that may be
        used. ``in_steps``: with the functions of ``engine.kernels``."""
        memory = allowed_memory() if memory is None else memory
        fitting = (piece for piece in PIECES if self.shapes.needed(1, piece, tokens, in_steps=in_steps) <= memory)
        return next(fitting, PIECES[-1])

    def _longest(self, needed: Callable[[int], int]) -> Longest:
        memory = spare_memory(0 if "network" in self.__dict__ else weight_bytes(self.unread))
        return longest(self.info.name, self.info.context_length, memory, needed)

    @contextmanager
    def rows(
        self, sequences: Sequence[Sequence[int]], prompt_ends: Sequence[int]
    ) -> Iterator[tuple[mx.array, list[Any]]]:
        """Token ids as one right-padded batch ``(rows, tokens)`` with a fresh cache, prompt ends announced.

        Right padding is exact in every causal network as long as nothing is read at a padded position. A fresh cache
        makes what is read equal to what generation computes.
        """
        width = max(len(ids) for ids in sequences)
        padded = [list(ids) + [0] * (width - len(ids)) for ids in sequences]
        with self.stream.prompt(prompt_ends):
            yield mx.array(padded), cache_of(self.network, width)

    def stream_text(
        self,
        prompt: str,
        *,
        system: str = "",
        template: TemplateName | None = None,
        max_tokens: int = 128,
        temperature: float = 0.0,
        seed: int | None = None,
        cache: bool = True,
    ) -> Iterator[str]:
        """Generate text piece by piece, steered while a steering context of this thread is open.

        ``temperature`` 0 is greedy. ``cache=False`` runs the whole text again for every token: slow, and equal to
        the cached way, which it is there to check. Raises ``ModelError`` where the prompt fits neither the context nor
        memory, and on the way where values are not finite.
        """
        return mx_thread.each(self._text(prompt, system, template, max_tokens, temperature, seed, cache))

    def generate(
        self,
        prompt: str,
        *,
        system: str = "",
        template: TemplateName | None = None,
        max_tokens: int = 128,
        temperature: float = 0.0,
        seed: int | None = None,
        cache: bool = True,
    ) -> str:
        """The whole of ``stream_text`` as one string."""
        text = self._text(prompt, system, template, max_tokens, temperature, seed, cache)
        return mx_thread.run(lambda: "".join(text()))

    def _text(
        self,
        prompt: str,
        system: str,
        template: TemplateName | None,
        max_tokens: int,
        temperature: float,
        seed: int | None,
        cache: bool,
    ) -> Callable[[], Iterator[str]]:
        """What is to be generated, checked. On the thread, it gives the pieces."""
        check_sampling(max_tokens, temperature)
        tokens = self.template(template).prompt(prompt, system)
        room = self.room(len(tokens.ids), max_tokens)
        self.longest_prompt().check(len(tokens.ids))
        return partial(self._pieces, tokens, room, temperature, seed, cache)

    def _pieces(
        self, prompt: PromptTokens, max_tokens: int, temperature: float, seed: int | None, cache: bool
    ) -> Iterator[str]:
        settings = self.network, self.wrapped_tokenizer, prompt, max_tokens, sampler(temperature, seed)
        pieces = cached_text(*settings, self.piece(len(prompt.ids))) if cache else uncached_text(*settings)
        first = True
        while True:
            mx_thread.check()
            # Announced for each piece alone: between two of them another text of this model may be under way, and an
            # abandoned text is closed whenever it is collected.
            try:
                with self.stream.prompt(prompt.end), stoppable(self.stream) if first or not cache else nullcontext():
                    piece = next(pieces, None)
            except NotFiniteError:
                raise self.not_finite() from None
            first = False
            if piece is None:
                return
            if piece:
                yield piece

    def next_tokens(
        self,
        prompt: str,
        *,
        top: int = 10,
        tokens: Sequence[str] = (),
        system: str = "",
        template: TemplateName | None = None,
    ) -> Listing[NextToken]:
        """The ``top`` most probable next tokens after the prompt, most probable first; or ``tokens`` in their order.

        Raises ``UsageError`` for a text in ``tokens`` that is not one token, ``ModelError`` where the prompt fits
        neither the context nor memory, or values are not finite.
        """
        check_top(top)
        ids = self.ids_of(tokens)
        asked = self.prompt_tokens(prompt, system, template)
        logits = mx_thread.run(self._next_logits, asked)
        found = self.candidates(logits, top, ids)
        return Listing(tuple(found), len(found) if ids else len(logits))

    def ids_of(self, tokens: Sequence[str]) -> list[int]:
        """The id of each of ``tokens``. Raises ``UsageError`` for a text that is not one token of this model."""
        found = []
        for text in tokens:
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
            if len(ids) != 1:
                parts = ", ".join(repr(self.tokenizer.decode([i])) for i in ids[:20])
                raise UsageError(
                    f"{text!r} is {len(ids)} tokens of {self.info.name}" + (f": {parts}" if parts else ""),
                    "Give a text that is one token; a space before a word belongs to it in most tokenizers.",
                )
            found += ids
        return found

    def prompt_tokens(self, prompt: str, system: str = "", template: TemplateName | None = None) -> PromptTokens:
        """A rendered prompt. Raises ``ModelError`` where it and one token more fit neither the context nor memory."""
        tokens = self.template(template).prompt(prompt, system)
        self.room(len(tokens.ids), 1)
        self.longest_prompt().check(len(tokens.ids))
        return tokens

    def candidates(self, logits: NDArray[np.floating], top: int, ids: Sequence[int] = ()) -> list[NextToken]:
        """What ``logits``, ``(vocabulary,)``, say of the tokens ``ids``, else of the ``top`` most probable. Raises
        ``ModelError`` where they are not finite."""
        if not np.isfinite(logits).all():
            raise self.not_finite()
        return next_tokens(logits, self.tokenizer.decode, top, ids)

    def _next_logits(self, prompt: PromptTokens) -> NDArray[np.float32]:
        with self.rows([prompt.ids], [prompt.end]) as (tokens, cache):
            # As in generation, the last token runs alone: no logits are computed for the others.
            piece, last = self.piece(len(prompt.ids)), len(prompt.ids) - 1
            with stoppable(self.stream):
                for start in range(0, last, piece):
                    self.network(tokens[:, start : min(start + piece, last)], cache=cache)
                    mx.eval([entry.state for entry in cache])
            logits = self.network(tokens[:, -1:], cache=cache)[0, -1]
        return np.array(logits.astype(mx.float32))

    def not_finite(self) -> ModelError:
        """The error for values of this model that are not finite."""
        return ModelError(
            f"{self.info.name} computes values that are not finite in {self.dtype}",
            "Steer less strongly, or load the model in float32 or bfloat16.",
        )

    def room(self, n_prompt: int, max_tokens: int) -> int:
        """How many of ``max_tokens`` the context has room for after ``n_prompt``. ``ModelError`` where for none."""
        limit = self.info.context_length
        if limit is None:
            return max_tokens
        if n_prompt >= limit:
            raise ModelError(
                f"the prompt has {n_prompt} tokens; {self.info.name} reads at most {limit}", "Shorten the prompt."
            )
        return min(max_tokens, limit - n_prompt)
