"""Tokens of the console: made once, shown once, kept as a digest, void after a time."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import get_args

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from tasks.access.tables import Role, token
from tasks.errors import TokenError

ROLES: tuple[Role, ...] = get_args(Role)
LONGEST = timedelta(days=366)
_NAME = re.compile(r"[\w.@ -]{1,64}")


@dataclass(frozen=True)
class Holder:
    """Who holds a token, and what they may do."""

    name: str
    role: Role
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def may(self, role: Role) -> bool:
        """Whether they may do what needs a role: each may do what those before it may."""
        return ROLES.index(self.role) >= ROLES.index(role)


def add_token(
    connection: Connection, name: str, role: str, lasting: timedelta, now: datetime
) -> tuple[str, Holder]:
    """Make a token; one of the same name that is void by now is replaced.

    Args:
        connection: in a transaction that the caller commits.
        name: whose it is.
        role: one of `ROLES`.
        lasting: how long it is good.
        now: aware.

    Returns:
        The token, which can never be shown again, and who holds it.

    Raises:
        TokenError: the name, role or time cannot be, or the name has a token that is good.
    """
    if not _NAME.fullmatch(name.strip()):
        raise TokenError(f"{name!r} is no name for a token; use up to 64 letters and digits")
    if role not in ROLES:
        raise TokenError(f"{role!r} is no role; choose {', '.join(ROLES)}")
    if not timedelta() < lasting <= LONGEST:
        raise TokenError(f"a token lasts from a moment to {LONGEST.days} days")
    name = name.strip()
    held = connection.execute(select(token).where(token.c.name == name)).one_or_none()
    if held and held.revoked_at is None and held.expires_at > now:
        raise TokenError(
            f"{name} has a token, as {held.role} until {held.expires_at:%Y-%m-%d}; "
            f"`scarp token revoke {name!r}` first"
        )
    made = secrets.token_urlsafe(32)
    values = {
        "name": name,
        "digest": digest_of(made),
        "role": role,
        "created_at": now,
        "expires_at": now + lasting,
        "revoked_at": None,
    }
    anew = insert(token).values(values).on_conflict_do_update(index_elements=["name"], set_=values)
    row = connection.execute(anew.returning(token)).one()
    return made, _read(row)


def find_holder(connection: Connection, given: str, now: datetime) -> Holder:
    """Who holds a token.

    Raises:
        TokenError: nobody, or it is void; says since when.
    """
    mine = select(token).where(token.c.digest == digest_of(given.strip()))
    row = connection.execute(mine).one_or_none()
    if row is None:
        raise TokenError("this token is not known here")
    holder = _read(row)
    if holder.revoked_at:
        raise TokenError(f"this token was taken back on {holder.revoked_at:%Y-%m-%d}")
    if holder.expires_at <= now:
        raise TokenError(
            f"this token expired on {holder.expires_at:%Y-%m-%d %H:%M} UTC; ask an operator for "
            "a new one (scarp token add)"
        )
    return holder


def one(role: Role) -> str:
    """A role as somebody is one: a viewer, a reviewer, an operator."""
    return f"an {role}" if role == "operator" else f"a {role}"


def list_tokens(connection: Connection) -> list[Holder]:
    """Everybody who has or had a token, by name."""
    return [_read(row) for row in connection.execute(select(token).order_by(token.c.name))]


def revoke_token(connection: Connection, name: str, now: datetime) -> Holder:
    """Take a token back; sessions begun with it end at once.

    Raises:
        TokenError: nobody of that name has one.
    """
    mine = (token.c.name == name) & token.c.revoked_at.is_(None)
    row = connection.execute(
        update(token).where(mine).values(revoked_at=now).returning(token)
    ).one_or_none()
    if row is None:
        raise TokenError(f"nobody called {name!r} has a token; `scarp token list` shows who has")
    return _read(row)


def digest_of(given: str) -> str:
    """What is kept of a token. It is 256 random bits, so a plain digest cannot be guessed."""
    return sha256(given.encode()).hexdigest()


def _read(row: Row[tuple[object, ...]]) -> Holder:
    return Holder(
        row.name,
        row.role,
        row.created_at.astimezone(UTC),
        row.expires_at.astimezone(UTC),
        row.revoked_at and row.revoked_at.astimezone(UTC),
    )
