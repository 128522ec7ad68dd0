"""What every section of the settings is made of."""

import re
from collections.abc import Iterator
from typing import Annotated, get_args

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


def keys_of(section: type[Section]) -> Iterator[tuple[str, ...]]:
    """Every key below a section as the path that leads to it; of lists and options the keys of their sections too."""
    for name, field in section.model_fields.items():
        inner = list(_sections_in(field.annotation))
        if not inner or inner[0] is not field.annotation:
            yield (name,)
        for model in inner:
            yield from ((name, *path) for path in keys_of(model))


def _sections_in(annotation) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)
