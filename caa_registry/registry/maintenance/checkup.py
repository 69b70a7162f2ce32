"""What every check of a registry is given: what is checked, and where faults are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, true
from sqlalchemy.exc import DatabaseError, NoResultFound
from sqlalchemy.orm import InstrumentedAttribute, Session

from caa_registry.blobs.store import BlobStat
from caa_registry.catalog import filters
from caa_registry.catalog import models as t
from caa_registry.errors import BlobStoreError, CaaError
from caa_registry.progress import Progress
from caa_registry.registry.records import Fault
from caa_registry.registry.workspace import Workspace

T = TypeVar("T")
Check = Callable[["Checkup"], None]

OWNED: tuple[tuple[str, Any, Any, Any], ...] = (
    ("dataset", t.Dataset, t.DatasetVersion, t.DatasetVersion.dataset_id),
    ("vector", t.Vector, t.VectorVersion, t.VectorVersion.vector_id),
)
"""What has versions: its kind, the tables of names and of versions, and the column that joins them."""

_AT_ONCE = 200
# What reading rows raises that hold what nobody wrote.
_UNREADABLE = (CaaError, DatabaseError, NoResultFound, ValueError, KeyError, TypeError, AttributeError, OverflowError)


@dataclass
class Checkup:
    """A registry that is being checked, as it is in one ``session``. ``since``: what was made before is not looked
    into. ``checked``: how much was, by check; ``expected``: how much there is in all. ``half``: which half of all
    versions and evaluations is looked into, 0 or 1; ``None`` for all of them."""

    workspace: Workspace
    session: Session
    since: datetime | None
    progress: Progress
    expected: int
    half: int | None = None
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    checked: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    @cached_property
    def stored(self) -> Mapping[str, BlobStat]:
        """All blobs, by digest."""
        return {stat.digest: stat for stat in self.workspace.blobs.stats(session=self.session)}

    def count(self, check: str, number: int = 1) -> None:
        """So much more was checked."""
        self.checked[check] += number
        self.tell()

    def tell(self) -> None:
        """Report how far this is."""
        done = self.checked.total()
        self.progress(done, max(self.expected, done))

    def recent(self, column: InstrumentedAttribute[datetime]) -> ColumnElement[bool]:
        """That something was made since then."""
        return true() if self.since is None else filters.since(column, self.since)

    def own(self, ids: Sequence[int]) -> Sequence[int]:
        """Those of ``ids`` that are looked into."""
        middle = len(ids) // 2
        return ids if self.half is None else ids[middle:] if self.half else ids[:middle]

    def note(self, check: str, thing: str, problem: str, *, harmless: bool = False) -> None:
        """Keep a fault. ``problem`` may begin with what it is about, as messages of errors do."""
        beginning, colon, rest = problem.partition(": ")
        if colon and beginning.split(" ")[0] == thing.split(" ")[0]:
            thing, problem = beginning, rest
        self.faults.append(Fault(check, thing, problem, harmless))

    @contextmanager
    def noting(self, check: str, thing: str) -> Iterator[None]:
        """Where what is done here meets damage, that is a fault. A store that cannot be reached is none."""
        try:
            yield
        except BlobStoreError:
            raise
        except _UNREADABLE as error:
            self.session.expunge_all()  # a row that was met once is not compared again
            self.note(check, thing, _said(error))

    def each(
        self, check: str, ids: Sequence[int], load: Callable[[Sequence[int]], Sequence[T]], name: Callable[[int], str]
    ) -> Iterator[T]:
        """What ``load`` makes of ``ids``, many at a time. Where one of many is damaged it says so of one only, so they
        are loaded one by one."""
        for first in range(0, len(ids), _AT_ONCE):
            part = ids[first : first + _AT_ONCE]
            try:
                records = list(load(part))
            except _UNREADABLE:
                self.session.expunge_all()
                records = []
                for id in part:
                    with self.noting(check, name(id)):
                        records += load([id])
                self.count(check, len(part) - len(records))
            for record in records:
                yield record
                self.count(check)


def _said(error: Exception) -> str:
    if isinstance(error, CaaError):
        return error.message
    if isinstance(error, NoResultFound):
        return "a row that belongs to it is missing"
    if isinstance(error, DatabaseError | UnicodeDecodeError):
        return f"it cannot be read ({getattr(error, 'orig', None) or error})"
    return f"it holds what is never written ({type(error).__name__}: {error})"
