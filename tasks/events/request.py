"""Events as people and files describe them: checked once at the edge, then `tasks.types.Event`."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from tasks.errors import EventError
from tasks.types import Event, EventKind

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,63}")
_ALTERNATE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_FIRST_YEAR = 1800
# Rain is forecast some days ahead; later than this a year was mistyped, and a watch would wait.
_MOST_AHEAD = timedelta(days=30)
_SHAKING = ("magnitude", "magnitude_type", "depth_km")
_RAIN = ("rainfall_mm", "duration_h")
_EXAMPLE_TIME = "2018-09-05T18:07:59Z"

# What to do about each field; pydantic's own sentence says what is wrong with it.
_FIXES = {
    "id": "give a ComCat id (us2000h8ty), a GDACS id (EQ1234567) or a slug of letters, digits, "
    "'-' and '_'",
    "kind": "give earthquake or rainfall",
    "occurred_at": f"give the time with its zone, such as {_EXAMPLE_TIME}",
    "longitude": "give degrees east from -180 to 180",
    "latitude": "give degrees north from -90 to 90",
    "magnitude": "give a number from -2 to 10 and put its type in magnitude_type",
    "magnitude_type": "give letters such as Mw",
    "depth_km": "give kilometres below sea level from -10 to 800",
    "rainfall_mm": "give millimetres above 0, or leave it out where the amount is not known",
    "duration_h": "give hours above 0",
}


def _printable(text: str) -> str:
    """Refuse what PostgreSQL, terminals and file names cannot carry."""
    for position, character in enumerate(text):
        if unicodedata.category(character) == "Cc":
            raise PydanticCustomError(
                "unprintable",
                "holds the control character {code} at position {position}; remove it",
                {"code": f"U+{ord(character):04X}", "position": position},
            )
    return text


def _not_bool(value: object) -> object:
    """Refuse true and false, which pydantic would read as 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "is not a number")
    return value


_Text = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_printable)]
_Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_not_bool)]


class EventRequest(BaseModel):
    """The fields of an event as given by a person, a file or a feed; `to_event` is its use."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)

    id: _Text
    kind: EventKind
    title: _Text | None = None
    occurred_at: datetime
    longitude: Annotated[_Number, Field(ge=-180, le=180)]
    latitude: Annotated[_Number, Field(ge=-90, le=90)]
    magnitude: Annotated[_Number, Field(ge=-2, le=10)] | None = None
    magnitude_type: Annotated[_Text, Field(max_length=12, pattern=r"^[A-Za-z]+$")] | None = None
    depth_km: Annotated[_Number, Field(ge=-10, le=800)] | None = None
    rainfall_mm: Annotated[_Number, Field(gt=0, le=20_000)] | None = None
    duration_h: Annotated[_Number, Field(gt=0, le=24 * 366)] | None = None
    source: _Text = "operator"
    source_version: Annotated[str, Field(max_length=300), AfterValidator(_printable)] = ""
    alternate_ids: tuple[_Text, ...] = ()

    @field_validator("id")
    @classmethod
    def _id_is_a_safe_name(cls, value: str) -> str:
        if not _ID.fullmatch(value):
            raise PydanticCustomError("bad_id", "is not a name that can stand in paths and URLs")
        return value

    @field_validator("alternate_ids")
    @classmethod
    def _alternates_are_ids(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not _ALTERNATE_ID.fullmatch(value):
                raise PydanticCustomError(
                    "bad_id", "holds '{value}', which is not an id", {"value": value}
                )
        return tuple(dict.fromkeys(values))

    @field_validator("occurred_at", mode="before")
    @classmethod
    def _time_is_text_or_datetime(cls, value: object) -> object:
        if not isinstance(value, str | datetime):
            raise PydanticCustomError("bad_time", "is not a time in ISO 8601")
        # Pydantic reads bare digits as seconds or milliseconds since 1970, by their size.
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9.]+", value.strip()):
            raise PydanticCustomError("bad_time", "is not a time in ISO 8601")
        return value

    @field_validator("occurred_at")
    @classmethod
    def _time_is_aware(cls, value: datetime) -> datetime:
        if value.utcoffset() is None:
            raise PydanticCustomError("naive_time", "has no time zone")
        if value.year < _FIRST_YEAR:
            raise PydanticCustomError("bad_time", "is not within years that can be meant")
        if value - datetime.now(UTC) > _MOST_AHEAD:
            raise PydanticCustomError("bad_time", "is more than a month ahead")
        return value.astimezone(UTC)

    @model_validator(mode="after")
    def _fields_agree_with_kind(self) -> Self:
        foreign = _RAIN if self.kind == "earthquake" else _SHAKING
        given = [name for name in foreign if getattr(self, name) is not None]
        if given:
            raise PydanticCustomError(
                "contradiction",
                "{fields} cannot go with kind {kind}; leave out {fields} or change kind",
                {"fields": " and ".join(given), "kind": self.kind},
            )
        return self

    def to_event(self) -> Event:
        """The same event as a record; a missing title is made from kind, size and place."""
        values = self.model_dump()
        values["title"] = self.title or self._default_title()
        values["alternate_ids"] = tuple(name for name in self.alternate_ids if name != self.id)
        return Event(**values)

    def _default_title(self) -> str:
        size = f"M {self.magnitude:g} " if self.magnitude is not None else ""
        return f"{size}{self.kind} at {self.latitude:.2f}, {self.longitude:.2f}"


def event_from_fields(fields: Mapping[str, Any], where: str = "event") -> Event:
    """Check an event's fields and make the record.

    Args:
        fields: names and values as in `EventRequest`; numbers may be text, times must carry a
            zone. None means not given.
        where: what to call the source of the fields in messages.

    Returns:
        The event, its time in UTC.

    Raises:
        EventError: a field is missing, unknown, malformed, out of range or contradicts the kind;
            the sentence names every such field, its value and the fix.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return EventRequest.model_validate(given).to_event()
    except ValidationError as error:
        problems = "; ".join(_sentence(detail) for detail in error.errors(include_url=False))
        raise EventError(f"{where}: {problems}") from error


def read_event(path: Path) -> Event:
    """Read an event from a JSON file that holds one object with the fields of `EventRequest`.

    Args:
        path: a UTF-8 JSON file.

    Returns:
        The event, its time in UTC.

    Raises:
        EventError: the file cannot be read, is not JSON, or a field is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        reason = error.strerror or error
        raise EventError(f"{path} cannot be read: {reason}; give an event's JSON file") from error
    except ValueError as error:
        raise EventError(f"{path} is not JSON: {error}; mend it or export it again") from error
    if not isinstance(content, dict):
        raise EventError(f"{path} holds no JSON object; give the event's fields between braces")
    return event_from_fields(content, where=str(path))


def _sentence(detail: ErrorDetails) -> str:
    """One validation error as field, value, what is wrong and the fix."""
    if detail["type"] == "contradiction":
        return detail["msg"]
    name = str(detail["loc"][0])
    if detail["type"] == "missing":
        return f"{name} is missing: {_FIXES.get(name, 'give it')}"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, EventRequest.model_fields, n=1)
        fix = f"did you mean {near[0]}?" if near else "leave it out"
        return f"{name!r} is not a field of an event: {fix}"
    wrong = detail["msg"][:1].lower() + detail["msg"][1:]
    fix = f": {_FIXES[name]}" if name in _FIXES else ""
    return f"{name} {_shown(detail['input'])} {_as_predicate(wrong)}{fix}"


def _as_predicate(message: str) -> str:
    """Turn pydantic's `input should be …` into words that follow a value."""
    return re.sub(r"^(input|value|string) should ", "should ", message)


def _shown(value: object) -> str:
    """A value for a message, cut to a length that a terminal shows."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
