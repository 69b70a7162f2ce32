"""The declarative base and the column types that every table shares."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    event,
)
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from caa_registry.catalog.integrity.damage import DamagedCell

# Every constraint has a name, because one without cannot be changed by a later migration on SQLite.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# Ids are never used twice on SQLite either: lineage keeps naming an object after it is gone.
KEEP_IDS = {"sqlite_autoincrement": True}


class Checked(TypeDecorator[Any]):
    """A column that checks what it reads: SQLite keeps whatever it is given, and a damaged file anything at all.

    ``kinds``: the Python types that it reads. Raises ``DamagedCell`` for another, and for what cannot be decoded.
    """

    __abstract__ = True
    cache_ok = True
    kinds: tuple[type, ...] = ()
    place = ""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        decode, kinds = super().result_processor(dialect, coltype), self.kinds

        def read(value: Any) -> Any:
            if value is not None and decode is not None:
                try:
                    value = decode(value)
                except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                    raise DamagedCell(self.place) from error
            if value is None or not kinds or isinstance(value, kinds):
                return value
            raise DamagedCell(self.place)

        return read


class CheckedText(Checked):
    impl = Text
    cache_ok = True
    kinds = (str,)


class CheckedString(Checked):
    """Text of a known length at most."""

    impl = String
    cache_ok = True
    kinds = (str,)


class CheckedInteger(Checked):
    impl = Integer
    cache_ok = True
    kinds = (int,)


class CheckedBigInteger(CheckedInteger):
    impl = BigInteger
    cache_ok = True


class CheckedFloat(Checked):
    impl = Double
    cache_ok = True
    kinds = (float, int)


class CheckedBinary(Checked):
    impl = LargeBinary
    cache_ok = True
    kinds = (bytes, memoryview)


class CheckedBoolean(Checked):
    impl = Boolean
    cache_ok = True
    kinds = (bool,)


class UtcDateTime(Checked):
    """An aware datetime, stored in UTC. A naive one is refused, since nobody can say which moment it means."""

    impl = DateTime(timezone=True)
    cache_ok = True
    kinds = (datetime,)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; use datetime.now(UTC)")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(Checked):
    """JSON; on PostgreSQL JSONB. That dialect takes a tenth of a second to import, which SQLite need not wait for."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return self.impl_instance
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))


@event.listens_for(Column, "after_parent_attach")
def _name_place(column: Column[Any], table: Any) -> None:
    """A column that checks what it reads has a type of its own, which knows where it stands."""
    if isinstance(column.type, Checked):
        column.type = column.type.copy()
        column.type.place = f"{table.name}.{column.name}"


JsonObject = dict[str, Any]

Digest = Annotated[str, mapped_column(CheckedString(71))]
"""``sha256:`` and 64 hex digits."""

Id = Annotated[int, mapped_column(primary_key=True, autoincrement=True)]


class Base(DeclarativeBase):
    """Base of all tables. There are no relationships: queries join on purpose and nothing loads lazily."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: CheckedText,
        int: CheckedInteger,
        float: CheckedFloat,
        bool: CheckedBoolean,
        datetime: UtcDateTime,
        JsonObject: Json,
    }
