"""Scales of the first fit to attenuation.zarr, and to a sinogram.zarr without self-absorption."""

import json
import logging
from dataclasses import replace

import numba
import numpy as np
import xarray as xr

from xrdct.absorption.attenuation import compare_maps, mu_without_pores
from xrdct.absorption.by_depth import ratio_by_depth
from xrdct.absorption.casing import Wall, find_wall
from xrdct.absorption.chain import (
    Attenuation,
    Matter,
    Measured,
    divide,
    remove_absorption,
)
from xrdct.absorption.first_order import seen_azimuths
from xrdct.absorption.leaving import Leaving
from xrdct.absorption.material import composition_of, linear_attenuation
from xrdct.absorption.scales import Scales
from xrdct.config import Absorption, PhaseSetSettings
from xrdct.errors import AttenuationError
from xrdct.fit.model import PatternModel
from xrdct.fit.parallax import parallax_width
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.frames import read_image
from xrdct.io.masks import read_mask
from xrdct.io.poni import read_poni
from xrdct.io.profile import read_profile
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook, progress
from xrdct.reconstruction.backend import reconstruct
from xrdct.reconstruction.parallax import distance_and_wavelength, reconstruct_with_parallax

log = logging.getLogger("xrdct.absorption")


def main(inputs, outputs, *, phase_set, energy_kev, parallax, nonnegative, settings):
    sinogram, maps = read_store(inputs["sinogram"], "sinogram"), read_store(inputs["maps"], "fit")
    chosen = Absorption.model_validate(settings)
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    model = PatternModel(phases, sinogram.q.values, read_profile(inputs["profile"]))
    seen = azimuths_seen(read_poni(inputs["poni"]), inputs.get("mask"))
    measured = to_measured(sinogram, seen)
    matter = matter_of(phases, chosen, energy_kev, n=sinogram.sizes["position"], step_mm=measured.step_mm)
    geometry = distance_and_wavelength(read_poni(inputs["poni"]))
    rebuild = rebuilder(measured, geometry, parallax, nonnegative=nonnegative)
    first_volume = rebuild(measured.intensity)
    fitted = first_scales(model, first_volume, measured, maps, geometry if parallax == "widen" else None)

    def fit(volume):
        return fitted.of_volume(volume[..., model.inside])

    first = fit(first_volume)
    transmitted = measured_transmission(sinogram, chosen)
    attenuation = Attenuation(
        measured,
        matter,
        transmitted=transmitted,
        factor=chosen.given_factor if chosen.factor == "given" else None,
        casing=casing_of(phases, first, chosen, measured.step_mm),
    )
    found = remove_absorption(
        measured,
        attenuation,
        first=first,
        reconstruct=rebuild,
        fit=fit,
        tolerance=chosen.tolerance,
        most=chosen.max_passes,
        least=chosen.least_transmission,
        first_order=chosen.first_order and parallax != "undo",
        by_depth=depth_ratio(measured, geometry) if parallax == "undo" else None,
        wavelength=model.profile.wavelength,
    )
    log.info("%s; %s; %s", found.factor, found.zero_order, found.ways_out)
    papers = papers_map(found, phases, matter)
    log.info("%s", papers)
    recorded = {
        "settings": {
            "phase_set": phase_set,
            "energy_kev": energy_kev,
            "parallax": parallax,
            "nonnegative": nonnegative,
            **settings,
        },
        "inputs": {name: manifest_digest(inputs[f"{name}_manifest"]) for name in ("sinogram", "maps")},
    }
    write_store(
        attenuation_dataset(found, maps, sinogram, phases).assign_attrs(papers_map=papers),
        outputs["attenuation"],
        outputs["attenuation_manifest"],
        kind="attenuation",
        **recorded,
    )
    write_store(
        corrected_dataset(sinogram, measured, found, least=chosen.least_transmission),
        outputs["sinogram"],
        outputs["sinogram_manifest"],
        kind="sinogram",
        **recorded,
    )


def azimuths_seen(geometry, mask):
    """From a scattering angle to the azimuths at which the detector sees its ring; the translation runs along a row."""
    shape = geometry.detector.shape
    usable = np.ones(shape, dtype=bool) if not mask else ~read_image(mask).astype(bool)
    pixels = [geometry.center_array(shape, unit=unit)[usable] for unit in ("2th_rad", "chi_rad")]
    return lambda two_theta: seen_azimuths(*pixels, two_theta)


def to_measured(sinogram, seen):
    """The arrays of a sinogram store."""
    return Measured(
        sinogram.intensity.values,
        sinogram.variance.values,
        # Where the transmission was measured, only the air that reached the detector was subtracted.
        None if "transmission" in sinogram else sinogram.air.values,
        sinogram.angle.values,
        sinogram.attrs["cor"] + sinogram.offset.values,
        sinogram.attrs["step_mm"],
        sinogram.q.values,
        seen,
    )


def matter_of(phases, chosen, energy_kev, *, n, step_mm):
    """µ of the phases, of what is between them, and of what is there besides."""
    pure = linear_attenuation(phases.densities, [phase.contents for phase in phases.phases], energy_kev)
    extra = np.zeros((n, n))
    for item in chosen.extra:
        extra += share_of(item, n=n, step_mm=step_mm) * item.volume * mu_of(item, energy_kev)
    if chosen.fill is None:
        return Matter(pure, extra=extra)
    return Matter(pure, mu_of(chosen.fill, energy_kev), chosen.fill.least_volume, extra)


def share_of(item, *, n, step_mm):
    """Share of every voxel that lies where extra matter is said to be, (y, x)."""
    share = np.ones((n, n))
    if item.radius_mm is not None:
        inner, outer = item.radius_mm
        share = Wall(item.x_mm, item.y_mm, outer, outer - inner).share(n, step_mm)
    if item.mask is not None:
        mask = read_mask(item.mask)
        if mask.shape != share.shape:
            raise AttenuationError(
                f"absorption.extra: mask {item.mask} has {mask.shape[0]} × {mask.shape[1]} pixels, the scan {n} × {n}"
            )
        share = share * mask
    return share


def mu_of(material, energy_kev):
    """µ in 1/mm of a material of the configuration, dense."""
    return float(linear_attenuation([material.density], [composition_of(material.formula)], energy_kev)[0])


def first_scales(model, volume, measured, maps, geometry):
    """A fit of scales with the cells of the first one, starting from a volume before any correction."""
    names = [phase.name for phase in model.phases.phases]
    cells = {(name, edge): maps[edge].sel(phase=name).values for name in names for edge in ("a", "b", "c")}
    noise = measured.variance[..., model.inside].mean(axis=(0, 1))
    return Scales(
        model,
        volume[..., model.inside],
        mask=maps["mask"].values,
        cells=cells,
        variance=noise,
        widen=None if geometry is None else widening(measured, geometry["distance_mm"]),
    )


def widening(measured, distance_mm):
    """From a map of what scatters to what parallax adds to the width of lines, relative to q."""
    return lambda amount: parallax_width(amount, measured.angles, step_mm=measured.step_mm, distance_mm=distance_mm)


def rebuilder(measured, geometry, parallax, *, nonnegative):
    """From a sinogram to its volume: by filtered back-projection, exact on the mean and fast, repeated where
    `nonnegative`, or without parallax.

    Without parallax no value may be negative: else the sharpest lines of the casing and of what it holds are not told
    apart, and scales fall off towards the middle.
    """
    if parallax == "undo":
        return lambda intensity: reconstruct_with_parallax(
            intensity,
            measured.angles,
            q=measured.q,
            cor=measured.cor,
            step_mm=measured.step_mm,
            method="fbp",
            nonnegative=True,
            progress=progress("reconstruct", "step"),
            **geometry,
        )
    way = {"method": "refined_fbp", "nonnegative": True} if nonnegative else {"filter": "hann"}
    return lambda intensity: reconstruct(intensity, measured.angles, cor=measured.cor, **way)


def depth_ratio(measured, geometry):
    """From a volume and µ to what the depth of its lines changes in every ray."""
    scan = {"step_mm": measured.step_mm, "cor": measured.cor, "n_positions": measured.intensity.shape[1]}

    def ratio(volume, mu):
        return ratio_by_depth(
            volume,
            Leaving(mu, measured.angles, azimuths=measured.azimuths, **scan),
            measured.angles,
            q=measured.q,
            progress=progress("scattered rays", "block"),
            **scan,
            **geometry,
        )

    return ratio


def casing_of(phases, first, chosen, step_mm):
    """Number and wall of the casing, from its scale map; None without one."""
    if chosen.casing is None:
        return None
    place = [phase.name for phase in phases.phases].index(chosen.casing.phase)
    wall = find_wall(first[place], thickness_mm=chosen.casing.thickness_mm, step_mm=step_mm)
    log.info("casing: outer radius %.3f mm, centre at x %.3f, y %.3f mm", wall.radius_mm, wall.x_mm, wall.y_mm)
    return place, wall


def measured_transmission(sinogram, chosen):
    """Transmission of every ray, where the factor is to come from it."""
    if chosen.factor != "transmission":
        return None
    if "transmission" not in sinogram:
        raise AttenuationError(
            "absorption.factor is transmission, but the transmitted intensity was not recorded: name its counter in "
            "raw.transmitted, or set absorption.factor to casing or given"
        )
    return sinogram["transmission"].values


def papers_map(found, phases, matter):
    """How the papers' way to µ, from weight fractions and without pores, differs from ours."""
    scales = np.clip(found.settled.scales, 0, None)
    total = scales.sum(axis=0)
    papers = mu_without_pores(scales, matter.pure, phases.densities, least=0.05 * np.percentile(total, 95))
    compared = compare_maps(found.settled.mu, papers)
    return (
        f"µ from weight fractions, without pores: mean {compared['mean_mu_papers']:.4f} 1/mm instead of "
        f"{compared['mean_mu']:.4f} (rms difference {compared['rms_difference']:.4f})"
    )


def attenuation_dataset(found, maps, sinogram, phases):
    """The store's form: µ, what it lets through, and scales before and after."""
    corrected, rays, voxels = found.settled.corrected, ("angle", "position"), ("y", "x")
    return xr.Dataset(
        {
            "mu": (voxels, found.settled.mu, {"units": "1/mm"}),
            "transmission": (rays, corrected.transmission, {"units": "1"}),
            "opaque": (rays, corrected.opaque, {"units": "1"}),
            "scale_before": (("phase", *voxels), found.first.astype(np.float32), {"units": "1"}),
            "scale_after": (("phase", *voxels), found.settled.scales.astype(np.float32), {"units": "1"}),
        },
        coords={
            "phase": ("phase", np.array([phase.name for phase in phases.phases], dtype=np.dtypes.StringDType())),
            "y": maps.y,
            "x": maps.x,
            "angle": sinogram.angle,
            "position": sinogram.position,
        },
        attrs={
            "factor": found.factor.value,
            "factor_error": found.factor.error,
            "factor_source": found.factor.source,
            "zero_order_error": str(found.zero_order),
            "ways_out": found.ways_out,
            "changes": list(found.settled.changes),
            "settled": bool(found.settled.settled),
            "step_mm": sinogram.attrs["step_mm"],
        },
    )


def corrected_dataset(sinogram, measured, found, *, least):
    """The assembled sinogram with other intensities; groups of pixels are divided as the whole is."""
    data = sinogram.drop_attrs(deep=False).assign_attrs(
        {name: sinogram.attrs[name] for name in ("cor", "cor_units", "step_mm")}
    )
    corrected = found.settled.corrected
    for name, values in (("intensity", corrected.intensity), ("variance", corrected.variance)):
        data[name] = sinogram[name].dims, values, sinogram[name].attrs
    if "group_intensity" in sinogram:
        groups = sinogram.group_intensity
        values = np.empty(groups.shape, np.float32)
        for k in range(groups.sizes["group"]):
            part = divide(replace(measured, intensity=groups.isel(group=k).values), found.straight, least)
            values[:, :, k] = (part if found.by_depth is None else part.divided(found.by_depth)).intensity
        data["group_intensity"] = groups.dims, values, groups.attrs
    return data


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    with logbook(snakemake.log[0]):
        main(dict(snakemake.input.items()), dict(snakemake.output.items()), **json.loads(snakemake.params.cfg))
