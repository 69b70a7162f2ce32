"""Checks of the database as such: its file, single rows, what they refer to, and whether some are missing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import exists, func, inspect, select

from caa_registry.blobs.location import KEY
from caa_registry.blobs.removal import PREFIX
from caa_registry.catalog import models as t
from caa_registry.catalog.copies.rows import MAY_GO, NUMBERED
from caa_registry.catalog.integrity.damage import name_of
from caa_registry.catalog.integrity.row_digests import Sealed
from caa_registry.catalog.integrity.rows import scan
from caa_registry.digests import DIGEST
from caa_registry.registry.datasets.store import stored_pair
from caa_registry.registry.maintenance.checkup import OWNED, Checkup
from caa_registry.registry.provenance.runs import digest_of_arrows
from caa_registry.wording import with_article

# What table ``meta`` holds: by key, how its value is written.
_FACTS = {
    "written_by": re.compile(r"caa-registry \d+(\.\w+)+"),
    "audit_head": DIGEST,
    NUMBERED: re.compile("postgresql"),
    KEY: re.compile(r'\{"kind": "[a-z0-9._-]+", "owner": "sha256:[0-9a-f]{64}", "where": "[ -~]+"\}'),
}
_MARK = re.compile(r'\{"at": "[0-9T:.+-]+", "digests": \[("sha256:[0-9a-f]{64}"(, )?)+\]\}')
_MOST_LINES = 100
# The tables of which SQLite keeps the last number that it gave.
_COUNTED = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"


def check_database(checkup: Checkup) -> None:
    """The pages and indexes of a SQLite file."""
    if checkup.workspace.database.dialect == "sqlite":
        connection = checkup.session.connection()
        for (line,) in connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST_LINES})"):
            if line != "ok":
                checkup.note("database", "the file", str(line).strip())
    checkup.count("database")


def check_rows(checkup: Checkup) -> None:
    """Every row by itself: its cells, and the digest of what it says. Rows that belong together are covered by a digest
    of what they belong to, and checked with that."""
    session = checkup.session
    # These are compared when they are looked into, which all are unless only the newest are wanted.
    later = () if checkup.since else (t.DatasetVersion, t.VectorVersion, t.Evaluation)
    for table in [mapper.class_ for mapper in t.Base.registry.mappers if issubclass(mapper.class_, Sealed)]:
        if table in later:
            continue
        name = inspect(table).local_table.name
        with checkup.noting("rows", f"table {name}"):
            for cells, problem in scan(session, table):
                if problem:
                    checkup.note("rows", name_of(session.connection(), name, cells), problem)
                checkup.count("rows")
    with checkup.noting("rows", "table meta"):
        _check_facts(checkup)
    with checkup.noting("rows", "table run_io"):
        _check_arrows(checkup)
    with checkup.noting("pairs", "table pair"):
        _check_pairs(checkup)


def _check_arrows(checkup: Checkup) -> None:
    """What every run read and made, against its digest."""
    arrows: dict[object, list[tuple[Any, ...]]] = defaultdict(list)
    damaged = set()
    for cells, problem in scan(checkup.session, t.RunIO):
        if problem:
            checkup.note("rows", f"an arrow of run {cells['run_id']}", problem)
            damaged.add(cells["run_id"])
        arrows[cells["run_id"]].append(tuple(cells[name] for name in ("direction", "kind", "object_id", "role")))
        checkup.count("rows")
    query = select(t.Run.id, t.Run.arrows_digest)
    for id, digest in checkup.session.execute(query):
        with checkup.noting("rows", f"run {id}"):
            if id not in damaged and digest_of_arrows(arrows[id]) != digest:
                checkup.note("rows", f"run {id}", "what it read and made is not what was stored")


def _check_facts(checkup: Checkup) -> None:
    if checkup.session.get(t.Meta, "written_by") is None:
        checkup.note("rows", "meta written_by", "it is missing")
    for cells, problem in scan(checkup.session, t.Meta):
        key = str(cells["key"])
        form = _MARK if key.startswith(PREFIX) else _FACTS.get(key)
        if problem or form is None or not form.fullmatch(str(cells["value"])):
            checkup.note("rows", f"meta {key}", problem or "caa never writes this")
        checkup.count("rows")


def _check_pairs(checkup: Checkup) -> None:
    for cells, problem in scan(checkup.session, t.Pair):
        thing = f"pair {cells['digest']}"
        if problem:
            checkup.note("pairs", thing, problem)
        else:
            with checkup.noting("pairs", thing):
                texts = (cells[name] for name in ("prompt", "positive", "negative", "system"))
                stored_pair(cells["digest"], cells["turns"], *texts)
        checkup.count("pairs")


def check_references(checkup: Checkup) -> None:
    """What a row names is there."""
    connection = checkup.session.connection()
    for table in t.Base.metadata.sorted_tables:
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
            child, parent = table.alias(), key.column.table.alias()
            column = child.columns[key.parent.name]
            there = exists().where(parent.columns[key.column.name] == column)
            for row in connection.execute(select(child).where(column.is_not(None), ~there)).mappings():
                what = key.column.table.name.replace("_", " ")
                problem = f"its {key.parent.name} names {with_article(what)} that is missing"
                checkup.note("references", name_of(connection, table.name, dict(row)), problem)
            checkup.count("references")
    kinds: dict[str, Any] = {
        "dataset": t.DatasetVersion,
        "model": t.Model,
        "vector": t.VectorVersion,
        "evaluation": t.Evaluation,
        "plan": t.Plan,
    }
    for kind, table in kinds.items():
        arrows = select(t.RunIO.run_id, t.RunIO.object_id).where(t.RunIO.kind == kind)
        for run, id in checkup.session.execute(arrows.where(~exists().where(table.id == t.RunIO.object_id))):
            checkup.note("references", f"run {run}", f"it names {with_article(kind)} {id} that is missing")
        checkup.count("references")
    _check_owners(checkup)
    _check_sources(checkup)


def _check_owners(checkup: Checkup) -> None:
    """An alias belongs to the name whose version it points at."""
    of_dataset = select(t.DatasetVersion.dataset_id).where(t.DatasetVersion.id == t.Alias.dataset_version_id)
    of_vector = select(t.VectorVersion.vector_id).where(t.VectorVersion.id == t.Alias.vector_version_id)
    owner = func.coalesce(of_dataset.scalar_subquery(), of_vector.scalar_subquery())
    connection = checkup.session.connection()
    for row in connection.execute(select(t.Alias.__table__).where(owner != t.Alias.owner_id)).mappings():
        checkup.note("references", name_of(connection, "alias", dict(row)), "it points at a version of another name")
    checkup.count("references")


def _check_sources(checkup: Checkup) -> None:
    """What is there was made from what is there."""
    made: list[tuple[str, Any, Any, Any]] = [
        ("vector version", t.VectorVersion, t.VectorVersion.dataset_version_id, t.DatasetVersion),
        ("evaluation", t.Evaluation, t.Evaluation.dataset_version_id, t.DatasetVersion),
        ("evaluation", t.Evaluation, t.Evaluation.vector_version_id, t.VectorVersion),
    ]
    for kind, table, column, source in made:
        query = select(table.id).join(source, source.id == column)
        for id in checkup.session.scalars(query.where(table.deleted_at.is_(None), source.deleted_at.is_not(None))):
            checkup.note("references", f"{kind} {id}", "it was made from what is deleted")
        checkup.count("references")


def check_numbering(checkup: Checkup) -> None:
    """No version and no row that is never deleted is missing."""
    session = checkup.session
    for kind, owner, version, column in OWNED:
        counts = (
            select(owner.id, owner.name, func.count(version.id), func.max(version.number))
            .outerjoin(version, column == owner.id)
            .group_by(owner.id, owner.name)
        )
        for id, name, count, last in session.execute(counts).all():
            if count != last:
                numbers = session.scalars(select(version.number).where(column == id))
                checkup.note("numbering", f"{kind} {name}", f"it lacks versions: {_gaps(numbers, last or 1)}")
            checkup.count("numbering")
    for item in (t.DatasetMember, t.DatasetQuestion):
        place = item.position
        places = select(item.version_id, func.count(), func.min(place), func.max(place), func.sum(place))
        for id, count, first, last, total in session.execute(places.group_by(item.version_id)):
            if (first, last, total) != (0, count - 1, count * (count - 1) // 2):
                checkup.note("numbering", f"dataset version {id}", "its rows are not numbered from 0 on, each once")
    if checkup.workspace.database.dialect == "sqlite" and session.get(t.Meta, NUMBERED) is None:
        _check_ids(checkup)


def _check_ids(checkup: Checkup) -> None:
    # SQLite keeps the last id that it gave; one that was rolled back is given again.
    connection = checkup.session.connection()
    counted = set(connection.exec_driver_sql(_COUNTED).scalars())
    given: dict[Any, Any] = {}
    for name, last in connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence"):
        if name in given:
            checkup.note("numbering", f"table {name}", "the database keeps its last number twice")
        given[name] = last
    for mapper in t.Base.registry.mappers:
        name = mapper.class_.__tablename__
        if "id" not in mapper.columns:
            continue
        ids = set(checkup.session.scalars(select(mapper.class_.id)))
        greatest = max(ids, default=0)
        if name not in given and ids and name in counted:
            checkup.note("numbering", f"table {name}", "the last number that the database gave is missing")
        last = given.pop(name, greatest)
        never = sorted(id for id in ids if not (isinstance(last, int) and 0 < id <= last))
        if never:
            checkup.note("numbering", f"table {name}", f"its row {never[-1]} has a number that the database never gave")
        elif name not in MAY_GO and last != len(ids):
            problem = f"it lacks rows, which are never deleted: {_gaps(ids, last)}"
            checkup.note("numbering", f"table {name}", problem)
        checkup.count("numbering")
    for name in given:
        checkup.note("numbering", f"table {name}", "the database gave it numbers, and there is no such table")


def _gaps(numbers: Iterable[int], last: int) -> str:
    """What of 1 to ``last`` is not there. There may be as many of these as a damaged cell says."""
    found, after = [], 0
    for number in [*sorted(numbers), last + 1]:
        if number > after + 1:
            found.append(str(after + 1) if number == after + 2 else f"{after + 1}-{number - 1}")
        after = max(after, number)
    return ", ".join(found[:_MOST_LINES])
