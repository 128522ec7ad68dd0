"""BioLogic's binary logs (.mpr), read by galvani, as the lines of a table.

The form is not published and changes with EC-Lab; galvani (GPL-3, imported where it is installed) follows it.
"""

from datetime import datetime
from pathlib import Path

import numpy as np

from ..errors import CyclerError

CURRENTS = ("I/mA", "<I>/mA")
CHARGES = ("dQ/mA.h", "dq/mA.h")
"""Since the record before."""


def mpr_lines(path: Path) -> tuple[list[str], datetime | None]:
    """Header and records, cells separated by tabs; and what the cycler's clock showed at time 0, if the file says.

    EC-Lab stores charges where it shows a mean current: then this is their change over that of time.

    Raises
    ------
    CyclerError
        If galvani is not installed, or cannot read the file.
    """
    try:
        from galvani.BioLogic import MPRfile
    except ImportError:
        raise CyclerError(
            f"{path}: EC-Lab's binary form needs galvani: `pip install galvani`; or export as text (.mpt) in EC-Lab"
        ) from None
    try:
        with open(path, "rb") as file:
            log = MPRfile(file)
    except OSError as error:
        raise CyclerError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, NotImplementedError, AssertionError) as error:
        raise CyclerError(
            f"{path}: galvani does not know this form ({error or 'its length is wrong'}); export it as text (.mpt)"
        ) from None
    columns = {name: log.data[name].tolist() for name in log.data.dtype.names}
    charge = next((name for name in CHARGES if name in columns), None)
    if charge and "time/s" in columns and not columns.keys() & set(CURRENTS):
        columns["<I>/mA"] = _mean_current(log.data["time/s"], log.data[charge]).tolist()
    rows = zip(*columns.values(), strict=True)
    return ["\t".join(columns), *("\t".join(map(repr, row)) for row in rows)], getattr(log, "timestamp", None)


def _mean_current(time, charge):
    """mA of every record from s and mA h since the one before; 0 where no time went by."""
    step = np.diff(time, prepend=time[:1])
    return np.divide(3600.0 * charge, step, out=np.zeros(len(time)), where=step > 0)
