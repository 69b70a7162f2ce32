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
from caa_registry.errors import InputError, UsageError
from caa_registry.models.rendering.chat import Chat
from caa_registry.pairs.answers import sides_of
from caa_registry.pairs.record import Pair

TemplateName = Literal["chat", "plain", "llama-2"]
TEMPLATES: tuple[TemplateName, ...] = ("chat", "plain", "llama-2")

REVISION = 2
"""The revision of the rendering: raised when the same texts come to be rendered otherwise with some template."""

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
    ids end with its last. ``answer``: position of the token that holds the letter of a choice that the completion
    answers with, else the completion's last letter or digit.
    """

    ids: tuple[int, ...]
    prompt_end: int
    start: int
    answer: int


@dataclass(frozen=True)
class Rendering:
    """How a template's texts are rendered.

    ``digest``: the identity of the template's text and of the revision. ``differences``: what revision 2 renders
    otherwise than revision 1, in words; where it is empty, both render alike and the digest is that of revision 1.
    """

    digest: str
    differences: tuple[str, ...] = ()


class Example(NamedTuple):
    """A question with its answer that stands before the question asked: one shot of few, or two earlier turns."""

    prompt: str
    completion: str


def earlier(pair: Pair) -> list[Example]:
    """The turns before the prompt of ``pair``, a question with its answer each."""
    texts = [turn.text for turn in pair.turns]
    return [Example(*both) for both in zip(texts[::2], texts[1::2], strict=True)]


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
        """Raises ``UsageError`` for an unknown name, ``ModelError`` for a chat template that cannot be used."""
        self.name: TemplateName = check_template(name)
        self.tokenizer = tokenizer
        self.chat = Chat(tokenizer) if name == "chat" else None
        if self.chat is not None:
            self.chat.layout()

    def rendering(self, *, system: bool = False) -> Rendering:
        """What identifies the rendering of texts with or without ``system`` prompts. A chat template is data, and may
        change under one name; and what a revision of the rendering changes, it changes with some templates only."""
        text = self.chat.text if self.chat is not None else ""
        differences = self.chat.differences(system=system) if self.chat is not None else ()
        revision = REVISION if differences else 1
        digest = digest_object("template", {"name": self.name, "text": text, "renderer": revision})
        return Rendering(digest, differences)

    def prompt(self, prompt: str, system: str = "", examples: Sequence[Example] = ()) -> PromptTokens:
        """A prompt up to where the model answers, ``examples`` as in ``complete``. Raises ``UsageError`` for an empty
        one."""
        if not prompt.strip():
            raise UsageError("the prompt is empty", "Give some text to continue.")
        text, _ = self.render(prompt, system, examples)
        ids, _ = self.encode(text, special=self.name != "chat")
        if not ids:
            raise UsageError("the prompt has no token in this model's tokenizer", "Give some other text to continue.")
        return PromptTokens(text, ids)

    def complete(
        self,
        prompt: str,
        completion: str,
        system: str = "",
        examples: Sequence[Example] = (),
        *,
        letter: int | None = None,
    ) -> CompletedTokens:
        """A prompt with its completion, cut at the completion's last character.

        ``examples`` are earlier turns of the conversation, or with ``plain`` texts with an empty line after each. They
        belong to the prompt. ``letter``: where in ``completion`` the letter that it answers with stands, by default at
        its last letter or digit.
        """
        if letter is None:
            match = _LAST_WORD_CHARACTER.search(completion)
            letter = match.start() if match else len(completion) - 1
        if prompt.strip():
            head, gap = self.render(prompt, system, examples)
            if self.name == "plain":
                gap = _gap(head, completion)
            else:
                letter -= len(completion) - len(completion.lstrip())
                completion = completion.strip()
            special = self.name != "chat"
        else:
            head, gap, special = _texts(system, examples), "", True
        begin = len(head) + len(gap)
        ids, offsets = self.encode(head + gap + completion, special=special)
        start = next((i for i, (_, stop) in enumerate(offsets) if stop > begin), len(ids))
        in_prompt = [i for i, (_, stop) in enumerate(offsets[:start]) if stop <= len(head)]
        place = begin + min(letter, len(completion) - 1)
        # A tokenizer may leave characters out (spaces at the end, what it does not know): then the one before counts.
        holding = [i for i, (first, stop) in enumerate(offsets) if i >= start and first <= place and first < stop]
        if not holding:
            raise InputError(
                f"the model's tokenizer has no token for the completion {completion[:60]!r}", "Change or remove it."
            )
        return CompletedTokens(ids, in_prompt[-1] if in_prompt else 0, start, holding[-1])

    def sides(self, pair: Pair) -> tuple[CompletedTokens, CompletedTokens]:
        """The prompt of ``pair``, after its turns, with its positive and with its negative side. Raises ``InputError``,
        and ``ModelError`` where the chat template does not keep a text."""
        sides, examples = sides_of(pair), earlier(pair)
        places = [letter.start if sides.letters and letter else None for letter in (sides.positive, sides.negative)]
        return (
            self.complete(pair.prompt, pair.positive, pair.system, examples, letter=places[0]),
            self.complete(pair.prompt, pair.negative, pair.system, examples, letter=places[1]),
        )

    def render(self, prompt: str, system: str, examples: Sequence[Example] = ()) -> tuple[str, str]:
        """The text up to where an answer is given, and what stands between the two."""
        if self.chat is not None:
            return self.chat.render(
                prompt, system, [(example.prompt, example.completion.strip()) for example in examples]
            )
        if self.name == "llama-2":
            head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
            turns = [f"[INST] {example.prompt.strip()} [/INST] {example.completion.strip()} " for example in examples]
            return f"{head}{''.join(turns)}[INST] {prompt.strip()} [/INST]", " "
        return _texts(system, examples) + prompt, ""

    def encode(self, text: str, *, special: bool) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """The ids of a rendered text, and the characters of ``text`` that each stands for (first, one past the last).
        ``special``: whether the tokenizer puts its start token before it."""
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


def _gap(head: str, completion: str) -> str:
    """What stands between two texts that are set one after the other: a space, unless one of them has one."""
    return "" if head[-1:].isspace() or completion[:1].isspace() else " "


def _texts(system: str, examples: Sequence[Example]) -> str:
    """A system prompt and examples as plain text, an empty line after each."""
    shots = [(e.prompt + _gap(e.prompt, e.completion) if e.prompt else "") + e.completion for e in examples]
    return "".join(f"{text}\n\n" for text in [system, *shots] if text)
