"""Whether everything is found by its words, and by these alone."""

from __future__ import annotations

from caa_registry.catalog.search import entries
from caa_registry.registry.maintenance.checkup import Checkup

_INDEX = "the index of words to search"


def check_search(checkup: Checkup) -> None:
    """The index of words: of every pair, question, model and version."""
    session = checkup.session
    wanted = {key: hash(text) for key, text in entries.expected(session)}
    lacking, wrong, total = len(wanted), 0, 0
    for id, key, text in entries.stored(session):
        if wanted.get(key) == hash(text):
            lacking -= 1
        else:
            wrong += 1
        total += sum(hash((word, id, place)) for place, word in enumerate(text.split()))
        checkup.count("search")
    if lacking or wrong:
        problems = [(wrong, "wrong"), (lacking, "missing")]
        said = [f"{n:,} {'entry is' if n == 1 else 'entries are'} {what}" for n, what in problems if n]
        checkup.note("search", _INDEX, " and ".join(said))
    if checkup.workspace.database.dialect == "sqlite":
        with checkup.noting("search", _INDEX):
            # The words that the index holds, in whatever order: as a sum, since there may be millions.
            if sum(map(hash, entries.index_words(session))) != total:
                checkup.note("search", _INDEX, "it is not that of its entries")
