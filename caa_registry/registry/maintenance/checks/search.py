"""Whether everything is found by its words, and by these alone."""

from __future__ import annotations

from collections import Counter

from caa_registry.catalog.search import entries
from caa_registry.registry.maintenance.checkup import Checkup

_INDEX = "the index of words to search"


def check_search(checkup: Checkup) -> None:
    """The index of words: of every pair, question, model and version."""
    session = checkup.session
    wanted = {key: hash(text) for key, text in entries.expected(session)}
    lacking, wrong, words = len(wanted), 0, _Words()
    for id, key, text in entries.stored(session):
        if wanted.get(key) == hash(text):
            lacking -= 1
        else:
            wrong += 1
        words.add(id, text)
        checkup.count("search")
    if lacking or wrong:
        problem = f"{wrong:,} of its entries are not what they should be, and {lacking:,} are missing"
        checkup.note("search", _INDEX, problem)
    if checkup.workspace.database.dialect == "sqlite":
        for word, held in words.by_word.items():
            if entries.has_word(session, word) != held:
                checkup.note("search", _INDEX, "it is not that of its entries")
                break


class _Words:
    """Of each word in how many entries it stands, and the sum of their numbers."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()

    def add(self, id: int, text: str) -> None:
        for word in set(text.split()):
            self._counts[word] += 1
            self._sums[word] += id

    @property
    def by_word(self) -> dict[str, tuple[int, int]]:
        return {word: (count, self._sums[word]) for word, count in self._counts.items()}
