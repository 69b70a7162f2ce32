from __future__ import annotations

from datetime import timedelta

import pytest
from catalog.registry_fixtures import together
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError as ConstraintError

from caa_registry.catalog.database import Database
from caa_registry.catalog.events import AuditCheck, append_event, verify_chain
from caa_registry.catalog.models import Event, Meta
from caa_registry.errors import IntegrityError

UNGUARD = {
    "sqlite": "DROP TRIGGER keep_event_{}",
    "postgresql": "DROP TRIGGER keep_event_{} ON event",
}
TAMPERINGS = {
    "actor": "UPDATE event SET actor = 'eve' WHERE id = 2",
    "at": "UPDATE event SET at = '2020-01-01 00:00:00' WHERE id = 2",
    "subject": "UPDATE event SET subject = '{\"n\": 7}' WHERE id = 2",
    "a float": "UPDATE event SET subject = '{\"n\": 1.5}' WHERE id = 2",
    "removed": "DELETE FROM event WHERE id = 2",
    "removed first": "DELETE FROM event WHERE id = 1",
    "both digests": "UPDATE event SET digest = 'sha256:0' WHERE id = 1",
}


def append(database: Database, count: int) -> None:
    for number in range(count):
        with database.write() as session:
            append_event(session, "ada", "note", {"n": number, "texts": ["é", {"b": None, "a": True}]})


def test_an_untouched_chain_holds(database: Database) -> None:
    append(database, 4)
    with database.read() as session:
        assert verify_chain(session) == AuditCheck(4, session.get_one(Event, 4).digest)


def test_several_events_in_one_transaction(database: Database) -> None:
    with database.write() as session:
        first = append_event(session, "ada", "a", {})
        second = append_event(session, "ada", "b", {})
        assert (first.previous, second.previous) == ("", first.digest)
        assert first.at.utcoffset() == timedelta(0)


def test_an_event_of_a_failed_transaction_is_not_there(database: Database) -> None:
    append(database, 1)
    with pytest.raises(ZeroDivisionError), database.write() as session:
        append_event(session, "ada", "b", {})
        raise ZeroDivisionError
    append(database, 1)
    with database.read() as session:
        assert verify_chain(session).events == 2


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_noticed(database: Database, tampering: str) -> None:
    append(database, 3)
    with database.write() as session:
        for action in ("update", "delete"):
            session.execute(text(UNGUARD[database.dialect].format(action)))
        session.connection().exec_driver_sql(TAMPERINGS[tampering])
    with database.read() as session, pytest.raises(IntegrityError, match=r"event [123] "):
        verify_chain(session)


ENDS = {
    "the last": ("DELETE FROM event WHERE id = 3",),
    "all but one": ("DELETE FROM event WHERE id > 1",),
    "all": ("DELETE FROM event",),
    "the head": ("DELETE FROM meta WHERE key = 'audit_head'",),
    "another head": ("UPDATE meta SET value = 'sha256:0' WHERE key = 'audit_head'",),
    "an older head": ("UPDATE meta SET value = (SELECT digest FROM event WHERE id = 2) WHERE key = 'audit_head'",),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_chain_that_is_cut_off_is_noticed(database: Database, end: str) -> None:
    append(database, 3)
    with database.write() as session:
        session.execute(text(UNGUARD[database.dialect].format("delete")))
        for statement in ENDS[end]:
            session.connection().exec_driver_sql(statement)
    with database.read() as session, pytest.raises(IntegrityError, match=r"missing|added after the last"):
        verify_chain(session)


def test_a_chain_of_somebody_s_own_does_not_hold_a_head_that_is_kept_elsewhere(database: Database) -> None:
    append(database, 3)
    with database.read() as session:
        heads = [session.get_one(Event, number).digest for number in (1, 3)]
        assert [verify_chain(session, head).place for head in heads] == [1, 3]
    with database.write() as session:
        session.execute(text(UNGUARD[database.dialect].format("delete")))
        # The last two are replaced, and the head with them.
        session.connection().exec_driver_sql("DELETE FROM event WHERE id > 1")
        with pytest.raises(IntegrityError, match="is not the one that caa wrote last"):
            append_event(session, "eve", "note", {"n": 7})
        session.execute(update(Meta).where(Meta.key == "audit_head").values(value=heads[0]))
        append_event(session, "eve", "note", {"n": 7})
    with database.read() as session:
        assert verify_chain(session).events == 2
        assert verify_chain(session, heads[0]).place == 1
        with pytest.raises(IntegrityError, match="none of the 2 events has the digest"):
            verify_chain(session, heads[1])


def test_the_chain_cannot_fork(database: Database) -> None:
    append(database, 2)
    with pytest.raises(ConstraintError), database.write() as session:
        tip = session.get_one(Event, 2)
        session.add(Event(at=tip.at, actor="eve", action="x", subject={}, previous=tip.previous, digest="sha256:1"))


def test_floats_are_refused(sqlite_database: Database) -> None:
    with pytest.raises(TypeError, match="repr"), sqlite_database.write() as session:
        append_event(session, "ada", "x", {"multiplier": 1.5})


def _append(url: str) -> None:
    with Database.open(url, create=False) as database:
        append(database, 5)


def test_processes_append_to_one_chain(url: str) -> None:
    together(_append, url)
    with Database.open(url, create=False) as database, database.read() as session:
        assert verify_chain(session).events == 40
