"""Roles of the database: `scarp_writer` for flows, `scarp_reader` for analysts."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from infra import postgres
from infra.errors import DatabaseError
from infra.schema import database_url, grant_roles, open_engine, parse_url
from infra.settings import Settings

Role = Literal["writer", "reader"]


def role_url(settings: Settings, role: Role) -> str:
    """URL of the store for a role, the store being started and migrated.

    In the private cluster the role logs in with a password of its own, made the first time and kept
    in a file that the URL names. On a server of one's own the URL's user takes the role when it
    connects: that keeps a program honest; for people the administrator makes a login each.

    Raises:
        DatabaseError: the role does not exist and this user may not create it; says what to run.
        PostgresMissingError, ClusterError, SchemaError: as `open_engine`.
    """
    engine = open_engine(settings)
    try:
        with engine.begin() as connection:
            return _as_role(connection, settings, f"scarp_{role}")
    finally:
        engine.dispose()


def _as_role(connection: Connection, settings: Settings, name: str) -> str:
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('scarp roles'))"))
    if _may_take(connection, name) is None:
        grant_roles(connection)
    if not _may_take(connection, name):
        raise _no_role(connection, name)
    url = parse_url(database_url(settings))
    if settings.database_url:
        url = url.update_query_dict({"options": f"-crole={name}"})
    else:
        passfile = (settings.home / "postgres").resolve() / f"pgpass-{name.removeprefix('scarp_')}"
        _let_log_in(connection, name, passfile)
        url = url.set(username=name).update_query_dict({"passfile": str(passfile)})
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _may_take(connection: Connection, name: str) -> bool | None:
    """Whether the connected user may act as a role; None where there is no such role."""
    member = text("SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = :name")
    allowed: bool | None = connection.scalar(member, {"name": name})
    return allowed


def _no_role(connection: Connection, name: str) -> DatabaseError:
    user = connection.scalar(text("SELECT current_user"))
    return DatabaseError(
        f"the database user {user} can neither create nor take the role {name}; have its "
        "administrator run: CREATE ROLE scarp_writer; CREATE ROLE scarp_reader; "
        f"GRANT scarp_writer, scarp_reader TO {user}; then run this again"
    )


def _let_log_in(connection: Connection, name: str, passfile: Path) -> None:
    """Give the role the password in its file; without a file, a new one."""
    if not passfile.exists():
        line = f"*:*:*:{name}:{secrets.token_urlsafe(32)}\n"
        postgres.write_private(passfile, line, None)
    password = passfile.read_text().strip().split(":")[-1]
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    # Hashed here: a statement that fails is written to the server's log.
    hashed = driver.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    login = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
    driver.execute(login.format(sql.Identifier(name), hashed.decode()))
