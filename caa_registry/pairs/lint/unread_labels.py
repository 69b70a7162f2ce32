"""Labels of a prompt that look like those of choices and are not read as such."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from caa_registry.pairs.choices import Label, Listing, labels_in

# Letters of other alphabets that look like Latin ones, small and large.
LOOK_ALIKES = str.maketrans("аеорсухіјѕԁһⅼоАЕОРСХНКМТВ", "aeopcyxijsdhloAEOPCXHKMTB")

_OPENS, _CLOSES = r"(\[{<（［【", r")\]}>）］】"
# What may be a label: a word of four characters at most, or one sign such as ①; a number may have a text behind it.
_LABEL = re.compile(
    rf"[\s{_OPENS}*_`\"']*(?:(?P<label>\w{{1,4}}|[^\w\s])[{_CLOSES}.:*_`\"'．：、]*"
    rf"|(?P<number>[0-9]{{1,2}})(?:[{_CLOSES}.:]\s.*))\s*",
    re.DOTALL,
)
# Labels within a line that a sentence may name: ``both (A) and (C)``.
_NAMED = re.compile(r"(?:\b(?:and|or|nor|not|than|with|to|of|from|as|like|in|by|for|see)\s+|[,/(]\s*)$", re.IGNORECASE)


def further_label(prompt: str, listing: Listing) -> str | None:
    """The letter that follows the last of ``listing``, where a label in another style or alphabet has it, or one in the
    text of the last choice."""
    last = listing.choices[-1]
    text = prompt[listing.begin :].translate(LOOK_ALIKES)
    following = str(int(last.letter) + 1) if listing.numbered else chr(ord(last.letter) + 1)
    if _alone(following).search(text) is None:
        return None
    first: Label | None = None
    for label in labels_in(text):
        first = first or label
        if label.begin + listing.begin <= last.begin or label.kind.isdecimal() != listing.numbered:
            continue
        if label.at_line and label.place <= 0:
            return None  # another list begins
        if label.letter == following and _offers(text, label, first, last.stop - listing.begin):
            return label.letter
    return None


@cache
def _alone(letter: str) -> re.Pattern[str]:
    """Finds ``letter`` as a word of its own, small and full-width too: most prompts need no more than this search."""
    ways = {letter, letter.lower(), "".join(chr(ord(char) + 0xFEE0) for char in letter)}
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(ways)})(?![A-Za-z0-9])")


def _offers(text: str, label: Label, first: Label, stop: int) -> bool:
    """Whether ``label`` has a text of its own and stands as that of a choice does."""
    if not text[label.end :].partition("\n")[0].strip():
        return False
    if label.at_line:
        return True
    alike = label.style == first.style or (label.style[-1] in ")]" and first.style[-1] in ")]")
    return alike and label.begin < stop and not label.lead and not _NAMED.search(text, 0, label.begin)


def repeated_labels(prompt: str, completions: Sequence[str]) -> list[str]:
    """The labels that ``completions`` are, where the prompt has all of them before texts: ``①``, ``(ii)``, ``0.``."""
    labels = []
    for completion in completions:
        match = _LABEL.fullmatch(completion)
        label = (match["label"] or match["number"]) if match else ""
        if not label or label in labels or not _labels_text(prompt, label):
            return []
        labels.append(label)
    return labels


def _labels_text(prompt: str, label: str) -> bool:
    written = re.escape(label)
    ways = [rf"[{_OPENS}]{written}[{_CLOSES}]", rf"^[ \t>*•-]*{written}[*_`]*[{_CLOSES}.:．：、]"]
    if len(label) == 1:
        ways.append(rf"(?<!\S){written}[).:．：、]\s")
        if not label.isascii():
            ways.append(rf"(?<!\w){written}[ \t]" if not label.isalnum() else rf"^{written}[ \t]")
    return re.search("|".join(ways), prompt, re.MULTILINE) is not None
