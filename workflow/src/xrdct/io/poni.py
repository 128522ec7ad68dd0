"""Geometries in pyFAI's .poni files.

A file may hold several entries, written one after the other by successive calibrations: the last one is valid.
Distances and poni are in m, rotations in rad, the wavelength in m.
"""

import json
import math
from pathlib import Path

from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from ..errors import GeometryError, RawDataError
from ..quiet import quiet

VERSION = 2.1
NEWEST = 3.0
NUMBERS = ("distance", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
REQUIRED = ("distance", "poni1", "poni2")


def read_poni(path: str | Path) -> AzimuthalIntegrator:
    """The last entry of a .poni file as a pyFAI geometry.

    Raises
    ------
    RawDataError
        When there is no such file.
    GeometryError
        When it is not a .poni, or an entry is incomplete.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RawDataError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise GeometryError(f"{path}: not a .poni file: it is not text") from None
    entries = _entries(text)
    if not entries or not any(key in entries[-1] for key in REQUIRED):
        raise GeometryError(f"{path}: not a .poni file: no line 'Distance:', 'Poni1:' or 'Poni2:' was found")
    entry = entries[-1]
    missing = [key.capitalize() for key in REQUIRED if key not in entry]
    if missing:
        raise GeometryError(f"{path}: the last entry has no {', '.join(missing)}; was the file cut off?")
    version = _number(path, entry, "poni_version", 1.0)
    if version > NEWEST:
        raise GeometryError(
            f"{path}: poni_version {version:g} is newer than {NEWEST:g}; write version {VERSION} with pyFAI"
        )
    if entry.get("parallax", "false").lower() == "true":
        raise GeometryError(
            f"{path}: made with pyFAI's parallax correction, which is not applied here; calibrate without"
        )
    values = {key: _number(path, entry, key, 0.0) for key in NUMBERS}
    if values["distance"] <= 0:
        raise GeometryError(f"{path}: Distance is {values['distance']:g} m; it must be positive")
    return AzimuthalIntegrator(
        *(values[key] for key in NUMBERS[:-1]),
        detector=_detector(path, entry),
        wavelength=values["wavelength"] or None,
    )


def write_poni(path: str | Path, geometry: AzimuthalIntegrator) -> None:
    """Write one entry that pyFAI reads; the same geometry gives the same bytes.

    Lengths are rounded to 1 nm and angles to 1e-9 rad, far below what a calibration can tell, so that the last bit
    of a computation does not show.
    """
    detector = geometry.detector
    config = {key: value for key, value in detector.get_config().items() if value is not None and key != "sensor"}
    config["orientation"] = int(config.get("orientation") or 3)
    if detector.max_shape and type(detector) is Detector:
        config["max_shape"] = [int(n) for n in detector.max_shape]
    lines = [
        "# Geometry of a flat detector; 1 is the slow axis (rows), 2 the fast one (columns).",
        "# Distance, Poni1, Poni2 and Wavelength in m, rotations in rad.",
        f"poni_version: {VERSION}",
        f"Detector: {type(detector).__name__}",
        f"Detector_config: {json.dumps(config, sort_keys=True)}",
        f"Distance: {geometry.dist:.9f}",
        f"Poni1: {geometry.poni1:.9f}",
        f"Poni2: {geometry.poni2:.9f}",
        f"Rot1: {_unsigned_zero(geometry.rot1):.9f}",
        f"Rot2: {_unsigned_zero(geometry.rot2):.9f}",
        f"Rot3: {_unsigned_zero(geometry.rot3):.9f}",
    ]
    if geometry.wavelength:
        lines.append(f"Wavelength: {geometry.wavelength:.10e}")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _unsigned_zero(angle: float) -> float:
    """An angle that rounds to zero without a sign, which would only tell how it was computed."""
    return 0.0 if abs(angle) < 5e-10 else angle


def _entries(text: str) -> list[dict[str, str]]:
    """Keys (lower case) and values of each entry; an entry ends at a comment or where a key comes again."""
    entries, current = [], {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if line.startswith("#") or key in current:
            entries.append(current)
            current = {}
        if colon and not line.startswith("#"):
            current[key] = value.strip()
    return [entry for entry in [*entries, current] if entry]


def _number(path: Path, entry: dict[str, str], key: str, default: float) -> float:
    text = entry.get(key, "None")
    if text == "None":
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise GeometryError(f"{path}: {key.capitalize()} is {text!r}, expected a number")
    return value


def _detector(path: Path, entry: dict[str, str]) -> Detector:
    """pyFAI's detector of an entry: by name and configuration (version 2), or by pixel sizes and perhaps a name (1)."""
    name = entry.get("detector", "Detector")
    pixels = {f"pixel{i}": _number(path, entry, f"pixelsize{i}", 0.0) for i in (1, 2)}
    try:
        config = json.loads(entry.get("detector_config", "{}"))
    except json.JSONDecodeError as error:
        raise GeometryError(f"{path}: Detector_config is not JSON ({error})") from None
    if not isinstance(config, dict):
        raise GeometryError(f"{path}: Detector_config must be a mapping, found {config!r}")
    if not config and all(pixels.values()):
        config = pixels
    with quiet("pyFAI"):
        try:
            detector = Detector.factory(name, config or None)
        except (RuntimeError, TypeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise GeometryError(f"{path}: pyFAI cannot make the detector {name!r}: {reason}") from None
    if not detector.pixel1 or not detector.pixel2:
        raise GeometryError(f"{path}: neither a known detector nor pixel sizes are named")
    return detector
