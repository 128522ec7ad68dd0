"""The patterns of a scan in the layout of NXxrdct, the NeXus definition of X-ray diffraction CT.

Field names are those of version 0.1.0b0 of the definition's own writer (github.com/nexuscontributions/nxxrdct): axes
translation, rotation, radial; the signal in `data` is a link to what the detector holds.
"""

from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from ..units import HC_KEV_ANGSTROM, two_theta_from_q
from .store import replaced_when_whole

ANGLES_AT_A_TIME = 16
AXES = ("translation_values", "rotation_angles", "radial_axis")


def write_nxxrdct(sinogram: xr.Dataset, path: str | Path, *, title: str, sample: str, wavelength: float) -> None:
    """Write a sinogram, whole or not at all; it is read a few angles at a time.

    Parameters
    ----------
    sinogram
        Opened store of kind 'sinogram'.
    path
        Ends in .nxs.
    title, sample
        Names of the scan and of what was measured.
    wavelength
        Å.
    """
    two_theta = np.degrees(two_theta_from_q(sinogram.q.values, wavelength=wavelength))
    with replaced_when_whole(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(NX_class="NXroot", default="entry")
        entry = _group(file, "entry", "NXentry", default="data", definition="NXxrdct", version=1.0)
        entry["definition"], entry["title"] = "NXxrdct", title
        _number(_group(entry, "beam", "NXbeam"), "incident_energy", HC_KEV_ANGSTROM / wavelength, "keV")
        matter = _group(entry, "sample", "NXsample")
        matter["name"] = sample
        _number(matter, "rotation_angles", sinogram.angle.values, "deg")
        _number(matter, "translation_values", sinogram.position.values, "mm")
        instrument = _group(entry, "instrument", "NXinstrument")
        source = _group(instrument, "source", "NXsource")
        source["type"], source["probe"] = "Synchrotron X-ray Source", "x-ray"
        _number(_group(instrument, "monochromator", "NXmonochromator"), "wavelength", wavelength, "angstrom")
        detector = _group(instrument, "detector", "NXdetector")
        _number(detector, "radial_axis", sinogram.q.values, "1/angstrom").attrs["long_name"] = "q"
        _number(detector, "polar_angle", two_theta, "deg")
        _write_patterns(detector, "data", sinogram.intensity)
        _write_patterns(detector, "data_variance", sinogram.variance)
        process = _group(entry, "process", "NXprocess")
        process["program"], process["provenance"] = "xrdct", str(sinogram.attrs["provenance"])
        data = _group(entry, "data", "NXdata", signal="intensity", axes=list(AXES))
        data["intensity"] = h5py.SoftLink("/entry/instrument/detector/data")
        for name, holder in zip(AXES, ("sample", "sample", "instrument/detector"), strict=True):
            data[name] = h5py.SoftLink(f"/entry/{holder}/{name}")


def _group(parent, name, kind, **attributes):
    group = parent.create_group(name)
    group.attrs.update(NX_class=kind, **attributes)
    return group


def _number(group, name, value, unit):
    group[name] = value
    group[name].attrs["units"] = unit
    return group[name]


def _write_patterns(group, name, patterns):
    """A sinogram (angle, position, q) as (position, angle, q)."""
    n_angles, n_positions, n_bins = patterns.shape
    found = group.create_dataset(
        name, (n_positions, n_angles, n_bins), np.float32,
        chunks=(n_positions, min(ANGLES_AT_A_TIME, n_angles), min(64, n_bins)), compression="gzip", compression_opts=4,
    )  # fmt: skip
    found.attrs["units"] = patterns.attrs["units"]
    for start in range(0, n_angles, ANGLES_AT_A_TIME):
        part = slice(start, start + ANGLES_AT_A_TIME)
        found[:, part] = patterns[part].transpose("position", "angle", "q").values
