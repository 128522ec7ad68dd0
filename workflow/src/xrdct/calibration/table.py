"""What each ring says: its place, the lattice parameter it gives, and the sectors where it is bent."""

from dataclasses import dataclass

import numpy as np

from .calibrants import Calibrant
from .profile import Line
from .refine import Refinement
from .rings import RingPoints

N_SECTORS = 24
"""Sectors of 15°: one point or more on the innermost ring, each the mean over an arc."""
BENT_PPM, BENT_PX = 1500.0, 0.3
"""Deviation of a sector from its ring's place that is worth a warning: a lattice parameter measured there alone is
wrong in the third figure, and it is several times the error of a point."""


@dataclass(frozen=True)
class Ring:
    """One ring of the calibrant on the frame.

    Attributes
    ----------
    hkl
        Label.
    q_expected
        1/Å, from the calibrant's table.
    q
        1/Å, of the fitted line in the pattern; NaN where there is no single line.
    ppm
        (q / q_expected − 1) in millionths.
    a
        Lattice parameter in Å that this line gives (cubic calibrants; else NaN).
    fwhm_q
        1/Å, of the line in the pattern.
    clean
        Whether the line is single and strong: only those should be believed.
    n_points
        Points that the refinement used.
    sector_ppm
        Median deviation in q of the points of each sector, shape (`N_SECTORS`,), millionths; NaN where there are
        none. Sector i covers chi from −180 + 15 i to −165 + 15 i degrees.
    """

    hkl: str
    q_expected: float
    q: float
    ppm: float
    a: float
    fwhm_q: float
    clean: bool
    n_points: int
    sector_ppm: np.ndarray


def ring_table(calibrant: Calibrant, points: RingPoints, refinement: Refinement, lines: list[Line]) -> tuple[Ring, ...]:
    """Put together points and fitted lines, ring by ring, for the rings that have either."""
    by_ring = {line.ring: line for line in lines}
    count = points.count()
    # Where a point lies in q, relative to its ring: dq/q = d(2θ) / (2 tan θ).
    half = calibrant.two_theta[points.ring] / 2
    deviation = 1e6 * refinement.residual / (2 * np.tan(half))
    sector = ((np.degrees(points.chi) + 180) / (360 / N_SECTORS)).astype(int) % N_SECTORS
    rings = []
    for k in range(len(calibrant.q)):
        line = by_ring.get(k)
        if count[k] == 0 and line is None:
            continue
        on_ring = points.ring == k
        sectors = np.full(N_SECTORS, np.nan)
        for s in np.unique(sector[on_ring]):
            sectors[s] = np.median(deviation[on_ring & (sector == s)])
        q = line.q if line else np.nan
        ratio = q / calibrant.q[k]
        rings.append(
            Ring(
                hkl=calibrant.hkl[k],
                q_expected=float(calibrant.q[k]),
                q=q,
                ppm=1e6 * (ratio - 1),
                a=calibrant.a / ratio if calibrant.a else np.nan,
                fwhm_q=line.fwhm_q if line else np.nan,
                clean=bool(line and line.clean),
                n_points=int(np.count_nonzero(on_ring & refinement.kept)),
                sector_ppm=sectors,
            )
        )
    return tuple(rings)


def bent_sectors(rings: tuple[Ring, ...], *, pixel_q: float) -> list[str]:
    """One sentence for every ring and part of the circle where it leaves its place by `BENT_PPM` and `BENT_PX`.

    Parameters
    ----------
    pixel_q
        Width of a pixel in 1/Å.
    """
    sentences = []
    for ring in rings:
        pixel = 1e6 * pixel_q / ring.q_expected
        for first, last, ppm in _runs(ring.sector_ppm, limit=max(BENT_PPM, BENT_PX * pixel)):
            width = 360 / N_SECTORS
            start, end = -180 + first * width, -180 + (last + 1) * width
            end = end if end <= 180 else end - 360
            sentences.append(
                f"ring {ring.hkl} is pulled by the sector from chi {start:.0f}° to {end:.0f}°: there it lies "
                f"{ppm:+.0f} ppm ({ppm / pixel:+.2f} px) off its place, as on a "
                "displaced detector module"
            )
    return sentences


def _runs(ppm: np.ndarray, *, limit: float) -> list[tuple[int, int, float]]:
    """Neighbouring sectors (the circle is closed) that are bent to the same side: (first, last, median ppm)."""
    n = len(ppm)
    side = np.where(np.abs(np.nan_to_num(ppm)) > limit, np.sign(np.nan_to_num(ppm)), 0)
    if np.all(side == side[0]):
        return [(0, n - 1, float(np.median(ppm)))] if side[0] else []
    # Begin where one run ends, so that none is cut at ±180°.
    origin = next(i for i in range(n) if side[i] != side[i - 1])
    runs, i = [], origin
    while i < origin + n:
        length = 1
        while i + length < origin + n and side[(i + length) % n] == side[i % n]:
            length += 1
        if side[i % n]:
            members = [(i + j) % n for j in range(length)]
            runs.append((members[0], members[-1], float(np.median(ppm[members]))))
        i += length
    return runs
