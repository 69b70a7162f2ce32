"""Names that changed: what something was called when an event told of it, and what that is called now.

Events keep the names that they were written with, and a name that became free may be given again. So what a name means
depends on when it was said.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.references import Kind

RENAME = "rename"
"""The action of the event that tells of a new name."""

_Moves = dict[tuple[str, str], list[tuple[int, str]]]


class Renames:
    """All changes of names in a registry, in their order."""

    def __init__(self, session: Session) -> None:
        self._from: _Moves = defaultdict(list)
        self._to: _Moves = defaultdict(list)
        query = select(t.Event.id, t.Event.subject).where(t.Event.action == RENAME).order_by(t.Event.id)
        for id, subject in session.execute(query):
            kind, before, after = (str(subject.get(key)) for key in ("kind", "from", "to"))
            self._from[kind, before].append((id, after))
            self._to[kind, after].append((id, before))

    def now(self, kind: Kind, name: str, event: int) -> str:
        """What is called today what was called ``name`` when the event of that number was written."""
        while True:
            moves = self._from.get((kind, name), [])
            place = bisect_right(moves, event, key=lambda move: move[0])
            if place == len(moves):
                return name
            event, name = moves[place]

    def then(self, kind: Kind, name: str, event: int) -> str:
        """What was called when the event of that number was written what is called ``name`` today; empty where the
        name was that of something else then, and this was not there yet."""
        left: float = math.inf
        for moved, before in self._past(kind, name):
            if moved <= event:
                return name
            name, left = before, moved
        freed = max((moved for moved, _ in self._from.get((kind, name), []) if moved < left), default=0)
        return name if event > freed else ""

    def all_of(self, kind: Kind, name: str) -> list[str]:
        """Every name that it had which is called ``name`` today, this one first."""
        return list(dict.fromkeys([name, *(before for _, before in self._past(kind, name))]))

    def gone(self, kind: Kind, name: str) -> str | None:
        """What is called today what was last called ``name``; ``None`` where nothing was renamed from it."""
        moves = self._from.get((kind, name))
        return self.now(kind, moves[-1][1], moves[-1][0]) if moves else None

    def _past(self, kind: Kind, name: str) -> Iterator[tuple[int, str]]:
        """The changes that led to ``name``, the latest first: the number of the event, and the name before."""
        latest: int | None = None
        while True:
            moves = self._to.get((kind, name), [])
            place = len(moves) if latest is None else bisect_right(moves, latest - 1, key=lambda move: move[0])
            if place == 0:
                return
            latest, name = moves[place - 1]
            yield latest, name
