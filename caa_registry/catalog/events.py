"""The audit: an append-only chain of events, each holding the digest of the one before. The digest of the last one, the
head of the chain, is kept in table ``meta`` too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.digests import digest_object, short
from caa_registry.display.records import Record
from caa_registry.errors import IntegrityError

_HEAD = "audit_head"
_ADVICE = "The database was changed by other means than caa. Keep a copy as evidence, and restore a backup."


@dataclass(frozen=True)
class AuditCheck(Record):
    """A chain of events that is intact. ``events``: how many; ``head``: the digest of the last, empty where there is
    none; ``place``: which of them, counted from 1, has the digest that was asked for, ``None`` where none was."""

    events: int
    head: str
    place: int | None = None


def append_event(session: Session, actor: str, action: str, subject: Mapping[str, Any]) -> t.Event:
    """Add an event to the chain, in the write transaction of what it tells about.

    The last event is read inside that transaction, so the chain cannot fork. ``subject`` holds no floats
    (write them as ``repr``), because digests do not cover them.

    Raises ``IntegrityError`` where the last event is not the head of the chain: the new one would hide that.
    """
    session.flush()
    previous = session.scalar(select(t.Event.digest).order_by(t.Event.id.desc()).limit(1)) or ""
    kept = session.get(t.Meta, _HEAD)
    if (kept.value if kept else "") != previous:
        raise IntegrityError("the last event of the log is not the one that caa wrote last", _ADVICE)
    event = t.Event(
        at=datetime.now(UTC), actor=actor, action=action, subject=dict(subject), previous=previous, digest=""
    )
    event.digest = _digest(event)
    session.add(event)
    if kept is None:
        session.add(t.Meta(key=_HEAD, value=event.digest))
    else:
        kept.value = event.digest
    session.flush()
    return event


def verify_chain(session: Session, head: str | None = None) -> AuditCheck:
    """The chain, all events of which are as they were written.

    ``head``: a digest that was the head once, from a copy that is kept elsewhere. Whoever can write
    the database can write a chain of their own with a head of its own; they cannot make it contain that digest.

    Raises ``IntegrityError`` naming the first event that was changed, or before which one is missing; where events are
    missing from the end; and where no event has ``head``.
    """
    previous, count, place = "", 0, None
    for event in session.scalars(select(t.Event).order_by(t.Event.id).execution_options(yield_per=1000)):
        if event.previous != previous:
            raise IntegrityError(
                f"event {event.id} does not follow the one before it",
                "An event was removed or put in between.",
            )
        check_event(event)
        previous = event.digest
        count += 1
        if event.digest == head:
            place = count
    kept = session.scalar(select(t.Meta.value).where(t.Meta.key == _HEAD))
    if (kept or "") != previous:
        raise _cut_off(session, count, kept)
    if head is not None and place is None:
        raise IntegrityError(
            f"none of the {count:,} events has the digest {short(head)}",
            "If this registry ever had such an event, its log was cut off or replaced since. Restore a backup.",
        )
    return AuditCheck(count, previous, place)


def _cut_off(session: Session, count: int, kept: str | None) -> IntegrityError:
    if kept is None:
        return IntegrityError(f"the digest of the last of {count:,} events is missing", _ADVICE)
    known = session.scalar(select(func.count(t.Event.id)).where(t.Event.digest == kept))
    if known:
        return IntegrityError(f"events were added after the last one that caa wrote, {short(kept)}", _ADVICE)
    return IntegrityError(
        f"events are missing from the end: the last that caa wrote, {short(kept)}, is not among the {count:,}",
        _ADVICE,
    )


def check_event(event: t.Event) -> None:
    """Raise ``IntegrityError`` unless ``event`` is what its digest covers."""
    try:
        holds = event.digest == _digest(event)
    except TypeError:
        # Its subject holds a float, which was never written.
        holds = False
    if not holds:
        raise IntegrityError(f"event {event.id} ({event.action}) was changed after it was written")


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
