"""An 18650 cell from raw frames to corrected maps: attenuation, transmission, flatness, and the papers' tables.

The twin's NCA cell with the layers and the diameter of the real one on a coarser grid (159 positions, 180 projections,
a strip of the detector), so that frames, integration, assembly, fit and correction all take part in minutes.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from ..config.fit import PhaseSetSettings, PhaseSettings, read_preset
from ..io.store import read_store
from .marks import Mark, at_most, reported

DEVICE = "CPU"
REPOSITORY = Path(__file__).resolve().parents[4]
STEP, N_POSITIONS = 0.12, 159
TWIN = {
    "base": "nca18650",
    "scan": {
        "n_positions": N_POSITIONS,
        "step_mm": STEP,
        "n_projections": 45,
        "first_position_mm": -STEP * (N_POSITIONS - 1) / 2 - 0.1,
        "axis_drift_px": 0.05,
    },
    "detector": {
        "shape": [96, 832],
        "beam_centre": [47.6, 418.1],
        "column_gaps": [[231, 7], [725, 7]],
        "row_gaps": [],
    },
    "beam": {"dose": 2, "topup_frames": 3000, "unseen_drift": 0.01},
    "artefacts": {
        "air": {"level": 11.6, "rise": 6, "q_decay": 0.9},
        "bad_pixels": {"n_hot": 25, "n_flickering": 15, "n_dead": 20, "n_flagged": 10},
        "beamstop_px": 9,
        "lost": {"share": 0.002, "reading": "no_beam"},
    },
}
"""What differs from the full-size cell; all artefacts are on."""
CONFIG = {
    "scans": "scans.tsv",
    "raw": {"monitor": "mon", "omega": "rot", "translation": "ty", "transmitted": "diode"},
    "detector": {"shape": [96, 832], "pixel_size_um": 172, "mask": "mask.edf"},
    "beam": {"energy_kev": 95, "polarization": 0.95},
    "calibrate": {"frame": "CeO2.cbf", "calibrant": "CeO2"},
    "integrate": {"q_min": 0.8, "q_max": 3.4, "n_bins": 314},
    "absorption": {
        "correct": True,
        "fill": {"formula": "C3H4O3", "density": 1.32},
        "casing": {"phase": "Fe", "thickness_mm": 0.25},
    },
}
REPEATED = {"method": "fbp", "nonnegative": True}
"""Reconstruction of all scans, first and last, and inside the chain of absorption."""
HOLE, INNER_END, ROLL, CASING = (0.0, 0.9), (1.5, 1.9), (2.0, 8.6), (8.6, 9.5)
"""Inside the pin, whose wall blurs inwards to 0.9; the innermost winding with its tab; inside the roll; and the casing
with half a voxel on either side: distance from the axis, mm."""
REGIONS = {"ROI1": "NCA@ROI1", "ROI2": "NCA@ROI2", "ROI3": "NCA@ROI3"}


def measure() -> list[Mark]:
    """Simulate, run the workflow, compare with the truth: once with all artefacts, once without parallax."""
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        whole, flat = Path(name) / "all", Path(name) / "no-parallax"
        make(whole, ["v4p20"], {})
        run(whole, "transmission")
        marks = maps_and_rays(whole, "v4p20", "parallax, transmission")
        marks += table(whole, "v4p20", parallax=True)
        run(whole, "casing")
        marks += maps_and_rays(whole, "v4p20", "parallax, casing", held=False)
        make(flat, ["v2p65", "v4p20"], {"artefacts": {"parallax": {"strength": 0}}})
        run(flat, "transmission", parallax=False)
        marks += maps_and_rays(flat, "v4p20", "no parallax, transmission")
        return [*marks, *table(flat, "v2p65"), *table(flat, "v4p20")]


def make(folder: Path, scans: list[str], changes: dict) -> None:
    """Raw files of some scans."""
    folder.mkdir()
    settings = {**TWIN, **changes, "artefacts": TWIN["artefacts"] | changes.get("artefacts", {})}
    (folder / "cell.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    chosen = [word for scan in scans for word in ("--scan", scan)]
    call("xrdct", "simulate", folder / "cell.yaml", *chosen, "--out", folder)


def run(folder: Path, factor: str, *, parallax: bool = True) -> None:
    """The workflow up to the fit of the corrected volume, with the absolute factor from `factor`."""
    config = folder / f"{factor}.yaml"
    chosen = {
        "fit": {"phase_set": phase_set().model_dump(mode="json"), "parallax": parallax},
        "reconstruct": REPEATED | {"parallax": "linear" if parallax else "off"},
        "absorption": CONFIG["absorption"] | {"factor": factor},
    }
    config.write_text(yaml.safe_dump(CONFIG | chosen), encoding="utf-8")
    snakefile = REPOSITORY / "Snakefile"
    cores = str(os.cpu_count())
    call("snakemake", "--snakefile", snakefile, "--directory", folder, "--configfile", config, "--cores", cores)


def phase_set() -> PhaseSetSettings:
    """The preset to the end of the strip at 3.42 1/Å, with the grains, and a background for the electrolyte's halo.

    Left to themselves, the lines of the grains are what the model misses most, and what a stiffer background leaves of
    the halo moves c.
    """
    preset = read_preset("nca-13")
    grains = [PhaseSettings(name=name, size_nm=150.0) for name in ("alpha-FeSi2", "beta-FeSi2")]
    changes = {"name": "nca-13-and-grains", "q_max": 3.36, "background_degree": 12, "phases": (*preset.phases, *grains)}
    return preset.model_copy(update=changes)


def call(program: str, *arguments) -> None:
    """One command of this environment, without its output."""
    command = [Path(sys.executable).parent / program, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(list(map(str, command)), check=True, env=environment, stdout=subprocess.DEVNULL)


def read(folder: Path, scan: str) -> tuple[xr.Dataset, xr.Dataset]:
    """Truth and attenuation store of a scan."""
    truth = xr.open_zarr(folder / "truth" / f"{scan}.zarr", consolidated=False, chunks=None)
    return truth, read_store(folder / "results" / scan / "absorption" / "attenuation.zarr", "attenuation")


def maps_and_rays(folder: Path, scan: str, name: str, *, held: bool = True) -> list[Mark]:
    """µ by place, transmission by ray, and how even the phases are along the radius, before and after.

    `name` says which run it was; only where it is `held` are there goals.
    """
    truth, found = read(folder, scan)
    limit = at_most if held else _reported
    radius = np.hypot(found.x.values - 0.06, found.y.values[:, None] + 0.04)
    marks = []
    for place, (low, high) in {"electrodes": ROLL, "casing": CASING}.items():
        inside = (radius >= low) & (radius < high)
        off = found.mu.values[inside].mean() / truth.mu.values[inside].mean() - 1
        marks.append(limit(f"{name}: µ, {place}, from the truth", 3, 100 * abs(off), "%"))
    whole = truth.mu.values[radius < CASING[1]].mean()
    for place, (low, high), mark in (("hole", HOLE, limit), ("inner end of the windings", INNER_END, _reported)):
        inside = (radius >= low) & (radius < high)
        difference = (found.mu.values[inside].mean() - truth.mu.values[inside].mean()) / whole
        marks.append(mark(f"{name}: µ, {place}, of the mean µ of the cell", 3, 100 * abs(difference), "%"))
    through = true_transmission(folder, scan, truth)
    crossed = through < 0.99
    error = found.transmission.values[crossed] / through[crossed] - 1
    marks.append(
        limit(f"{name}: transmission, root mean square over the rays", 2, 100 * np.sqrt(np.mean(error**2)), "%")
    )
    marks.append(reported(f"{name}: transmission, lowest", 100 * through.min(), "%"))
    for phase, planted in {"NCA": list(REGIONS.values()), "LiC6": ["LiC6"], "Cu": ["Cu"]}.items():
        known = truth.volume_fraction.sel(phase=planted).sum("phase").values
        before, after = (
            rings(found[key].sel(phase=phase).values, known, radius) for key in ("scale_before", "scale_after")
        )
        marks.append(
            reported(f"{name}: {phase}, uncorrected, strongest ring over weakest", before.max() / before.min())
        )
        uneven = np.abs(after / after.mean() - 1).max()
        marks.append(limit(f"{name}: {phase}, corrected, largest deviation of a ring", 3, 100 * uneven, "%"))
    error = found.attrs["zero_order_error"]
    rms = float(error.split("rms error ")[1].split(" %")[0])
    return [*marks, limit(f"{name}: zero-order error, as printed (rms)", 2, rms, "%")]


def true_transmission(folder: Path, scan: str, truth: xr.Dataset) -> np.ndarray:
    """Transmission of the rays where the play of the motor put them, (angle, position)."""
    nominal = truth.transmission.values[np.argsort(truth.angle.values)]
    sinogram = read_store(folder / "results" / scan / "assemble" / "sinogram.zarr", "sinogram")
    shift = sinogram.attrs["cor"] + sinogram.offset.values - truth.cor.item()
    columns = np.arange(nominal.shape[1])
    return np.array([np.interp(columns - own, columns, line) for own, line in zip(shift, nominal, strict=True)])


def _reported(name: str, _: float, value: float, unit: str) -> Mark:
    return reported(name, value, unit)


def rings(scale: np.ndarray, known: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Scale over true volume fraction in rings of 1 mm inside the roll."""
    edges = np.arange(ROLL[0], ROLL[1], 1.1)
    inside = [(radius >= low) & (radius < low + 1.1) for low in edges[:-1]]
    return np.array([scale[ring].sum() / known[ring].sum() for ring in inside])


def table(folder: Path, scan: str, *, parallax: bool = False) -> list[Mark]:
    """Mean a and c of NCA in the paper's regions of interest, against the planted ones."""
    truth, _ = read(folder, scan)
    maps = read_store(folder / "results" / scan / "fit" / "corrected" / "maps.zarr", "fit").sel(phase="NCA")
    marks = []
    for region, phase in REGIONS.items():
        share = truth.volume_fraction.sel(phase=phase).values
        for edge, goal in (("a", 0.001), ("c", 0.002)):
            values, error = maps[edge].values, maps[f"{edge}_err"].values
            use = (share > 0.3) & np.isfinite(values) & np.isfinite(error) & (error > 0)
            off = np.average(values[use], weights=share[use] / error[use] ** 2) - lattice(truth, phase, edge)
            name = f"{scan}: {edge} of NCA in {region}, error of the mean of {use.sum()} voxels"
            if parallax:
                marks.append(reported(f"{name}, with parallax", off, "Å"))
            else:
                marks.append(at_most(name, goal, abs(off), "Å"))
    return marks


def lattice(truth: xr.Dataset, phase: str, edge: str) -> float:
    """The planted cell edge, Å."""
    return float(truth.lattice.sel(phase=phase)["abc".index(edge)])
