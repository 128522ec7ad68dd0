"""A beamtime of three scans whose cell is known: turned and shifted between them, phases that come and go."""

import json

import numpy as np
import xarray as xr

import gather_beamtime
from xrdct.config.beamtime import Beamtime
from xrdct.io.masks import write_mask
from xrdct.io.store import write_store

N, STEP = 96, 0.05
PHASES = ("NCA", "graphite", "LiC6", "Cu", "Fe")
STATES = {"s1": (2.65, 0.0, 2.861, 14.231), "s2": (3.8, 0.4, 2.840, 14.370), "s3": (4.2, 0.9, 2.819, 14.481)}
"""Voltage, share of LiC6, a and c by scan."""
MOTIONS = {"s1": (0.0, 0.0, 0.0), "s2": (2.4, 1.3, -0.8), "s3": (-3.1, -1.7, 2.2)}
SETTINGS = {
    "register_by": ["Cu", "Fe"],
    "groups": {"anode": ["graphite", "LiC6"]},
    "regions": [
        {"name": "upper", "azimuth_deg": [0, 180]},
        {"name": "cathode", "strong": [{"phase": "NCA", "above": 0.5}]},
        {"name": "farther", "cell": [{"phase": "NCA", "edge": "c", "angstrom": [14.501, 20.0]}]},
        {"name": "drawn", "mask": "MASK"},
    ],
    "clusters": {"phase": "NCA", "count": 2},
}


def scan_of(name):
    """A fit of one scan: layers of a spiral, a tab on the copper, a casing; as a moved cell shows them."""
    _, lithiated, a, c = STATES[name]
    row, column = np.indices((N, N), dtype=float)
    turn, down, right = MOTIONS[name]
    angle, middle = np.radians(turn), (N - 1) / 2
    u, v = row - middle - down, column - middle - right
    x, y = (-np.sin(angle) * u + np.cos(angle) * v) * STEP, -(np.cos(angle) * u + np.sin(angle) * v) * STEP
    radius, azimuth = np.hypot(x, y), np.arctan2(y, x)
    depth = ((radius - 0.35) / 0.5 - azimuth / (2 * np.pi)) % 1
    wound = (radius > 0.5) & (radius < 1.95)

    def layer(centre, width):
        return np.exp(-(((depth - centre) / width) ** 2)) * wound

    anode, tab = layer(0.25, 0.12), np.exp(-(((x - 0.5) ** 2 + (y - 0.6) ** 2) / 0.01))
    scale = np.zeros((len(PHASES), N, N))
    scale[0], scale[1], scale[2] = layer(0.7, 0.12), anode * (1 - lithiated), anode * lithiated
    scale[3], scale[4] = layer(0.25, 0.05) + 2 * tab, 2 * np.exp(-(((radius - 2.2) / 0.06) ** 2))
    rng = np.random.default_rng(list(STATES).index(name))
    noise = 0.01
    scale += rng.normal(0, noise, scale.shape)
    nothing = np.full(scale.shape, np.nan)
    cells = {edge: nothing.copy() for edge in ("a", "a_err", "c", "c_err")}
    # Right of the middle the cell is a little farther charged: two regions that the data know of.
    more = np.where(x > 0, 1.0, 0.0)
    cells["a"][0], cells["c"][0] = a - 0.004 * more, c + 0.04 * more
    cells["a"][0] += rng.normal(0, 0.001, (N, N))
    cells["c"][0] += rng.normal(0, 0.004, (N, N))
    cells["a_err"][0], cells["c_err"][0] = 0.001, 0.004
    maps = {
        "scale": scale,
        "scale_err": np.full(scale.shape, noise),
        "weight_fraction": scale / np.abs(scale).sum(0),
        **cells,
        **{key: nothing for key in ("b", "b_err", "size", "size_err")},
        "at_limit": np.zeros(scale.shape, bool),
    }
    axis = (np.arange(N) - middle) * STEP
    one, image = {"units": "1"}, np.ones((N, N))
    pattern = ("q", np.ones(3), {"units": "counts/voxel"})
    return xr.Dataset(
        {key: (("phase", "y", "x"), values, one) for key, values in maps.items()}
        | {key: (("y", "x"), image, one) for key in ("rwp", "chi2", "mask")}
        | {key: pattern for key in ("mean_pattern", "mean_fit", "mean_background")},
        coords={
            "phase": ("phase", np.array(PHASES, dtype=np.dtypes.StringDType())),
            "q": ("q", np.arange(3.0)),
            "y": ("y", axis[::-1], {"units": "mm"}),
            "x": ("x", axis, {"units": "mm"}),
        },
        attrs={"voxel_mm": STEP},
    )


def gather_to(folder, name):
    settings = json.loads(json.dumps(SETTINGS).replace("MASK", str(folder / "mask.npy")))
    empty = {"sample": "cell", "cycle": "", "state": ""}
    gather_beamtime.main(
        [folder / f"{scan}.zarr" for scan in STATES],
        [folder / f"{scan}.json" for scan in STATES],
        folder / f"{name}.zarr",
        folder / f"{name}.json",
        folder / f"{name}.csv",
        scans=[{"scan": scan, "voltage_V": STATES[scan][0], **empty} for scan in STATES],
        settings=Beamtime.model_validate(settings).model_dump(mode="json", exclude={"apply", "unroll"}),
    )


def write_beamtime(folder):
    """Fits of all scans, a drawn mask, and the tree `beamtime.zarr`."""
    for name in STATES:
        write_store(scan_of(name), folder / f"{name}.zarr", folder / f"{name}.json", kind="fit", settings={}, inputs={})
    mask = np.zeros((N, N), bool)
    mask[40:50, 20:60] = True
    write_mask(mask, folder / "mask.npy")
    gather_to(folder, "beamtime")
