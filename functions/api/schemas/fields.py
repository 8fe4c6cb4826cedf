"""Field types that several bodies share."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
MAX_METADATA_ENTRIES: Final = 64


class Body(BaseModel):
    """A body: nothing unknown in it, nothing changes in it.

    Its validator is made when the first such body comes: most environments never see a template, and none a base class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def __repr__(self) -> str:
        """Its name only: Powertools formats every body for a debug line, and payloads are nobody's to log (I9)."""
        return type(self).__name__


def _moment(value: Any) -> datetime:
    return _moment_of(value if isinstance(value, str) else "")


@lru_cache(maxsize=1_024)
def _moment_of(text: str) -> datetime:
    """Many jobs of a batch are due at the same few times."""
    if not _RFC3339.fullmatch(text):
        raise PydanticCustomError("rfc3339", "should be an RFC 3339 time with an offset, such as 2027-01-31T09:30:00Z")
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("rfc3339", "is not a time that exists") from error
    if not EARLIEST <= moment < LATEST:
        raise PydanticCustomError("rfc3339_range", "should lie between the years 1970 and 2199")
    return moment


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation")
]
"""A time as RFC 3339 with an offset; UTC inside."""


def _storable(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("nul", "should not contain the character NUL")
    return value


Text = Annotated[str, AfterValidator(_storable)]
"""Text that PostgreSQL can hold."""
ReferenceId = Annotated[Text, StringConstraints(min_length=1, max_length=255)]
Metadata = Annotated[
    dict[
        Annotated[Text, StringConstraints(min_length=1, max_length=128)],
        Annotated[Text, StringConstraints(max_length=1_024)],
    ],
    Field(max_length=MAX_METADATA_ENTRIES),
]
Whole = Annotated[int, Field(strict=True)]
"""A JSON integer: no text, no boolean, no fraction."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A JSON number."""
Priority = Annotated[Whole, Field(ge=-100, le=100)]
MaxRetries = Annotated[Whole, Field(ge=0, le=100)]
TimeoutSeconds = Annotated[Whole, Field(ge=1, le=300)]
