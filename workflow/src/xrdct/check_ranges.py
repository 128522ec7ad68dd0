"""Do ranges of the configuration lie within what detector and scans can show?"""

from pathlib import Path

import numpy as np

from .config import Section
from .errors import GeometryError, XrdctError
from .io.frames import raw_path, read_image
from .io.poni import read_poni
from .pixel_bins import check_q_range
from .scans import Subset, scan_names, subsets_of
from .units import wavelength_from_energy


def q_range_problem(sections: dict[str, Section | None], root: Path | None) -> str | None:
    """What is wrong with `integrate.q_min` and `q_max`, None where nothing is, or where nobody can say before a run.

    With `calibrate.poni` it is what the unmasked detector sees; without, only that q ends at backscattering.

    Parameters
    ----------
    sections
        Sections of the configuration by name, None for those that are wrong in themselves.
    root
        Folder of the raw data, None where there is none.
    """
    integrate, beam, calibrate, detector = (sections[k] for k in ("integrate", "beam", "calibrate", "detector"))
    if integrate is None:
        return None
    if beam and integrate.q_max >= (last := 4 * np.pi / wavelength_from_energy(beam.energy_kev)):
        return f"integrate.q_max: {integrate.q_max} 1/Å, but at {beam.energy_kev} keV no q lies beyond {last:.3g} 1/Å"
    if root is None or detector is None or calibrate is None or calibrate.poni is None:
        return None
    try:
        geometry = read_poni(raw_path(root, calibrate.poni))
        bad = read_image(raw_path(root, detector.mask)) if detector.mask else np.zeros(geometry.detector.shape)
    except XrdctError:
        return None  # told where the file belongs
    try:
        check_q_range(geometry, bad == 0, q_min=integrate.q_min, q_max=integrate.q_max)
    except GeometryError as error:
        return str(error)
    return None


def axis_problems(rows: list[Subset], cor: float | None) -> list[str]:
    """Scans whose field does not reach the centre of rotation that the configuration names."""
    return [
        f"scan {scan}: assemble.cor = {cor} lies outside the {n} positions (0 to {n - 1})"
        for scan in scan_names(rows)
        if cor is not None and cor > (n := subsets_of(rows, scan)[0].n_positions) - 1
    ]
