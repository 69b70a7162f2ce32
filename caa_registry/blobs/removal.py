"""What ``gc`` is removing from a store outside the catalogue.

A request to such a store is no part of a transaction: it may be carried out after the transaction has ended, or after
its lock was lost. Therefore gc first marks in the catalogue what it is about to remove, in a transaction in which it
looks up that nothing needs it. While the mark stands, no writer may refer to these bytes, whether they are still there
or not. The mark goes when the store has answered that they are removed. Where it has not, since gc was killed or the
connection broke, the mark goes by itself, once no request can be under way any more.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.database import Database
from caa_registry.errors import BlobStoreError

PREFIX = "removing:"
"""How the keys in table ``meta`` begin that hold marks."""

# A request is first sent no later than this after the mark was made. With four tries of two minutes it is over eight
# minutes later.
_SENDING = timedelta(minutes=2)
# And later than this nothing of it is under way, also where the clocks of two machines are some minutes apart.
_STANDING = timedelta(minutes=15)


@dataclass(frozen=True)
class Mark:
    """``digests`` that may be removed, for a while."""

    digests: tuple[str, ...]
    made: datetime

    def check(self) -> None:
        """Raise ``BlobStoreError`` where it is too late to send a request."""
        if abs(datetime.now(UTC) - self.made) >= _SENDING:
            raise BlobStoreError("the store took too long to answer, and nothing more was removed", "Run caa gc again.")


@contextmanager
def marked(database: Database, unneeded: Callable[[Session], Sequence[str]]) -> Iterator[Mark]:
    """A mark on what ``unneeded`` names in a write transaction, but for what another gc has marked.

    It is taken away at the end of the context, but stays for its time after an exception: nobody knows then what the
    store did.
    """
    key = f"{PREFIX}{secrets.token_hex(8)}"
    with database.write() as session:
        now = datetime.now(UTC)
        marks = list(_marks(session))
        session.execute(delete(t.Meta).where(t.Meta.key.in_([key for key, made, _ in marks if not _stands(made, now)])))
        others = {digest for _, made, marked in marks if _stands(made, now) for digest in marked}
        digests = tuple(digest for digest in unneeded(session) if digest not in others)
        if digests:
            session.add(t.Meta(key=key, value=json.dumps({"at": now.isoformat(), "digests": digests})))
    yield Mark(digests, now)
    if digests:
        with database.write() as session:
            session.execute(delete(t.Meta).where(t.Meta.key == key))


def being_removed(database: Database, digest: str) -> bool:
    """Whether ``gc`` has marked ``digest``. In a write transaction nobody can mark it meanwhile."""
    now = datetime.now(UTC)
    with database.read() as session:
        return any(digest in digests and _stands(made, now) for _, made, digests in _marks(session))


def _marks(session: Session) -> Iterator[tuple[str, datetime, Sequence[str]]]:
    for row in session.scalars(select(t.Meta).where(t.Meta.key.startswith(PREFIX, autoescape=True))).all():
        try:
            value = json.loads(row.value)
            yield row.key, datetime.fromisoformat(value["at"]).astimezone(UTC), value["digests"]
        except (ValueError, KeyError, TypeError):
            yield row.key, datetime.min.replace(tzinfo=UTC), ()  # a damaged one, of which nothing is known


def _stands(made: datetime, now: datetime) -> bool:
    return now - made < _STANDING
