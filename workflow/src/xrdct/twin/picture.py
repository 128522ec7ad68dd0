"""A frame of the twin beside a real one: ``python -m xrdct.twin.picture FRAME PONI MASK --out FILE``.

The twin gets what the real frame is known for (distance, beam, wavelength, calibrant) and nothing fitted to it but
the overall number of counts, the widths (from the lines of the real frame) and the level of the air scatter.
"""

import argparse
from pathlib import Path

import fabio
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

from ..io.poni import read_poni
from .detector import draw_defects, gaps, place_pixels, wavelength
from .frames import air_image, record, weaken
from .parameters import Air, BadPixels, Beam, Detector, Instrument, load_parameters
from .patterns import crystal_pattern, q_grid
from .shine import addresses, shine
from .structures import read_crystal

BINS = 1200
INSTRUMENT = Instrument(fwhm=0.0150, fwhm_slope=0.0035, eta=0.1)
"""Widths of the lines of the real frame: 0.0162 1/Å at q = 2.0 to 0.0350 at 8.9."""
BAD = BadPixels(n_hot=200, n_dead=100, n_flagged=50, hot_counts=100_000)


def twin_frame(poni: Path, *, beamstop_px: float, rings: float, air: Air) -> tuple[np.ndarray, np.ndarray]:
    """A simulated frame of CeO2 in the geometry of a .poni file, and q of every pixel.

    `rings` scales the lines (counts per mm of powder and e²/Å³), `air` is the scatter of air and windows.
    """
    geometry = read_poni(poni)
    fit2d = geometry.getFit2D()
    modules = load_parameters("nca18650").detector
    detector = Detector(
        shape=geometry.detector.shape,
        pixel_um=1e6 * geometry.detector.pixel1,
        distance_mm=fit2d["directDist"],
        beam_centre=(fit2d["centerY"], fit2d["centerX"]),
        tilt_deg=abs(fit2d["tilt"]),
        tilt_plane_deg=fit2d["tiltPlanRotation"],
        column_gaps=modules.column_gaps,
        row_gaps=modules.row_gaps,
    )
    beam = Beam(energy_kev=wavelength(1) / (1e10 * geometry.wavelength), dose=1)
    pixels = place_pixels(detector, beam, beamstop_px=beamstop_px)
    q = q_grid(float(pixels.q.max()))
    pattern = crystal_pattern(read_crystal("CeO2"), q, instrument=INSTRUMENT, size_nm=1000)
    counts = shine((rings * pattern).astype(np.float32)[None, None], addresses(pixels, q, np.zeros(1)))
    weaken(counts, air_image(air, pixels), np.ones(1), np.ones(1))
    defects = draw_defects(detector, BAD, seed=1)
    frame = record(counts, defects, seed=1, scan="picture", subset=0, first_frame=0, poisson=True)
    return frame.reshape(detector.shape), np.where(gaps(detector), np.nan, pixels.q)


def radial_profile(frame: np.ndarray, q: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the bins in 1/Å and the mean of the good pixels in each (NaN where there is none)."""
    edges = np.linspace(0, np.nanmax(q), BINS + 1)
    total, _ = np.histogram(q[good], edges, weights=frame[good])
    number, _ = np.histogram(q[good], edges)
    return (edges[1:] + edges[:-1]) / 2, np.where(number > 0, total / np.maximum(number, 1), np.nan)


def draw(real: np.ndarray, twin: np.ndarray, q: np.ndarray, mask: np.ndarray, out: Path) -> None:
    """Both frames on one colour scale, their radial profiles below."""
    figure = plt.figure(figsize=(9, 8), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[2, 1])
    level = np.percentile(real[~mask & (real > 0)], [1, 99.7])
    for k, (name, frame) in enumerate({"real": real, "twin": twin}.items()):
        axes = figure.add_subplot(grid[0, k])
        shown = np.where(frame < 0, np.nan, np.maximum(frame, 0.5))
        image = axes.imshow(shown, norm=LogNorm(*level), cmap="viridis", interpolation="antialiased")
        axes.set(title=name, xlabel="column", ylabel="row")
    figure.colorbar(image, ax=figure.axes, label="counts", shrink=0.8)
    axes = figure.add_subplot(grid[1, :])
    for name, frame in {"real": real, "twin": twin}.items():
        good = (frame >= 0) & ~mask & np.isfinite(q) & (frame < 1e6)
        axes.plot(*radial_profile(frame, q, good), label=name, lw=0.8)
    axes.set(xlabel="q in 1/Å", ylabel="mean counts", yscale="log", xlim=(0.5, 9), ylim=(level[0] / 2, None))
    axes.legend(frameon=False)
    figure.savefig(out, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frame", type=Path, help="real frame of CeO2")
    parser.add_argument("poni", type=Path, help="its geometry")
    parser.add_argument("mask", type=Path, help="its mask")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    arguments = parser.parse_args()
    real, mask = fabio.open(str(arguments.frame)).data, fabio.open(str(arguments.mask)).data.astype(bool)
    twin, q = twin_frame(arguments.poni, beamstop_px=25, rings=22.0, air=Air(level=255, rise=120, q_decay=2.0))
    draw(real, twin, q, mask, arguments.out)


if __name__ == "__main__":
    main()
