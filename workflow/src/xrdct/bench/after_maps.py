"""What comes after the maps at the paper's size, 637² voxels × 13 phases: its CPU time beside the pipeline's.

Two scans of a drawn cell, the second one moved, go through the scripts that the workflow runs, an export and a visit to
the viewer. The pipeline's own time is that of `xrdct plan` for two scans of the paper on the shipped rates: an
extrapolation from the demo, without a GPU.
"""

import runpy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from ..config import Config, load
from ..config.beamtime import Beamtime as Settings
from ..cost import plan
from ..io.exchange import export
from ..io.rates import read_rates
from ..io.store import FORMS, write_store
from ..io.tree import read_tree
from ..scans import Subset, read_scans
from ..viewer.sources import Beamtime
from .marks import Mark, at_most, reported

DEVICE = "CPU"
REPOSITORY = Path(__file__).resolve().parents[4]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
DEMO = REPOSITORY / "config" / "demo"
N, STEP, PITCH = 637, 0.03, 0.355
"""Pixels, mm and mm."""
PHASES = (
    "NCA", "graphite", "LiC6", "LiC12", "LiC18", "LiC30", "LiC30plus", "Cu", "Al", "Fe", "pin", "tab", "separator",
)  # fmt: skip
SCANS = {"v2p65": (2.65, 0.0, (0.0, 0.0)), "v4p20": (4.20, 0.9, (2.3, -1.6))}
"""Voltage, share of LiC6 in the anode, and how far the cell moved (pixels), by scan."""
SETTINGS = {
    "register_by": ["Cu", "Al", "Fe"],
    "groups": {"anode": ["graphite", "LiC6", "LiC12", "LiC18", "LiC30", "LiC30plus"], "cathode": ["NCA"]},
    "preset": "nca18650",
    "unroll": {"casing": "Fe", "layer": "Cu", "pitch_mm": [0.30, 0.42], "radius_mm": [1.6, 8.6], "phases": ["NCA"]},
}
AFTER = ("gather_beamtime", "draw_beamtime", "draw_unrolled", "draw_overview")
"""Rules that come after the maps of all scans."""


def measure() -> list[Mark]:
    """CPU seconds of every step, their sum beside the pipeline's."""
    pipeline = pipeline_seconds()
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        steps = after_the_maps(Path(name))
    marks = [reported(f"{step}, CPU time", seconds, "s") for step, seconds in steps.items()]
    marks.append(reported("pipeline up to the maps, two scans of the paper, planned CPU time", pipeline, "s"))
    share = 100 * sum(steps.values()) / (pipeline + sum(steps.values()))
    return [*marks, at_most("everything after the maps, of all CPU time", 5, share, "%")]


def after_the_maps(folder: Path) -> dict[str, float]:
    """CPU seconds by step."""
    for scan in SCANS:
        store, manifest = folder / f"{scan}.zarr", folder / f"{scan}.json"
        write_store(drawn_maps(scan), store, manifest, kind="fit", settings={}, inputs={})
    settings = Settings.model_validate(SETTINGS).model_dump(mode="json")
    unroll = settings.pop("unroll")
    del settings["apply"]
    store, outputs = folder / "beamtime.zarr", ("components", "shares", "cells", "uncertainty", "regions")
    rows = [{"scan": scan, "voltage_V": SCANS[scan][0], "sample": "", "cycle": "", "state": ""} for scan in SCANS]
    maps, manifests = ([folder / f"{scan}.{end}" for scan in SCANS] for end in ("zarr", "json"))
    table, drawn = folder / "evolution.csv", {name: str(folder / f"{name}.png") for name in outputs}
    figure = [folder / "unrolled.png", folder / "unrolled.svg"]
    return {
        "one grid, regions, evolution": seconds_of(
            lambda: script("gather_beamtime")(
                maps, manifests, store, folder / "beamtime.json", table, scans=rows, settings=settings
            )
        ),
        "figures of the beamtime": seconds_of(
            lambda: script("draw_beamtime")(store, drawn, groups=settings["groups"], colormap="viridis")
        ),
        "unrolled cell": seconds_of(
            lambda: script("draw_unrolled")(store, *figure, unroll=unroll, colormap="viridis")
        ),
        "export to NeXus": seconds_of(lambda: export(read_tree(store), "nexus", folder / "out")),
        "viewer, every map and a drawn region": seconds_of(lambda: visit(store)),
    }  # fmt: skip


def script(name: str) -> Callable:
    """What a rule's script calls."""
    return runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"]


def seconds_of(work: Callable[[], object]) -> float:
    """CPU seconds of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def visit(store: Path) -> None:
    """Look at every map of every scan, then draw a region and save it."""
    beamtime = Beamtime(store)
    for scan in beamtime.scans:
        for phase in beamtime.phases:
            beamtime.image(scan, phase, "scale")
    mask = np.zeros((N, N), bool)
    mask[200:400, 200:400] = True
    beamtime.export_region(mask, "drawn", scan=beamtime.scans[0], phase="NCA", quantity="c")


def pipeline_seconds() -> float:
    """CPU seconds that `xrdct plan` gives the pipeline up to the maps for two scans of the paper."""
    settings = load(DEMO / "config.yaml").model_dump(mode="json")
    settings["detector"] |= {"shape": [1679, 1475], "pixel_size_um": 172, "name": None}
    settings["integrate"] |= {"q_min": 0.5, "q_max": 3.85, "n_bins": 400}
    rows = read_scans(DEMO / "scans.tsv")
    size = {"n_projections": 100, "n_positions": N}
    paper = [Subset.model_validate(row.model_dump() | size) for row in rows]
    planned = plan(Config.model_validate(settings), paper, read_rates())
    return sum(step.cpu_s for step in planned.rules if step.name not in AFTER)


def drawn_maps(scan: str) -> xr.Dataset:
    """A fit of a wound cell, in the form of its store: layers of a spiral, foils, a tab, a casing, noise."""
    _, lithiated, (down, right) = SCANS[scan]
    rng = np.random.default_rng(list(SCANS).index(scan))
    row, column = np.indices((N, N), dtype=np.float32)
    x, y = ((column - (N - 1) / 2 - right) * STEP, -(row - (N - 1) / 2 - down) * STEP)
    radius = np.hypot(x, y)
    depth = ((radius - 1.5) / PITCH - np.arctan2(y, x) / (2 * np.pi)) % 1
    wound = (radius > 1.7) & (radius < 8.6)
    layers = {name: np.exp(-(((depth - at) / width) ** 2)) * wound for name, at, width in
              (("anode", 0.25, 0.18), ("Cu", 0.25, 0.04), ("NCA", 0.75, 0.16), ("Al", 0.75, 0.05))}  # fmt: skip
    tab = 3 * np.exp(-((x - 4.0) ** 2 + (y - 3.0) ** 2) / 0.04)
    known = {
        "NCA": layers["NCA"],
        "graphite": layers["anode"] * (1 - lithiated),
        "LiC6": layers["anode"] * lithiated,
        "LiC30plus": 0.2 * layers["anode"] * (np.abs(radius - 5) < 0.4),
        "Cu": layers["Cu"],
        "Al": layers["Al"] + tab,
        "Fe": 3 * np.exp(-(((radius - 9.0) / 0.12) ** 2)),
    }
    nothing = np.zeros((N, N), np.float32)
    scale = np.stack([known.get(name, nothing) for name in PHASES]).astype(np.float32)
    scale += 0.02 * rng.standard_normal(scale.shape, dtype=np.float32)
    missing = np.full(scale.shape, np.nan, np.float32)
    cells = {edge: missing.copy() for edge in ("a", "a_err", "c", "c_err")}
    for edge, value, error in (("a", 2.86 - 0.04 * lithiated, 0.001), ("c", 14.23 + 0.25 * lithiated, 0.005)):
        cells[edge][0] = value + error * rng.standard_normal((N, N), dtype=np.float32)
        cells[f"{edge}_err"][0] = error
    total = np.clip(scale, 0, None)
    maps = {
        **{name: missing for name, dims in FORMS["fit"].items() if dims == ("phase", "y", "x")},
        **cells,
        "scale": scale,
        "scale_err": np.full_like(scale, 0.02),
        "weight_fraction": total / np.maximum(total.sum(axis=0), 1e-6),
        "at_limit": np.zeros(scale.shape, bool),
    }
    axis, one = (np.arange(N) - (N - 1) / 2) * STEP, {"units": "1"}
    images = {name: (("y", "x"), np.ones((N, N), np.float32), one) for name in ("rwp", "chi2", "mask")}
    patterns = {
        f"mean_{name}": ("q", np.ones(3), {"units": "counts/voxel"}) for name in ("pattern", "fit", "background")
    }
    return xr.Dataset(
        {name: (("phase", "y", "x"), values, one) for name, values in maps.items()} | images | patterns,
        coords={
            "phase": ("phase", np.array(PHASES, dtype=np.dtypes.StringDType())),
            "q": ("q", np.arange(3.0), {"units": "1/angstrom"}),
            "y": ("y", axis[::-1], {"units": "mm"}),
            "x": ("x", axis, {"units": "mm"}),
        },
        attrs={"voxel_mm": STEP},
    )
