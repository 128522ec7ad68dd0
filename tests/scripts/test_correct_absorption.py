"""sinogram.zarr and maps.zarr of the first fit to attenuation.zarr and a corrected sinogram.zarr: a small round cell.

A steel casing around a disc that is half NCA, half carbonate, with a liquid in its middle: everything is concentric,
so that every ray is known in closed form.
"""

import re

import numpy as np
import pytest
import xarray as xr
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

import correct_absorption
import draw_absorption
from support_fit import PIXEL, PROFILE
from xrdct.absorption.material import composition_of, linear_attenuation
from xrdct.config import Absorption, PhaseSetSettings
from xrdct.errors import AttenuationError
from xrdct.fit.dataset import fit_dataset
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.geometry import pixel_centres
from xrdct.io.masks import write_mask
from xrdct.io.store import read_store, write_store
from xrdct.reconstruction.backend import reconstruct

PHASE_SET = PhaseSetSettings.model_validate(
    {
        "name": "cell",
        "q_min": 1.2,
        "q_max": 3.3,
        "background_degree": 0,
        "phases": [{"name": "Fe"}, {"name": "NCA", "free": {"a": [2.85, 2.87], "c": [14.2, 14.3]}, "per_voxel": []}],
    }
)
N, STEP, ENERGY = 32, 0.25, 95
COR = (N - 1) / 2
ANGLES = np.arange(0, 180, 6.0)
Q = np.arange(1.1, 3.4, PIXEL)
CASING, ROLL, LIQUID = (3.3, 3.0), 3.0, 1.0
"""Radii, mm."""
PER_SCALE = 0.01
"""Volume per unit of scale."""
FILL = {"formula": "C3H4O3", "density": 1.3}
WATER = {"formula": "H2O", "density": 1.0}


def chord(radius, fine=20):
    """Mean length in mm of a circle on every beam, shape (position,)."""
    t = pixel_centres(fine * N, STEP / fine)
    return 2 * np.sqrt(np.clip(radius**2 - t**2, 0, None)).reshape(N, fine).mean(axis=1)


def mu_of(material):
    return float(linear_attenuation([material["density"]], [composition_of(material["formula"])], ENERGY)[0])


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Folder with the stores, and the transmission of the rays; a ring of half NCA, half carbonate, water inside it."""
    folder = tmp_path_factory.mktemp("absorption")
    phases = load_phase_set(PHASE_SET)
    model = PatternModel(phases, Q, PROFILE)
    steel, half = chord(CASING[0]) - chord(CASING[1]), chord(ROLL) - chord(LIQUID)
    pure = linear_attenuation(phases.densities, [phase.contents for phase in phases.phases], ENERGY)
    depth = pure[0] * steel + (pure[1] + mu_of(FILL)) / 2 * half + mu_of(WATER) * chord(LIQUID)
    transmission = np.exp(-depth)
    volume = np.stack([steel, half / 2]) / STEP  # in voxels crossed
    patterns = np.zeros((N, Q.size))
    patterns[:, model.inside] = (volume / PER_SCALE).T @ model.units(model.start)[:2]
    measured = np.repeat((patterns * transmission[:, None])[None], ANGLES.size, axis=0).astype(np.float32)
    write_sinogram(folder, measured, transmission)
    first = reconstruct(measured, ANGLES, cor=COR, filter="hann")
    axis = pixel_centres(N, STEP)
    grid = xr.Dataset(coords={"y": ("y", axis[::-1], {"units": "mm"}), "x": ("x", axis, {"units": "mm"})})
    found = fit_volume(model, first, level="quick", variance=np.ones(Q.size), mask_threshold=0.05)
    maps = fit_dataset(found, grid.assign_attrs(voxel_mm=STEP))
    write_store(maps, folder / "m.zarr", folder / "m.json", kind="fit", settings={}, inputs={})
    return folder, transmission


def write_sinogram(folder, intensity, transmission):
    rays, units = ("angle", "position"), {"units": "1"}
    shape = intensity.shape[:2]
    dataset = xr.Dataset(
        {
            "intensity": ((*rays, "q"), intensity, {"units": "counts"}),
            "variance": ((*rays, "q"), np.full_like(intensity, 1.0), {"units": "counts^2"}),
            "air": (("angle", "q"), np.zeros((shape[0], Q.size)), {"units": "counts"}),
            **{name: (rays, np.zeros(shape, bool), units) for name in ("repaired", "bad_frame", "zingers")},
            **{name: (("angle",), np.zeros(shape[0]), units) for name in ("subset", "direction", "offset")},
            "transmission": (rays, np.broadcast_to(transmission, shape), units),
        },
        coords={
            "angle": ("angle", ANGLES, {"units": "degree"}),
            "position": ("position", (np.arange(N) - COR) * STEP, {"units": "mm"}),
            "q": ("q", Q, {"units": "1/angstrom"}),
        },
        attrs={"cor": COR, "cor_units": "pixel", "step_mm": STEP},
    )
    write_store(dataset, folder / "s.zarr", folder / "s.json", kind="sinogram", settings={}, inputs={})


def detector(columns_left):
    """A flat one whose beam goes in so many columns from its left edge, halfway up."""
    pixels = Detector(1e-3, 1e-3, max_shape=(120, 60 + columns_left))
    return AzimuthalIntegrator(
        dist=0.5, poni1=0.06, poni2=1e-3 * columns_left, detector=pixels, wavelength=PROFILE.wavelength * 1e-10
    )


def run(scan, tmp_path, monkeypatch, *, parallax="ignore", nonnegative=False, columns_left=60, **settings):
    folder, _ = scan
    monkeypatch.setattr(correct_absorption, "read_profile", lambda path: PROFILE)
    geometry = detector(columns_left)
    if parallax == "undo":
        geometry.dist = 100.0  # so far that there is none
    monkeypatch.setattr(correct_absorption, "read_poni", lambda path: geometry)
    chosen = {"correct": True, "fill": FILL, "casing": {"phase": "Fe", "thickness_mm": CASING[0] - CASING[1]}}
    extra = [{**WATER, "radius_mm": [0, LIQUID]}]
    inputs = {f"{name}{kind}": folder / f"{letter}.{end}" for name, letter in (("sinogram", "s"), ("maps", "m"))
              for kind, end in (("", "zarr"), ("_manifest", "json"))}  # fmt: skip
    names = "attenuation", "sinogram"
    outputs = {f"{name}{kind}": tmp_path / f"{name}.{end}" for name in names
               for kind, end in (("", "zarr"), ("_manifest", "json"))}  # fmt: skip
    correct_absorption.main(
        {**inputs, "profile": "profile", "poni": "poni"},
        outputs,
        phase_set=PHASE_SET.model_dump(mode="json"),
        energy_kev=ENERGY,
        parallax=parallax,
        nonnegative=nonnegative,
        settings=Absorption(**chosen | {"extra": extra} | settings).model_dump(mode="json", exclude={"correct"}),
    )
    # In memory, for the next run of a test writes to the same place.
    return read_store(outputs["attenuation"], "attenuation").load(), read_store(outputs["sinogram"], "sinogram").load()


def mean_mu(found, low, high):
    """Mean µ between two radii, 1/mm."""
    radius = np.hypot(found.x.values, found.y.values[:, None])
    return found.mu.values[(radius > low) & (radius < high)].mean()


@pytest.mark.parametrize(
    ("factor", "way"),
    [
        ("transmission", {}),
        ("transmission", {"parallax": "undo"}),
        ("transmission", {"nonnegative": True}),
        ("casing", {}),
        ("casing", {"parallax": "undo"}),
    ],
)
def test_the_map_is_that_of_the_cell_and_the_rays_are_divided_by_it(scan, tmp_path, monkeypatch, factor, way):
    found, corrected = run(scan, tmp_path, monkeypatch, factor=factor, **way)
    pure = correct_absorption.matter_of(
        load_phase_set(PHASE_SET), Absorption(correct=True, factor="transmission"), ENERGY, n=N, step_mm=STEP
    ).pure
    # Rings of a few voxels blur: some per cent. A casing of one voxel says less than the beam that comes through.
    close = {"rel": 0.04 if factor == "transmission" else 0.08}
    roll = (pure[1] + mu_of(FILL)) / 2
    assert mean_mu(found, 1.4, 2.3) == pytest.approx(roll, **close)
    assert found.attrs["factor"] == pytest.approx(PER_SCALE, **close)
    measured = read_store(scan[0] / "s.zarr", "sinogram")
    divided = measured.intensity.values / found.transmission.values[..., None]
    # Where parallax is undone, rays are divided by what strays at each depth besides: some per cent here, most where a
    # beam grazes the casing.
    close = {"rtol": 1e-5} if way.get("parallax") != "undo" else {"rtol": 0.15}
    assert ("by depth" in found.attrs["ways_out"]) == (way.get("parallax") == "undo")
    np.testing.assert_allclose(corrected.intensity.values, divided, **close)
    if factor == "transmission":
        assert mean_mu(found, 0, 0.7) == pytest.approx(mu_of(WATER), abs=0.05 * roll)  # a haze of the ring around it
        np.testing.assert_allclose(found.transmission.values, np.broadcast_to(scan[1], (*measured.subset.shape, N)))


def test_matter_that_is_left_out_is_missed(scan, tmp_path, monkeypatch):
    with_water, _ = run(scan, tmp_path, monkeypatch, factor="given", given_factor=PER_SCALE, max_passes=1)
    without, _ = run(scan, tmp_path, monkeypatch, factor="given", given_factor=PER_SCALE, max_passes=1, extra=[])
    assert mean_mu(with_water, 0, 0.7) - mean_mu(without, 0, 0.7) == pytest.approx(mu_of(WATER), rel=0.01)
    assert mean_mu(with_water, 1.4, 2.3) == pytest.approx(mean_mu(without, 1.4, 2.3), rel=0.01)


def test_a_ring_is_traced_where_the_detector_sees_it(tmp_path):
    seen = correct_absorption.azimuths_seen(detector(0), None)(0.06)  # the right half of every ring
    assert len(seen) == 8
    assert (np.cos(seen) > 0).all()
    full = correct_absorption.azimuths_seen(detector(60), None)(0.06)
    assert abs(np.cos(full).sum()) < 1e-12
    rows = np.zeros((120, 120), dtype=np.uint8)
    rows[:60] = 1
    write_mask(rows, tmp_path / "lower.npy")
    upper = correct_absorption.azimuths_seen(detector(60), tmp_path / "lower.npy")(0.06)
    assert len(upper) == 8
    assert (np.sin(upper) > 0).all()
    assert len(correct_absorption.azimuths_seen(detector(60), None)(0.5)) == len(full)  # outside: whole


def test_rays_to_half_a_ring_leave_by_their_own_side(scan, tmp_path, monkeypatch):
    """Of a round sample a full ring weakens both sides alike; rays that leave to the right pass the wall there."""
    way = {"factor": "given", "given_factor": PER_SCALE, "max_passes": 1, "first_order": True}
    measured, sides, told = read_store(scan[0] / "s.zarr", "sinogram").intensity.values, [], []
    for columns_left in (60, 0):
        found, corrected = run(scan, tmp_path, monkeypatch, columns_left=columns_left, **way)
        inside = slice(6, N - 6)
        with np.errstate(invalid="ignore"):
            transmitted = (measured / corrected.intensity.values)[:, inside, -20].mean(axis=0)
        sides.append(transmitted - transmitted[::-1])
        told.append(float(re.search(r"rms error ([\d.]+) %", found.attrs["zero_order_error"])[1]))
    assert np.abs(sides[0]).max() < 0.1 * np.abs(sides[1]).max()
    assert told[1] > 2 * told[0]


def test_matter_in_a_drawn_region_is_that_of_the_same_ring(scan, tmp_path, monkeypatch):
    way = {"factor": "given", "given_factor": PER_SCALE, "max_passes": 1}
    ring = {**WATER, "radius_mm": [0, LIQUID]}
    axis = pixel_centres(N, STEP)
    near = np.hypot(axis, axis[::-1, None]) < 2 * LIQUID
    left = axis[None] < 0
    write_mask(near, tmp_path / "near.npy")
    write_mask(near & left, tmp_path / "left.npy")
    whole, _ = run(scan, tmp_path, monkeypatch, extra=[ring], **way)
    masked, _ = run(scan, tmp_path, monkeypatch, extra=[{**ring, "mask": str(tmp_path / "near.npy")}], **way)
    np.testing.assert_array_equal(masked.mu.values, whole.mu.values)
    none, _ = run(scan, tmp_path, monkeypatch, extra=[], **way)
    half, _ = run(scan, tmp_path, monkeypatch, extra=[{**WATER, "mask": str(tmp_path / "left.npy")}], **way)
    np.testing.assert_allclose(half.mu - none.mu, mu_of(WATER) * (near & left), atol=1e-6)


def test_a_mask_of_another_scan_is_refused(scan, tmp_path, monkeypatch):
    write_mask(np.ones((N + 1, N + 1)), tmp_path / "other.npy")
    with pytest.raises(AttenuationError, match=r"other\.npy has 33 × 33 pixels, the scan 32 × 32"):
        run(scan, tmp_path, monkeypatch, factor="transmission", extra=[{**WATER, "mask": str(tmp_path / "other.npy")}])
    with pytest.raises(ValueError, match="say where it is"):
        Absorption(extra=[WATER])


def test_both_ways_to_mu_are_told_and_drawn(scan, tmp_path, monkeypatch):
    found, _ = run(scan, tmp_path, monkeypatch, factor="transmission")
    assert "without pores" in found.attrs["papers_map"]
    png, svg = tmp_path / "absorption.png", tmp_path / "absorption.svg"
    draw_absorption.main(tmp_path / "attenuation.zarr", png, svg, colormap="viridis")
    assert (tmp_path / "absorption.png").stat().st_size > 10_000


def test_a_transmission_that_was_not_recorded_is_asked_for(scan, tmp_path, monkeypatch):
    read = correct_absorption.read_store
    monkeypatch.setattr(
        correct_absorption,
        "read_store",
        lambda path, kind: read(path, kind).drop_vars("transmission", errors="ignore"),
    )
    with pytest.raises(AttenuationError, match=r"raw\.transmitted"):
        run(scan, tmp_path, monkeypatch, factor="transmission")
