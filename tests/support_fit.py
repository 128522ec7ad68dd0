"""An instrument for fits (a 172 µm detector at 1 m and 95 keV), and the stores of a small scan."""

import numpy as np
import xarray as xr

from xrdct.calibration.profile import InstrumentProfile
from xrdct.io.store import write_store

PIXEL = 0.00828  # 1/Å: 172 µm at 1 m and 95 keV
PROFILE = InstrumentProfile(
    u=0.105, v=0.0, w=0.0002, eta0=0.1, eta1=0.0, two_theta_range=(1.0, 5.0), wavelength=0.1305, q_step=PIXEL / 2,
    trim=0.2, lines=(),
)  # fmt: skip


def write_small_scan(folder, patterns, q):
    """Write v.zarr (patterns of shape [y, x, q]) and s.zarr (every channel as noisy as any other) with manifests."""
    size = len(patterns)
    axis = ("x", np.arange(size) * 0.05, {"units": "mm"})
    volume = xr.Dataset(
        {"intensity": (("y", "x", "q"), patterns.astype(np.float32), {"units": "counts/voxel"})},
        coords={"y": ("y", axis[1][::-1], axis[2]), "x": axis, "q": ("q", q, {"units": "1/angstrom"})},
        attrs={"voxel_mm": 0.05, "stage": "first"},
    )
    write_store(volume, folder / "v.zarr", folder / "v.json", kind="volume", settings={}, inputs={})
    lines = {"units": "1"}
    sinogram = xr.Dataset(
        {
            "intensity": (("angle", "position", "q"), np.ones((2, 3, q.size)), {"units": "counts"}),
            "variance": (("angle", "position", "q"), np.ones((2, 3, q.size)), {"units": "counts^2"}),
            "air": (("angle", "q"), np.zeros((2, q.size)), {"units": "counts"}),
            **{name: (("angle", "position"), np.zeros((2, 3)), lines) for name in ("repaired", "bad_frame", "zingers")},
            **{name: (("angle",), np.zeros(2), lines) for name in ("subset", "direction", "offset")},
        },
        coords={"q": ("q", q, {"units": "1/angstrom"})},
    )
    write_store(sinogram, folder / "s.zarr", folder / "s.json", kind="sinogram", settings={}, inputs={})
