"""How a chat template writes a conversation, found by giving it one of marked texts.

A template may drop a text, write it twice, or open a thought where the answer should begin. What it does is seen only
in what it writes, so that is searched for the marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from caa_registry.errors import ModelError

Role = str
Writer = Callable[..., str]
"""Renders messages: ``write(messages, generate=..., **variables)``. Raises ``ModelError``."""

_ROLES = ("user", "assistant", "system")
# Words that no template contains, that stay what they are when they are trimmed, and none of which holds another.
_SYSTEM, _LAST, _ANSWER = "Qxsystemq", "Qxlastq", "Qxanswerq"
_EARLIER = re.compile(r"Qx(asked|said)(\d+)q")
# Tried in turn where an answer would begin inside a thought: names under which templates ask whether to think.
_FLAGS: tuple[Mapping[str, bool], ...] = ({}, {"thinking": False})
_OPENING = re.compile(r"([<\[◁]\|?)([\w:.-]*?(?:think|thought|reason)\w*)(\|?[>\]▷])", re.IGNORECASE)
# A channel for thoughts, which only an answer of the template's own shows how to leave.
_CHANNEL = re.compile(r"<\|?channel\|?>\s*(?:analysis|thought|thinking)\b", re.IGNORECASE)
_LEFT = re.compile(r"<\|?channel\|?>\s*final\b|<channel\|>|<\|end\|>", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How conversations of one shape are rendered.

    ``parts``: roles whose messages are given as a list of parts. ``folded``: the system prompt stands at the beginning
    of the first user message. ``flags``: more variables for the template. From the text that the template writes up to
    an answer, ``drop`` is taken off the end and ``add`` put there; ``gap`` stands between that and the answer.
    ``closed``: ``add`` closes a thought that the template opens.
    """

    parts: frozenset[Role]
    folded: bool
    flags: tuple[tuple[str, bool], ...]
    drop: str
    add: str
    gap: str
    closed: bool

    def messages(
        self, system: str, earlier: Sequence[tuple[str, str]], prompt: str, answer: str | None = None
    ) -> list[dict[str, object]]:
        """The conversation as messages for the template. ``earlier``: turns before the prompt, each with its answer."""
        users = [*(user for user, _ in earlier), prompt]
        if self.folded and system:
            users[0] = f"{system}\n\n{users[0]}"
        texts = [("system", system)] if system and not self.folded else []
        for user, (_, said) in zip(users, earlier, strict=False):
            texts += [("user", user), ("assistant", said)]
        texts.append(("user", users[-1]))
        if answer is not None:
            texts.append(("assistant", answer))
        return [
            {"role": role, "content": [{"type": "text", "text": text}] if role in self.parts else text}
            for role, text in texts
        ]


def find_layout(write: Writer, *, system: bool, earlier: int) -> Layout:
    """How ``write`` renders conversations with or without a ``system`` prompt, and with so many ``earlier`` questions
    and answers.

    Raises ``ModelError``, which quotes what was rendered, where no way of asking keeps every text.
    """
    asked = (_SYSTEM if system else "", [(f"Qxasked{i}q", f"Qxsaid{i}q") for i in range(1, earlier + 1)])
    marks = [mark for mark in (asked[0], *chain(*asked[1]), _LAST) if mark]
    found: Layout | None = None
    problems: list[str] = []
    for flags in _FLAGS:
        for folded in (False, True) if system else (False,):
            try:
                layout = _whole(write, asked, marks, flags, folded=folded, problems=problems)
            except ModelError as error:
                problems.append(error.message)
                continue
            if layout is None:
                continue
            if not layout.closed:
                return layout
            found = found or layout
            break
    if found is None:
        raise ModelError(
            f"the model's chat template cannot be used: {problems[0]}",
            "Choose the template plain or llama-2.",
        )
    return found


def _whole(
    write: Writer,
    asked: tuple[str, list[tuple[str, str]]],
    marks: Sequence[str],
    flags: Mapping[str, bool],
    *,
    folded: bool,
    problems: list[str],
) -> Layout | None:
    """The layout with the fewest roles in parts that keeps every text; ``None``, and why, where there is none."""
    without_answer: Layout | None = None
    for parts in chain.from_iterable(combinations(_ROLES, count) for count in range(len(_ROLES) + 1)):
        trial = Layout(frozenset(parts), folded, tuple(flags.items()), "", "", "", False)
        try:
            head = write(trial.messages(*asked, _LAST), generate=True, **flags)
        except ModelError as error:
            problems.append(error.message)
            continue
        problem = _lost(head, marks)
        if problem:
            problems.append(f"{problem} {quoted(head)}")
            continue
        own = _answered(write, trial, asked, marks)
        if own is not None:
            return _ending(trial, _tail(head), own)
        if without_answer is None:
            # What a template does not say of this conversation it may say of the shortest; else it takes no answers.
            own = _answered(write, trial, ("", []), [_LAST])
            without_answer = _ending(trial, _tail(head), _tail(head) if own is None else own)
    return without_answer


def _answered(
    write: Writer, layout: Layout, asked: tuple[str, list[tuple[str, str]]], marks: Sequence[str]
) -> str | None:
    """What the template writes between the last question and an answer of its own; ``None`` where it does not write
    them all."""
    try:
        text = write(layout.messages(*asked, _LAST, _ANSWER), generate=False, **dict(layout.flags))
    except ModelError:
        return None
    return None if _lost(text, [*marks, _ANSWER]) else _tail(text[: text.index(_ANSWER)])


def _tail(text: str) -> str:
    return text[text.index(_LAST) + len(_LAST) :]


def _lost(text: str, marks: Sequence[str]) -> str:
    """What of ``marks`` is not in ``text`` once and in order, in words; nothing where all is well."""
    place = 0
    for mark in marks:
        name = _name(mark)
        if mark not in text:
            return f"it drops the {name}."
        if text.count(mark) > 1:
            return f"it writes the {name} {text.count(mark)} times."
        if text.index(mark) < place:
            return f"it puts the {name} out of order."
        place = text.index(mark)
    return ""


def _name(mark: str) -> str:
    earlier = _EARLIER.fullmatch(mark)
    if earlier:
        return f"earlier {'question' if earlier[1] == 'asked' else 'answer'} {earlier[2]}"
    return {_SYSTEM: "system prompt", _LAST: "question"}.get(mark, "answer")


def _ending(layout: Layout, head: str, own: str) -> Layout:
    """``layout`` with its ending. Both follow the last question: ``head`` up to where an answer is to be generated,
    ``own`` up to an answer of the template's own."""
    drop = add = gap = ""
    if own.startswith(head) or not (head.startswith(own) or head.rstrip() == own.rstrip()):
        common = next((i for i, (a, b) in enumerate(zip(head, own, strict=False)) if a != b), len(head))
        drop, add = head[common:], own[common:]
        # Spaces stay with the answer, since tokens begin with them; so do other blanks where nothing else is added.
        stem = add.rstrip(" ") if add.strip() or drop else ""
        add, gap = stem, add[len(stem) :]
    closing = closing_of_thought(head[: len(head) - len(drop)] + add)
    return Layout(layout.parts, layout.folded, layout.flags, drop, add + closing, gap, bool(closing))


def closing_of_thought(ending: str) -> str:
    """What closes the thought that ``ending``, the text after the last question, leaves open: nothing where it leaves
    none. Raises ``ModelError`` for a thought that only the model can close."""
    opened = None
    for match in _OPENING.finditer(ending):
        opened = None if _closing_tag(match) in ending[match.end() :] else match
    if opened is not None:
        tag = _closing_tag(opened)
        return f"\n{tag}\n\n" if ending.endswith("\n") else tag
    channels = [match.end() for match in _CHANNEL.finditer(ending)]
    if channels and not _LEFT.search(ending, channels[-1]):
        raise ModelError(f"it begins each answer with a thought. {quoted(ending)}")
    return ""


def _closing_tag(opened: re.Match[str]) -> str:
    before, name, after = opened.groups()
    for first, last in (("begin", "end"), ("start", "end"), ("BEGIN", "END"), ("START", "END")):
        if name.startswith(first):
            return before + last + name[len(first) :] + after
    return f"{before}/{name}{after}"


def quoted(text: str, most: int = 400) -> str:
    """``text`` for a message, shortened in the middle."""
    shown = text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"
    return f"It writes: {shown!r}"
