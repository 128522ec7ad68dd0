"""Assembly of the demo beamtime against what was planted in it: axis, play, drifts, bad frames, air; and its cost.

Lost frames read zero while the monitor goes on, so that the frames alone tell. Weak and strong frames and a lost line
are planted in the integrated patterns. A second simulation without air says what the air should have left.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import xarray as xr
import yaml

from ..alignment import find_alignment
from ..bad_frames import GOOD
from ..config import Assemble
from ..io.store import read_store, write_store
from ..scans import read_scans, scan_names, subsets_of
from . import full_size
from .first_way import read_truth
from .marks import Mark, at_least, at_most, not_measured, reported

DEVICE = "CPU"
REPOSITORY = Path(__file__).resolve().parents[4]
CONFIG = REPOSITORY / "config" / "demo" / "config.yaml"
LOST_SHARE, UNSEEN_DRIFT = 0.005, 0.01
TWIN = {
    "base": "demo",
    "beam": {"unseen_drift": UNSEEN_DRIFT},
    "artefacts": {"lost": {"share": LOST_SHARE, "reading": "zero"}},
}
WEAK, STRONG, EACH = 0.5, 2.0, 0.003
"""Factors of the planted frames, and the share of all frames that gets each."""
LOST_LINE = 9
"""Line of the second subset that is planted as lost."""
TOOTH = 295.6
"""Centre of the APS tooth, columns: what TomoPy's documentation gives for it."""


def measure() -> list[Mark]:
    """All marks; about four minutes."""
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        whole, airless = Path(name) / "all", Path(name) / "no-air"
        make(whole, TWIN)
        make(airless, {"base": "demo", "artefacts": {**TWIN["artefacts"], "air": None}})
        marks = []
        for scan in scan_names(read_scans(whole / "scans.tsv")):
            marks += [*geometry(whole, scan), *lost_frames(whole, scan), *air(whole, airless, scan)]
        marks += planted_frames(whole, scan)
    return [*marks, tooth(), *cost()]


def make(folder: Path, twin: dict) -> None:
    """Raw files, and the workflow up to the sinograms."""
    folder.mkdir()
    (folder / "twin.yaml").write_text(yaml.safe_dump(twin), encoding="utf-8")
    call("xrdct", "simulate", folder / "twin.yaml", "--out", folder)
    config = folder / "config.yaml"
    config.write_bytes(CONFIG.read_bytes())
    made = [f"results/{scan}/assemble/quality.json" for scan in scan_names(read_scans(folder / "scans.tsv"))]
    cores, snakefile = str(os.cpu_count()), REPOSITORY / "Snakefile"
    call("snakemake", *made, "--snakefile", snakefile, "--directory", folder, "--configfile", config, "--cores", cores)


def call(program: str, *arguments) -> None:
    """One command of this environment, without its output."""
    command = [Path(sys.executable).parent / program, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(list(map(str, command)), check=True, env=environment, stdout=subprocess.DEVNULL)


def sinogram_of(folder: Path, scan: str) -> xr.Dataset:
    """The sinogram that the workflow made."""
    return read_store(folder / "results" / scan / "assemble" / "sinogram.zarr", "sinogram")


def geometry(folder: Path, scan: str) -> list[Mark]:
    """Errors of centre, backlash, and each subset's place and intensity."""
    truth = read_truth(folder, scan)
    sheet = json.loads((folder / "results" / scan / "assemble" / "quality.json").read_text(encoding="utf-8"))
    axis = truth.axis.values.mean(axis=1)
    shift = np.array([subset["shift"]["value"] for subset in sheet["subsets"]])
    factor = np.array([subset["factor"]["value"] for subset in sheet["subsets"]])
    expected = (1 + UNSEEN_DRIFT) ** (np.arange(factor.size) - (factor.size - 1) / 2)
    return [
        at_most(f"{scan}: error of the centre of rotation", 0.1, abs(sheet["centre"]["value"] - axis.mean()), "px"),
        at_most(f"{scan}: error of the backlash", 0.1, abs(sheet["backlash"]["value"] - truth.backlash.item()), "px"),
        at_most(f"{scan}: largest error of a subset's shift", 0.1, np.abs(shift - (axis - axis.mean())).max(), "px"),
        at_most(f"{scan}: largest error of a subset's intensity", 0.5, 100 * np.abs(factor / expected - 1).max(), "%"),
    ]


def lost_frames(folder: Path, scan: str) -> list[Mark]:
    """Frames that the simulator lost, by what assembly calls bad."""
    truth, bad = read_truth(folder, scan), sinogram_of(folder, scan).bad_frame.values != GOOD
    lost = on_sinogram(truth.lost.values, truth)
    return [
        at_least(f"{scan}: lost frames, found of {lost.sum()}", 100, share(bad, lost), "%"),
        at_most(f"{scan}: false alarms among {bad.size} frames", 0.1, 100 * (bad & ~lost).mean(), "%"),
    ]


def share(bad: np.ndarray, planted: np.ndarray) -> float:
    """How many of the planted frames are called bad, %."""
    return 100 * float(bad[planted].mean())


def on_sinogram(frames: np.ndarray, truth: xr.Dataset) -> np.ndarray:
    """Values (subset, line, point) as acquired, at their places in the sinogram (angle, position)."""
    placed = np.empty_like(frames)
    np.put_along_axis(placed, np.broadcast_to(truth.column.values, frames.shape), frames, axis=2)
    return placed.reshape(-1, frames.shape[2])[np.argsort(truth.line_angle.values.ravel())]


def air(folder: Path, airless: Path, scan: str) -> list[Mark]:
    """What the air leaves in the mean pattern, with the transmission that was recorded and without.

    A trimmed mean of few counts lies below the mean, less so where air adds counts: peaks of the two simulations differ
    by that, whatever assembly does (with ``estimator: mean`` and no hot pixels the rms is 0.8 %).
    """
    expected = mean_pattern(sinogram_of(airless, scan))
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        without = assembled(Path(name), folder, scan, lambda data, _: data.drop_vars("transmitted"))
        blind = mean_pattern(without)  # the correction for absorption puts back what is taken too much here
    found = sinogram_of(folder, scan)
    level = 100 * float(found.air.mean()) / expected.mean()
    rows = [reported(f"{scan}: air before subtraction, share of the mean pattern", level, "%")]
    for how, pattern in (("transmission recorded", mean_pattern(found)), ("transmission not known", blind)):
        left = 100 * (pattern - expected) / expected.mean()
        name = f"{scan}: air residual of the mean pattern, {how}"
        rows += [
            at_most(name, 1, abs(left.mean()), "%") if pattern is not blind else reported(name, abs(left.mean()), "%"),
            reported(
                f"{scan}: the same, rms over q, with what trimming few counts does", np.sqrt(np.mean(left**2)), "%"
            ),
        ]
    return rows


def mean_pattern(sinogram: xr.Dataset) -> np.ndarray:
    """Mean over all frames, on the scale of the beam at the first subset, (q,)."""
    return sinogram.intensity.values.mean(axis=(0, 1), dtype=float)


def planted_frames(folder: Path, scan: str) -> list[Mark]:
    """Weak and strong frames and a whole line, planted in the patterns beside the frames that were lost.

    Odd frames that lie within what their neighbours span, at the rim of the sample, are not meant to be found.
    """
    truth = read_truth(folder, scan)
    shape = truth.lost.shape
    chance = np.random.default_rng(0).random(shape)
    weak, strong = chance < EACH, chance > 1 - EACH
    line = np.zeros(shape, bool)
    line[1, LOST_LINE] = True
    factor = np.where(line, 0, np.where(weak, WEAK, np.where(strong, STRONG, 1))).astype(np.float32)

    def spoiled(data, subset):
        share = factor[subset][..., None]
        return data.drop_vars("group_intensity").assign(
            intensity=(data.intensity * share).assign_attrs(data.intensity.attrs),
            sem=(data.sem * np.sqrt(share)).assign_attrs(data.sem.attrs),
        )

    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        kind = assembled(Path(name), folder, scan, spoiled).bad_frame.values
    gone, odd = (on_sinogram(frames, truth) for frames in (truth.lost.values | line, (weak | strong) & ~line))
    bad = kind != GOOD
    return [
        at_least(
            f"{scan}: lost frames and a lost line beside odd ones, found of {gone.sum()}", 100, share(bad, gone), "%"
        ),
        reported(f"{scan}: half or twice as strong, found of {odd.sum()}", share(bad, odd), "%"),
        at_most(f"{scan}: the same, false alarms among {bad.size} frames", 0.1, 100 * (bad & ~gone & ~odd).mean(), "%"),
    ]


def assembled(made: Path, folder: Path, scan: str, change) -> xr.Dataset:
    """The sinogram from changed patterns, in the folder `made`, by the workflow's script; in memory."""
    stores, manifests = [], []
    rows = subsets_of(read_scans(folder / "scans.tsv"), scan)
    for k, row in enumerate(rows):
        source = folder / "results" / scan / "integrate" / str(row.subset) / "patterns.zarr"
        stores.append(str(made / f"{k}.zarr"))
        manifests.append(str(made / f"{k}.json"))
        data = change(read_store(source, "patterns"), k)
        write_store(data.drop_encoding(), stores[-1], manifests[-1], kind="patterns", settings={}, inputs={})
    result = [str(made / name) for name in ("sinogram.zarr", "sinogram.json", "quality.json")]
    keys = {"angle_start_deg", "angle_step_deg", "step_mm", "zigzag"}
    subsets = [row.model_dump(mode="json", include=keys) for row in rows]
    settings = Assemble().model_dump(mode="json")
    full_size.run_script("assemble", stores, manifests, *result, subsets=subsets, settings=settings)
    return read_store(result[0], "sinogram").load()


def tooth() -> Mark:
    """The centre of the real tooth of TomoPy's examples."""
    name = "centre of a real tooth: distance to 295.6"
    if "XRDCT_REAL_DATA" not in os.environ:
        return not_measured(name, "≤ 0.5", "XRDCT_REAL_DATA is not set")
    with h5py.File(Path(os.environ["XRDCT_REAL_DATA"]) / "tomopy_tooth" / "tooth.h5") as file:
        raw, dark, white = (file[f"exchange/{key}"][:, 0].astype(float) for key in ("data", "data_dark", "data_white"))
        angles = file["exchange/theta"][:]
    dark = dark.mean(axis=0)
    rays = -np.log(np.maximum(raw - dark, 1) / np.maximum(white.mean(axis=0) - dark, 1))
    ones = np.ones(len(rays), int)
    return at_most(name, 0.5, abs(find_alignment(rays, angles, ones, ones).cor - TOOTH), "px")


def cost() -> list[Mark]:
    """Memory and time of the script at full size."""
    shape = f"{full_size.N_ANGLES} × {full_size.N} × {full_size.N_BINS}"
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        memory, seconds = full_size.cost_of_assembly(Path(name))
    return [
        at_most(f"patterns of 4 subsets to sinogram, {shape}, peak memory", 12, memory, "GiB"),
        reported("the same, wall", seconds, "s"),
    ]
