"""A cell with parallax from raw frames to DLSR: regions of the paper by three ways, and what χ² says of each.

The twin's NCA cell as in `absorption` (an 18650: ± 0.92 % of the distance, voxels of a third of a winding) with every
artefact and parallax on, through the whole workflow: integration, assembly, absorption, linear reconstruction with
parallax and its fit, DLSR. Beside it stands back-projection that knows nothing of parallax, of the same corrected
sinogram. ``python -m xrdct.bench.parallax_twin --only SCAN ...`` measures some of the voltages; what is measured is
written after each of them.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from ..fit.maps import fit_volume
from ..fit.model import PatternModel
from ..fit.parallax import parallax_width
from ..fit.phase_set import load_phase_set
from ..io.poni import read_poni
from ..io.profile import read_profile
from ..io.store import read_store
from ..reconstruction.backend import reconstruct
from ..reconstruction.operator import ParallelBeam
from ..twin.cell import SUB_VOXELS, material_maps, material_names
from ..twin.parameters import load_parameters
from ..twin.projector import project
from .absorption import CONFIG, REGIONS, REPOSITORY, TWIN, call, lattice, phase_set
from .marks import Mark, at_most, publish_parts, reported

DEVICE = "CPU"
CASES = {"v4p20": 18650, "v3p79": 2, "v2p65": 3}
"""Voltages, charged to discharged, and the seed of each one's noise, drifts and grains."""
SMOOTH = 0.3
"""Weight of the prior, given: looking for it by hold-out takes three times as long."""
STEPS = 8
"""Of each of the two searches at most, for each takes a minute or two; whether they settled is reported."""
GOALS = {"a": 0.001, "c": 0.002}
"""Å, of a region's mean."""
N_ANGLES = 30
"""Of the projections by which voxels are judged."""
SHARE = 0.3
"""A voxel belongs to a region from this share of its volume on."""


def measure() -> list[Mark]:
    """All voltages."""
    return [mark for marks in measure_some(CASES) for mark in marks]


def measure_some(scans: Iterable[str]) -> Iterator[list[Mark]]:
    """Simulate, run the workflow, compare with the truth; the marks of one voltage after another."""
    for scan in scans:
        with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
            folder = Path(name)
            simulate(folder, scan)
            run(folder, scan)
            marks = [*compare(folder, scan), *voxel_error(folder, scan)]
            yield [replace(mark, name=f"{scan}: {mark.name}") for mark in marks]


def simulate(folder: Path, scan: str) -> None:
    """Raw files."""
    (folder / "cell.yaml").write_text(yaml.safe_dump(TWIN | {"seed": CASES[scan]}), encoding="utf-8")
    call("xrdct", "simulate", folder / "cell.yaml", "--scan", scan, "--out", folder)


def run(folder: Path, scan: str) -> None:
    """The workflow up to the maps of the DLSR."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(configuration()), encoding="utf-8")
    options = ["--directory", folder, "--configfile", config, "--cores", str(os.cpu_count())]
    targets = [f"results/{scan}/fit/{stage}/maps.json" for stage in ("corrected", "dlsr")]
    call("snakemake", "--snakefile", REPOSITORY / "Snakefile", *options, *targets)


def configuration() -> dict:
    """Settings of the workflow."""
    return CONFIG | {
        "fit": {"phase_set": phase_set().model_dump(mode="json")},
        "reconstruct": {"method": "fbp", "nonnegative": True, "parallax": "dlsr"},
        "absorption": CONFIG["absorption"] | {"factor": "transmission"},
        "dlsr": {"smooth": SMOOTH, "max_iterations": STEPS, "samples": 0},
    }


def compare(folder: Path, scan: str) -> list[Mark]:
    """Marks of finished maps."""
    truth = xr.open_zarr(folder / "truth" / f"{scan}.zarr", consolidated=False, chunks=None)
    stores = {way: folder / "results" / scan / "fit" / stage / "maps.zarr" for way, stage in WAYS.items()}
    maps = {way: read_store(path, "fit") for way, path in stores.items()}
    nca = {way: found.sel(phase="NCA")[["a", "c", "a_err", "c_err"]] for way, found in maps.items()}
    # Two or eight draws make no weights: voxels count as the linear fit knows them.
    nca[DLSR] = nca[DLSR].assign(nca[LINEAR][["a_err", "c_err"]])
    everything = {BACK_PROJECTED: back_projected(folder, scan), **nca}
    marks = [reported("depth of the sample over the distance, ±", 100 * parallax_of(folder), "%")]
    for way, found in everything.items():
        marks += region_marks(way, truth, found, held=way != BACK_PROJECTED)
    marks += voxel_marks(truth, everything)
    found = maps[DLSR]
    chi2 = float(np.nanmedian(found.chi2))
    return [
        *marks,
        at_most("DLSR, reduced χ², the model's error taken from the residuals of a search by counts", 1.3, chi2),
        reported("DLSR, reduced χ² by counts alone", found.attrs["counts_chi2"]),
        reported("DLSR, error of the model, median of the channels", 100 * found.attrs["model_error"], "%"),
        reported("DLSR, weight of the prior", found.attrs["smooth"]),
        reported("DLSR, settled", found.attrs["converged"]),
    ]


BACK_PROJECTED, LINEAR, DLSR = "back-projection without parallax + fit", "linear + fit", "DLSR"
WAYS = {LINEAR: "corrected", DLSR: "dlsr"}
"""Stages of the fit."""


def parallax_of(folder: Path) -> float:
    """Radius of the cell over its distance from the detector."""
    cell = load_parameters(str(folder / "cell.yaml")).cell
    return cell.diameter_mm / 2 / (1e3 * read_poni(folder / "results" / "calibrate" / "geometry.poni").dist)


def back_projected(folder: Path, scan: str) -> xr.Dataset:
    """a and c of NCA from the corrected sinogram, as the workflow makes them with `reconstruct.parallax: off`."""
    sinogram = read_store(folder / "results" / scan / "absorption" / "sinogram.zarr", "sinogram")
    calibrated = folder / "results" / "calibrate"
    angles, step = sinogram.angle.values, sinogram.attrs["step_mm"]
    cor, distance = sinogram.attrs["cor"] + sinogram.offset.values, 1e3 * read_poni(calibrated / "geometry.poni").dist
    volume = reconstruct(sinogram.intensity.values, angles, cor=cor, method="refined_fbp", nonnegative=True)
    found = fit_volume(
        PatternModel(load_phase_set(phase_set()), sinogram.q.values, read_profile(calibrated / "profile.json")),
        volume,
        level="quick",
        variance=sinogram.variance.mean(("angle", "position")).values,
        mask_threshold=0.02,
        widen=lambda amount: parallax_width(amount, angles, step_mm=step, distance_mm=distance),
    )
    place = found.model.phases.names.index("NCA")
    images = {edge: found.phase_maps(edge)[place] for edge in "ac"}
    images |= {f"{edge}_err": found.phase_maps(edge, errors=True)[place] for edge in "ac"}
    return xr.Dataset({name: (("y", "x"), image) for name, image in images.items()})


def voxel_error(folder: Path, scan: str) -> list[Mark]:
    """How far voxels that hold what they should miss the rays of the cell: foils in them lie somewhere, not everywhere.

    Path lengths of the phantom's sub-voxels against projections of their means over the voxels of the scan.
    """
    parameters = load_parameters(str(folder / "cell.yaml"))
    way, names = parameters.scan, material_names(parameters.cell, parameters.states)
    state = next(state for state in parameters.states if state.scan == scan)
    fine = material_maps(parameters.cell, state, names, n=way.n_positions, step=way.step_mm)
    angles = np.arange(N_ANGLES) * 180 / N_ANGLES
    rays = {"cor": (way.n_positions - 1) / 2, "n_positions": way.n_positions}
    exact = project(fine, voxel=way.step_mm / SUB_VOXELS, angles=angles, step=way.step_mm, **rays) / way.step_mm
    coarse = fine.reshape(way.n_positions, SUB_VOXELS, way.n_positions, SUB_VOXELS, -1).mean(axis=(1, 3))
    found = ParallelBeam(angles, way.n_positions, rays["cor"]) @ coarse
    marks = []
    for name in ("Cu", "Fe", "NCA@ROI1"):
        one, own = exact[..., names.index(name)], found[..., names.index(name)]
        relative = np.sqrt(np.mean((own - one) ** 2) / np.mean(one**2))
        marks.append(reported(f"{name}: the true map's projections through voxels, rms error", 100 * relative, "%"))
    return marks


def region_marks(way: str, truth: xr.Dataset, found: xr.Dataset, *, held: bool) -> list[Mark]:
    """Errors of the means of a and c over the regions; goals where they are `held`."""
    marks = []
    for region, phase in REGIONS.items():
        share = truth.volume_fraction.sel(phase=phase).values
        for edge, goal in GOALS.items():
            values, error = found[edge].values, found[f"{edge}_err"].values
            use = (share > SHARE) & np.isfinite(values) & np.isfinite(error) & (error > 0)
            mean = np.average(values[use], weights=share[use] / error[use] ** 2)
            off = mean - lattice(truth, phase, edge)
            name = f"{way}: {edge} of NCA in {region}, error of the mean of {use.sum()} voxels"
            marks.append(at_most(name, goal, abs(off), "Å") if held else reported(name, off, "Å"))
    return marks


def voxel_marks(truth: xr.Dataset, everything: dict[str, xr.Dataset]) -> list[Mark]:
    """Errors over single voxels, those of the three ways in the same ones, and their ratios."""
    shares = truth.volume_fraction.sel(phase=list(REGIONS.values())).values
    use = shares.sum(axis=0) > SHARE
    for found in everything.values():
        use &= np.isfinite(found.a.values) & np.isfinite(found.c.values)
    errors = {}
    for edge in GOALS:
        edges = np.array([lattice(truth, phase, edge) for phase in REGIONS.values()])
        planted = np.einsum("p,pyx->yx", edges, shares) / np.maximum(shares.sum(axis=0), SHARE)
        for way, found in everything.items():
            errors[way, edge] = float(np.sqrt(np.mean((found[edge].values - planted)[use] ** 2)))
    ratios = [
        at_most(f"{way} over back-projection, error of {edge}", goal, errors[way, edge] / errors[BACK_PROJECTED, edge])
        for way, edge, goal in ((LINEAR, "c", 0.5), (DLSR, "a", 0.6), (DLSR, "c", 0.5))
    ]
    figures = [
        reported(f"{way}: {edge}, rms error of {use.sum()} voxels", error, "Å") for (way, edge), error in errors.items()
    ]
    return ratios + figures


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="SCAN")
    parser.add_argument("--json", type=Path, help="also write the marks to this file")
    options = parser.parse_args(argv)
    publish_parts("parallax-twin", measure_some(options.only), device=DEVICE, path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
