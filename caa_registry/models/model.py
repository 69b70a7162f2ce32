"""A loaded model: its network, its tokenizer, its residual stream, and what it can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlx_lm.models.cache import make_prompt_cache

from caa_registry.errors import ModelError, UsageError
from caa_registry.models.fingerprint import ModelInfo
from caa_registry.models.generation import NextToken, check_sampling, next_tokens, stream_text
from caa_registry.models.prompts import Template, TemplateName, chat_template_text
from caa_registry.models.stream import ResidualStream
from caa_registry.mx import mx


@dataclass(frozen=True, eq=False)
class Model:
    """A model in memory. ``dtype`` is the dtype it computes in, which need not be the one it is stored in."""

    info: ModelInfo
    network: Any = field(repr=False)
    wrapped_tokenizer: Any = field(repr=False)
    stream: ResidualStream = field(repr=False)
    dtype: str

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
        return "chat" if chat_template_text(self.tokenizer) else "plain"

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
            yield mx.array(padded), make_prompt_cache(self.network)

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
        """Generate text piece by piece, steered where a steering context is open.

        ``temperature`` 0 is greedy. ``cache=False`` runs the whole text again for every token: slow, and equal to
        the cached way, which it is there to check. Raises ``ModelError`` where the prompt does not fit the context.
        """
        check_sampling(max_tokens, temperature)
        tokens = self.template(template).prompt(prompt, system)
        room = self.room(len(tokens.ids), max_tokens)
        return stream_text(self, tokens, max_tokens=room, temperature=temperature, seed=seed, cache=cache)

    def generate(self, prompt: str, **options: Any) -> str:
        """The whole of ``stream_text`` as one string."""
        return "".join(self.stream_text(prompt, **options))

    def next_tokens(
        self, prompt: str, *, top: int = 10, system: str = "", template: TemplateName | None = None
    ) -> list[NextToken]:
        """The ``top`` most probable next tokens after the prompt, most probable first."""
        if top < 1:
            raise UsageError(f"{top} tokens cannot be listed", "Ask for at least one.")
        tokens = self.template(template).prompt(prompt, system)
        self.room(len(tokens.ids), 1)
        return next_tokens(self, tokens, top)

    def room(self, n_prompt: int, wanted: int) -> int:
        """How many of ``wanted`` tokens the context has room for behind ``n_prompt``. ``ModelError`` where for none."""
        limit = self.info.context_length
        if limit is None:
            return wanted
        if n_prompt >= limit:
            raise ModelError(
                f"the prompt has {n_prompt} tokens; {self.info.name} reads at most {limit}", "Shorten the prompt."
            )
        return min(wanted, limit - n_prompt)
