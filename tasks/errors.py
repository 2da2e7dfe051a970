"""Everything that Scarp raises on purpose.

ScarpError                      the one base; `scarp` prints its sentence and exits with its code
├── BadInputError               the caller can mend it: exit code 2
│   ├── EventError              an event's field is missing, malformed or contradictory
│   ├── AreaError               an area of interest is not a valid area on the ground
│   ├── CatalogError            a STAC catalog or folder does not hold what it must
│   ├── AccessError             a source's credentials are missing, expired or do not permit it
│   ├── QuotaError              an order would go over the monthly quota of imagery
│   ├── RasterError             an image or DEM is missing, truncated or not georeferenced
│   ├── InventoryError          a polygon file or an inventory named cannot be used
│   │   └── ReviewConflictError somebody else reviewed the landslide meanwhile
│   ├── ScreenError             a screen is misspelt or its layer cannot be used
│   ├── FactorError             a factor is misspelt or its layer cannot be used
│   ├── PointsError             a table of points lacks a column or holds what it must not
│   ├── TokenError              a token of the console is not known, void, or cannot be made
│   ├── QuestionError           a question to the database is not one that may be asked
│   └── AssessmentError         a model, scheme or class of susceptibility is misspelt or impossible
├── NoImageryError              no usable scene sees the area of interest
│   └── UnusableImagesError     nor can an image of the folder be read; a BadInputError as well
├── SamplingError               too little ground or too few landslides to fit a model
├── StorageError                the disk is full or a folder cannot be written
├── StoreError                  the database is missing, unreachable or of another schema
└── TransientError              worth another try: timeouts, HTTP 429 and 5xx

Networks raise `models.errors.ModelError` (also exit code 2), since `models` stands below `tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.types import SceneJudgement


class ScarpError(Exception):
    """Base of every error Scarp raises on purpose; its text is a sentence that says what to do."""

    exit_code = 1


class BadInputError(ScarpError):
    """The input is wrong and the caller can mend it."""

    exit_code = 2


class EventError(BadInputError):
    """An event's field is missing, malformed or contradicts another."""


class FeedError(BadInputError):
    """A feed cannot be read or is not what it must be; `status` is the HTTP status, if any."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        """Keep the status of an answer beside the sentence about it."""
        super().__init__(sentence)
        self.status = status


class RulesError(BadInputError):
    """A rules file cannot be read, or a rule of it makes no sense."""


class AreaError(BadInputError):
    """An area of interest is not a valid area on the ground."""


class CatalogError(BadInputError):
    """A STAC catalog, API or image folder does not hold what it must."""


class AccessError(BadInputError):
    """A source's credentials are missing, expired, or do not permit what is asked."""


class QuotaError(BadInputError):
    """Ordering would go over the monthly quota of imagery."""


class RasterError(BadInputError):
    """A raster is missing, truncated, not georeferenced or does not cover what it must."""


class InventoryError(BadInputError):
    """A polygon file, or an inventory named by event and version, cannot be used."""


class ReviewConflictError(InventoryError):
    """Somebody else reviewed the landslide since the reviewer looked at it.

    `happened` is the sentence without what a command line does about it.
    """

    def __init__(self, happened: str, advice: str = "") -> None:
        """Keep what happened beside the whole sentence."""
        super().__init__("; ".join(filter(None, (happened, advice))))
        self.happened = happened


class ScreenError(BadInputError):
    """A screen is misspelt, or the layer it names cannot be used."""


class PointsError(BadInputError):
    """A table of points lacks a column, or holds what it must not."""


class AssessmentError(BadInputError):
    """A model, sampling scheme or classes asked of a susceptibility map are not to be had."""


class TokenError(BadInputError):
    """A token of the console is not known, void, or cannot be made as asked."""


class QuestionError(BadInputError):
    """A question to the database cannot be read, or may not be asked."""


class FactorError(BadInputError):
    """A conditioning factor is misspelt, or the layer it names cannot be used."""


class NoImageryError(ScarpError):
    """No usable scene sees the area of interest in the time allowed."""

    def __init__(self, sentence: str, judgements: Sequence[SceneJudgement] = ()) -> None:
        """Keep why each scene that was found cannot be used beside the sentence about all."""
        super().__init__(sentence)
        self.judgements = tuple(judgements)


class UnusableImagesError(BadInputError, NoImageryError):
    """A folder holds images and none can be used; one that is still being copied will be."""


class SamplingError(ScarpError):
    """There is too little ground or there are too few landslides to fit a model."""


class StorageError(ScarpError):
    """A product could not be written: the disk is full or the folder is not writable."""


class StoreError(ScarpError):
    """The database is missing, unreachable or of another schema version."""


class TransientError(ScarpError):
    """A failure that another try may mend: a timeout, HTTP 429 or 5xx."""

    def __init__(self, sentence: str, retry_after_s: float = 0.0) -> None:
        """Keep how long the server asks to wait beside the sentence about it."""
        super().__init__(sentence)
        self.retry_after_s = retry_after_s
