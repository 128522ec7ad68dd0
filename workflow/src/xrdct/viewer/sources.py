"""What the viewer shows: maps of the beamtime's tree, and the pattern behind a voxel, read when it is asked for."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..config import PhaseSetSettings
from ..errors import StoreError
from ..evolution import evolve, to_table
from ..figures import save_figure
from ..figures_beamtime import draw_region
from ..fit.model import PatternModel
from ..fit.phase_set import load_phase_set
from ..fit.solve import fit_patterns
from ..io.masks import write_mask
from ..io.profile import read_profile
from ..io.store import read_store
from ..io.tree import read_tree
from ..registration import Motion

QUANTITIES = ("scale", "share", "weight_fraction", "a", "c", "scale_err", "a_err", "c_err")
STAGES = ("denoised", "corrected", "first")


class VoxelPattern(NamedTuple):
    """The pattern of one voxel of a scan's own grid."""

    q: np.ndarray
    measured: np.ndarray
    neighbours: np.ndarray
    """Mean of the voxels around it."""
    stage: str
    """Of the volume."""


class VoxelFit(NamedTuple):
    """The fit of one pattern."""

    q: np.ndarray
    fit: np.ndarray
    background: np.ndarray
    phases: dict[str, np.ndarray]
    """What each phase adds to the fit."""


class Beamtime:
    """An opened beamtime.

    Parameters
    ----------
    store
        beamtime.zarr in a folder of results; volumes and fits are looked for beside it.
    """

    def __init__(self, store: str | Path):
        self.store = Path(store)
        self.tree = read_tree(store)
        self.scans = self.tree.scan.values.tolist()
        self._maps = {name: self.tree["scans"][name].to_dataset() for name in self.scans}
        self.phases = self._maps[self.scans[0]].phase.values.tolist()
        self.regions = self.tree["regions"].to_dataset().load()
        self._fitters = {}
        self._volumes = {}
        self._images = {}

    @property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the common grid, mm."""
        return self.tree.x.values, self.tree.y.values

    def image(self, scan: str, phase: str, quantity: str) -> np.ndarray:
        """A map (y, x) on the common grid; read once."""
        key = (scan, phase, quantity)
        if key not in self._images:
            self._images[key] = self._maps[scan][quantity].sel(phase=phase).values
        return self._images[key]

    def unit(self, quantity: str) -> str:
        """Of a quantity, as the stores say."""
        return self._maps[self.scans[0]][quantity].attrs["units"]

    def voxel(self, scan: str, row: int, column: int) -> dict[str, dict[str, float]]:
        """Every quantity of every phase in a voxel."""
        return {
            phase: {name: float(self.image(scan, phase, name)[row, column]) for name in QUANTITIES}
            for phase in self.phases
        }

    def pattern(self, scan: str, row: int, column: int) -> VoxelPattern:
        """The pattern behind a voxel of the common grid: of the voxel of the scan's own grid that lies there.

        Raises
        ------
        StoreError
            When no volume of the scan lies beside the store.
        """
        volume, stage = self._volume(scan)
        own = self._own_voxel(scan, row, column, volume)
        around = volume.intensity[max(own[0] - 1, 0) : own[0] + 2, max(own[1] - 1, 0) : own[1] + 2].values
        at = own[0] - max(own[0] - 1, 0), own[1] - max(own[1] - 1, 0)
        measured = around[at]
        others = np.delete(around.reshape(-1, around.shape[-1]), at[0] * around.shape[1] + at[1], axis=0)
        return VoxelPattern(volume.q.values, measured, others.mean(axis=0), stage)

    def fit(self, scan: str, pattern: VoxelPattern) -> VoxelFit | None:
        """A pattern fitted now, as the scan's fit did it, from its mean pattern's fit; without what parallax broadens.

        None where the settings of the fit, or the profile, are not at hand. The first call for a scan takes seconds.
        """
        if scan not in self._fitters:
            self._fitters[scan] = self._make_fitter(scan, pattern)
        fitter = self._fitters[scan]
        return None if fitter is None or not np.isfinite(pattern.measured).all() else fitter(pattern.measured)

    def evolve(self, mask: np.ndarray, phase: str, quantity: str) -> dict[str, np.ndarray]:
        """Mean, sd, se and n of a quantity in a mask (y, x) by scan."""
        maps = np.stack([self.image(scan, phase, quantity) for scan in self.scans])[:, None]
        return {
            name.rsplit("_", 1)[1]: values[:, 0, 0] for name, values in evolve({quantity: maps}, mask[None]).items()
        }

    def export_region(self, mask: np.ndarray, name: str, *, scan: str, phase: str, quantity: str) -> list[Path]:
        """Write a drawn region beside the store; the paths.

        The mask (NPY, as `beamtime.regions` reads it), the evolution of every phase in it (CSV), and a picture (PNG) of
        it over the chosen map, with the chosen quantity against voltage.
        """
        folder = self.store.parent / "regions"
        folder.mkdir(exist_ok=True)
        write_mask(mask, folder / f"{name}.npy")
        maps = {
            key: np.stack([[self.image(s, p, key) for p in self.phases] for s in self.scans])
            for key in ("share", "a", "c")
        }
        dims = ("scan", "region", "phase")
        table = xr.Dataset(
            {key: (dims, values) for key, values in evolve(maps, mask[None]).items()},
            coords={"scan": self.scans, "region": [name], "phase": self.phases},
        ).assign_coords(voltage_V=("scan", self.tree.voltage_V.values))
        (folder / f"{name}.csv").write_text(to_table(table), encoding="utf-8")
        found = self.evolve(mask, phase, quantity)
        figure = draw_region(self.tree, mask, found, scan=scan, phase=phase, quantity=quantity)
        save_figure(figure, folder / f"{name}.png")
        return [folder / f"{name}.{suffix}" for suffix in ("npy", "csv", "png")]

    def _volume(self, scan):
        if scan not in self._volumes:
            self._volumes[scan] = self._open_volume(scan)
        return self._volumes[scan]

    def _open_volume(self, scan):
        folder = self.store.parent / scan / "reconstruct"
        for stage in STAGES:
            if (folder / stage / "volume.zarr").is_dir():
                return read_store(folder / stage / "volume.zarr", "volume"), stage
        raise StoreError(f"{folder}: no volume lies beside {self.store.name}, so that there are no patterns to show")

    def _own_voxel(self, scan, row, column, volume):
        table = self.tree.sel(scan=scan)
        step = self.tree.attrs["voxel_mm"]
        motion = Motion(float(table.rotation_deg), -float(table.shift_y_mm) / step, float(table.shift_x_mm) / step)
        x, y = self.grid
        place = motion.places((y.size, x.size))[:, row, column]
        wanted = {"y": y[0] - place[0] * step, "x": x[0] + place[1] * step}
        return tuple(int(np.abs(volume[axis].values - wanted[axis]).argmin()) for axis in ("y", "x"))

    def _make_fitter(self, scan, pattern):
        folder, stage = self.store.parent / scan, pattern.stage
        stores = [folder / "fit" / stage / "maps.zarr", folder / "pqnet" / stage / "refined.zarr"]
        store = next((path for path in stores if path.is_dir()), None)
        profile = self.store.parent / "calibrate" / "profile.json"
        if store is None or not profile.is_file():
            return None
        fitted = read_store(store, "fit")
        settings = json.loads(fitted.attrs["provenance"])["settings"]
        level = settings.get("level", "full")  # after networks every cell and size is free
        phases = load_phase_set(PhaseSetSettings.model_validate(settings["phase_set"]))
        model = PatternModel(phases, pattern.q, read_profile(profile))
        start = fit_patterns(model, fitted.mean_pattern.values, level="full", absolute=False, most=200).parameters[0]

        def fit(measured):
            inside = measured[model.inside].astype(float)
            found = fit_patterns(model, inside, start=start, level=level, absolute=False).parameters[0]
            background = found.copy()
            background[model.scale_places] = 0.0
            parts = model.units(found) * found[model.scale_places][:, None]
            fitted_phases = dict(zip(phases.names, parts, strict=True))
            return VoxelFit(model.q, model.patterns(found)[0], model.patterns(background)[0], fitted_phases)

        return fit
