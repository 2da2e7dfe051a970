"""The schema `scarp`: opened, and brought up to date, wherever the database stands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from infra import postgres
from infra.errors import DatabaseError, SchemaError
from infra.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
ROLES_SQL = MIGRATIONS / "roles.sql"
CONNECT_TIMEOUT_S = 10


def open_engine(settings: Settings) -> Engine:
    """Open the store: the server of `database_url`, else the private cluster, started if need be.

    The schema is migrated to this Scarp's before the engine is returned.

    Raises:
        PostgresMissingError, ClusterError: the private cluster cannot be started.
        DatabaseError: the URL is malformed, or its database cannot be reached or lacks PostGIS.
        SchemaError: the schema is newer than this Scarp.
    """
    url = parse_url(database_url(settings))
    arguments = {"application_name": "scarp", "connect_timeout": CONNECT_TIMEOUT_S}
    for name in arguments.keys() & url.query.keys():
        del arguments[name]
    engine = create_engine(url, pool_pre_ping=True, connect_args=arguments)
    event.listen(engine, "handle_error", partial(_explain, advice=_advice(settings)))
    event.listen(engine, "connect", _in_utc)
    try:
        migrate(engine)
    except Exception:
        engine.dispose()
        raise
    return engine


def _in_utc(connection: psycopg.Connection[Any], _: object) -> None:
    """Have times in UTC, as which they are shown, whatever zone the server is in."""
    connection.execute("SET TIME ZONE 'UTC'")
    connection.commit()


def database_url(settings: Settings) -> str:
    """URL of the store: the setting, else the private cluster's, which is started if need be."""
    return settings.database_url or postgres.start(settings.home)


def parse_url(url: str) -> URL:
    """Read a database URL, with psycopg as its driver whatever driver it names.

    Raises:
        DatabaseError: it is not the URL of a PostgreSQL database; the message repeats no password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseError(
            "SCARP_DATABASE_URL is not a URL; expected postgresql://user@host:5432/database"
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise DatabaseError(
            f"SCARP_DATABASE_URL names a {parsed.get_backend_name()} database; "
            "Scarp needs PostgreSQL with PostGIS: postgresql://user@host:5432/database"
        )
    return parsed.set(drivername="postgresql+psycopg")


def migrate(engine: Engine) -> None:
    """Bring the schema `scarp` to the newest revision, in one transaction; one query if it is.

    Raises:
        DatabaseError: the database cannot be reached, or lacks PostGIS.
        SchemaError: the schema's revision is unknown here, so it comes from a newer Scarp.
    """
    known = known_revisions()
    with engine.connect() as connection:
        revision = current_revision(connection)
    if revision == known[-1]:
        return
    if revision is not None and revision not in known:
        raise SchemaError(
            f"the database {_place(engine.url)} has schema {revision}, newer than this Scarp "
            f"({known[-1]}); upgrade Scarp: pip install --upgrade scarp"
        )
    with engine.begin() as connection:
        # One process migrates; another that comes meanwhile waits here and finds the work done.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('scarp migrations'))"))
        if current_revision(connection) == known[-1]:
            return
        _require_postgis(connection)
        upgrade(connection)
        grant_roles(connection)


def known_revisions() -> list[str]:
    """Every revision this Scarp knows, oldest first: what its migrations' names begin with."""
    return sorted(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Upgrade the schema to an Alembic revision inside the caller's transaction."""
    from alembic import command

    command.upgrade(alembic_config(connection), revision)


def grant_roles(connection: Connection) -> None:
    """Give the roles of `infra.roles` their rights, making them where this user may."""
    script = ROLES_SQL.read_text()
    connection.exec_driver_sql(script, execution_options={"no_parameters": True})


def alembic_config(connection: Connection, **attributes: Any) -> Any:
    """Alembic's configuration for our migrations over one connection (`alembic.config.Config`)."""
    # Alembic costs 0.1 s to import, and a database is nearly always up to date.
    from alembic.config import Config

    config = Config(attributes={"connection": connection, **attributes})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def current_revision(connection: Connection) -> str | None:
    """The schema's revision; None where the schema does not exist yet."""
    if connection.scalar(text("SELECT to_regclass('scarp.alembic_version')")) is None:
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM scarp.alembic_version"))
    return revision


def _require_postgis(connection: Connection) -> None:
    try:
        with connection.begin_nested():
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS postgis SCHEMA public"))
    except (OperationalError, ProgrammingError, DBAPIError) as error:
        raise DatabaseError(
            f"PostGIS cannot be added to the database {_place(connection.engine.url)} "
            f"({_reason(error)}); have its administrator run: CREATE EXTENSION postgis"
        ) from error


def _advice(settings: Settings) -> str:
    if settings.database_url:
        return "check SCARP_DATABASE_URL, or unset it to use Scarp's own database"
    return f"run again to start it anew, and see {settings.home / 'postgres' / 'server.log'}"


def _explain(context: ExceptionContext, *, advice: str) -> None:
    """Turn a lost or refused connection and a full disk into one sentence."""
    engine = context.engine
    error = context.original_exception
    if engine is None:
        return
    if getattr(error, "sqlstate", None) == "53100":
        raise DatabaseError(f"the disk of the database {_place(engine.url)} is full") from error
    if context.connection is None or context.is_disconnect:
        raise DatabaseError(
            f"cannot reach the database {_place(engine.url)}: {_reason(error)}; {advice}"
        ) from error


def _place(url: URL) -> str:
    host = url.host or url.query.get("host", "localhost")
    return f"{url.database} at {host}:{url.port or 5432}"


def _reason(error: BaseException) -> str:
    """What PostgreSQL says, less the address that the sentence names already."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].split(" failed: ")[-1] if lines else type(error).__name__
