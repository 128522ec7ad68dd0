"""What every section of the settings is made of."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def _plain_name(value: str) -> str:
    """Names become file names: no separators, no leading dot, so that no name can leave the results folder."""
    if not NAME.fullmatch(value) or ".." in value:
        raise ValueError(f"{value!r} is not a plain name (letters, digits, '_', '.', '+', '-')")
    return value


PlainName = Annotated[str, AfterValidator(_plain_name)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A block of settings: misspelt keys are errors, values cannot change after validation."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
