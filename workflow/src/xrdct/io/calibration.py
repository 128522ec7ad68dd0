"""The files of a calibration: geometry.poni, profile.json, rings.tsv and cake.png in one folder."""

import math
import os
from pathlib import Path

from ..calibration.picture import draw_calibration
from ..calibration.result import Calibration
from ..calibration.table import N_SECTORS, Ring
from ..figures import save_figure
from .poni import write_poni
from .profile import profile_text
from .whole import scratch_beside

FILES = ("cake.png", "rings.tsv", "profile.json", "geometry.poni")
"""In the order in which they are moved in: the geometry, which the next step waits for, comes last."""


def write_calibration(folder: str | Path, calibration: Calibration) -> None:
    """Write a calibration into a folder: the files are made aside and moved in when all of them are whole.

    Other files in the folder stay. The same calibration gives the same bytes.
    """
    folder = Path(folder)
    with scratch_beside(folder / "calibration") as partial:
        partial.mkdir()
        save_figure(draw_calibration(calibration), partial / "cake.png")
        (partial / "rings.tsv").write_text(_rings_text(calibration), encoding="utf-8")
        (partial / "profile.json").write_text(profile_text(calibration.profile), encoding="utf-8")
        write_poni(partial / "geometry.poni", calibration.geometry)
        for file in FILES:
            os.replace(partial / file, folder / file)


def _rings_text(calibration: Calibration) -> str:
    """The ring table with the results and what was said about them as comments on top."""
    comments = [
        f"{calibration.calibrant.name} at {calibration.energy_kev:g} keV",
        *calibration.summary().splitlines(),
        *calibration.messages,
        *(f"WARNING {sentence}" for sentence in calibration.warnings),
        "q in 1/Å, a and fwhm in Å and 1/Å; chi columns: deviation of q in ppm from that azimuth (degrees) on",
    ]
    width = 360 // N_SECTORS
    header = ["hkl", "q_expected", "q", "ppm", "a", "fwhm_q", "clean", "n_points"]
    header += [f"chi{-180 + width * i}" for i in range(N_SECTORS)]
    rows = ["\t".join(_cells(ring)) for ring in calibration.rings]
    return "\n".join([*(f"# {text}" for text in comments), "\t".join(header), *rows]) + "\n"


def _cells(ring: Ring) -> list[str]:
    numbers = [(ring.q_expected, 5), (ring.q, 5), (ring.ppm, 0), (ring.a, 5), (ring.fwhm_q, 5)]
    cells = [ring.hkl, *(_cell(value, digits) for value, digits in numbers)]
    return [*cells, "yes" if ring.clean else "no", str(ring.n_points), *(_cell(v, 0) for v in ring.sector_ppm)]


def _cell(value: float, digits: int) -> str:
    """Rounded, without the sign of a zero; empty where there is no value."""
    return f"{round(value, digits) + 0.0:.{digits}f}" if math.isfinite(value) else ""
