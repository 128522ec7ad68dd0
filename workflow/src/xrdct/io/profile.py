"""profile.json: the instrument profile of a calibration."""

import json
from dataclasses import asdict, fields
from pathlib import Path

from ..calibration.profile import InstrumentProfile, Line
from ..errors import StoreError

FORMAT = "xrdct instrument profile"
VERSION = 1
UNITS = {
    "u, v, w": "degrees² of two_theta: FWHM² = u tan²(theta) + v tan(theta) + w",
    "eta0, eta1": "Lorentzian share at two_theta 0, and its change per degree of two_theta",
    "two_theta, fwhm, two_theta_range": "degrees",
    "q, q_error, fwhm_q, q_step": "1/Å",
    "wavelength": "Å",
}


def read_profile(path: str | Path) -> InstrumentProfile:
    """The instrument profile that `write_calibration` wrote.

    Raises
    ------
    StoreError
        When the file is missing, damaged, or something else.
    """
    path = Path(path)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except ValueError as error:
        raise StoreError(f"{path}: not JSON ({error})") from None
    if not isinstance(stored, dict) or stored.get("format") != FORMAT or stored.get("version") != VERSION:
        raise StoreError(f"{path}: expected {FORMAT!r}, version {VERSION}; calibrate again")
    missing = [field.name for field in fields(InstrumentProfile) if field.name not in stored]
    if missing:
        raise StoreError(f"{path}: {', '.join(missing)} is missing; calibrate again")
    values = {field.name: stored[field.name] for field in fields(InstrumentProfile)}
    values["two_theta_range"] = tuple(values["two_theta_range"])
    values["lines"] = tuple(Line(**line) for line in values["lines"])
    return InstrumentProfile(**values)


def profile_text(profile: InstrumentProfile) -> str:
    """The content of profile.json."""
    content = {"format": FORMAT, "version": VERSION, "units": UNITS, **asdict(profile)}
    return json.dumps(_rounded(content), indent=1, ensure_ascii=False) + "\n"


def _rounded(value):
    """Numbers with ten figures: the last bits of a fit tell nothing and differ between machines."""
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value
