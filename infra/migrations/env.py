"""Run by Alembic: upgrade the database behind the connection that `infra.schema` hands over."""

from typing import Any

from alembic import context
from sqlalchemy import Connection, text

connection: Connection = context.config.attributes["connection"]


def _own_schema(name: str | None, kind: str, _parents: Any) -> bool:
    """Other schemas of a shared server, PostGIS' own among them, are none of our business."""
    return kind != "schema" or name == "scarp"


connection.execute(text("CREATE SCHEMA IF NOT EXISTS scarp"))
context.configure(
    connection=connection,
    version_table_schema="scarp",
    include_schemas=True,
    include_name=_own_schema,
    target_metadata=context.config.attributes.get("metadata"),
    **context.config.attributes.get("autogenerate", {}),
)
context.run_migrations()
