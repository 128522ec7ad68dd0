"""A beamtime for other programs: CSV, TIFF (ImageJ), OME-Zarr (napari), VTK (ParaView), NeXus; its patterns as NXxrdct.

Every form but the last holds the maps on the common grid. Rows run as in `geometry` (row 0 at the largest y), but in
VTK, which counts upwards; sizes are in mm or µm as the form wants them, NaN stays NaN.
"""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import tifffile
import xarray as xr
import zarr

from ..evolution import to_table
from .nxxrdct import write_nxxrdct
from .poni import read_poni
from .store import read_store
from .vtk import write_vti

QUANTITIES = ("scale", "share", "weight_fraction", "a", "c", "scale_err", "a_err", "c_err")


def export(tree: xr.DataTree, form: str, folder: str | Path) -> list[Path]:
    """Write a beamtime (`io.tree`) in one of `FORMS`; the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return FORMS[form](tree, folder)


def export_patterns(tree: xr.DataTree, results: str | Path, folder: str | Path) -> list[Path]:
    """Write every scan's sinogram, without absorption where that was corrected, as NXxrdct; the files.

    Parameters
    ----------
    tree
        A beamtime (`io.tree`).
    results
        Folder of the results that it was made from.
    folder
        Where to write.

    Raises
    ------
    StoreError
        If a sinogram is not there.
    RawDataError
        If the geometry is not there.
    """
    results, folder = Path(results), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wavelength = 1e10 * read_poni(results / "calibrate" / "geometry.poni").wavelength
    files = []
    for name, one in _scans(tree).items():
        stages = [results / name / stage / "sinogram.zarr" for stage in ("absorption", "assemble")]
        sinogram = read_store(next((path for path in stages if path.is_dir()), stages[-1]), "sinogram")
        files.append(folder / f"{name}.nxs")
        sample = str(one.attrs["sample"]) or name
        write_nxxrdct(sinogram, files[-1], title=name, sample=sample, wavelength=wavelength)
    return files


def _scans(tree):
    return {str(name): tree["scans"][name].to_dataset() for name in tree.scan.values}


def _cube(one):
    """Every quantity of every phase, shape (quantity, phase, y, x), float32."""
    return np.stack([one[name].values for name in QUANTITIES]).astype(np.float32)


def to_csv(tree: xr.DataTree, folder: Path) -> list[Path]:
    """evolution.csv, and one table of voxels per scan: x, y, Rwp, then every quantity of every phase."""
    files = [folder / "evolution.csv"]
    files[0].write_text(to_table(tree["evolution"].to_dataset()), encoding="utf-8")
    for name, one in _scans(tree).items():
        phases = one.phase.values.tolist()
        head = ["x_mm", "y_mm", "rwp", *(f"{phase} {quantity}" for quantity in QUANTITIES for phase in phases)]
        x, y = np.meshgrid(one.x.values, one.y.values)
        columns = [x.ravel(), y.ravel(), one.rwp.values.ravel(), *_cube(one).reshape(-1, x.size)]
        fitted = np.isfinite(columns[3:]).any(axis=0)  # what networks answer has no Rwp
        path = folder / f"{name}.csv"
        table = np.stack(columns, axis=1)[fitted]
        np.savetxt(path, table, delimiter=",", header=",".join(head), comments="", fmt="%.6g", encoding="utf-8")
        files.append(path)
    return files


def to_tiff(tree: xr.DataTree, folder: Path) -> list[Path]:
    """One stack per scan and quantity, a page per phase, that ImageJ opens with its voxel size."""
    step_um = 1000 * tree.attrs["voxel_mm"]
    files = []
    for name, one in _scans(tree).items():
        for quantity, pages in zip(QUANTITIES, _cube(one), strict=True):
            path = folder / f"{name}_{quantity}.tif"
            labels = [f"{phase} {quantity}" for phase in one.phase.values.tolist()]
            meta = {"axes": "ZYX", "unit": "um", "spacing": step_um, "Labels": labels}
            tifffile.imwrite(path, pages, imagej=True, resolution=(1 / step_um, 1 / step_um), metadata=meta)
            files.append(path)
    return files


def to_ome_zarr(tree: xr.DataTree, folder: Path) -> list[Path]:
    """One image per scan, OME-NGFF 0.5 (ngff.openmicroscopy.org/0.5): a channel for every quantity and phase."""
    step_um = 1000 * tree.attrs["voxel_mm"]
    files = []
    for name, one in _scans(tree).items():
        cube = _cube(one)
        cube = cube.reshape(-1, *cube.shape[2:])
        phases = one.phase.values.tolist()
        path = folder / f"{name}.ome.zarr"
        group = zarr.open_group(path, mode="w", zarr_format=3)
        array = group.create_array(
            "0", shape=cube.shape, dtype=cube.dtype, chunks=(1, *cube.shape[1:]), dimension_names=("c", "y", "x")
        )
        array[...] = cube
        space = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
        scale = [{"type": "scale", "scale": [1.0, step_um, step_um]}]
        image = {
            "name": name,
            "axes": [{"name": "c", "type": "channel"}, *space],
            "datasets": [{"path": "0", "coordinateTransformations": scale}],
        }
        labels = [f"{phase} {quantity}" for quantity in QUANTITIES for phase in phases]
        channels = [_channel(label, plane) for label, plane in zip(labels, cube, strict=True)]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image], "omero": {"channels": channels}}
        files.append(path)
    return files


def _channel(label, plane):
    finite = plane[np.isfinite(plane)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    window = {"min": low, "start": low, "max": high, "end": high}
    return {"label": label, "color": "FFFFFF", "active": False, "window": window}


def to_nexus(tree: xr.DataTree, folder: Path) -> list[Path]:
    """beamtime.nxs: an NXentry per scan, with an NXdata per quantity (signal on phase, y, x) and its sample."""
    path = folder / "beamtime.nxs"
    with h5py.File(path, "w") as file:
        file.attrs["NX_class"] = "NXroot"
        for name, one in _scans(tree).items():
            entry = _group(file, name, "NXentry")
            sample = _group(entry, "sample", "NXsample")
            for key in ("sample", "state", "cycle"):
                sample["name" if key == "sample" else key] = str(one.attrs[key])
            process = _group(entry, "process", "NXprocess")
            process["program"] = "xrdct"
            process["provenance"] = tree.attrs["provenance"]
            entry.attrs["default"] = QUANTITIES[0]
            for quantity, maps in zip(QUANTITIES, _cube(one), strict=True):
                data = _group(entry, quantity, "NXdata")
                data.attrs["signal"], data.attrs["axes"] = quantity, ["phase", "y", "x"]
                data.create_dataset(quantity, data=maps, compression="gzip").attrs["units"] = one[quantity].attrs[
                    "units"
                ]
                data["phase"] = one.phase.values.tolist()
                for axis in ("y", "x"):
                    data[axis] = one[axis].values
                    data[axis].attrs["units"] = "mm"
    return [path]


def to_vtk(tree: xr.DataTree, folder: Path) -> list[Path]:
    """One ImageData per scan, an array for every quantity of every phase."""
    files = []
    for name, one in _scans(tree).items():
        phases = one.phase.values.tolist()
        maps = {
            f"{phase} {quantity}": image
            for quantity, images in zip(QUANTITIES, _cube(one), strict=True)
            for phase, image in zip(phases, images, strict=True)
        }
        files.append(folder / f"{name}.vti")
        write_vti(maps | {"Rwp": one.rwp.values}, files[-1], x=one.x.values, y=one.y.values)
    return files


def _group(parent, name, kind):
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


FORMS: dict[str, Callable[[xr.DataTree, Path], list[Path]]] = {
    "csv": to_csv,
    "tiff": to_tiff,
    "ome-zarr": to_ome_zarr,
    "nexus": to_nexus,
    "vtk": to_vtk,
}
"""What writes each form."""
