"""The picture of a calibration: do the rings run straight, where do they leave their place, does the profile fit?"""

import numpy as np
from matplotlib.figure import Figure

from ..units import q_from_two_theta, two_theta_from_q
from .profile import pseudo_voigt
from .result import Calibration

RING_COLOUR = "#D55E00"
PROFILE_COLOUR = "#0072B2"
MOST_PPM = 10_000.0
"""Longest half-axis of the residual; points beyond lie on its edge."""


def draw_calibration(calibration: Calibration) -> Figure:
    """Cake with the expected rings, residual of the ring points, pattern with the profile, widths with their curve."""
    figure = Figure(figsize=(11, 11), layout="constrained")
    cake, residual, pattern, width = figure.subplots(4, 1, height_ratios=[3.2, 2.2, 2.2, 1.4])
    _draw_cake(cake, calibration)
    _draw_residual(figure, residual, calibration)
    _draw_pattern(pattern, calibration)
    _draw_width(width, calibration)
    seen = [ring.q_expected for ring in calibration.rings]
    for axes in (cake, pattern, width):
        axes.set_xlim(0.85 * min(seen), 1.02 * max(seen))
    figure.suptitle(
        f"{calibration.calibrant.name}, {calibration.energy_kev:g} keV: distance {calibration.distance_mm:.2f} mm, "
        f"centre (row {calibration.centre[0]:.2f}, column {calibration.centre[1]:.2f}) px, "
        f"tilt {calibration.tilt_deg:.2f}°, rms {calibration.rms_deg:.4f}°"
    )
    return figure


def _draw_cake(axes, calibration: Calibration) -> None:
    """The cake without the sectors that hold nothing: a strip detector sees a few degrees of the circle."""
    cake, rings = calibration.cake, calibration.rings
    seen = cake.q > 0.85 * rings[0].q_expected
    # A row that is empty but for a corner of the detector would show nothing but itself.
    rows = np.flatnonzero(np.isfinite(cake.intensity[:, seen]).mean(axis=1) > 0.1)
    if len(rows) < 0.5 * len(cake.chi):
        # Begin at the bottom, so that the arc at ±180° stays in one piece.
        rows = rows[np.argsort((cake.chi[rows] + 90) % 360)]
    shown = np.log1p(np.clip(cake.intensity[rows], 0, None))
    low, high = np.nanpercentile(shown, [2, 99.5])
    place = np.arange(len(rows))
    axes.pcolormesh(cake.q, place, shown, cmap="gray_r", vmin=low, vmax=high, shading="nearest", rasterized=True)
    for q in calibration.calibrant.q[calibration.calibrant.q < cake.q[-1]]:
        axes.axvline(q, color=RING_COLOUR, lw=0.5, alpha=0.6)
    for ring in rings:
        label = {"rotation": 90, "fontsize": 6, "ha": "center", "va": "bottom", "color": RING_COLOUR}
        axes.text(ring.q_expected, 1.01 * len(rows), ring.hkl, **label)
    ticks = np.linspace(0, len(rows) - 1, 7).astype(int)
    axes.set_yticks(ticks, [str(round(cake.chi[row])) for row in rows[ticks]])
    axes.set(ylabel="chi (°), where there are pixels", xlabel="q (1/Å)", ylim=(-0.5, len(rows) - 0.5))


def _draw_residual(figure: Figure, axes, calibration: Calibration) -> None:
    points = calibration.points
    expected = calibration.calibrant.two_theta[points.ring]
    ppm = 1e6 * calibration.residual / (2 * np.tan(expected / 2))
    q = q_from_two_theta(expected, wavelength=calibration.calibrant.wavelength)
    # The outer rings first, so that the few points of the inner ones stay visible.
    order = np.argsort(-q, kind="stable")
    limit = min(MOST_PPM, 1.1 * np.abs(ppm).max())
    shown = np.clip(ppm[order], -limit, limit)
    drawn = axes.scatter(np.degrees(points.chi[order]), shown, c=q[order], s=4, cmap="viridis_r", linewidths=0)
    figure.colorbar(drawn, ax=axes, label="q of the ring (1/Å)", pad=0.01)
    axes.axhline(0, color=RING_COLOUR, lw=0.8)
    axes.set(xlabel="chi (°)", ylabel="place of the ring (ppm)", xlim=(-180, 180), xticks=range(-180, 181, 30))
    axes.set_ylim(-1.05 * limit, 1.05 * limit)


def _draw_pattern(axes, calibration: Calibration) -> None:
    pattern = calibration.pattern
    axes.semilogy(pattern.q, np.where(pattern.intensity > 0, pattern.intensity, np.nan), color="black", lw=0.8)
    profile = calibration.profile
    for line in profile.lines:
        x = np.linspace(line.q - 3 * line.fwhm_q, line.q + 3 * line.fwhm_q, 101)
        shape = pseudo_voigt(x, centre=line.q, fwhm=profile.fwhm_q(line.q), eta=profile.eta(line.two_theta))
        style = "-" if line.clean else ":"
        axes.plot(x, line.background + line.height * shape, style, color=PROFILE_COLOUR, lw=0.9)
    shown = pattern.intensity[pattern.q > 0.85 * min(ring.q_expected for ring in calibration.rings)]
    shown = shown[np.isfinite(shown) & (shown > 0)]
    axes.set_ylim(0.8 * np.percentile(shown, 1), 1.5 * shown.max())
    axes.set(xlabel="q (1/Å)", ylabel="trimmed mean (counts)")
    axes.set_title("pattern, and the profile's curve at each line (dotted: not used for the profile)", fontsize=9)


def _draw_width(axes, calibration: Calibration) -> None:
    profile = calibration.profile
    for clean, marker, label in ((True, "o", "single lines"), (False, "x", "others")):
        lines = [line for line in profile.lines if line.clean is clean]
        axes.plot([x.q for x in lines], [x.fwhm for x in lines], marker, ms=4, color=PROFILE_COLOUR, label=label)
    q = np.linspace(min(x.q for x in profile.lines), max(x.q for x in profile.lines), 200)
    two_theta = np.degrees(two_theta_from_q(q, wavelength=profile.wavelength))
    curve = f"U {profile.u:.4f}, V {profile.v:.4f}, W {profile.w:.6f} degrees²"
    axes.plot(q, profile.fwhm(two_theta), color=RING_COLOUR, lw=1, label=curve)
    pixel = np.degrees(calibration.geometry.pixel2 / calibration.geometry.dist * np.cos(np.radians(two_theta)) ** 2)
    axes.plot(q, pixel, color="grey", lw=1, ls="--", label="one pixel")
    axes.set(xlabel="q (1/Å)", ylabel="FWHM (°)", ylim=(0, None))
    axes.legend(fontsize=8, ncols=4)
