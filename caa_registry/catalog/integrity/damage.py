"""Damage in the catalogue: what a cell or a row holds that nobody wrote, said in words that name the object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from caa_registry.errors import IntegrityError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

RESTORE = "The registry is damaged. Restore a backup."

# Of tables whose rows belong to an object with a name: the table that has it, and the column that says which.
_NAMED: Mapping[str, tuple[str, str]] = {
    "dataset_version": ("dataset", "dataset_id"),
    "vector_version": ("vector", "vector_id"),
}
_PART_OF: Mapping[str, tuple[str, str]] = {
    "dataset_member": ("dataset_version", "version_id"),
    "dataset_question": ("dataset_version", "version_id"),
    "vector_layer": ("vector_version", "version_id"),
    "lint_report": ("dataset_version", "version_id"),
    "score": ("evaluation", "evaluation_id"),
    "response": ("evaluation", "evaluation_id"),
    "judgement": ("evaluation", "evaluation_id"),
    "rating": ("evaluation", "evaluation_id"),
}


class DamagedCell(IntegrityError):
    """A cell holds what its column cannot. ``place``: ``table.column``."""

    def __init__(self, place: str) -> None:
        super().__init__(f"{place} holds a value that it cannot have", RESTORE)
        self.place = place


def damaged(what: str, how: str) -> IntegrityError:
    """The error for an object that is not as it was stored."""
    return IntegrityError(f"{what}: {how}", RESTORE)


def name_of(connection: Connection, table: str, row: Mapping[str, Any]) -> str:
    """What people call the object that a row belongs to: ``vector team/x:v2``, ``evaluation 7``.

    Looked up for a message about damage, so it takes what it finds and never fails.
    """
    if table in _PART_OF:
        parent, column = _PART_OF[table]
        found = _row(connection, parent, row.get(column))
        return name_of(connection, parent, {"id": row.get(column), **found})
    if table in _NAMED:
        owner, column = _NAMED[table]
        name = _row(connection, owner, row.get(column)).get("name")
        if isinstance(name, str):
            return f"{owner} {name}:v{row.get('number')}"
    if table == "pair":
        return f"pair {row.get('digest')}"
    if table == "alias":
        owner_name = _row(connection, str(row.get("kind")), row.get("owner_id")).get("name")
        return f"alias {owner_name}:{row.get('name')}"
    if table in ("dataset", "vector", "model", "plan") and isinstance(row.get("name"), str):
        return f"{table} {row['name']}"
    return f"{table.replace('_', ' ')} {row.get('id', '')}".rstrip()


def _row(connection: Connection, table: str, id: object) -> Mapping[str, Any]:
    """A row as the driver gives it; nothing where that cannot be read."""
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    if table not in ("dataset", "vector", "dataset_version", "vector_version", "evaluation"):
        return {}
    try:
        found = connection.execute(text(f"SELECT * FROM {table} WHERE id = :id"), {"id": id}).mappings().first()
    except (SQLAlchemyError, ValueError, OverflowError):
        return {}
    return dict(found) if found else {}


def located(connection: Connection, cell: DamagedCell, table: Table) -> IntegrityError:
    """``cell`` as an error that names the object: the first row of ``table`` whose cell in that column cannot be
    read."""
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    column = table.columns[cell.place.split(".")[1]]
    read = column.type.dialect_impl(connection.dialect).result_processor(connection.dialect, None)
    try:
        for row in connection.execute(text(f"SELECT * FROM {table.name}")).mappings():
            try:
                if read is not None:
                    read(row[column.name])
            except DamagedCell:
                return damaged(name_of(connection, table.name, dict(row)), f"its {column.name} cannot be read")
    except SQLAlchemyError:
        pass
    return cell
