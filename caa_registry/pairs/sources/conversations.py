"""Rows whose texts are chat messages, read as a prompt, the turns before it, and two completions.

The sides of such a row are whole conversations that share all but their last message, or the last messages alone beside
a prompt. A row without messages passes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.sources import notes as sentences
from caa_registry.pairs.sources.columns import known_column, spelled
from caa_registry.pairs.sources.files import SourceData
from caa_registry.pairs.sources.messages import (
    Message,
    holds_messages,
    may_speak,
    messages_in,
    parting,
    speaks_inside,
    transcript_in,
)
from caa_registry.pairs.sources.rows import Conversation, Row
from caa_registry.pairs.turns import Turn

MESSAGES = ("messages", "conversations", "conversation")
TURNS = "turns"
# A column whose lists are earlier turns, in whatever shape.
HISTORY = "history"

_SIDES = ("positive", "negative")


class Conversations:
    """Reads the conversations of one source, row by row. ``given``: columns by part, as a person named them."""

    def __init__(self, file: SourceData, given: Mapping[str, str], notes: sentences.Notes) -> None:
        self._file = file
        self._given = given
        self._notes = notes

    def read(self, row: Row, *, exported: bool) -> Row:
        """``row`` with its conversation, its completions as texts; unchanged where it holds no messages.

        Of a row that an export wrote only the turns are messages: its texts are what they are. Raises ``InputError``
        naming row and field.
        """
        # Most sources hold no messages: their rows are not looked into.
        if not exported and not any(may_speak(value) for value in row.values.values()):
            return row
        columns = {part: known_column(part, row.values, self._given) for part in ("prompt", "system", *_SIDES)}
        if not columns["positive"] or not columns["negative"]:
            return row
        reading = _Reading(row, columns, self._file, self._notes)
        if exported:
            return reading.with_turns()
        read = reading.whole()
        for name, value in read.values.items():
            known = name in columns.values() or spelled(name) in MESSAGES
            if not known and (
                holds_messages(value) or (spelled(name) == HISTORY and value and isinstance(value, list))
            ):
                self._notes.add(sentences.messages_kept(name), row.number)
        return read


class _Reading:
    """One row. ``columns``: the column of each part, ``None`` where there is none."""

    def __init__(self, row: Row, columns: Mapping[str, str | None], file: SourceData, notes: sentences.Notes) -> None:
        self.row = row
        self.columns = columns
        self.file = file
        self.notes = notes
        self.fields = [str(columns[side]) for side in _SIDES]
        # The names of the row's other columns by what they are without case and spaces.
        self.named = {spelled(name): name for name in row.values if name not in columns.values()}
        self.turns = self.named.get(TURNS, TURNS)

    def bad(self, message: str, hint: str, field: str) -> InputError:
        return InputError(message, hint, source=self.file.label, row=self.row.number, field=field)

    def messages(self, column: str | None, *, transcripts: bool = True) -> list[Message] | None:
        value = self.row.values.get(column) if column else None
        found = messages_in(value, lambda message, hint: self.bad(message, hint, str(column)))
        if found is None and transcripts and isinstance(value, str):
            found = transcript_in(value)
        return found

    def with_turns(self, texts: Mapping[str, Any] | None = None) -> Row:
        """The row with the turns of its column ``turns``; its texts are kept as they are. ``texts``: the completions,
        where they are messages."""
        value = self.row.values.get(self.turns)
        turns = self.messages(self.turns, transcripts=False)
        if turns is None:
            # What an export writes where there are none; any other value is one of the source's own.
            if value not in (None, "", "[]", []):
                return self.row
            values = {name: value for name, value in self.row.values.items() if name != self.turns}
            return replace(self.row, values=values)
        column = self.columns["prompt"]
        prompt = self.row.values.get(column) if column else None
        if not isinstance(prompt, str):
            raise self.bad("turns stand before no prompt", "The prompt is the user's last message.", self.turns)
        return self._row([*turns, Message("user", prompt)], self.turns, texts or {}, (self.turns,))

    def whole(self) -> Row:
        """The row as any source writes it."""
        sides = [self.messages(field) for field in self.fields]
        one, other = sides
        if (one is None) != (other is None):
            is_list, is_text = self.fields if one is not None else reversed(self.fields)
            raise self.bad(
                f"it holds a conversation, and {is_text!r} none", "Both sides are messages, or both are texts.", is_list
            )
        if one is not None and other is not None:
            if any(len(side) != 1 or side[0].role != "assistant" for side in sides if side is not None):
                shared = self._shared(one, other)
                self._check_prompt(shared)
                return self._row(shared, self.fields[0], self._texts(one[-1], other[-1]), ())
            texts = self._texts(one[0], other[0])
        else:
            texts = {}
        if self.messages(self.turns, transcripts=False):
            return self.with_turns(texts)
        return self._beside(texts)

    def _texts(self, positive: Message, negative: Message) -> dict[str, Any]:
        return dict(zip(self.fields, (positive.text, negative.text), strict=True))

    def _prompt(self) -> list[Message] | None:
        """The messages of the prompt. A transcript that ends within an answer stays a text. Notes a text that has the
        marks of a transcript and stays one."""
        column = self.columns["prompt"]
        value = self.row.values.get(column) if column else None
        found = self.messages(column)
        if isinstance(value, str) and transcript_in(value) == found and found and found[-1].role == "assistant":
            found = None
        texts = [self.row.values.get(field) for field in self.fields] + [value if found is None else None]
        if any(isinstance(text, str) and speaks_inside(text) for text in texts):
            self.notes.add(sentences.TRANSCRIPT_KEPT, self.row.number)
        return found

    def _shared(self, one: Sequence[Message], other: Sequence[Message]) -> list[Message]:
        """What two whole conversations have in common: all but their last messages."""
        for field, side in zip(self.fields, (one, other), strict=True):
            if side[-1].role != "assistant" or not side[-1].text.strip():
                last = "the user's" if side[-1].role == "user" else "a system's"
                what = "an empty message" if side[-1].role == "assistant" else f"{last} message"
                raise self.bad(f"the conversation ends with {what}", "The assistant's answer is its last.", field)
        where = parting(one[:-1], other[:-1])
        if where:
            raise self.bad(
                f"the two conversations part before their answers, {where}",
                "They share all but the last message. Leave the row out, or correct it.",
                self.fields[1],
            )
        if len(one) != len(other):
            raise self.bad(
                f"the conversation has {_messages(len(other))}, and {self.fields[0]!r} has {len(one)}",
                "They share all but the last message. Leave the row out, or correct it.",
                self.fields[1],
            )
        if len(one) == 1:
            raise self.bad(
                "the conversation has no question", "A user's message stands before the answer.", self.fields[0]
            )
        return list(one[:-1])

    def _check_prompt(self, shared: Sequence[Message]) -> None:
        """A prompt beside whole conversations is what they share, or one of its questions: the last, or the first."""
        column = self.columns["prompt"]
        value = self.row.values.get(column) if column else None
        if not column or value is None or value == "":
            return
        listed = self.messages(column)
        asked = [message.text.strip() for message in shared if message.role == "user"]
        if listed is not None:
            plain = [replace(message, text=message.text.strip()) for message in listed]
            if plain == [replace(message, text=message.text.strip()) for message in shared]:
                return
            where = parting(listed, shared) or f"{_messages(len(listed))} against {_messages(len(shared))}"
        else:
            if not asked or (isinstance(value, str) and Message("user", value.strip()).text in (asked[0], asked[-1])):
                return
            where = f"{str(value)[:60]!r} against {asked[-1][:60]!r}"
        raise self.bad(
            f"the prompt is not what the conversations share, {where}", "Leave the column out, or correct it.", column
        )

    def _beside(self, texts: Mapping[str, Any]) -> Row:
        """The row of two completions with a prompt, messages, or both beside them. ``texts``: the completions, where
        they are messages."""
        row, column = self.row, self.columns["prompt"]
        prompt = self._prompt()
        name = next((self.named[name] for name in MESSAGES if name in self.named), None)
        listed = self.messages(name, transcripts=False)
        if listed is not None and listed[-1].role == "assistant":
            said = [texts.get(field, row.values.get(field)) for field in self.fields]
            if listed[-1].text.strip() in [text.strip() for text in said if isinstance(text, str)]:
                listed = listed[:-1]
        if name and listed is not None:
            value = row.values.get(column) if column else None
            alone = [Message("user", value)] if isinstance(value, str) and value.strip() else None
            asked = prompt or alone
            if asked is None:
                return self._row(listed, name, texts, (name,))
            if asked != listed[-len(asked) :] or (prompt is not None and asked != listed):
                raise self.bad(
                    f"they do not lead to what {column!r} says",
                    f"Leave {name!r} out, or correct it: its last message is the prompt.",
                    name,
                )
            if len(listed) > len(asked):
                return self._row(listed, name, texts, (name,))
        if prompt is not None and column:
            return self._row(prompt, column, texts, ())
        if not texts:
            return row
        value = row.values.get(column) if column else None
        if not isinstance(value, str) or not value.strip():
            raise self.bad(
                "the message answers no prompt",
                "Write the whole conversation, or the prompt in a column of its own.",
                self.fields[0],
            )
        return self._row([Message("user", value)], str(column), texts, ())

    def _row(self, conversation: Sequence[Message], field: str, texts: Mapping[str, Any], used: Sequence[str]) -> Row:
        """The row whose prompt ends ``conversation``, which stands in ``field``, without the columns ``used``."""
        read = self._conversation(conversation, field)
        if any(map(speaks_inside, [*(message.text for message in conversation), *texts.values()])):
            self.notes.add(sentences.TRANSCRIPT_KEPT, self.row.number)
        values = {name: value for name, value in self.row.values.items() if name not in used}
        return Row(self.row.number, {**values, **texts, self.columns["prompt"] or "prompt": read.prompt}, read)

    def _conversation(self, messages: Sequence[Message], field: str) -> Conversation:
        """System prompt, turns and prompt of ``messages``."""
        system = messages[0].text if messages and messages[0].role == "system" else ""
        said: list[Turn] = []
        for number, message in enumerate(messages, 1):
            if message.role == "system":
                if number > 1:
                    raise self.bad(
                        f"message {number} is a system message",
                        "A system message is the first, and there is one.",
                        field,
                    )
                continue
            if not message.text.strip():
                raise self.bad(f"message {number} of the {message.role} is empty", "Fill it in.", field)
            if not said and message.role == "assistant":
                raise self.bad("the assistant speaks first", "A conversation begins with the user.", field)
            if said and said[-1].role == message.role:
                if message.role == "assistant":
                    raise self.bad(
                        f"message {number} is the assistant's, as the one before it",
                        "Write them as one message.",
                        field,
                    )
                said[-1] = Turn("user", f"{said[-1].text}\n\n{message.text}")
                self.notes.add(sentences.JOINED, self.row.number)
            else:
                said.append(Turn(message.role, message.text))
        if not said:
            raise self.bad("the conversation has no message of the user", "It ends with the prompt.", field)
        if said[-1].role == "assistant":
            raise self.bad(
                "the conversation ends with the assistant's message",
                "Its last message is the user's, the prompt.",
                field,
            )
        return Conversation(self._system(system, field), tuple(said[:-1]), said[-1].text)

    def _system(self, system: str, field: str) -> str:
        column = self.columns["system"]
        own = self.row.values.get(column) if column else None
        if own is None or (isinstance(own, str) and not own.strip()) or own == system:
            return system if system.strip() else own or ""
        if not isinstance(own, str):
            raise self.bad("not a string", "A system prompt is a text.", str(column))
        if system.strip():
            raise self.bad(f"its system message is not what {column!r} says", "Keep one of the two.", field)
        return own


def _messages(number: int) -> str:
    return "1 message" if number == 1 else f"{number} messages"
