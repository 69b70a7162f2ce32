"""Texts as words that can be searched.

Both databases index the same words, made here, so that they find the same. A word has ASCII letters and digits only:
other characters stand in it by their numbers. No text that somebody types can therefore be taken for an operator of a
query. Case and accents do not count. A character of a script without spaces, and a symbol such as an emoji, is a word
by itself.
"""

from __future__ import annotations

import re
import unicodedata

# Only so much of a text can be found: databases bound what they index.
_LONGEST_TEXT = 20_000
_LONGEST_WORD = 200

# Thai to Tibetan, Myanmar, Khmer; kana, Bopomofo and CJK ideographs.
_UNSPACED = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u312f\u31a0-\u31bf\u3400-\u9fff\uf900-\ufaff]")
_FIRST_FAR, _LAST_FAR = 0x20000, 0x3FFFF  # more ideographs
_ACCENTS = range(0x300, 0x370)


class _Letters(dict[int, str]):
    """What each character becomes, found out when it is first met."""

    def __missing__(self, code: int) -> str:
        # Capitals come out of signs such as № too, and accents out of small letters.
        small = unicodedata.normalize("NFKD", chr(code)).casefold()
        said = "".join(map(_letter, unicodedata.normalize("NFKD", small)))
        self[code] = said
        return said


def _letter(char: str) -> str:
    code, kind = ord(char), unicodedata.category(char)
    if char.isascii():
        return char if char.isalnum() else " "
    if code in _ACCENTS or kind == "Cf" or 0xFE00 <= code <= 0xFE0F:
        return ""  # accents, joiners, and how the emoji before it looks
    if _UNSPACED.match(char) or _FIRST_FAR <= code <= _LAST_FAR or kind == "So":
        return f" u{code:x} "
    return f"u{code:x}" if kind[0] in "LMN" else " "


_LETTERS = _Letters()


def words(text: str) -> list[str]:
    """The words of ``text`` in their order."""
    return [_word(word) for word in text[:_LONGEST_TEXT].translate(_LETTERS).split()]


def _word(word: str) -> str:
    # One that begins with a digit could be a number to a database.
    return (word if word[0].isalpha() else f"n{word}")[:_LONGEST_WORD]


def indexed(*texts: str | None) -> str:
    """All words of ``texts``, as they are indexed."""
    return " ".join(words("\n".join(text for text in texts if text)))


def phrases(text: str) -> list[list[str]]:
    """What a query asks for: for each part of it between spaces the words that follow one another, the last of which
    may be the beginning of one."""
    return [found for part in text[:_LONGEST_TEXT].split() if (found := words(part))]
