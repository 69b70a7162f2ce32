"""The choices that a prompt lists, in the layouts that people write: ``(A)``, ``A)``, ``A.``, ``a)``, ``[A]``,
``**A**``, ``1.``, in lines or on one line.

A list is labels in order from the first of their style (``A``, ``a`` or ``1``), two at least, all in one style. Behind
a ``0`` the numbers are no list, which would lack its first choice. Prose has such labels too, so each list says how
plain it is that it offers choices; ``pairs/answers.py`` looks at the answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Evidence = Literal["sure", "likely", "possible"]
"""``sure``: the paper's layout, or a heading such as ``Choices:``. ``likely``: lines that hardly mean anything else.
``possible``: only answers with these labels make it choices, as with numbered lists, dialogues and labels in a
sentence."""

LABEL = r"[A-Za-zＡ-Ｚａ-ｚ]|[1-9１-９][0-9０-９]?"
OPEN, CLOSE = r"(\[（［【", r")\]）］】"
MARKS = r"[*_`]{0,3}"
_DASH = r"[ \t]+[-–—](?=[ \t]+[^\W\d])"

_LABEL = re.compile(
    rf"""(?<![A-Za-z0-9_À-ɏ])
    (?P<lead>(?i:option|choice|answer)[ \t]+)?
    (?P<mark>[*_`]{{1,3}})?
    (?: (?P<open>[{OPEN}]){MARKS}(?P<inside>{LABEL}|[0０]){MARKS}[{CLOSE}]
      | (?P<label>{LABEL}|[0０])
        (?: {MARKS}(?P<close>[)）])
          | {MARKS}(?P<stop>[．：、]|[.:](?={MARKS}(?:\s|$|[^\x00-\x7f])))
          | (?P<dash>[ \t]+[-–—])(?=[ \t])
          | (?(mark)(?P=mark)(?=[ \t\n.:])|(?!))
        )
    )
    (?(mark){MARKS})(?P<behind>[.:：](?=\s)|{_DASH})?""",
    re.VERBOSE,
)
# Without a second label standing alone there is no list: most prompts need no more than this search.
_SECOND = re.compile(r"(?<![A-Za-z0-9])[Bb2Ｂｂ２](?![A-Za-z0-9])")
_PAPER = re.compile(rf"^[ \t]*\(([A-Z])\)(?:[.:](?=\s)|{_DASH})?[ \t]*(.*)$", re.MULTILINE)
# The last list counts: of more than these, in examples before the question, none is looked at.
_LAST = 8
_LINE_START = re.compile(r"[ \t>]*(?:[-+*•·–◦][ \t]+)?")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_HEADS = r"choices?(?:\(s\))?|options|alternatives|answers|responses"
_HEADING = re.compile(rf"(?:{_HEADS}|choose[^\n:]{{0,40}})[*_]{{0,3}}[ \t]*[:：][*_]{{0,3}}\s*$", re.IGNORECASE)
_HEADING_LINE = re.compile(rf"[ \t*_]*(?:{_HEADS}|option|answer)[ \t*_]*[:：][ \t*_]*", re.IGNORECASE)
# What stands between choices on one line.
_JOINT = re.compile(r"(?:[,;/|]|(?<=\s)(?:or|and|vs\.?))$", re.IGNORECASE)
_NOTHING = re.compile(r"(?:or|and|vs|nor|[\s.,;:?!/|])*", re.IGNORECASE)
# A line that asks for the answer ends the list.
_CUE = re.compile(
    r"\W*(?:(?:the|your|my|correct|best|please|so)\s+)*(?:answer|choose|choice|reply|respond)\b", re.IGNORECASE
)
_INSTRUCTION = re.compile(
    r"[?.!]+\s+(?i:please\s+)?(?i:answer|choose|pick|select|reply|respond)\b[^.?!\n]*"
    r"\b(?:[A-Z]|[0-9]|(?i:letter|option|choice|number))\b"
)
_CUE_IN_LINE = re.compile(r"(?<=\s)(?:the |your )?answer(?: is)?[ \t]*:", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?:^|[.?!:;,…。？！：])[\"'”’)*_]*\s*$")


@dataclass(frozen=True)
class Choice:
    """A choice as the prompt lists it: ``letter`` is its label as A to Z or a number, ``text`` what it says, which may
    span lines. ``begin`` is where its label's line, or within a line its label, begins; ``start`` is where its text
    does, and ``stop`` where the text ends with the blanks behind it."""

    letter: str
    text: str
    begin: int
    start: int
    stop: int


@dataclass(frozen=True)
class Listing:
    """The choices of one list. ``form``: how its first label is written, such as ``(A)`` or ``a)``; ``kind``: that
    label alone, ``A``, ``a`` or ``1``. ``inline``: some stand within a line."""

    choices: tuple[Choice, ...]
    form: str
    kind: str
    inline: bool
    evidence: Evidence

    @property
    def begin(self) -> int:
        """Where the list begins in the prompt."""
        return self.choices[0].begin

    @property
    def end(self) -> int:
        """Where its last text ends."""
        return self.choices[-1].stop

    @property
    def numbered(self) -> bool:
        return self.kind == "1"

    @property
    def texts(self) -> dict[str, str]:
        """The texts by letter."""
        return {choice.letter: choice.text for choice in self.choices}


class Label(NamedTuple):
    """What may be the label of a choice. ``place``: of its letter, as ``place_of``; ``begin`` is where its line begins,
    or it does within a line, ``written`` and ``end`` where the label itself ends and what stands behind it."""

    letter: str
    kind: str
    style: str
    place: int
    begin: int
    written: int
    end: int
    paragraph: int
    at_line: bool
    lead: bool


def letter_from(label: str) -> str:
    """A label as A to Z or a number: ``b`` and the full-width letter are ``B``."""
    return (label if label.isascii() else unicodedata.normalize("NFKC", label)).upper()


def first_like(label: str) -> str:
    """The first label of the kind that ``label`` is: ``A``, ``a`` or ``1``."""
    return "1" if label.isdecimal() else "A" if label.isupper() else "a"


def place_of(letter: str) -> int:
    """Which choice has that letter, counted from 0; -1 for the number 0."""
    return int(letter) - 1 if letter.isdecimal() else ord(letter) - ord("A")


def listings(prompt: str) -> list[Listing]:
    """All lists of labels in ``prompt``, in order."""
    if _SECOND.search(prompt) is None:
        return []
    by_style: dict[str, list[Label]] = defaultdict(list)
    for label in labels_in(prompt):
        by_style[label.style].append(label)
    found = [listing for labels in by_style.values() if len(labels) > 1 for listing in _of_style(prompt, labels)]
    return sorted(found, key=lambda listing: listing.begin)


def labels_in(prompt: str) -> Iterator[Label]:
    """What may be labels of choices in ``prompt``, in order, of any style."""
    line = before = paragraph = indent = 0
    for match in _LABEL.finditer(prompt):
        newline = prompt.rfind("\n", before, match.start())
        if newline >= 0 or not before:
            line = newline + 1
            indent = _indent(prompt, line)
        paragraph += _BLANK_LINE.search(prompt, before, line) is not None if newline >= 0 else 0
        before = match.end()
        label = _label(prompt, match, line, paragraph, at_line=match.start() == indent)
        if label is not None:
            yield label


def paper_listing(prompt: str) -> Listing | None:
    """The list of a prompt that ends with one in the paper's layout, a line a choice, and has no other in that layout:
    what ``listings`` gives last, several times as fast."""
    found: list[Choice] = []
    end = 0
    for match in _PAPER.finditer(prompt):
        letter, raw = match[1], _without_breaks(match[2])
        text = raw.strip()
        apart = bool(found) and not prompt[end : match.start()].isspace()
        if ord(letter) - ord("A") != len(found) or not text or apart:
            return None
        found.append(Choice(letter, text, match.start(), match.start(2), match.start(2) + len(raw)))
        end = match.end()
    if len(found) < 2 or prompt[end:].strip():
        return None
    return Listing(tuple(found), "(A)", "A", inline=False, evidence="sure")


def without_heading(text: str) -> str:
    """``text`` without a line at its end that says that choices follow, and without the white space there."""
    head, _, last = text.rstrip().rpartition("\n")
    return head.rstrip() if _HEADING_LINE.fullmatch(last) else text.rstrip()


def _indent(prompt: str, line: int) -> int:
    """Where the line that begins at ``line`` does behind its indent and bullet."""
    match = _LINE_START.match(prompt, line)
    return match.end() if match else line


def _label(prompt: str, match: re.Match[str], line: int, paragraph: int, *, at_line: bool) -> Label | None:
    begin = match.start()
    if match["stop"] and not at_line and begin and not prompt[begin - 1].isspace() and prompt[begin - 1].isascii():
        return None  # the end of an abbreviation
    if match["dash"] and not at_line:
        return None
    written = match["inside"] or match["label"]
    kind = first_like(written)
    if match["open"]:
        style = f"({kind})" if match["open"] in "(（" else f"[{kind}]"
    elif match["close"]:
        style = f"{kind})"
    elif match["stop"]:
        style = kind + {"．": ".", "：": ":"}.get(match["stop"], match["stop"])
    else:
        style = f"{kind} -" if match["dash"] else f"*{kind}*"
    letter = letter_from(written)
    lead = match["lead"] is not None
    start = line if at_line else begin
    behind = match.end() if match["behind"] is None else match.start("behind")
    return Label(letter, kind, style, place_of(letter), start, behind, match.end(), paragraph, at_line, lead)


def _of_style(prompt: str, labels: Sequence[Label]) -> Iterator[Listing]:
    """Lists whose labels all begin lines, and where there is none, those with labels within lines."""
    lines = list(_runs(prompt, [label for label in labels if label.at_line]))[-_LAST:]
    mixed = [] if all(label.at_line for label in labels) else list(_runs(prompt, labels))[-_LAST:]
    for run in mixed:
        others = [line for line in lines if line[0].begin < run[-1].end and run[0].begin < line[-1].end]
        if others and (labels[0].style == "(A)" or len(run) <= len(others[0]) or not _columns(prompt, run)):
            continue
        listing = _listing(prompt, run)
        if listing is not None:
            lines = [line for line in lines if line not in others]
            yield listing
    for run in lines:
        listing = _listing(prompt, run)
        if listing is not None:
            yield listing


def _runs(prompt: str, labels: Sequence[Label]) -> Iterator[list[Label]]:
    """Labels in order from the first, two at least. Where a line of the list has another label there is no list: what
    it offers is not plain."""
    run: list[Label] = []
    broken = False
    for label in labels:
        together = bool(run) and _together(run, label)
        # A 0 within a line is a number, and the list may begin below it.
        counted = bool(run) and (run[0].place == 0 or run[0].at_line or not label.at_line)
        if counted and label.place == run[0].place + len(run) and (label.at_line or together):
            run.append(label)
        elif label.place <= 0:
            if len(run) > 1 and run[0].place == 0 and not broken:
                yield run
            broken = together and label.at_line and len(run) == 1
            run = [label]
        else:
            broken = broken or (together and label.at_line)
    if len(run) > 1 and run[0].place == 0 and not broken:
        yield run


def _together(run: Sequence[Label], label: Label) -> bool:
    """Whether no empty line parts ``label`` from the run, or empty lines part the lines of the run itself too."""
    return label.paragraph == run[-1].paragraph or (label.at_line and run[0].paragraph != run[-1].paragraph)


def _columns(prompt: str, run: Sequence[Label]) -> bool:
    """Whether labels within lines are set apart as columns are."""
    return all(label.at_line or prompt.endswith(("  ", "\t", "| "), 0, label.begin) for label in run)


def _listing(prompt: str, run: Sequence[Label]) -> Listing | None:
    inline = not all(label.at_line for label in run)
    style = run[0].style
    if inline and style[-1] in ").:" and style[0] != "(" and not _opens(prompt, run[0]):
        return None
    choices: list[Choice] = []
    for label, following in zip(run, [*run[1:], None], strict=True):
        if following is not None and not following.at_line:
            stop = label.end + len(_without_joint(prompt[label.end : following.begin]))
        else:
            lines = max((choice.text.count("\n") for choice in choices), default=0)
            stop = _text_stop(prompt, label, following, lines)
            if inline and following is not None:
                stop = label.end + len(_without_joint(prompt[label.end : stop]))
        raw = _without_breaks(prompt[label.end : stop])
        if following is None and not label.at_line:
            raw = _without_question(raw, choices)
        text = raw.strip()
        blanks = len(raw) - len(raw.lstrip() if text else raw.lstrip(" \t"))
        start = label.end + blanks
        choices.append(Choice(label.letter, text, label.begin, start, label.end + len(raw) if text else start))
    if style != "(A)" or inline:
        empty = _NOTHING if inline else re.compile("")
        if any(empty.fullmatch(choice.text) for choice in choices):
            return None
    first = run[0]
    # Without what emphasizes it or stands before it on its line.
    form = _LINE_START.sub("", prompt[first.begin : first.written], count=1).strip(" \t*_`")
    return Listing(tuple(choices), form, first.kind, inline, _evidence(prompt, run, inline, choices[-1].stop))


def _opens(prompt: str, first: Label) -> bool:
    """Whether a list may open at a label within a line that has no bracket before it: not within a sentence, as in
    ``Person A. likes tea``, nor at the end of brackets, as in ``(vitamin A)``."""
    before = prompt[prompt.rfind("\n", 0, first.begin) + 1 : first.begin]
    if first.at_line:
        return True
    if first.style.endswith(")"):
        return before.count("(") <= before.count(")")
    return _SENTENCE_END.search(before) is not None or before.endswith(("  ", "\t"))


def _text_stop(prompt: str, label: Label, following: Label | None, lines: int) -> int:
    """Where the text behind ``label`` ends: before the next label. The last text ends at an empty line outside of code;
    it goes on in lines that are indented or begin within a sentence, and as far as another of the list does, which goes
    on for ``lines``."""
    begin = label.end
    if following is not None:
        return _line_end(prompt, begin + len(prompt[begin : following.begin].rstrip()), following.begin)
    limit = len(prompt)
    stop = _line_end(prompt, begin, limit)
    if not prompt[begin:stop].strip():
        begin = stop + 1  # a label on a line of its own
        stop = _line_end(prompt, begin, limit)
    indent = label.end - label.begin
    while stop < limit:
        end = _line_end(prompt, stop + 1, limit)
        line = prompt[stop + 1 : end]
        if prompt.count("```", begin, stop) % 2 == 0:
            if not line.strip():
                break
            goes_on = lines > 0 or len(line) - len(line.lstrip(" ")) >= indent or line.lstrip()[0].islower()
            if not goes_on or _CUE.match(line):
                break
        stop = end
        lines -= 1
    return stop


def _without_joint(text: str) -> str:
    """A choice within a line without the commas, strokes, ``or`` and ``and`` before the next one."""
    text = text.rstrip()
    while joint := _JOINT.search(text, max(0, len(text) - 4)):
        text = text[: joint.start()].rstrip()
    return text


def _without_question(text: str, others: Sequence[Choice]) -> str:
    """The last choice within a line without the question's mark, and without what asks for an answer."""
    cue = _CUE_IN_LINE.search(text) or _INSTRUCTION.search(text)
    text = (text[: cue.start()] if cue else text).rstrip()
    return text if any(choice.text.endswith("?") for choice in others) else text.rstrip("? ")


def _without_breaks(text: str) -> str:
    """``text`` without the line breaks of HTML at its end."""
    while (bare := text.rstrip()).lower().endswith(("<br>", "<br/>", "<br />")):
        text = bare[: bare.rindex("<")]
    return text


def _line_end(prompt: str, begin: int, limit: int) -> int:
    end = prompt.find("\n", begin, limit)
    return limit if end < 0 else end


def _evidence(prompt: str, run: Sequence[Label], inline: bool, end: int) -> Evidence:
    first = run[0]
    if (first.style == "(A)" and not inline) or _HEADING.search(prompt, max(0, first.begin - 80), first.begin):
        return "sure"
    last = not prompt[end:].strip(" \t\r\n?.") or _INSTRUCTION.match(prompt, end) is not None
    if all(label.lead for label in run):
        return "likely"
    if "1" in first.style or first.style[-1] in ":-":
        return "possible"
    if "a" in first.style or inline:
        return "likely" if last and (not inline or first.style in ("(A)", "[A]", "A)")) else "possible"
    return "likely"
