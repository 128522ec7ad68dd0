"""patterns.zarr of all subsets to sinogram.zarr."""

import json

import numpy as np
import xarray as xr

from xrdct.cor import find_cor
from xrdct.errors import GeometryError, RawDataError
from xrdct.geometry import nominal_positions
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook
from xrdct.sinogram import SubsetPatterns, columns_from_translation, merge_subsets, repair, subtract_air


def main(pattern_stores, pattern_manifests, store, manifest, *, subsets, settings):
    opened = [read_store(path, "patterns") for path in pattern_stores]
    for path, data in zip(pattern_stores, opened, strict=True):
        refuse_partial_records(path, data)
    sinogram = merge_subsets([to_subset(data, row, opened) for data, row in zip(opened, subsets, strict=True)])
    sinogram = repair(sinogram, max_bad_share=settings["max_bad_share"])
    sinogram, air = subtract_air(sinogram, positions=settings["air_positions"])
    q = opened[0].q.values
    cor = settings["cor"]
    if cor is None:
        cor = find_cor(band(sinogram.intensity, q, settings["cor_q"]), sinogram.angles)
    write_store(
        to_dataset(sinogram, air, q, cor, step=subsets[0]["step_mm"]),
        store,
        manifest,
        kind="sinogram",
        settings={"subsets": subsets, **settings},
        inputs={str(path): manifest_digest(path) for path in pattern_manifests},
    )


def refuse_partial_records(path, data):
    """Angles and positions are recorded for every frame, or for none; a few that are missing must not go unseen."""
    for name in ("omega", "translation"):
        missing = np.isnan(data[name].values)
        if missing.any() and not missing.all():
            line, point = np.argwhere(missing)[0]
            raise RawDataError(
                f"{path}: {missing.sum()} of {missing.size} values of raw.{name} are missing (first: line {line}, "
                f"point {point}); set raw.{name} to null to take the table's"
            )


def to_subset(data, row, all_subsets):
    """One subset with its angles and positions: as recorded where they were, else as the table says."""
    n_lines, n_points = data.monitor.shape
    translation, omega, monitor = (data[name].values for name in ("translation", "omega", "monitor"))
    if np.isnan(translation).any():
        columns = nominal_positions(n_lines, n_points, zigzag=row["zigzag"] == "yes")
    else:
        origin = min(float(np.median(other.translation.values.min(axis=1))) for other in all_subsets)
        columns = columns_from_translation(translation, step=row["step_mm"], origin=origin)
    if np.isnan(omega).any():
        angles = row["angle_start_deg"] + np.arange(n_lines) * row["angle_step_deg"]
    else:
        angles = omega.mean(axis=1)
    return SubsetPatterns(
        intensity=data.intensity.values,
        variance=data.sem.values**2,
        columns=columns,
        angles=angles,
        monitor=np.ones((n_lines, n_points)) if np.isnan(monitor).all() else monitor,
        valid=data.valid.values,
    )


def band(intensity, q, limits):
    """Sum over a q range (all q without one), leaving out bins that the detector does not see."""
    inside = np.isfinite(intensity[0, 0]) if limits is None else (q >= limits[0]) & (q <= limits[1])
    if not inside.any():
        raise GeometryError(f"assemble.cor_q = {limits} holds no q bin ({q[0]:.3f}–{q[-1]:.3f} 1/Å)")
    return np.nansum(intensity[..., inside], axis=-1)


def to_dataset(sinogram, air, q, cor, *, step):
    """The store's form: angles ascending, positions in mm from the rotation axis."""
    n_positions = sinogram.intensity.shape[1]
    dims, counts = ("angle", "position", "q"), {"units": "counts"}
    return xr.Dataset(
        {
            "intensity": (dims, sinogram.intensity, counts),
            "variance": (dims, sinogram.variance, {"units": "counts^2"}),
            "air": (("angle", "q"), air, counts),
            "repaired": (dims[:2], sinogram.repaired, {"units": "1"}),
            "subset": (("angle",), sinogram.subset, {"units": "1"}),
        },
        coords={
            "angle": ("angle", sinogram.angles, {"units": "degree"}),
            "position": ("position", (np.arange(n_positions) - cor) * step, {"units": "mm"}),
            "q": ("q", q, {"units": "1/angstrom"}),
        },
        attrs={"cor": cor, "cor_units": "pixel from the centre of the first column", "step_mm": step},
    )


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.stores,
            snakemake.input.manifests,
            snakemake.output.store,
            snakemake.output.manifest,
            **json.loads(snakemake.params.cfg),
        )
