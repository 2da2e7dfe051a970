"""What time it is taken to be: `--now` of the commands that look at something that changes."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(now: str | None) -> datetime:
    """The time an operator gave, in UTC; the present if none.

    Raises:
        BadInputError: it is no time, or says no zone.
    """
    from tasks.errors import BadInputError

    if now is None:
        return datetime.now(UTC)
    try:
        given = datetime.fromisoformat(now)
    except ValueError as error:
        raise BadInputError(
            f"--now {now!r} is not a time in ISO 8601, such as 2017-07-29T00:05:00Z"
        ) from error
    if given.tzinfo is None:
        raise BadInputError(f"--now {now!r} has no time zone; write 2017-07-29T00:05:00Z for UTC")
    return given.astimezone(UTC)
