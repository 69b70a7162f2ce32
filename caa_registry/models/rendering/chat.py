"""A model's own chat template: which text it is, and how a conversation is rendered with it.

What is rendered is what was asked for: each text stands in the result, in order, and an answer stands where the
template itself puts one, outside any thought. Where that cannot be had, the template is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from caa_registry.errors import ModelError, UsageError
from caa_registry.models.rendering.environment import render
from caa_registry.models.rendering.layout import Layout, find_layout, quoted

_OTHER = "Choose the template plain or llama-2."
_log = logging.getLogger(__name__)


def template_text(tokenizer: Any) -> str:
    """The tokenizer's chat template as text, or ``""`` where it has none or none of several is the default one."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default", "")
    return template or ""


def has_template(tokenizer: Any) -> bool:
    """Whether the tokenizer comes with a chat template, be it one that cannot be used."""
    return bool(tokenizer.chat_template) or bool(tokenizer.init_kwargs.get("chat_template_type"))


class Chat:
    """The chat template of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises ``UsageError`` where it has no chat template, ``ModelError`` where it has none that can be chosen."""
        if not has_template(tokenizer):
            raise UsageError("this model has no chat template", _OTHER)
        self.text = template_text(tokenizer)
        if not self.text:
            raise ModelError(_instead(tokenizer), _OTHER)
        self._tokens: Mapping[str, str] = tokenizer.special_tokens_map
        self._layouts: dict[tuple[bool, int], Layout] = {}
        self._said = False

    def layout(self, *, system: bool = False, earlier: int = 0) -> Layout:
        """How conversations with or without a system prompt, and with so many earlier questions and answers, are
        rendered. Raises ``ModelError`` where the template does not keep their texts."""
        shape = system, earlier
        if shape not in self._layouts:
            self._layouts[shape] = find_layout(self._write, system=system, earlier=earlier)
        return self._layouts[shape]

    def render(self, prompt: str, system: str, earlier: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """A conversation up to where the model answers, and what stands between that and an answer.

        ``earlier``: turns before the prompt, each with its answer. Raises ``ModelError`` where a text is not rendered.
        """
        layout = self.layout(system=bool(system), earlier=len(earlier))
        if layout.folded and system and not self._said:
            self._said = True
            _log.warning(
                "The chat template has no place for a system prompt, "
                "so it is put at the start of the first user message."
            )
        text = self._write(layout.messages(system, earlier, prompt), generate=True, **dict(layout.flags))
        place = 0
        for asked in (system, *(text for turn in earlier for text in turn), prompt):
            place = text.find(asked.strip(), place)
            if place < 0:
                raise ModelError(
                    f"the model's chat template does not keep the text {asked.strip()[:60]!r}. {quoted(text)}", _OTHER
                )
            place += len(asked.strip())
        if not text.endswith(layout.drop):
            raise ModelError(
                f"the model's chat template ends this prompt differently from others. {quoted(text)}", _OTHER
            )
        return text[: len(text) - len(layout.drop)] + layout.add, layout.gap

    def differences(self, *, system: bool) -> tuple[str, ...]:
        """What revision 2 renders otherwise than revision 1 with this template, in words; nothing where both agree.

        ``system``: whether there are system prompts. Without, only their place does not count: what else differs where
        there are some counts always, so that no digest of revision 1 is one of revision 2.
        """
        shapes = [(shape, layout) for shape in (False, True) if (layout := self._layout_or_none(shape)) is not None]
        layouts = [layout for _, layout in shapes]
        named = {
            "the date is fixed": any(self._asks_for_the_date(layout, system=shape) for shape, layout in shapes),
            "messages are given as parts": any(layout.parts for layout in layouts),
            "the answer stands where the template puts answers": any(
                (layout.drop or layout.add) and not layout.closed for layout in layouts
            ),
            "an opened thought is closed": any(layout.closed or layout.flags for layout in layouts),
            "the system prompt is in the first user message": system and any(layout.folded for layout in layouts),
        }
        return tuple(name for name, holds in named.items() if holds)

    def _layout_or_none(self, system: bool) -> Layout | None:
        try:
            return self.layout(system=system)
        except ModelError:
            return None

    def _asks_for_the_date(self, layout: Layout, *, system: bool) -> bool:
        messages = layout.messages("?" if system else "", (), "?")
        written = [
            self._write(messages, generate=True, **dict(layout.flags), **clock)
            for clock in ({}, {"strftime_now": lambda form: ""})
        ]
        return written[0] != written[1]

    def _write(self, messages: Sequence[Mapping[str, Any]], *, generate: bool, **variables: Any) -> str:
        try:
            # Thinking is off: an answer is read or scored right where the template ends.
            return render(self.text, messages, self._tokens, generate=generate, enable_thinking=False, **variables)
        except ModelError:
            raise
        except Exception as error:  # a template is a program; what it raises is its own
            raise ModelError(
                f"the model's chat template refused the messages: {error}",
                "Choose another template, or leave the system prompt out.",
            ) from error


def _instead(tokenizer: Any) -> str:
    """What it has instead of a chat template that can be used, in words."""
    if tokenizer.chat_template:
        return f"this model has several chat templates and no default one: {', '.join(sorted(tokenizer.chat_template))}"
    kind = tokenizer.init_kwargs.get("chat_template_type")
    return f"this model's conversations are written by code of mlx-lm ({kind}), not by a chat template"
