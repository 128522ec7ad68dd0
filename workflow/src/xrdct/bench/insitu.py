"""A cell charged in six steps, from raw frames to the evolution of its regions: what was planted, what comes out.

The twin's NCA cell at the papers' six voltages, its inner ten windings with all of their regions on a coarser grid (119
positions, 112 projections), through the whole workflow. Every artefact but parallax is on.

The same volumes then go through PQ-Net and two steps of the fit from its answer: regions again, and every phase's map
beside the planted one.
"""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from ..config.fit import read_preset
from ..io.masks import write_mask
from ..io.store import read_store
from ..io.tree import read_tree
from ..metrics import correlation
from ..reconstruction.filtered import refined_fbp
from ..reconstruction.operator import ParallelBeam
from .absorption import CONFIG, REPEATED, REPOSITORY, call
from .absorption import TWIN as THICK
from .marks import Mark, at_least, at_most, near, reported, same

DEVICE = "CPU"
TWIN = {
    "base": "nca18650",
    "cell": {
        "diameter_mm": 11.7,
        "turns": 10.5,
        "anode_along": {"turns": [0.0, 10.4]},
        "cathode_along": {"turns": [0.8, 10.2]},
        "grains": [
            {"phase": "alpha-FeSi2", "x_mm": 4.4, "y_mm": 1.2, "radius_mm": 0.12},
            {"phase": "alpha-FeSi2", "x_mm": -3.0, "y_mm": 3.4, "radius_mm": 0.08},
            {"phase": "beta-FeSi2", "x_mm": 1.6, "y_mm": -4.6, "radius_mm": 0.10},
        ],
    },
    "scan": {
        "n_positions": 119,
        "step_mm": 0.105,
        "n_projections": 28,
        "first_position_mm": -6.3,
        "axis_drift_px": 0.05,
    },
    "detector": THICK["detector"],
    "beam": {"dose": 1, "topup_frames": 3000, "unseen_drift": 0.01},
    "artefacts": THICK["artefacts"] | {"parallax": {"strength": 0}},
}
"""What differs from the full-size cell."""
SHARP = REPEATED | {"iterations": 10}
"""Enough without parallax: more only follow the noise (tried on the frames of another run)."""
BY_NETWORKS = "PQ-Net + 2 steps"
ANODE = ("graphite", "LiC30plus", "LiC30", "LiC18", "LiC12", "LiC6")
"""From empty to full."""
ANODE_REGIONS, CATHODE_REGIONS = ("HL", "IN", "DL"), ("ROI1", "ROI2", "ROI3")
DRAWN = "drawn-"
"""Before the names of the regions that are drawn; the preset's rules find their own beside them."""
FOUND = 80
"""% of a drawn region that the rule for it must find: a rule by radius leaves the ends of the windings out."""
PRESENT = 0.05
"""A phase is there from this share of its electrode's phases on."""
INSIDE = 0.3
"""A voxel is drawn into a region from this share of its volume on."""
NETWORKS = {"apply": True, "members": 2, "epochs": 8, "held_out": 10_000, "library": {"absent": 0.6}}
"""PQ-Net on a budget of a minute: two steps of the fit follow. A voxel holds two or three of the phases."""
PLANTED = {"pin": "pin_austenite", "tab": "tab_NiCu"}
"""Names in the twin of what the phase set calls otherwise."""
LOCAL, ALIKE = 0.02, 0.97
"""Weight fraction above which a phase's map counts, and its correlation with the planted one."""
CELL_MARKS = {"a": 0.001, "c": 0.002}
"""Å, of a region's mean."""


def measure() -> list[Mark]:
    """Simulate, run the workflow by the fit and by PQ-Net, compare regions and maps with what was planted."""
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        folder = Path(name)
        simulate(folder)
        states = planted_states(folder)
        run(folder, {})
        tree = tree_of(folder)
        evolution = tree["evolution"].to_dataset()
        marks = compare(evolution, states) + judge_rules(tree["regions"].mask, evolution, states)
        run(folder, {"pqnet": NETWORKS})
        by_networks = compare(tree_of(folder)["evolution"].to_dataset(), states)
        marks += [replace(mark, name=f"{BY_NETWORKS}: {mark.name}") for mark in by_networks]
        refined = {scan: folder / "results" / scan / "pqnet" / "corrected" / "refined.zarr" for scan in states}
        maps = {scan: read_store(path, "fit") for scan, path in refined.items()}
        return marks + map_marks(dict(zip(states, read_truths(folder), strict=True)), maps)


def simulate(folder: Path) -> None:
    """Raw files of the six voltages."""
    (folder / "cell.yaml").write_text(yaml.safe_dump(TWIN), encoding="utf-8")
    call("xrdct", "simulate", folder / "cell.yaml", "--out", folder)


def run(folder: Path, more: dict) -> None:
    """The workflow up to the figures of the beamtime, its regions drawn as the truth has them; `more` configuration."""
    draw_regions(folder)
    # The strip ends at 3.42 1/Å, and the electrolyte's halo needs a background that bends.
    phases = read_preset("nca-13").model_copy(update={"name": "nca-13-to-3.36", "q_max": 3.36, "background_degree": 5})
    chosen = {
        "fit": {"phase_set": phases.model_dump(mode="json"), "parallax": False},
        "reconstruct": SHARP,
        "absorption": CONFIG["absorption"] | {"factor": "transmission"},
        "beamtime": {
            "apply": True,
            "register_by": ["Cu", "Al", "Fe", "tab"],
            "groups": {"anode": list(ANODE), "cathode": ["NCA"]},
            "preset": "nca18650",
            "regions": [{"name": DRAWN + name, "mask": f"{name}.npy"} for name in (*ANODE_REGIONS, *CATHODE_REGIONS)],
        },
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG | chosen | more), encoding="utf-8")
    options = ["--directory", folder, "--configfile", config, "--cores", str(os.cpu_count())]
    call("snakemake", "--snakefile", REPOSITORY / "Snakefile", *options, "results/figures/cells.png")


def draw_regions(folder: Path) -> None:
    """Masks of the regions, as somebody who knows the cell would draw them."""
    truth = read_truths(folder)[0]
    for name in (*ANODE_REGIONS, *CATHODE_REGIONS):
        write_mask(truth.region.sel(region_name=name).values > INSIDE, folder / f"{name}.npy")


def read_truths(folder: Path) -> list[xr.Dataset]:
    """Truth of every scan, in the order of the voltages."""
    found = [xr.open_zarr(path, consolidated=False, chunks=None) for path in sorted(folder.glob("truth/*.zarr"))]
    return sorted(found, key=lambda truth: truth.attrs["voltage_V"])


def planted_states(folder: Path) -> dict[str, dict]:
    """Settings of the simulated states by scan, in the order of the voltages."""
    truth = read_truths(folder)
    states = {state["scan"]: state for state in json.loads(truth[0].attrs["parameters"])["states"]}
    return {one.attrs["scan"]: states[one.attrs["scan"]] for one in truth}


def compare(evolution: xr.Dataset, states: dict[str, dict]) -> list[Mark]:
    """Marks of an evolution against the states that were simulated, as `twin.parameters.State` describes them."""
    marks = []
    for region in ANODE_REGIONS:
        planted = {scan: _shares(state, region) for scan, state in states.items()}
        found = {scan: _found_shares(evolution, scan, region) for scan in states}
        marks.append(same(f"{region}: phases at each voltage", sequence(planted), sequence(found)))
        off = max(abs(found[scan][phase] - planted[scan][phase]) for scan in states for phase in ANODE)
        marks.append(reported(f"{region}: largest error of a share", 100 * off, "%"))
    for edge, tolerance in CELL_MARKS.items():
        places = [(scan, region) for scan in states for region in CATHODE_REGIONS]
        edges = [_cell(evolution, states, scan, region, edge) for scan, region in places]
        worst = np.max([abs(found - planted) for planted, found in edges])
        marks.append(at_most(f"Table S5: largest error of {edge}, all regions and voltages", tolerance, worst, "Å"))
        for (scan, region), (planted, found) in zip(places, edges, strict=True):
            name = f"Table S5: {edge} in {region} at {states[scan]['voltage_V']:.2f} V"
            marks.append(near(name, planted, tolerance, found, "Å"))
    return marks


def judge_rules(masks: xr.DataArray, evolution: xr.Dataset, states: dict[str, dict]) -> list[Mark]:
    """Marks of the regions that the preset's rules find in the maps, against those that were drawn."""
    marks = []
    for region in (*ANODE_REGIONS, *CATHODE_REGIONS):
        drawn, ruled = masks.sel(region=DRAWN + region).values, masks.sel(region=region).values
        marks.append(at_least(f"{region}: found by its rule", FOUND, 100 * (ruled & drawn).sum() / drawn.sum(), "%"))
        marks.append(reported(f"{region}: voxels of its rule beside the drawn ones", (ruled & ~drawn).sum()))
    for edge, tolerance in CELL_MARKS.items():
        edges = [_cell(evolution, states, scan, region, edge, "") for scan in states for region in CATHODE_REGIONS]
        worst = np.max([abs(found - planted) for planted, found in edges])
        marks.append(at_most(f"Table S5, regions by rule: largest error of {edge}", tolerance, worst, "Å"))
    return marks


def tree_of(folder: Path) -> xr.DataTree:
    """What the workflow says of the whole beamtime."""
    return read_tree(folder / "results" / "beamtime.zarr").load()


def map_marks(truths: dict[str, xr.Dataset], maps: dict[str, xr.Dataset]) -> list[Mark]:
    """Every phase's map beside the planted one, where they agree least of all scans.

    Beside it stands the planted map itself as back-projection shows it from the same projections: foils thinner than a
    voxel, and edges, are lost before any fit.
    """
    found = {scan: map_correlations(truths[scan], maps[scan]) for scan in maps}
    marks = []
    for phase in dict.fromkeys(phase for one in found.values() for phase in one):
        alike, shown = (min(one[phase][k] for one in found.values() if phase in one) for k in (0, 1))
        name = f"{BY_NETWORKS}: {phase} map, correlation with the planted one, lowest of the voltages"
        marks.append(at_least(name, ALIKE, alike))
        marks.append(reported(f"{phase}: planted map from the same projections, correlation with itself", shown))
    return marks


def map_correlations(truth: xr.Dataset, maps: xr.Dataset) -> dict[str, tuple[float, float]]:
    """By phase the correlation of its map with the planted volume fraction, and of that as back-projection shows it.

    Of phases that have more than 2 % of the weight of some voxel, over all voxels that were fitted.
    """
    names = [str(name) for name in truth.phase.values]
    beam = ParallelBeam(truth.angle.values, truth.sizes["x"], (truth.sizes["x"] - 1) / 2)
    inside = maps.mask.values
    found = {}
    for phase in map(str, maps.phase.values):
        own = [k for k, name in enumerate(names) if name.split("@")[0] == PLANTED.get(phase, phase)]
        if not (truth.weight_fraction.values[own].sum(axis=0)[inside] > LOCAL).any():
            continue
        planted = truth.volume_fraction.values[own].sum(axis=0)
        shown = refined_fbp(beam, beam @ planted.astype(np.float32)[..., None], nonnegative=True)[..., 0]
        scale = maps.scale.sel(phase=phase).values
        found[phase] = correlation(scale[inside], planted[inside]), correlation(shown[inside], planted[inside])
    return found


def sequence(shares: dict[str, dict[str, float]]) -> str:
    """The phases that are there at each voltage, 'graphite; LiC18+LiC30; …'."""
    return "; ".join("+".join(name for name in ANODE if one[name] >= PRESENT) for one in shares.values())


def _shares(state, region):
    own = next(one for one in state["anode"] if one["name"] == region)["phases"]
    return {phase: own.get(phase, 0.0) for phase in ANODE}


def _found_shares(evolution, scan, region):
    one = evolution.share_mean.sel(scan=scan, region=DRAWN + region)
    return {phase: float(np.nan_to_num(one.sel(phase=phase))) for phase in ANODE}


def _cell(evolution, states, scan, region, edge, how=DRAWN):
    """Planted and found edge of NCA in Å."""
    found = evolution[f"{edge}_mean"].sel(scan=scan, region=how + region, phase="NCA")
    return states[scan]["lattice"][f"NCA@{region}"][edge], float(found)
