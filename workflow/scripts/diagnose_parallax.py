"""What parallax does to a scan, from its sinogram's extent, the geometry and the instrument's line widths."""

import json
import logging

import numpy as np

from xrdct.config import PhaseSetSettings
from xrdct.figures import save_figure
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.poni import read_poni
from xrdct.io.profile import read_profile
from xrdct.io.store import read_store, replaced_when_whole
from xrdct.logbook import logbook
from xrdct.parallax import diagnose, sample_radius
from xrdct.parallax_figure import draw_parallax
from xrdct.reconstruction.parallax import distance_and_wavelength

N_WIDTHS = 8

log = logging.getLogger("xrdct.parallax")


def main(sinogram_store, geometry, profile, outputs, *, phase_set, windows, declared_span, treated, title):
    sinogram, profile_of = read_store(sinogram_store, "sinogram"), read_profile(profile)
    place = distance_and_wavelength(read_poni(geometry), profile_wavelength=profile_of.wavelength)
    cor = sinogram.attrs["cor"] + sinogram.offset.values
    radius, beyond = sample_radius(sinogram.intensity.sum("q").values, cor, sinogram.attrs["step_mm"])
    q = np.linspace(float(sinogram.q[0]), float(sinogram.q[-1]), N_WIDTHS)
    found = diagnose(
        radius_mm=radius,
        distance_mm=place["distance_mm"],
        angles=sinogram.angle.values,
        q=q,
        fwhm_q=profile_of.fwhm_q(q),
        cells=free_cells(phase_set),
        windows={window["name"]: (window["q_min"], window["q_max"]) for window in windows},
        beyond_field=beyond,
        declared_span=declared_span,
        treated=treated,
    )
    tell(found)
    with replaced_when_whole(outputs["report"]) as partial:
        partial.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    save_figure(draw_parallax(found, title=title), outputs["figure"])


def free_cells(phase_set):
    """Start and limits of the edges that may change, by phase."""
    if phase_set is None:
        return {}
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set)).phases
    edges = {p.name: {f.name: (f.start, f.low, f.high) for f in p.free if f.name in "abc"} for p in phases}
    return {name: free for name, free in edges.items() if free}


def tell(found):
    log.info("parallax ± %.3g %% over %.3g mm", found["parallax_percent"], 2 * found["radius_mm"])
    for sentence in found["warnings"]:
        log.warning(sentence)
    for sentence in found["advice"]:
        log.info(sentence)


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.sinogram,
            snakemake.input.geometry,
            snakemake.input.profile,
            dict(snakemake.output.items()),
            title=snakemake.wildcards.scan,
            **json.loads(snakemake.params.cfg),
        )
