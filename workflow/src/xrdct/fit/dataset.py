"""A fit as the dataset that its store holds."""

import numpy as np
import xarray as xr

from .maps import VoxelFit

UNITS = {"scale": "1", "weight_fraction": "1", "a": "angstrom", "b": "angstrom", "c": "angstrom", "size": "nm"}


def fit_dataset(found: VoxelFit, volume: xr.Dataset, *, source: str = "fit") -> xr.Dataset:
    """A fit in the form of its store: one map per phase, on the axes of the volume; `source` says how it was made."""
    dims = ("phase", "y", "x")
    data = {name: (dims, found.phase_maps(name), {"units": UNITS[name]}) for name in ("scale", "a", "b", "c", "size")}
    data |= {
        f"{name}_err": (dims, found.phase_maps(name, errors=True), {"units": UNITS[name]})
        for name in ("scale", "a", "b", "c", "size")
    }
    mean = found.mean.parameters[0]
    background = mean.copy()
    background[found.model.scale_places] = 0.0
    data |= {
        "weight_fraction": (dims, found.weight_fractions().astype(np.float32), {"units": "1"}),
        "at_limit": (dims, found.limits_hit(), {"units": "1"}),
        "rwp": (dims[1:], found.image(found.voxels.rwp), {"units": "1"}),
        "chi2": (dims[1:], found.image(found.voxels.chi2), {"units": "1"}),
        "mask": (dims[1:], found.mask, {"units": "1"}),
        "mean_pattern": (("q",), found.mean_pattern, {"units": "counts/voxel"}),
        "mean_fit": (("q",), found.model.patterns(mean)[0], {"units": "counts/voxel"}),
        "mean_background": (("q",), found.model.patterns(background)[0], {"units": "counts/voxel"}),
    }
    return xr.Dataset(
        data,
        coords=map_coords(found, volume) | {"q": ("q", found.model.q, {"units": "1/angstrom"})},
        attrs={"source": source, "voxel_mm": volume.attrs["voxel_mm"], "mean_rwp": float(found.mean.rwp[0])},
    )


def map_coords(found: VoxelFit, volume: xr.Dataset) -> dict:
    """Coordinates of maps: names and densities of the phases and peaks, and where the voxels are."""
    return {
        "phase": ("phase", np.array(found.model.phases.names, dtype=np.dtypes.StringDType())),
        "density": ("phase", _densities(found.model.phases), {"units": "g/cm^3"}),
        "y": volume.y,
        "x": volume.x,
    }


def channel_noise(volume: xr.Dataset, sinogram: xr.Dataset) -> np.ndarray:
    """Relative variance of each channel, shape (n_q,): of the denoised voxels where they are, else of the sinogram."""
    if "spread" in volume:
        return (volume.spread**2).mean(("y", "x")).values
    return sinogram.variance.mean(("angle", "position")).values


def _densities(phases):
    return np.r_[phases.densities, np.full(len(phases.peaks), np.nan)]
