"""Prompts and templates: from a pair's texts to token ids, with the places in them that matter.

A text is rendered once, encoded once, and ids are passed on, so that no special token is added twice. Where the
completion and its answer stand is found from the tokenizer's character offsets, never assumed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from caa_registry.digests import digest_object
from caa_registry.errors import InputError, ModelError, UsageError

TemplateName = Literal["chat", "plain", "llama-2"]
TEMPLATES: tuple[TemplateName, ...] = ("chat", "plain", "llama-2")

TEMPLATE_DATE = "26 Jul 2024"
"""The date that chat templates are told: Llama 3.1's own default."""

RENDERER = 1
"""Raised with every change of this file that renders the same pair to other tokens."""

_PROBE = "(A)"
_LAST_WORD_CHARACTER = re.compile(r"\w(?=\W*$)")


@dataclass(frozen=True)
class PromptTokens:
    """A rendered prompt. ``end`` is the position of its template's last token, where steering starts."""

    text: str
    ids: tuple[int, ...]

    @property
    def end(self) -> int:
        return max(len(self.ids) - 1, 0)


@dataclass(frozen=True)
class CompletedTokens:
    """A rendered prompt with a completion.

    ``prompt_end``: position of the template's last token. ``start``: position of the completion's first token; the
    ids end with its last. ``answer``: position of the token that holds the completion's last letter or digit.
    """

    ids: tuple[int, ...]
    prompt_end: int
    start: int
    answer: int


class Example(NamedTuple):
    """A question with its answer that stands before the question asked: one shot of few."""

    prompt: str
    completion: str


def check_template(name: str) -> TemplateName:
    """``name`` if it is a known template, else ``UsageError``."""
    for known in TEMPLATES:
        if name == known:
            return known
    raise UsageError(f"there is no template {name!r}", f"Choose one of {', '.join(TEMPLATES)}.")


class Template:
    """How prompts are rendered for one tokenizer.

    ``chat`` is the tokenizer's own chat template; ``plain`` sets the texts one after the other; ``llama-2`` is the
    format of the CAA paper's repository (system prompt before ``[INST]``, BOS only). A pair without a prompt is
    whole text and is never put in a conversation.
    """

    def __init__(self, name: TemplateName, tokenizer: Any) -> None:
        check_template(name)
        if name == "chat" and not chat_template_text(tokenizer):
            raise UsageError("this model has no chat template", "Choose the template plain or llama-2.")
        self.name: TemplateName = name
        self.tokenizer = tokenizer
        self._joiner = self._find_joiner() if name == "chat" else ""

    @property
    def digest(self) -> str:
        """The identity of the template's text: a chat template is data and may change under one name."""
        text = chat_template_text(self.tokenizer) if self.name == "chat" else ""
        return digest_object("template", {"name": self.name, "text": text, "renderer": RENDERER})

    def prompt(self, prompt: str, system: str = "") -> PromptTokens:
        """A prompt up to where the model answers. Raises ``UsageError`` for an empty one."""
        if not prompt.strip():
            raise UsageError("the prompt is empty", "Give some text to continue.")
        text = self._render(prompt, system)
        ids, _ = self._encode(text, special=self.name != "chat")
        if not ids:
            raise UsageError("the prompt has no token in this model's tokenizer", "Give some other text to continue.")
        return PromptTokens(text, ids)

    def complete(
        self, prompt: str, completion: str, system: str = "", examples: Sequence[Example] = ()
    ) -> CompletedTokens:
        """A prompt with its completion, cut at the completion's last character.

        ``examples`` are earlier turns of the conversation, or with ``plain`` texts with an empty line after each. They
        belong to the prompt.
        """
        if prompt.strip():
            head = self._render(prompt, system, examples)
            if self.name == "chat":
                gap, completion = self._joiner, completion.strip()
            elif self.name == "llama-2":
                gap, completion = " ", completion.strip()
            else:
                gap = _gap(head, completion)
            special = self.name != "chat"
        else:
            head, gap, special = _texts(system, examples), "", True
        begin = len(head) + len(gap)
        ids, offsets = self._encode(head + gap + completion, special=special)
        start = next((i for i, (_, stop) in enumerate(offsets) if stop > begin), len(ids))
        in_prompt = [i for i, (_, stop) in enumerate(offsets[:start]) if stop <= len(head)]
        match = _LAST_WORD_CHARACTER.search(completion)
        place = begin + (match.start() if match else len(completion) - 1)
        # A tokenizer may leave characters out (spaces at the end, what it does not know): then the one before counts.
        holding = [i for i, (first, stop) in enumerate(offsets) if i >= start and first <= place and first < stop]
        if not holding:
            raise InputError(
                f"the model's tokenizer has no token for the completion {completion[:60]!r}", "Change or remove it."
            )
        return CompletedTokens(ids, in_prompt[-1] if in_prompt else 0, start, holding[-1])

    def _render(self, prompt: str, system: str, examples: Sequence[Example] = ()) -> str:
        if self.name == "chat":
            messages = _system_message(system)
            for example in examples:
                messages.append({"role": "user", "content": example.prompt})
                messages.append({"role": "assistant", "content": example.completion.strip()})
            return self._chat([*messages, {"role": "user", "content": prompt}], generate=True)
        if self.name == "llama-2":
            head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
            turns = [f"[INST] {example.prompt.strip()} [/INST] {example.completion.strip()} " for example in examples]
            return f"{head}{''.join(turns)}[INST] {prompt.strip()} [/INST]"
        return _texts(system, examples) + prompt

    def _chat(self, messages: list[dict[str, str]], *, generate: bool) -> str:
        try:
            # Thinking is off: an answer is read or scored right where the template ends. The date is fixed: some
            # templates print today's, and the same recipe would give another vector tomorrow.
            text = self.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=generate,
                enable_thinking=False,
                date_string=TEMPLATE_DATE,
            )
        except Exception as error:  # a template is a program; what it raises is its own
            raise ModelError(
                f"the model's chat template refused the messages: {error}",
                "Choose another template, or leave the system prompt out.",
            ) from error
        return str(text)

    def _find_joiner(self) -> str:
        """What the template puts between its generation prompt and an answer (a space, a newline or nothing)."""
        user = {"role": "user", "content": "?"}
        head = self._chat([user], generate=True)
        try:
            full = self._chat([user, {"role": "assistant", "content": _PROBE}], generate=False)
        except ModelError:
            # A template that takes no answers still renders prompts.
            return ""
        if full.startswith(head):
            between, probe, _ = full[len(head) :].partition(_PROBE)
            if probe and not between.strip():
                return between
        return ""

    def _encode(self, text: str, *, special: bool) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        # A text that brings its own start token gets no second one.
        start = self.tokenizer.bos_token
        special = special and not (start and text.startswith(start))
        encoded = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
        ids = [int(token) for token in encoded["input_ids"]]
        offsets = [(int(first), int(stop)) for first, stop in encoded["offset_mapping"]]
        # Some tokenizers close a text with an end token; a text to be continued has none.
        while len(ids) > 1 and offsets[-1][0] == offsets[-1][1] and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
            offsets.pop()
        return tuple(ids), offsets


def chat_template_text(tokenizer: Any) -> str:
    """The tokenizer's chat template as text, or ``""``."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default", "")
    return template or ""


def _gap(head: str, completion: str) -> str:
    """What stands between two texts that are set one after the other: a space, unless one of them has one."""
    return "" if head[-1:].isspace() or completion[:1].isspace() else " "


def _texts(system: str, examples: Sequence[Example]) -> str:
    """A system prompt and examples as plain text, an empty line after each."""
    shots = [(e.prompt + _gap(e.prompt, e.completion) if e.prompt else "") + e.completion for e in examples]
    return "".join(f"{text}\n\n" for text in [system, *shots] if text)


def _system_message(system: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}] if system else []
