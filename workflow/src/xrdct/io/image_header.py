"""Numbers in the headers of image files: plain keys, ESRF motor lists, Dectris comment lines."""

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import RawDataError

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def header_value(header: Mapping, name: str, *, origin: Path) -> float:
    """The number that `name` has in a header.

    Looked for as a key; in ESRF's paired lists (``motor_mne`` with ``motor_pos``, and the same of counters);
    then in comment lines of a Dectris detector, such as ``# Exposure_time 0.0100000 s``.

    Raises
    ------
    RawDataError
        When the header has no such name, or its value is no number; lists what there is.
    """
    numbers = _all_values(header)
    if name not in numbers:
        raise RawDataError(f"{origin}: no header key {name!r}; there are: {', '.join(sorted(numbers)) or 'none'}")
    found = NUMBER.match(numbers[name].strip())
    if not found:
        raise RawDataError(f"{origin}: header key {name!r} is {numbers[name]!r}, not a number")
    return float(found.group())


def _all_values(header: Mapping) -> dict[str, str]:
    values = {}
    for text in map(str, header.values()):
        for line in text.splitlines():
            comment = re.match(r"#\s*([A-Za-z]\w*)[\s:=]+(\S.*)", line)
            if comment:
                values[comment[1]] = comment[2]
    for kind in ("counter", "motor"):
        names, numbers = (str(header.get(f"{kind}_{part}", "")).split() for part in ("mne", "pos"))
        values |= dict(zip(names, numbers, strict=False))
    return values | {str(key): str(value) for key, value in header.items()}
