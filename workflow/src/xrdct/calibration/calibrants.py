"""The rings that a calibrant has: positions, names, and which of them must be seen."""

import difflib
from dataclasses import dataclass

import numpy as np
from pyFAI.calibrant import get_calibrant
from pyFAI.calibrant import names as calibrant_names

from ..errors import ConfigError
from ..units import two_theta_from_q

WEAK, STRONG = 2.0, 10.0
"""Tabulated intensity (strongest line = 100) below which a ring need not be seen in a frame, and from which it must."""


@dataclass(frozen=True)
class Calibrant:
    """Rings of a calibrant at one wavelength, from the innermost outwards.

    Attributes
    ----------
    name
        Name in pyFAI's list.
    hkl
        Label of each ring, for example ``"111"``.
    q
        Ring positions, shape (n_rings,), 1/Å.
    two_theta
        The same as scattering angles, rad.
    weak
        Whether the ring is too faint to be counted as missing, shape (n_rings,).
    strong
        Whether a frame without this ring cannot be of this calibrant, shape (n_rings,). Tables give intensities for
        the innermost rings only; the others are neither weak nor strong.
    a
        Lattice parameter of a cubic calibrant in Å; None for other lattices.
    wavelength
        Å.
    """

    name: str
    hkl: tuple[str, ...]
    q: np.ndarray
    two_theta: np.ndarray
    weak: np.ndarray
    strong: np.ndarray
    a: float | None
    wavelength: float

    def separation(self) -> np.ndarray:
        """Distance in two_theta (rad) from each ring to its nearest neighbour."""
        padded = np.concatenate([[-np.inf], self.two_theta, [np.inf]])
        return np.minimum(np.diff(padded)[:-1], np.diff(padded)[1:])


def find_calibrant(name: str, *, wavelength: float) -> Calibrant:
    """Look up a calibrant of pyFAI's list and place its rings at a wavelength (Å).

    Raises
    ------
    ConfigError
        When there is no calibrant of this name; names the nearest ones.
    """
    known = calibrant_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
        raise ConfigError(f"calibrate.calibrant: pyFAI knows no {name!r}; did you mean {', '.join(near)}?")
    table = get_calibrant(name)
    d = np.array(table.dspacing)
    reflections = table.config.reflections
    seen = wavelength < 2 * d
    q = 2 * np.pi / d[seen]
    intensity = np.array([np.nan if r.intensity is None else r.intensity for r in reflections])[seen]
    a = _cubic_parameter(d, [r.hkl for r in reflections])
    labels = tuple(_label(r.hkl, i, cubic=a is not None) for i, r in enumerate(reflections))
    return Calibrant(
        name=name,
        hkl=tuple(label for label, s in zip(labels, seen, strict=True) if s),
        q=q,
        two_theta=two_theta_from_q(q, wavelength=wavelength),
        weak=intensity < WEAK,
        strong=intensity >= STRONG,
        a=a,
        wavelength=wavelength,
    )


def _label(hkl: tuple, index: int, *, cubic: bool) -> str:
    """'200', or '10,2,0' where an index has two figures; '#3' for a calibrant whose table has no indices.

    Cubic indices stand in falling order, as is the custom; in other lattices their order means something.
    """
    if not hkl:
        return f"#{index + 1}"
    hkl = sorted(hkl, reverse=True) if cubic else hkl
    separator = "" if all(0 <= h < 10 for h in hkl) else ","
    return separator.join(str(h) for h in hkl)


def _cubic_parameter(d: np.ndarray, hkl: list[tuple]) -> float | None:
    """a in Å if one and the same a = d √(h²+k²+l²) explains every line, else None."""
    if not all(len(indices) == 3 for indices in hkl):
        return None
    a = d * np.sqrt([sum(h * h for h in indices) for indices in hkl])
    # Tables give d to 1e-8 Å; a hexagonal lattice is off by percents.
    return float(np.median(a)) if np.ptp(a) < 1e-4 * a.mean() else None
