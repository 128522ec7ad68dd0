"""A thick cell whose every cell parameter is known, with parallax: the phantom of the parallax marks.

A spiral of NCA with a gradient, a hot spot and an azimuthal step in a and c, an aluminium foil beside it, and isolated
things: single grains of NCA outside the roll and a tab. Its sinogram is computed from sub-voxels whose exact rings are
integrated over the bins of q in closed form: no kernel, no axis and no voxels are the pipeline's.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np

from ..calibration.profile import InstrumentProfile
from ..config import PhaseSetSettings
from ..fit.phase_set import load_phase_set
from ..twin.patterns import widen
from ..twin.projector import shadow
from ..units import q_from_two_theta, two_theta_from_q

WAVELENGTH = 0.1305
DISTANCE_MM, RADIUS_MM, FIELD_MM = 1000.0, 9.15, 20.0
"""The 18650 of the NCA paper: ± 0.9 % of its distance."""
SIZE_NM, FOIL_NM = 150.0, 300.0
Q = np.arange(1.10, 2.90, 0.00828)
PROFILE = InstrumentProfile(
    u=0.105, v=0.0, w=0.0002, eta0=0.05, eta1=0.0, two_theta_range=(1.0, 5.0), wavelength=WAVELENGTH, q_step=1e-4,
    trim=0.2, lines=(),
)  # fmt: skip
PHASES = PhaseSetSettings.model_validate(
    {
        "name": "thick-cell",
        "q_min": 1.16,
        "q_max": 2.84,
        "background_degree": 1,
        "phases": [
            {"name": "NCA", "free": {"a": [2.79, 2.89], "c": [14.0, 14.7]}, "per_voxel": ["a", "c"],
             "size_nm": SIZE_NM},
            {"name": "Al", "free": {"a": [4.046, 4.052]}, "size_nm": FOIL_NM},
        ],
    }
)  # fmt: skip
FINENESS = 3
"""Sub-voxels along the edge of a pixel."""
REACH = 8.0
"""FWHM from its centre at which a line ends."""


@dataclass(frozen=True)
class ThickCell:
    """Truth on the pixels of a map [y, x], and the sub-voxels that it is the mean of."""

    n: int
    step_mm: float
    nca: np.ndarray
    """Share of each pixel that is NCA, shape (n, n)."""
    a: np.ndarray
    c: np.ndarray
    """Å, mean over the NCA of a pixel, NaN without any."""
    grains: np.ndarray
    """Pixels of the isolated grains, bool."""
    points: tuple[np.ndarray, ...]
    """x, y (mm), NCA, Al, a, c of the sub-voxels."""

    def sinogram(self, angles: np.ndarray, *, counts: float, parallax: bool = True) -> np.ndarray:
        """Expected counts, shape (n_angles, n, n_q), at most `counts`, centre of rotation in the middle."""
        distance = DISTANCE_MM if parallax else 1e12
        step = Q[1] - Q[0]
        lines = [_lines(phase) for phase in load_phase_set(PHASES).phases]
        arrays = [np.concatenate(parts) for parts in zip(*lines, strict=True)]
        owner = np.repeat([0, 1], [len(part[0]) for part in lines])
        sinogram = _project(
            *self.points, np.radians(angles), self.n, self.step_mm, self.step_mm / FINENESS, distance,
            4 * np.pi / WAVELENGTH, Q[0] - step / 2, step, Q.size, *arrays, owner,
        )  # fmt: skip
        return sinogram * (counts / sinogram.max())


def thick_cell(n: int, seed: int, *, layer_px: float = 3.0) -> ThickCell:
    """The cell of a seed, on n × n pixels of a field of `FIELD_MM`; layers are `layer_px` pixels thick."""
    rng = np.random.default_rng(seed)
    step = FIELD_MM / n
    fine = (np.arange(n * FINENESS) - (n * FINENESS - 1) / 2) * step / FINENESS
    x, y = np.meshgrid(fine, fine[::-1])
    r, phi = np.hypot(x, y), np.arctan2(y, x)
    turns = (r / (2 * layer_px * step) - phi / (2 * np.pi) + rng.random()) % 1
    rolled = (r > 1.2) & (r < 0.82 * RADIUS_MM)
    nca = ((turns < 0.5) & rolled) * (1 + 0.15 * np.sin(3 * phi + rng.uniform(0, 6)))
    foil = 0.6 * ((turns > 0.62) & (turns < 0.8) & rolled)
    isolated = np.zeros(r.shape, dtype=bool)
    for k in range(4):
        turn = np.pi / 2 * k + rng.uniform(-0.6, 0.6)
        at = 0.93 * RADIUS_MM * np.array([np.cos(turn), np.sin(turn)])
        isolated |= np.hypot(x - at[0], y - at[1]) < 0.9 * step
    nca = np.where(isolated, 1.0, nca)
    hot = rng.uniform(-4, 4, 2)
    spot = np.exp(-((x - hot[0]) ** 2 + (y - hot[1]) ** 2) / 8)
    sector = (np.cos(phi - rng.uniform(0, 6)) > 0.75) * 1.0
    a = 2.82 + 0.02 * spot + 8e-4 * r + 0.005 * sector
    c = 14.45 - 0.20 * spot - 6e-3 * r - 0.05 * sector
    weight = np.maximum(_coarse(nca, n), 1e-12)
    empty = np.where(_coarse(nca, n) > 1e-6, 0.0, np.nan)
    used = (nca > 0) | (foil > 0)
    return ThickCell(
        n,
        step,
        _coarse(nca, n),
        _coarse(nca * a, n) / weight + empty,
        _coarse(nca * c, n) / weight + empty,
        _coarse(isolated.astype(float), n) > 0.6,
        tuple(part[used].astype(float) for part in (x, y, nca, foil, a, c)),
    )


def _coarse(fine, n):
    k = len(fine) // n
    return fine.reshape(n, k, n, k).mean(axis=(1, 3))


def _lines(phase):
    """What of 1/a² and 1/c² is in 1/d², q at the reference cell, area there, FWHM and Lorentzian share."""
    h, k, ell = phase.lines.hkl.T.astype(float)
    if phase.system == "cubic":
        by_a, by_c = h * h + k * k + ell * ell, 0 * ell
    else:
        by_a, by_c = 4 / 3 * (h * h + h * k + k * k), ell * ell
    q = phase.lines.q
    lorentzian = 0.9 * 2 * np.pi / (10 * phase.size.start)
    pairs = [widen(w, 0.05, lorentzian) for w in PROFILE.fwhm_q(q)]
    volume = phase.cell["a"] ** 3 if phase.system == "cubic" else phase.cell["a"] ** 2 * phase.cell["c"]
    strength = phase.lines.intensity * q**2 * volume**2 / phase.lines.intensity.max()
    return by_a, by_c, strength, np.array([w for w, _ in pairs]), np.array([share for _, share in pairs])


@numba.njit(cache=True, parallel=True)
def _project(
    x, y, nca, foil, a, c, angles, n, step, size, distance, k, first, dq, n_q, by_a, by_c, strength, fwhm, eta, owner
):
    sinogram = np.zeros((angles.size, n, n_q))
    for w in numba.prange(angles.size):
        cosine, sine = math.cos(angles[w]), math.sin(angles[w])
        wide = size * max(abs(cosine), abs(sine))
        narrow = size * min(abs(cosine), abs(sine))
        pattern = np.empty(n_q)
        for i in range(x.size):
            t = x[i] * cosine + y[i] * sine
            near = 1 - (y[i] * cosine - x[i] * sine) / distance
            pattern[:] = 0.02 * (nca[i] + foil[i]) / near**2
            for j in range(by_a.size):
                amount = nca[i] if owner[j] == 0 else foil[i]
                if amount == 0.0:
                    continue
                edge = a[i] if owner[j] == 0 else 4.0494
                height = c[i] if owner[j] == 0 else 1.0
                volume = edge * edge * height if owner[j] == 0 else edge**3
                q = 2 * math.pi * math.sqrt(by_a[j] / edge**2 + by_c[j] / height**2)
                true = 2 * math.asin(q / k)
                seen = math.atan(near * math.tan(true))
                at = k * math.sin(seen / 2)
                gain = (math.cos(true) / math.cos(seen)) ** 3 / near**2
                width = fwhm[j] * at / q
                area = 1e-3 * amount * strength[j] / (volume**2 * q**2) * gain * at / q
                low = max(0, int((at - REACH * width - first) / dq))
                high = min(n_q, int((at + REACH * width - first) / dq) + 1)
                before = _cumulated((first + low * dq - at) / width, eta[j])
                for b in range(low, high):
                    after = _cumulated((first + (b + 1) * dq - at) / width, eta[j])
                    pattern[b] += area * (after - before) / dq
                    before = after
            reach = (wide + narrow) / 2
            middle = (n - 1) / 2
            low = max(0, math.ceil((t - reach) / step + middle - 0.5))
            high = min(n - 1, math.floor((t + reach) / step + middle + 0.5))
            for p in range(low, high + 1):
                left = (p - middle - 0.5) * step - t
                share = shadow(left + step, wide, narrow) - shadow(left, wide, narrow)
                for b in range(n_q):
                    sinogram[w, p, b] += share * pattern[b]
    return sinogram


@numba.njit(cache=True)
def _cumulated(x, eta):
    """Integral of a pseudo-Voigt of FWHM 1 up to x."""
    lorentz = 0.5 + math.atan(2 * x) / math.pi
    gauss = 0.5 * (1 + math.erf(2 * math.sqrt(math.log(2)) * x))
    return eta * lorentz + (1 - eta) * gauss


def lattice_errors(cell: ThickCell, a: np.ndarray, c: np.ndarray, *, where: np.ndarray) -> dict[str, float]:
    """Root mean square errors of maps of a and c over pixels, Å, relative to the truth."""
    chosen = where & np.isfinite(a) & np.isfinite(c)
    errors = {"a": (a - cell.a)[chosen], "c": (c - cell.c)[chosen]}
    return {name: float(np.sqrt(np.mean(values**2))) for name, values in errors.items()}


def q_of_depth(q: np.ndarray, u: float) -> np.ndarray:
    """Where a line at q is seen from depth u (mm): what the tests hold the phantom against."""
    return q_from_two_theta(
        np.arctan((1 - u / DISTANCE_MM) * np.tan(two_theta_from_q(q, wavelength=WAVELENGTH))), wavelength=WAVELENGTH
    )
