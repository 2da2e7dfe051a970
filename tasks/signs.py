"""Signs of life: others see that a process still works on something, however it may end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from sqlalchemy import Connection, Engine, text

LOOK_S = 2.0


@contextmanager
def sign_of_life(
    engine: Engine, what: str, taken_up: Callable[[Connection], None]
) -> Iterator[None]:
    """Let others see that somebody works on something, until the block or this process ends.

    Several may work on one thing. The sign is a lock of a session, which PostgreSQL takes away
    however the process ends. Where only the session ends, as when PostgreSQL is started anew, the
    sign is given again within seconds of its return.

    Args:
        engine: the store.
        what: a name of what is worked on.
        taken_up: called in a transaction once the sign was given again, for others may have taken
            the work for lost meanwhile.
    """
    session = _give(engine, what)
    ended = Event()
    keeper = Thread(target=_keep, args=(engine, what, taken_up, session, ended), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def nobody_signs(connection: Connection, what: str) -> bool:
    """Whether nobody works on something; until the transaction ends, nobody can begin to either."""
    asked = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:what, 0))")
    return bool(connection.scalar(asked, {"what": what}))


def _give(engine: Engine, what: str) -> Connection:
    session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    asked = text("SELECT pg_advisory_lock_shared(hashtextextended(:what, 0))")
    session.execute(asked, {"what": what})
    return session


def _keep(
    engine: Engine,
    what: str,
    taken_up: Callable[[Connection], None],
    session: Connection,
    ended: Event,
) -> None:
    while not ended.wait(LOOK_S):
        if _lives(session):
            continue
        _end(session)
        # PostgreSQL may not be back yet, or go again; it is asked at the next look.
        with suppress(Exception):
            session = _give(engine, what)
            with engine.begin() as connection:
                taken_up(connection)
    _end(session)


def _end(session: Connection) -> None:
    """Take the sign away at once, and end the session, which the pool would keep."""
    if session.closed:
        return
    with suppress(Exception):  # PostgreSQL may have ended it
        session.execute(text("SELECT pg_advisory_unlock_all()"))
    session.invalidate()
    session.close()


def _lives(session: Connection) -> bool:
    try:
        session.execute(text("SELECT 1"))
    except Exception:
        return False
    return True
