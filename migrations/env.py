"""Alembic's entry: runs the migrations on the connection it is handed, inside that connection's transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from caa_registry import settings
from caa_registry.catalog.models import Base
from caa_registry.catalog.schema import VERSION_TABLE
from caa_registry.catalog.upgrade import migration_connection


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("Migrations here need a database: they look at what they change. Run without --sql.")

handed_in = context.config.attributes.get("connection")
if handed_in is not None:
    run(handed_in)
else:  # a developer's `alembic -c migrations/alembic.ini ...`
    with migration_connection(settings.registry_url()) as opened:
        run(opened)
