"""The audit: an append-only chain of events, each holding the digest of the one before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.digests import digest_object
from caa_registry.errors import IntegrityError


def append_event(session: Session, actor: str, action: str, subject: Mapping[str, Any]) -> t.Event:
    """Add an event to the chain, in the write transaction of what it tells about.

    The last event is read inside that transaction, so the chain cannot fork. ``subject`` holds no floats
    (write them as ``repr``), because digests do not cover them.
    """
    session.flush()
    previous = session.scalar(select(t.Event.digest).order_by(t.Event.id.desc()).limit(1)) or ""
    event = t.Event(
        at=datetime.now(UTC), actor=actor, action=action, subject=dict(subject), previous=previous, digest=""
    )
    event.digest = _digest(event)
    session.add(event)
    session.flush()
    return event


def verify_chain(session: Session) -> int:
    """The number of events, all of which are as they were written.

    Raises ``IntegrityError`` naming the first one that was changed, or before which one is missing. Events
    missing from the end leave no trace here: compare the last digest with one noted elsewhere.
    """
    previous = ""
    count = 0
    for event in session.scalars(select(t.Event).order_by(t.Event.id).execution_options(yield_per=1000)):
        if event.previous != previous:
            raise IntegrityError(
                f"event {event.id} does not follow the one before it",
                "An event was removed or put in between.",
            )
        if not _holds(event):
            raise IntegrityError(f"event {event.id} ({event.action}) was changed after it was written")
        previous = event.digest
        count += 1
    return count


def _holds(event: t.Event) -> bool:
    """Whether the event is what its digest covers."""
    try:
        return event.digest == _digest(event)
    except TypeError:
        # Its subject holds a float, which was never written.
        return False


def _digest(event: t.Event) -> str:
    return digest_object(
        "event",
        {
            "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "actor": event.actor,
            "action": event.action,
            "subject": event.subject,
            "previous": event.previous,
        },
    )
