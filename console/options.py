"""Options of a command, checked as those of the flow that it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

Options = TypeVar("Options", bound="BaseModel")


def checked(kind: type[Options], **chosen: Any) -> Options:
    """The options of a flow.

    Raises:
        BadInputError: one of them makes no sense; it is named as people type it.
    """
    from pydantic import ValidationError

    from tasks.errors import BadInputError

    try:
        return kind(**chosen)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise BadInputError(f"--{option} {first['input']!r}: {first['msg']}") from error
