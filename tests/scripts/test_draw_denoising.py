"""The figure of before and after shows one and the same piece of matter, and the error that the stores state."""

import numpy as np
import pytest
import xarray as xr

from draw_denoising import before_and_after, windows_of
from xrdct.figures_beamtime import save_both
from xrdct.figures_denoising import draw_denoising
from xrdct.geometry import lateral_position, pixel_centres

N, COR, STEP = 25, 13.0, 0.1
"""Positions, and the axis one pixel from their middle."""
Q = np.linspace(1.0, 1.9, 10)


@pytest.fixture
def scan():
    """A blob off the axis, seen in the first half of q only; its volume is taken as if nothing had been denoised."""
    angles = np.arange(0, 180, 3.0)
    axis = pixel_centres(N, STEP)
    x, y = 0.5, -0.4
    along = (np.arange(N) - COR) * STEP
    line = np.exp(-(((along - lateral_position(x, y, angles)[:, None]) / 0.2) ** 2))
    strength = np.where(np.arange(Q.size) < 5, 1.0, 0.0)
    sinogram = xr.Dataset(
        {"intensity": (("angle", "position", "q"), line[..., None] * strength), "offset": ("angle", 0 * angles)},
        coords={"angle": angles},
        attrs={"cor": COR},
    )
    blob = np.exp(-(((axis - x) / 0.2) ** 2))[None] * np.exp(-(((axis[::-1] - y) / 0.2) ** 2))[:, None]
    dims = ("y", "x", "q")
    volume = xr.Dataset(
        {"intensity": (dims, blob[..., None] * strength), "spread": (dims, np.full((N, N, Q.size), 0.3))},
        coords={"y": axis[::-1], "x": axis, "q": Q},
    )
    maps = xr.Dataset({"q_min": ("phase", [1.0, 1.6]), "q_max": ("phase", [1.35, 1.9])}, {"phase": ["there", "not"]})
    return sinogram, volume, maps


def test_before_and_after_lie_upon_one_another(scan, tmp_path):
    sinogram, volume, maps = scan
    found = before_and_after(sinogram, volume, windows_of(maps, Q))
    peaks = [np.unravel_index(found[name].values[0].argmax(), (N, N)) for name in ("before", "after")]
    assert peaks[0] == peaks[1]
    assert np.abs(found.before.values[1]).max() < 1e-6 < found.before.values[0].max()
    # Four of ten bins, each with an error of 0.3: their mean has half of it.
    np.testing.assert_allclose(found.spread.values, 0.15)
    save_both(draw_denoising(found, colormap="viridis"), tmp_path / "d.png", tmp_path / "d.svg")
    assert "difference" in (tmp_path / "d.svg").read_text()


def test_without_windows_all_of_q_is_shown(scan):
    _, _, maps = scan
    ((name, inside),) = windows_of(maps.isel(phase=[]), Q).items()
    assert name == "all q"
    assert inside.all()
